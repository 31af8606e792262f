"""A line of text that is shown while something runs: on a terminal, in a notebook, or as lines of a log."""

from __future__ import annotations

import html
import shutil
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any, TextIO

NARROWEST = 40
"""The minimum width of a line, in columns."""


class StatusLine:
    """A line on stderr, updated in place on a terminal or in a notebook, and written again elsewhere.

    Errors in showing it are ignored: nothing more is shown on a closed stream.

    Attributes:
        interval: seconds between two updates.
        columns: characters that fit.
        separator: the text between the parts of a line.
    """

    interval = 10.0
    columns = 200

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._next = time.monotonic() + self.interval
        self._is_seen = False
        self.separator = "\N{MIDDLE DOT}" if _encodes(stream, "\N{MIDDLE DOT}") else "|"

    @property
    def due(self) -> bool:
        """Whether it is time for an update."""
        return time.monotonic() >= self._next

    def show(self, text: str, share: float | None = None) -> None:
        """Show `text`; `share` is how much of the work is done, from 0 to 1."""
        self._next = time.monotonic() + self.interval
        self._is_seen = True
        with suppress(Exception):
            self._draw(text, share)

    def end(self, text: str, share: float | None = None) -> None:
        """Show the last text if one has been shown before, so that the log of short work stays empty."""
        if self._is_seen:
            self.show(text, share)

    def _draw(self, text: str, share: float | None) -> None:
        print(text, file=self._stream, flush=True)


class TerminalLine(StatusLine):
    """A line on a terminal. Whatever else is written there has to call `clear_status_line` first."""

    interval = 0.2

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._length = 0
        _shown.append(self)

    @property
    def columns(self) -> int:  # type: ignore[override]  # a terminal may change its width
        return max(NARROWEST, shutil.get_terminal_size().columns - 1)

    def _draw(self, text: str, share: float | None) -> None:
        self._write(f"\r{text.ljust(self._length)}")
        self._length = len(text)

    def clear(self) -> None:
        """Remove the line until the next update."""
        if self._length:
            self._write(f"\r{' ' * self._length}\r")
            self._length = 0

    def end(self, text: str, share: float | None = None) -> None:
        """Show the last text, and continue below it."""
        if self in _shown:
            _shown.remove(self)
        self.show(text, share)
        with suppress(Exception):
            self._write("\n")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


class NotebookLine(StatusLine):
    """A line in the output of a notebook's cell, with a bar."""

    interval = 0.5

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._is_seen = True
        self._handle: Any = None

    def _draw(self, text: str, share: float | None) -> None:
        display: Any = import_module("IPython.display").display  # a kernel runs, so that it is there
        bar = "" if share is None else f'<progress value="{share:.4f}" max="1"></progress> '
        content = {"text/plain": text, "text/html": f"{bar}<code>{html.escape(text)}</code>"}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


_shown: list[TerminalLine] = []
"""The lines that are on a terminal now."""


def status_line() -> StatusLine:
    """Return the kind of line that fits where this process runs."""
    stream: TextIO | None = sys.stderr
    if _in_notebook():
        return NotebookLine(stream)
    terminal = stream is not None and stream.isatty()
    return TerminalLine(stream) if terminal else StatusLine(stream)


def write_below(text: str) -> None:
    """Write a line on stderr, in place of one that is renewed there."""
    clear_status_line()
    StatusLine(sys.stderr).show(text)


def clear_status_line() -> None:
    """Remove the line from the terminal before something else is written there."""
    for line in tuple(_shown):
        with suppress(Exception):
            line.clear()


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _encodes(stream: TextIO | None, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
