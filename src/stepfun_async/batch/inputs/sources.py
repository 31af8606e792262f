"""The sources of a batch's lines: files, iterables and async iterables, read as needed.

A file is read in pieces in a thread. A user's iterable runs in the thread of the event loop, as in `images.map`. Each
line has its number and a digest of its text, by which a later run recognizes the line without parsing it.
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
    def is_one_shot(self) -> bool:
        """Whether it can be read only once."""
        ...

    async def take(self, most: int) -> list[InputLine]:
        """Return the next lines, at most `most`; none at the end."""
        ...

    def close(self) -> None:
        """Close the source. This must be called if `take` was."""
        ...


def is_file(inputs: object) -> bool:
    """Whether inputs are the path of a file or folder."""
    return isinstance(inputs, str) or hasattr(inputs, "__fspath__")


def source_of(inputs: Any) -> Source:
    """Open a source at its beginning.

    Args:
        inputs: the path of a file or of a folder of prompts, `-` for stdin, a table of pandas, polars or Arrow, an
            iterable, or an async iterable.

    Raises:
        ConfigurationError: it is none of these, the file cannot be read, or its format is unknown.
    """
    if is_file(inputs):
        return FileSource(path_of(inputs))
    advice = _advice_for(inputs)
    if advice is not None:
        raise ConfigurationError(f"inputs are a file or an iterable of lines, not a {type(inputs).__name__}: {advice}")
    table = rows_of_table(inputs)
    if table is not None:
        return _IterableSource(table)
    if not _is_one_line(inputs):
        if hasattr(inputs, "__aiter__"):
            return _AsyncSource(inputs)
        if hasattr(inputs, "__iter__"):
            return _IterableSource(inputs)
    raise ConfigurationError(f"inputs are a file or an iterable of lines, not {plain(inputs)!r}")


def _advice_for(inputs: Any) -> str | None:
    """Return what to pass instead of `inputs` whose elements are not lines; `None` for anything else."""
    if hasattr(inputs, "readline") and not isinstance(
        inputs, type
    ):  # its lines would be taken for prompts, whatever its format
        return "give its path, or '-' for stdin"
    return _NOT_ITERABLE.get(type(inputs).__name__)


def _is_one_line(inputs: object) -> bool:
    """Whether inputs are a single line, or an object whose elements are not lines."""
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
"""The advice for inputs of other types, by the name of the type."""


class FirstLines:
    """The first lines of a source.

    Attributes:
        is_truncated: whether it ended at the limit, so that it is unknown what follows.

    Args:
        source: all lines.
        limit: the maximum number of lines.
    """

    def __init__(self, source: Source, limit: int) -> None:
        self.folder, self.is_one_shot = source.folder, source.is_one_shot
        self.is_truncated = False
        self._source = source
        self._remaining = limit

    async def take(self, most: int) -> list[InputLine]:
        """Return the next lines, at most `most`; none at the end or at the limit."""
        self.is_truncated = not self._remaining
        lines = [] if self.is_truncated else await self._source.take(min(most, self._remaining))
        self._remaining -= len(lines)
        return lines

    def close(self) -> None:
        """Close the source."""
        self._source.close()


MOST_VARIATIONS = 256
"""The maximum number of variations of a line: as many as the lines that are read at a time."""


class Variations:
    """Each line of a source several times in a row, numbered as if the source had it that many times.

    Args:
        source: the lines, each once.
        count: the number of variations of each, at most `MOST_VARIATIONS`.
    """

    def __init__(self, source: Source, count: int) -> None:
        self.folder, self.is_one_shot = source.folder, source.is_one_shot
        self._source = source
        self._count = count

    async def take(self, most: int) -> list[InputLine]:
        """Return the variations of the next lines; none at the end."""
        lines = await self._source.take(max(1, most // self._count))
        return [self._variation(line, number) for line in lines for number in range(1, self._count + 1)]

    def _variation(self, line: InputLine, number: int) -> InputLine:
        """Return a variation of a line. It has its own digest, since it is another image."""
        written = line.digest
        if written is not None and number > 1:
            written = digest(b"%d %b" % (number, written))
        return InputLine((line.number - 1) * self._count + number, line.read, written)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


_MAX_SECONDS = 0.004
"""The time for which a user's iterable may run before the event loop continues, in seconds."""


class _IterableSource:
    folder = None

    def __init__(self, inputs: Any) -> None:
        self._items: Iterator[object] = iter(inputs)
        self.is_one_shot = self._items is inputs
        self._count = 0

    async def take(self, most: int) -> list[InputLine]:
        """Return the next lines, or those of the next few milliseconds, since the iterable blocks the event loop."""
        until = time.perf_counter() + _MAX_SECONDS
        lines: list[InputLine] = []
        for value in islice(self._items, most):
            self._count += 1
            lines.append(line_of(self._count, value))
            if time.perf_counter() > until:
                break
        return lines

    def close(self) -> None:
        """Nothing is open."""


class _AsyncSource:
    folder = None

    def __init__(self, inputs: Any) -> None:
        self._items: AsyncIterator[object] = aiter(inputs)
        self.is_one_shot = self._items is inputs
        self._count = 0

    async def take(self, most: int) -> list[InputLine]:
        """Return one line: waiting for more would delay the first one."""
        try:
            value = await anext(self._items)
        except StopAsyncIteration:
            return []
        self._count += 1
        return [line_of(self._count, value)]

    def close(self) -> None:
        """Nothing is open."""
