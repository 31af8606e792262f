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
import math
import os
import re
import struct
import sys
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, cast

from stepfun_async._core.errors import ConfigurationError, StepFunWarning
from stepfun_async._core.problems import Problem, plain
from stepfun_async._runtime.event_loop import Job, finished_in_thread

from .csv_rows import DELIMITERS, CsvFile
from .jobs import Broken, Cells, escaped, field_of, likely_field
from .texts import (
    READ_ERRORS,
    STDIN,
    RepeatedKeyError,
    TextFile,
    elements_of,
    open_text,
    parse_json,
    prompt_files,
    stripped,
    uncompressed,
)


class InputWarning(StepFunWarning):
    """Inputs of a batch that are read, but may not be what was meant: there is no line in them, or a column without a
    name is passed over.
    """


@dataclass(frozen=True, slots=True)
class InputLine:
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
        return _FileSource(_path_of(inputs))
    advice = _advice_for(inputs)
    if advice is not None:
        raise ConfigurationError(f"inputs are a file or an iterable of lines, not a {type(inputs).__name__}: {advice}")
    table = _rows_of_table(inputs)
    if table is not None:
        return _IterableSource(table)
    if not _is_single(inputs):
        if hasattr(inputs, "__aiter__"):
            return _AsyncSource(inputs)
        if hasattr(inputs, "__iter__"):
            return _IterableSource(inputs)
    raise ConfigurationError(f"inputs are a file or an iterable of lines, not {plain(inputs)!r}")


def _advice_for(inputs: Any) -> str | None:
    """What to give in place of `inputs` that could be iterated over, but not by lines; None for anything else."""
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
"""What has to be turned into lines first, by the names of its types."""


_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/+")


def _path_of(inputs: str | os.PathLike[str]) -> Path:
    text = os.fsdecode(inputs)
    url = _URL.match(text)
    if not text:
        raise ConfigurationError("inputs are a file or an iterable of lines, not ''; nothing was sent")
    if url and url["scheme"].lower() == "file":
        path = f"/{text[url.end() :]}"
        raise ConfigurationError(f"the inputs {text!r} are a URL: give the path, {path!r}; nothing was sent")
    if url:
        address = f"{url['scheme']}://{text[url.end() :]}"
        raise ConfigurationError(
            f"the inputs {address!r} are not on this machine: download the file, and give its path; nothing was sent"
        )
    return Path(text)


# --- tables in memory -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a table in memory, as mappings, from the beginning each time."""

    make: Callable[[], Iterator[Mapping[str, object]]]

    def __iter__(self) -> Iterator[Mapping[str, object]]:
        return self.make()


def _rows_of_table(inputs: Any) -> _Rows | None:
    """The rows of a table of pandas, polars or Arrow; None for anything else."""
    if isinstance(inputs, type) or not hasattr(inputs, "columns"):
        return None
    if hasattr(inputs, "iter_rows"):  # polars
        return _Rows(partial(inputs.iter_rows, named=True))
    if hasattr(inputs, "itertuples"):  # pandas
        names = tuple(inputs.columns)
        _refuse_repeated("the table", names)
        return _Rows(lambda: (dict(zip(names, row, strict=True)) for row in inputs.itertuples(index=False, name=None)))
    if hasattr(inputs, "to_pylist"):  # pyarrow
        _refuse_repeated("the table", tuple(inputs.column_names))
        batches = inputs.to_batches if hasattr(inputs, "to_batches") else lambda: [inputs]
        return _Rows(lambda: (row for batch in batches() for row in _rows_of_batch(batch)))
    return None


