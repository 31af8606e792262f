"""The one way to the log, which cannot fail: what is plugged into `logging` is the application's."""

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

    What filters, handlers and record factories of the application raise must not cost an image: it is shown on
    stderr, as `logging` does with what handlers raise, and nowhere else.
    """
    try:
        _log.log(level, message, *args, **more)
    except Exception:  # noqa: BLE001 - whatever the application's logging may raise
        _show_failed_log()


def is_logged(level: int) -> bool:
    """Whether anybody may see what is logged at `level`."""
    try:
        return _log.isEnabledFor(level)
    except Exception:  # noqa: BLE001 - whatever the application's logging may raise
        return False


def _show_failed_log() -> None:
    if logging.raiseExceptions and sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison]
        with suppress(Exception):
            sys.stderr.write(f"stepfun_async: the log failed; the call goes on\n{traceback.format_exc()}")
