"""Where the lines of a batch come from: files, iterables and async iterables, read as they are needed.

A file is read in pieces in a thread. What somebody's own iterable does stays in the thread of the event
loop, as with `images.map`. Each line comes with its number and a digest of how it is written, by which a
later run knows a line without reading it.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, cast

import anyio.to_thread

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.problems import Problem, plain

from .jobs import Broken

LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of a line of JSON, which may have a picture in it."""

_BOM = b"\xef\xbb\xbf"
_NO_UTF8 = b"\xff"


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands in the inputs.

    Attributes:
        number: its line or row, from 1.
        read: gives its value: a mapping, a request value, or `Broken`.
        digest: of how it is written; None for a value that has no written form.
    """

    number: int
    read: Callable[[], object]
    digest: bytes | None = None


class Source(Protocol):
    """Where lines come from."""

    @property
    def folder(self) -> Path | None:
        """What the paths in it are relative to; None for the working directory."""
        ...

    @property
    def as_text(self) -> bool:
        """Whether its numbers and truth values are text."""
        ...

    @property
    def once(self) -> bool:
        """Whether it can be read only once."""
        ...

    async def take(self, most: int) -> list[Line]:
        """The next lines, `most` at most; none at the end."""
        ...

    def close(self) -> None:
        """Close what is open. To be called whenever `take` was."""
        ...


def is_file(inputs: object) -> bool:
    """Whether inputs are the path of a file, which takes a while to open."""
    return isinstance(inputs, str) or hasattr(inputs, "__fspath__")


def source_of(inputs: Any) -> Source:
    """A source, from its beginning.

    Args:
        inputs: the path of a file, an iterable or an async iterable.

    Raises:
        ConfigurationError: it is none of these, the file cannot be read, or its format is not known.
    """
    if is_file(inputs):
        return _FileSource(Path(inputs))
    single = hasattr(inputs, "to_call") or hasattr(inputs, "keys") or isinstance(inputs, bytes | type)
    if hasattr(inputs, "__aiter__") and not single:
        return _AsyncSource(inputs)
    if hasattr(inputs, "__iter__") and not single:
        return _IterableSource(inputs)
    raise ConfigurationError(f"inputs are a file or an iterable of lines, not {plain(inputs)!r}")


# --- values -------------------------------------------------------------------------------------


def _line_of(number: int, value: object) -> Line:
    return Line(number, lambda: value, _digest_of(value))


def _digest_of(value: object) -> bytes | None:
    """What tells a mapping from others; None where JSON cannot say it."""
    if not isinstance(value, Mapping):
        return None
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return _digest(text.encode("utf-8", "surrogatepass"))


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()


_TURN = 0.004
"""Seconds that somebody's iterable has at a time."""


class _IterableSource:
    folder = None
    as_text = False

    def __init__(self, inputs: Any) -> None:
        self._items: Iterator[object] = iter(inputs)
        self.once = self._items is inputs
        self._taken = 0

    async def take(self, most: int) -> list[Line]:
        """The next lines, or those of the next few milliseconds: whatever makes them keeps the event loop waiting."""
        until = time.perf_counter() + _TURN
        lines: list[Line] = []
        for value in islice(self._items, most):
            self._taken += 1
            lines.append(_line_of(self._taken, value))
            if time.perf_counter() > until:
                break
        return lines

    def close(self) -> None:
        """Nothing is open."""


class _AsyncSource:
    folder = None
    as_text = False

    def __init__(self, inputs: Any) -> None:
        self._items: AsyncIterator[object] = aiter(inputs)
        self.once = self._items is inputs
        self._taken = 0

    async def take(self, most: int) -> list[Line]:
        """One line: to wait for more would keep the first one waiting."""
        try:
            value = await anext(self._items)
        except StopAsyncIteration:
            return []
        self._taken += 1
        return [_line_of(self._taken, value)]

    def close(self) -> None:
        """Nothing is open."""


# --- files --------------------------------------------------------------------------------------

Reader: TypeAlias = Callable[[Path, ExitStack], Iterator[Line]]


class _FileSource:
    once = False

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self.as_text = path.suffix.lower() in _AS_TEXT
        self._open = ExitStack()
        self._lines = _reader_of(path)(path, self._open)
        self._first = self._begin(path)

    async def take(self, most: int) -> list[Line]:
        return await anyio.to_thread.run_sync(self._take, most)

    def close(self) -> None:
        self._open.close()

    def _take(self, most: int) -> list[Line]:
        first, self._first = self._first, []
        return [*first, *islice(self._lines, most - len(first))]

    def _begin(self, path: Path) -> list[Line]:
        """Open the file and read its first line, so that what is wrong with the file is known at once."""
        try:
            with ExitStack() as stack:
                stack.push(self._open)
                lines = list(islice(self._lines, 1))
                stack.pop_all()
                return lines
        except OSError as error:
            raise ConfigurationError(f"the inputs {str(path)!r} cannot be read: {error.strerror or error}") from error