def _refuse_repeated(what: str, names: Iterable[object]) -> None:
    repeated = [str(name) for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise ConfigurationError(f"{what} has a column {', '.join(map(repr, repeated))} twice: name each column once")


# --- values -------------------------------------------------------------------------------------


def _line_of(number: int, value: object) -> InputLine:
    return InputLine(number, lambda: value, _digest_of(value))


def _digest_of(value: object) -> bytes | None:
    """What tells a mapping or a prompt from others; None where JSON cannot say it."""
    if not isinstance(value, Mapping | str):
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
            lines.append(_line_of(self._taken, value))
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
        return [_line_of(self._taken, value)]

    def close(self) -> None:
        """Nothing is open."""


# --- files --------------------------------------------------------------------------------------

Reader: TypeAlias = Callable[[Path, ExitStack], Iterator[InputLine]]


def _drop() -> None:
    """Drop lines that were read when the run had ended."""


class _FileSource:
    def __init__(self, path: Path) -> None:
        self.once = str(path) == STDIN
        self._path = path
        reader = _reader_of(path)
        self.folder = None if self.once else path if path.is_dir() else path.parent
        self._open = ExitStack()
        self._lines = reader(path, self._open)
        self._first = self._begin()

    async def take(self, most: int) -> list[InputLine]:
        take = partial(self._take, most)
        if not self.once:
            return await finished_in_thread(take)
        job: Job[list[InputLine]] = Job(take, unwanted=_drop)  # who writes into a pipe may never write again
        return await job.result()

    def close(self) -> None:
        self._open.close()

    def _take(self, most: int) -> list[InputLine]:
        first, self._first = self._first, []
        return [*first, *self._read(most - len(first))]

    def _begin(self) -> list[InputLine]:
        """Open the file and read its first line, so that what is wrong with the file is known at once."""
        with ExitStack() as stack:
            stack.push(self._open)
            lines = self._read(1)
            stack.pop_all()
        if not lines:
            warnings.warn(f"the inputs {str(self._path)!r} have no lines: nothing is to be sent", InputWarning, 2)
        return lines

    def _read(self, most: int) -> list[InputLine]:
        try:
            return list(islice(self._lines, most))
        except READ_ERRORS as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"the inputs {str(self._path)!r} cannot be read: {why}") from error


def _reader_of(path: Path) -> Reader:
    """What reads a file.

    Raises:
        ConfigurationError: its format is not known.
    """
    if str(path) == STDIN:
        return _stdin
    if path.is_dir():
        return _folder
    ending = PurePath(uncompressed(path.name)).suffix.lower()
    reader = _READERS.get(ending)
    if reader is None or (reader is _parquet and path.suffix.lower() != ending):
        raise ConfigurationError(f"the inputs {str(path)!r} {_unknown(path, ending)}")
    return reader


def _unknown(path: Path, ending: str) -> str:
    """Why a file is not read, and what to do."""
    if ending in _ADVICE:
        return f"are in a format that is not read: {_ADVICE[ending]}"
    known = (
        f"are in no format that is known by its ending: {', '.join(_READERS)}, each also with .gz, .bz2, .xz or .zst"
    )
    if any(letter in path.name for letter in "*?["):
        return f"{known}; a pattern is not taken: join the files, or give them one after another"
    return known if path.exists() else f"{known}; a prompt itself goes into a list: [{str(path)!r}]"


_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        ".xlsx": "save the table as 'CSV UTF-8'",
        ".xls": "save the table as 'CSV UTF-8'",
        ".ods": "save the table as CSV, in UTF-8",
        ".feather": "give the table itself, pyarrow.feather.read_table(path), or write Parquet",
        ".arrow": "give the table itself, or write Parquet",
        ".yaml": "write a JSON object a line, as .jsonl",
        ".yml": "write a JSON object a line, as .jsonl",
        ".sqlite": "export the table as CSV",
        ".db": "export the table as CSV",
        ".zip": "unpack it",
        ".tar": "unpack it",
    }
)


def _text(path: Path, stack: ExitStack, *, read: Callable[[TextFile], Iterator[InputLine]]) -> Iterator[InputLine]:
    yield from read(open_text(path, stack))


def _stdin(path: Path, stack: ExitStack) -> Iterator[InputLine]:
    """The lines of stdin, whose format is known by how it begins."""
    if sys.stdin is not None and sys.stdin.isatty():
        raise ConfigurationError("the inputs are '-', and nothing is piped into stdin: give a file, or pipe one in")
    text = open_text(path, stack)
    yield from _FORMATS[_format_of(text)](text)


def _folder(path: Path, stack: ExitStack) -> Iterator[InputLine]:
    """A line for each `.txt` file, with its name as the id, as folders of captions have them."""
    for number, file in enumerate(prompt_files(path), 1):
        with ExitStack() as opened:
            written = [text for _, text in open_text(file, opened).lines()]
        digest = _digest(repr((file.stem, written)).encode("utf-8", "surrogatepass"))
        yield InputLine(number, partial(_whole_prompt, file, written), digest)


