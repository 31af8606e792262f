"""The hook for PyInstaller, which finds it through the entry point `pyinstaller40`. Imports nothing of this package."""

from __future__ import annotations

import os


def hook_dirs() -> list[str]:
    """The folders with this package's hooks for PyInstaller."""
    return [os.path.dirname(__file__)]