def _reader_of(path: Path) -> Reader:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise ConfigurationError(f"the inputs {str(path)!r} are in no format that is known by its ending: {known}")
    return reader


def _raw_lines(path: Path, stack: ExitStack) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, with their numbers, without BOM and line ends."""
    file = stack.enter_context(path.open("rb"))
    number = 0
    while raw := file.readline(LONGEST_LINE):
        number += 1
        text = raw.removeprefix(_BOM) if number == 1 else raw
        while raw[-1:] != b"\n" and (raw := file.readline(LONGEST_LINE)):
            text = text[:80] + _NO_UTF8  # so that a line of which the rest is read over is not taken for a whole one
        if text.strip():
            yield number, text.rstrip(b"\r\n")


def _json_lines(path: Path, stack: ExitStack) -> Iterator[Line]:
    for number, text in _raw_lines(path, stack):
        yield Line(number, partial(_parsed, text), _digest(text))


def _parsed(text: bytes) -> object:
    try:
        value: object = json.loads(text.decode())
    except UnicodeDecodeError as error:
        return _broken(text, "a line of JSON in UTF-8", str(error))
    except (ValueError, RecursionError) as error:
        return _broken(text, "a line of JSON", str(error))
    if isinstance(value, dict):
        return cast("dict[str, object]", value)
    return _broken(text, "a JSON object", f"it is {type(value).__name__}")


def _prompts(path: Path, stack: ExitStack) -> Iterator[Line]:
    for number, text in _raw_lines(path, stack):
        yield Line(number, partial(_prompt, text), _digest(text))


def _prompt(text: bytes) -> object:
    try:
        return {"prompt": text.decode().strip()}
    except UnicodeDecodeError as error:
        return _broken(text, "a prompt in UTF-8", str(error))


def _broken(text: bytes, allowed: str, why: str) -> Broken:
    return Broken((Problem("line", text[:80].decode("utf-8", "backslashreplace"), allowed, why),))


# --- tables -------------------------------------------------------------------------------------


def _table(path: Path, stack: ExitStack, *, delimiter: str) -> Iterator[Line]:
    # Half of a character becomes something that UTF-8 cannot say, and so is found again in its cell.
    file = stack.enter_context(path.open(encoding="utf-8-sig", errors="surrogateescape", newline=""))
    rows = csv.reader(file, delimiter=delimiter, strict=True)
    header = _header(path, file, rows)
    while True:
        first = rows.line_num + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            yield Line(first, partial(_bad_row, str(error)))
            continue
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            written = _digest(repr((header, cells)).encode("utf-8", "surrogatepass"))
            yield Line(first, partial(_row, header, cells), written)


def _header(path: Path, file: TextIOWrapper, rows: Iterator[list[str]]) -> tuple[str, ...]:
    try:
        header = tuple(name.strip() for name in next(rows, ()))
    except csv.Error as error:
        raise ConfigurationError(f"the first line of {str(path)!r} is no header: {error}") from error
    twice = sorted({name for name in header if header.count(name) > 1 or not name})
    if twice or not header:
        why = f"has {', '.join(map(repr, twice))} twice or without a name" if twice else "is not there"
        raise ConfigurationError(f"the header of {str(path)!r} {why}: its first line names each column, once")
    return header


def _bad_row(why: str) -> Broken:
    return Broken((Problem("line", None, "cells as CSV writes them", why),))


def _row(header: tuple[str, ...], cells: list[str]) -> object:
    if len(cells) > len(header):
        shown = f"{len(cells)} cells"
        return Broken((Problem("line", shown, f"{len(header)}, as many as the header names"),))
    fields = {name: cell for name, cell in zip(header, cells, strict=False) if cell != ""}
    odd = [name for name, cell in fields.items() if any("\ud800" <= letter <= "\udfff" for letter in cell)]
    if odd:
        return Broken(tuple(Problem(name, None, "text in UTF-8", "it has bytes that are none") for name in odd))
    return fields


def _parquet(path: Path, stack: ExitStack) -> Iterator[Line]:
    if find_spec("pyarrow") is None:
        raise ConfigurationError('Parquet needs pyarrow: pip install "stepfun-async[parquet]"')
    parquet: Any = importlib.import_module("pyarrow.parquet")
    errors: Any = importlib.import_module("pyarrow").ArrowException
    try:
        file = stack.enter_context(parquet.ParquetFile(path))
        number = 0
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield _line_of(number, row)
    except errors as error:
        raise ConfigurationError(f"the inputs {str(path)!r} are no Parquet file that can be read: {error}") from error


_ROWS_AT_ONCE = 256

_AS_TEXT = frozenset({".csv", ".tsv"})
_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".csv": partial(_table, delimiter=","),
        ".tsv": partial(_table, delimiter="\t"),
        ".txt": _prompts,
        ".parquet": _parquet,
    }
)