def _whole_prompt(file: Path, written: list[bytes]) -> object:
    if len(written) != 1:
        why = f"{file.name} has {len(written)} lines of text; a file with a prompt a line is given by its own name"
        return Broken((Problem("prompt", None, "one line of text in each .txt of a folder", why),))
    prompt = _prompt(written[0])
    return prompt if isinstance(prompt, Broken) else {"id": file.stem, "prompt": prompt}


# --- text: formats by how a file begins -------------------------------------------------------------


def _format_of(text: TextFile) -> str:
    """The format of a text file, by its first line: the ending that such files have."""
    line = text.first_line
    if line[:1] in ("{", "["):
        if line in ("{", "["):
            return ".json"
        value = _value_of(line)
        if isinstance(value, dict):
            return ".jsonl"
        return ".json" if _is_array_of_lines(value) else ".txt"  # as prompts may begin
    if line.lower().startswith(("sep=", '"sep=')):
        return ".csv"
    names = [name.strip(' "') for name in re.split(f"[{DELIMITERS}]", line)]
    return ".csv" if "prompt" in map(field_of, names) and all(map(field_of, names)) else ".txt"


def _is_array_of_lines(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict | str) for part in cast("list[object]", value))


def _prompts(text: TextFile) -> Iterator[InputLine]:
    looks_like = _format_of(text)
    if looks_like != ".txt":
        raise ConfigurationError(
            f"the inputs {text.name!r} begin as a {looks_like} file does, with {text.first_line[:60]!r}: give it that "
            "ending, so that its lines are not taken for prompts; nothing was sent"
        )
    for number, line in text.lines():
        yield InputLine(number, partial(_prompt_line, line), _digest(line))


def _prompt_line(line: bytes) -> object:
    prompt = _prompt(line)
    return prompt if isinstance(prompt, Broken) else {"prompt": prompt}


def _prompt(line: bytes) -> str | Broken:
    try:
        return stripped(line.decode())
    except UnicodeDecodeError as error:
        return _broken(line, "a prompt in UTF-8", str(error))


def _json_lines(text: TextFile) -> Iterator[InputLine]:
    value = _value_of(text.first_line)
    _refuse_one_object(text, value)
    if _ARRAY.match(text.start) and (value is None or b"\n" not in text.start.strip()):
        yield from _json_array(text)
        return
    for number, line in text.lines():
        yield InputLine(number, partial(_parsed, line), _digest(line))


_ARRAY = re.compile(rb"\s*\[\s*[{\"\]]")
"""How an array of objects or prompts begins."""


def _value_of(line: str) -> object:
    """What a line of JSON says; an empty object where it has a key twice, None where it is no JSON."""
    try:
        return parse_json(line)
    except RepeatedKeyError:
        return {}
    except (ValueError, RecursionError):
        return None


def _refuse_one_object(text: TextFile, value: object) -> None:
    """Refuse a file that is one object, be it over many lines or with a column under each name.

    Raises:
        ConfigurationError: it is.
    """
    if text.first_line == "{":
        raise ConfigurationError(
            f"the inputs {text.name!r} are one JSON object over several lines: write one object a line, or an array of "
            "objects; nothing was sent"
        )
    if isinstance(value, dict) and isinstance(cast("dict[str, object]", value).get("prompt"), dict):
        raise ConfigurationError(
            f"the inputs {text.name!r} have a column under each name: write one object a line, with pandas "
            'df.to_json(path, orient="records", lines=True); nothing was sent'
        )


def _parsed(line: bytes) -> object:
    try:
        value = parse_json(line.decode())
    except UnicodeDecodeError as error:
        return _broken(line, "a line of JSON in UTF-8", str(error))
    except RepeatedKeyError as error:
        return _broken(line, "a JSON object with each key once", str(error))
    except (ValueError, RecursionError) as error:
        return _broken(line, "a line of JSON", str(error))
    return _line_value(value, line)


