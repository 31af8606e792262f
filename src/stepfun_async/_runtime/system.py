"""The differences between Linux, macOS and Windows, each in one place; for signals, see `signals`."""

from __future__ import annotations

import importlib
import os
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any, cast

WINDOWS = os.name == "nt"
MACOS = sys.platform == "darwin"

_LONGEST_PATH = 259
"""Characters of a path on Windows, unless the machine allows longer ones."""

_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds between attempts to replace a file that another program has open."""


def replace(temporary: str | Path, path: str | Path) -> None:
    """Rename `temporary` to `path`, over what is there.

    Windows refuses that while a virus scanner, an indexer or a viewer has `path` open, usually for a moment.

    Raises:
        OSError: it cannot be renamed, on Windows for most of a second.
    """
    for pause in _PAUSES if WINDOWS else ():
        try:
            os.replace(temporary, path)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    os.replace(temporary, path)


def flushes_folders() -> bool:
    """Return whether a folder can be opened and flushed; Windows cannot, and NTFS keeps a log of names by itself."""
    return not WINDOWS


def length_of(name: str) -> int:
    """Return how much of the limit on names a name takes: characters on Windows, bytes elsewhere."""
    return len(name) if WINDOWS else len(os.fsencode(name))


def longest_path() -> int | None:
    """Return how many characters a whole path may have; `None` if only each name has a limit."""
    return _LONGEST_PATH if WINDOWS and not _allows_long_paths() else None


def _allows_long_paths() -> bool:
    try:
        registry = cast("Any", importlib.import_module("winreg"))
        settings = r"SYSTEM\CurrentControlSet\Control\FileSystem"
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, settings) as key:
            return bool(registry.QueryValueEx(key, "LongPathsEnabled")[0])
    except (ImportError, OSError):
        return False


def is_own(facts: os.stat_result) -> bool:
    """Return whether a file belongs to the user; on Windows always, where files have no owner's number."""
    return WINDOWS or facts.st_uid == os.getuid()


def same_name(name: str) -> str:
    """Return a key that is equal for all spellings of a name that the system takes for one file."""
    name = os.path.normcase(name)
    return unicodedata.normalize("NFC", name).casefold() if MACOS else name


def has_proxy_settings() -> bool:
    """Return whether the system's settings may name a proxy, besides the environment."""
    return MACOS or WINDOWS
