"""The lines of a CSV file: the field of each column, and each row as a mapping."""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Final

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.problems import Problem

from .csv_rows import DELIMITERS, CsvFile
from .descriptions import escaped
from .jobs import InvalidLine, TextFields, field_of, likely_field
from .lines import InputLine, InputWarning, digest
from .texts import TextFile, stripped

_MISSING = frozenset({"", "nan", "na", "<na>", "n/a", "#n/a", "null", "none", "nat"})
"""Cells, in lower case, that mean a missing value in pandas, polars, R and Excel."""

_INDEX: Final = re.compile(r"Unnamed: \d+|__index_level_\d+__|")
"""The column names that pandas gives to an unnamed index: when it reads CSV, in Parquet, in CSV."""


def csv_lines(text: TextFile, *, delimiter: str) -> Iterator[InputLine]:
    try:
        table = CsvFile(text, delimiter)
    except csv.Error as error:
        raise ConfigurationError(f"the first line of {text.name!r} is no header: {error}; nothing was sent") from error
    if table.header is None:
        return
    header = _columns(text.name, table.header)
    names = tuple(map(stripped, table.header))
    for row in table.rows():
        why = row.why or (_REPEATED_HEADER if tuple(map(stripped, row.cells)) == names else "")
        if why:
            yield InputLine(row.line, partial(_invalid_row, row.text, why))
        else:
            written = digest(repr((header, row.cells)).encode("utf-8", "surrogatepass"))
            yield InputLine(row.line, partial(_parse_row, header, row.cells), written)


_REPEATED_HEADER: Final = "it repeats the header, as in concatenated files: remove it"


def _columns(file: str, header: tuple[str, ...]) -> tuple[str, ...]:
    """Return the field of each column; empty for a column that is ignored.

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
            f"the first column of {file!r} has no name, like an index of pandas: it is ignored", InputWarning, 2
        )
    return fields


def _refuse_doubtful(file: str, name: str) -> None:
    """Reject a name that is similar to that of a field, or that contains several names.

    Raises:
        ConfigurationError: it is or does.
    """
    if field_of(name):
        return
    similar = likely_field(name)
    joined = next((delimiter for delimiter in DELIMITERS if any(map(field_of, name.split(delimiter)[1:]))), None)
    if joined or similar:
        why = f"separated by {joined!r} as well" if joined else f"did you mean {similar!r}?"
        raise ConfigurationError(f"the header of {file!r} has a column {name!r} ({why}); nothing was sent")


def _invalid_row(text: str, why: str) -> InvalidLine:
    return InvalidLine((Problem("line", escaped(text[:80]), "cells as CSV writes them", why),))


def _parse_row(header: tuple[str, ...], cells: tuple[str, ...]) -> object:
    cells = tuple(map(stripped, cells))
    if any(cells[len(header) :]):
        shown = f"{len(cells)} cells"
        return InvalidLine((Problem("line", shown, f"{len(header)}, as many as the header names"),))
    invalid = [name or "line" for name, cell in zip(header, cells, strict=False) if escaped(cell) != cell]
    if invalid:
        return InvalidLine(
            tuple(Problem(name, None, "text in UTF-8", "it has bytes that are none") for name in invalid)
        )
    unnamed = [
        at for at, (name, cell) in enumerate(zip(header, cells, strict=False), 1) if at > 1 and cell and not name
    ]
    if unnamed:
        return InvalidLine(
            (Problem("line", cells[unnamed[0] - 1], "", f"its column {unnamed[0]} has no name in the header"),)
        )
    given = zip(header, cells, strict=False)
    row = TextFields({name: cell for name, cell in given if name and cell.lower() not in _MISSING})
    row.empty = tuple(name for name in header if name not in row)
    return row