def _line_value(value: object, line: bytes) -> object:
    if isinstance(value, dict | str):
        return cast("dict[str, object] | str", value)
    return _broken(line, "a JSON object, or a prompt as a JSON string", f"it is {type(value).__name__}")


def _json_array(text: TextFile) -> Iterator[InputLine]:
    """The elements of an array of JSON, which is read whole."""
    if text.start.lstrip()[:1] != b"[":
        yield from _json_lines(text)
        return
    try:
        content = text.stream.read().decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the inputs {text.name!r} are no JSON in UTF-8: {error}") from error
    for number, element in enumerate(elements_of(content), 1):
        if isinstance(element, RepeatedKeyError):
            yield InputLine(number, partial(_broken, b"", "a JSON object with each key once", str(element)))
        elif isinstance(element, ValueError):
            why = f"{element}; nothing after it is read"
            yield InputLine(number, partial(_broken, b"", "an array of JSON objects", why))
        else:
            shown = json.dumps(element, ensure_ascii=True).encode()
            yield InputLine(number, partial(_line_value, element, shown), _digest(shown))


def _broken(text: bytes, allowed: str, why: str) -> Broken:
    given = text[:80].decode("utf-8", "backslashreplace") if text else None
    return Broken((Problem("line", given, allowed, why),))


# --- CSV ----------------------------------------------------------------------------------------

_MISSING = frozenset({"", "nan", "na", "<na>", "n/a", "#n/a", "null", "none", "nat"})
"""Cells, in lower case, by which pandas, polars, R and Excel say that there is no value."""

_INDEX: Final = re.compile(r"Unnamed: \d+|__index_level_\d+__|")
"""The names of columns that pandas makes of an index that has none: when it reads CSV, in Parquet, in CSV."""


def _table(text: TextFile, *, delimiter: str) -> Iterator[InputLine]:
    try:
        table = CsvFile(text, delimiter)
    except csv.Error as error:
        raise ConfigurationError(f"the first line of {text.name!r} is no header: {error}; nothing was sent") from error
    if table.header is None:
        return
    header = _columns(text.name, table.header)
    names = tuple(map(stripped, table.header))
    for row in table.rows():
        why = row.why or (_HEADER_AGAIN if tuple(map(stripped, row.cells)) == names else "")
        if why:
            yield InputLine(row.line, partial(_bad_row, row.text, why))
        else:
            written = _digest(repr((header, row.cells)).encode("utf-8", "surrogatepass"))
            yield InputLine(row.line, partial(_row, header, row.cells), written)


_HEADER_AGAIN: Final = "it is the header again, as where files were joined: take it out"


def _columns(file: str, header: tuple[str, ...]) -> tuple[str, ...]:
    """The field that each column has; empty for a column that is passed over.

    Raises:
        ConfigurationError: the header is not UTF-8, or its names are not those of fields.
    """
    names = tuple(name.strip() for name in header)
    if any(escaped(name) != name for name in names):
        raise ConfigurationError(
            f"the header of {file!r} is not in UTF-8: save the table as 'CSV UTF-8'; nothing was sent"
        )
    fields = tuple("" if _INDEX.fullmatch(name) else field_of(name) or name for name in names)
    repeated = [field for field, times in Counter(fields).items() if times > 1 and field]
    if repeated:
        raise ConfigurationError(f"the header of {file!r} has {', '.join(map(repr, repeated))} twice: name each once")
    if not any(map(field_of, fields)):
        shown = ", ".join(map(repr, names[:10]))
        raise ConfigurationError(
            f"the header of {file!r} names no field, but {shown}: its first line names each column, such as "
            "prompt,seed; nothing was sent"
        )
    for field in fields:
        _refuse_doubtful(file, field)
    if not fields[0] and any(fields):
        warnings.warn(
            f"the first column of {file!r} has no name, as an index of pandas: it is passed over", InputWarning, 2
        )
    return fields


def _refuse_doubtful(file: str, name: str) -> None:
    """Refuse a name that is nearly that of a field, or several names in one.

    Raises:
        ConfigurationError: it is.
    """
    if field_of(name):
        return
    meant = likely_field(name)
    joined = next((delimiter for delimiter in DELIMITERS if any(map(field_of, name.split(delimiter)[1:]))), None)
    if joined or meant:
        why = f"separated by {joined!r} as well" if joined else f"did you mean {meant!r}?"
        raise ConfigurationError(f"the header of {file!r} has a column {name!r} ({why}); nothing was sent")


