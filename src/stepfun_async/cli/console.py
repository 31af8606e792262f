"""Output: lines on stdout, warnings and progress on stderr."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from stepfun_async import StepFunWarning
from stepfun_async._core.text import escaped
from stepfun_async._runtime.status_line import clear_status_line


class OutputError(Exception):
    """Stdout cannot be written to: its reader has closed it, or the disk is full."""

    @property
    def is_broken_pipe(self) -> bool:
        """Whether the program that reads stdout has closed it, as `head` does."""
        return isinstance(self.__cause__, BrokenPipeError)


def echo(*lines: str, indent: str | None = None) -> None:
    """Print lines on stdout and flush them; control characters in them are escaped.

    Args:
        lines: the lines.
        indent: on a terminal, wrap long lines between words and indent the continuation by this; `None` wraps none.

    Raises:
        OutputError: stdout cannot be written to.
    """
    escaped_lines = map(escaped, lines)
    _print("\n".join(escaped_lines if indent is None else wrap_lines(escaped_lines, sys.stdout, indent)))


def wrap_lines(lines: Iterable[str], stream: TextIO | None, indent: str) -> Iterator[str]:
    """Yield lines wrapped between words to the width of a terminal; for other streams, unchanged."""
    if not is_terminal(stream):
        yield from lines
        return
    columns = max(20, shutil.get_terminal_size().columns)
    for line in lines:
        start = line[: len(line) - len(line.lstrip())]
        yield textwrap.fill(
            line,
            columns,
            subsequent_indent=start + indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )


def _print(text: str) -> None:
    with _writing():
        print(text, flush=True)


@contextmanager
def _writing() -> Generator[None]:
    """Raise errors of writing to stdout as `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"stdout cannot be written to: {error.strerror}") from error


def discard_stdout() -> None:
    """Discard what could not be written, so that the interpreter does not fail again at exit."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    with suppress(OSError):  # it may not be a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def echo_json(value: object) -> None:
    """Print `value` as JSON on stdout; JSON escapes control characters itself."""
    echo(json.dumps(value, ensure_ascii=False))


def echo_rich(*parts: RenderableType) -> None:
    """Print tables and other renderables of rich on stdout, in color on a terminal. Only for text of this package."""
    console = Console(highlight=False)
    with _writing(), console.capture() as capture:  # rich writes an empty text, which an unbuffered stdout may refuse
        for part in parts:
            console.print(part)
    _print("\n".join(line.rstrip() for line in capture.get().rstrip().splitlines()))


def echo_stderr(*lines: str) -> None:
    """Print lines on stderr; control characters in them are escaped.

    If stderr cannot be written to, because its disk is full or its terminal is gone, the lines are discarded, so that
    the command continues and keeps its exit code.
    """
    clear_status_line()
    try:
        print("\n".join(wrap_lines(map(escaped, lines), sys.stderr, "  ")), file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def on_terminal() -> bool:
    """Whether both stdout and stderr are terminals."""
    return is_terminal(sys.stdout) and is_terminal(sys.stderr)


def is_open(stream: TextIO | None) -> bool:
    """Whether `stream` exists; it is `None` if it was closed before this program started."""
    return stream is not None


def is_terminal(stream: TextIO | None) -> bool:
    """Whether `stream` is a terminal."""
    return stream is not None and stream.isatty()


def log_to_stderr() -> None:
    """Show the log of the SDK: each attempt, wait and retry."""
    log = logging.getLogger("stepfun_async")
    log.setLevel(logging.DEBUG)
    if not any(isinstance(handler, logging.StreamHandler) for handler in log.handlers):
        log.addHandler(logging.StreamHandler())


@contextmanager
def spinner(text: str, *, quiet: bool = False) -> Generator[None]:
    """Show a spinner with the elapsed time on stderr if it is a terminal."""
    if quiet or not on_terminal():
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(escaped(text), total=None)
        yield


@contextmanager
def warnings_on_stderr(rephrase: Callable[[str], str]) -> Generator[None]:
    """Show each of the SDK's warnings once, as `warning: ...`, and all others as Python does.

    Args:
        rephrase: rephrases the text of a warning for the command line.
    """
    with warnings.catch_warnings():
        others, seen = warnings.showwarning, set[str]()

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, StepFunWarning):
                if str(message) not in seen:
                    seen.add(str(message))
                    echo_stderr(f"warning: {rephrase(str(message))}")
            else:
                others(message, category, filename, lineno, file, line)

        warnings.simplefilter("always", StepFunWarning)
        warnings.showwarning = show
        yield


def counted(number: int, one: str) -> str:
    """Format a count, such as `1 image` or `1,200 images`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def format_money(spent: Mapping[str, object]) -> str:
    """Format amounts by currency, such as `0.006 USD`."""
    return ", ".join(f"{amount} {currency}" for currency, amount in spent.items())
