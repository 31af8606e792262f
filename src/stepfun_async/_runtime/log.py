"""Logging that cannot fail, since handlers and filters are the application's and may raise."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import Any

_log = logging.getLogger("stepfun_async")
_log.addHandler(logging.NullHandler())


def log(level: int, message: str, *args: object, **more: Any) -> None:
    """Write to the log of the package.

    An error raised by the application's filters, handlers or record factories must not cost an image: it is printed
    to stderr, as `logging` does with errors of handlers, and not raised.
    """
    try:
        _log.log(level, message, *args, **more)
    except Exception:  # noqa: BLE001 - whatever the application's logging may raise
        _show_failed_log()


def is_logged(level: int) -> bool:
    """Return whether records at `level` are processed."""
    try:
        return _log.isEnabledFor(level)
    except Exception:  # noqa: BLE001 - whatever the application's logging may raise
        return False


def _show_failed_log() -> None:
    if logging.raiseExceptions and sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison]
        with suppress(Exception):
            sys.stderr.write(f"stepfun_async: logging failed; the call continues\n{traceback.format_exc()}")
