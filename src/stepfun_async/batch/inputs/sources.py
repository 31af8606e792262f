"""The sources of a batch's lines: files, iterables and async iterables, read as they are needed.

A file is read in pieces in a thread. A user's own iterable runs in the thread of the event loop, as with
`images.map`. Each line comes with its number and a digest of how it is written, by which a later run recognizes a
line without reading it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.problems import plain

from .files import FileSource, path_of
from .lines import InputLine, digest, line_of
from .tables import rows_of_table


class Source(Protocol):
    """A source of lines."""

    @property
    def folder(self) -> Path | None:
        """The folder that paths in it are relative to; `None` for the working directory."""
        ...

    @property
    def once(self) -> bool:
        """Whether it can be read only once."""
        ...

    async def take(self, most: int) -> list[InputLine]:
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
        inputs: the path of a file or of a folder of prompts, `-` for stdin, a table of pandas, polars or Arrow, an
            iterable, or an async iterable.

    Raises:
        ConfigurationError: it is none of these, the file cannot be read, or its format is not known.
    """
    if is_file(inputs):
        return FileSource(path_of(inputs))
    advice = _advice_for(inputs)
    if advice is not None:
        raise ConfigurationError(f"inputs are a file or an iterable of lines, not a {type(inputs).__name__}: {advice}")
    table = rows_of_table(inputs)
    if table is not None:
        return _IterableSource(table)
    if not _is_single(inputs):
        if hasattr(inputs, "__aiter__"):
            return _AsyncSource(inputs)
        if hasattr(inputs, "__iter__"):
            return _IterableSource(inputs)
    raise ConfigurationError(f"inputs are a file or an iterable of lines, not {plain(inputs)!r}")


def _advice_for(inputs: Any) -> str | None:
    """Return what to pass in place of `inputs` that are iterable, but not by lines; `None` for anything else."""
    if hasattr(inputs, "readline") and not isinstance(
        inputs, type
    ):  # whose lines would be prompts, whatever its format
        return "give its path, or '-' for stdin"
    return _NOT_ITERABLE.get(type(inputs).__name__)


def _is_single(inputs: object) -> bool:
    """Whether inputs are one line, or what can be iterated over otherwise than by lines."""
    return hasattr(inputs, "to_call") or isinstance(inputs, Mapping | bytes | type)


_NOT_ITERABLE: Mapping[str, str] = MappingProxyType(
    {
        "LazyFrame": "give what .collect() returns",
        "DuckDBPyRelation": "give what .to_arrow_table() returns",
        "ChunkedArray": "give what .to_pylist() returns",
        "StringArray": "give what .to_pylist() returns",
        "LargeStringArray": "give what .to_pylist() returns",
        "DataFrameGroupBy": "give the table itself",
        "DatasetDict": 'give one of its splits, such as splits["train"]',
        "IterableDatasetDict": 'give one of its splits, such as splits["train"]',
    }
)
"""How to turn values of other types into lines, by the names of the types."""


class FirstLines:
    """The first lines of a source.

    Attributes:
        cut: whether it ended at the limit, so that it is unknown what follows.

    Args:
        source: all lines.
        limit: how many are wanted.
    """

    def __init__(self, source: Source, limit: int) -> None:
        self.folder, self.once = source.folder, source.once
        self.cut = False
        self._source = source
        self._left = limit

    async def take(self, most: int) -> list[InputLine]:
        """The next lines, `most` at most; none at the end or at the limit."""
        self.cut = not self._left
        lines = [] if self.cut else await self._source.take(min(most, self._left))
        self._left -= len(lines)
        return lines

    def close(self) -> None:
        """Close the source."""
        self._source.close()


MOST_VARIATIONS = 256
"""Variations of a line; as many lines as are read at a time."""


class Variations:
    """Each line of a source several times in a row, numbered as if it stood there so often.

    Args:
        source: the lines, each once.
        count: how many times each is wanted, `MOST_VARIATIONS` at most.
    """

    def __init__(self, source: Source, count: int) -> None:
        self.folder, self.once = source.folder, source.once
        self._source = source
        self._count = count

    async def take(self, most: int) -> list[InputLine]:
        """The variations of the next lines; none at the end."""
        lines = await self._source.take(max(1, most // self._count))
        return [self._variation(line, number) for line in lines for number in range(1, self._count + 1)]

    def _variation(self, line: InputLine, number: int) -> InputLine:
        """A variation of a line. Its digest is another one, since it asks for another image."""
        written = line.digest
        if written is not None and number > 1:
            written = digest(b"%d %b" % (number, written))
        return InputLine((line.number - 1) * self._count + number, line.read, written)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


_TURN = 0.004
"""Seconds for which a user's iterable may run at a time."""


class _IterableSource:
    folder = None

    def __init__(self, inputs: Any) -> None:
        self._items: Iterator[object] = iter(inputs)
        self.once = self._items is inputs
        self._taken = 0

    async def take(self, most: int) -> list[InputLine]:
        """The next lines, or those of the next few milliseconds: whatever makes them keeps the event loop waiting."""
        until = time.perf_counter() + _TURN
        lines: list[InputLine] = []
        for value in islice(self._items, most):
            self._taken += 1
            lines.append(line_of(self._taken, value))
            if time.perf_counter() > until:
                break
        return lines

    def close(self) -> None:
        """Nothing is open."""


class _AsyncSource:
    folder = None

    def __init__(self, inputs: Any) -> None:
        self._items: AsyncIterator[object] = aiter(inputs)
        self.once = self._items is inputs
        self._taken = 0

    async def take(self, most: int) -> list[InputLine]:
        """One line: to wait for more would keep the first one waiting."""
        try:
            value = await anext(self._items)
        except StopAsyncIteration:
            return []
        self._taken += 1
        return [line_of(self._taken, value)]

    def close(self) -> None:
        """Nothing is open."""
