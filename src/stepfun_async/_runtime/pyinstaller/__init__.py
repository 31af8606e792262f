"""What PyInstaller has to know of this package; found by its entry point `pyinstaller40`."""

from __future__ import annotations

import os


def hook_dirs() -> list[str]:
    """The folders with this package's hooks for PyInstaller."""
    return [os.path.dirname(__file__)]
