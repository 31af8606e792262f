"""Tracebacks that end in the user's own code.

An error of this package says by itself what happened and what to do, so its traceback has the user's lines and the
method called, not the dozens of frames below it. `python -X dev` shows all frames.
"""

from __future__ import annotations

import sys
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def without_frames(error: E) -> E:
    """Return `error` without the frames it has passed so far, unless Python runs in development mode."""
    return error if sys.flags.dev_mode else error.with_traceback(None)