def _bad_row(text: str, why: str) -> Broken:
    return Broken((Problem("line", escaped(text[:80]), "cells as CSV writes them", why),))


def _row(header: tuple[str, ...], cells: tuple[str, ...]) -> object:
    cells = tuple(map(stripped, cells))
    if any(cells[len(header) :]):
        shown = f"{len(cells)} cells"
        return Broken((Problem("line", shown, f"{len(header)}, as many as the header names"),))
    odd = [name or "line" for name, cell in zip(header, cells, strict=False) if escaped(cell) != cell]
    if odd:
        return Broken(tuple(Problem(name, None, "text in UTF-8", "it has bytes that are none") for name in odd))
    unnamed = [
        at for at, (name, cell) in enumerate(zip(header, cells, strict=False), 1) if at > 1 and cell and not name
    ]
    if unnamed:
        return Broken(
            (Problem("line", cells[unnamed[0] - 1], "", f"its column {unnamed[0]} has no name in the header"),)
        )
    given = zip(header, cells, strict=False)
    row = Cells({name: cell for name, cell in given if name and cell.lower() not in _MISSING})
    row.empty = tuple(name for name in header if name not in row)
    return row


# --- Parquet ------------------------------------------------------------------------------------


def _parquet(path: Path, stack: ExitStack) -> Iterator[InputLine]:
    if find_spec("pyarrow") is None:
        raise ConfigurationError('Parquet needs pyarrow: pip install "stepfun-async[parquet]"')
    parquet: Any = importlib.import_module("pyarrow.parquet")
    errors: Any = importlib.import_module("pyarrow").ArrowException
    try:
        file = stack.enter_context(parquet.ParquetFile(path))
        _refuse_repeated(f"the Parquet file {str(path)!r}", file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            for row in _rows_of_batch(batch):
                number += 1
                yield _line_of(number, row)
    except errors as error:
        raise ConfigurationError(f"the inputs {str(path)!r} are no Parquet file that can be read: {error}") from error


def _rows_of_batch(batch: Any) -> Iterator[dict[str, object]]:
    """The rows of a batch of Arrow; text that is no UTF-8 comes with lone surrogates, by which it is found again."""
    columns = {name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _values(column: Any) -> list[object]:
    """The values of a column; floats of 16 or 32 bits as the numbers that they print as."""
    layout = _LAYOUTS.get(str(column.type))
    try:
        values: list[object] = column.to_pylist()
    except UnicodeDecodeError:
        values = [_text_of(value) for value in column.cast("large_binary", safe=False).to_pylist()]
    return values if layout is None else [_shortest(value, layout) for value in values]


_LAYOUTS: Mapping[str, tuple[str, int]] = MappingProxyType({"halffloat": ("e", 5), "float": ("f", 9)})
"""For each type of short floats, its format for `struct`, and how many digits tell any two of them apart."""


def _shortest(value: Any, layout: tuple[str, int]) -> float | None:
    """The number with the fewest digits that is `value` in the layout; 1.1 for 1.100000023841858."""
    if value is None or not math.isfinite(value):
        return cast("float | None", value)
    form, most = layout
    packed = struct.pack(form, value)
    texts = (float(f"{value:.{digits}g}") for digits in range(1, most + 1))
    return next(number for number in texts if _is_packed_as(number, form, packed))


def _is_packed_as(number: float, form: str, packed: bytes) -> bool:
    try:
        return struct.pack(form, number) == packed
    except OverflowError:  # the largest ones are rounded to what there is no float for
        return False


def _text_of(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")


_ROWS_AT_ONCE = 256

_FORMATS: Mapping[str, Callable[[TextFile], Iterator[InputLine]]] = MappingProxyType(
    {
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".json": _json_array,
        ".csv": partial(_table, delimiter=","),
        ".tsv": partial(_table, delimiter="\t"),
        ".txt": _prompts,
    }
)
_READERS: Mapping[str, Reader] = MappingProxyType(
    {**{ending: partial(_text, read=read) for ending, read in _FORMATS.items()}, ".parquet": _parquet}
)
