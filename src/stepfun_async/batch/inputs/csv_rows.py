"""Splits CSV into rows, cautiously, since each row is paid for.

Python's `csv` parses the cells. This module adds checks of quotes: an extra quote turns the rows after it into one long
cell, and a parser that restarts in the middle of a quoted cell takes its lines for rows. So:

- a broken row on one line, with its quotes in pairs, is reported, and the next line is a row again;
- after any other broken row, nothing is read, since it is unknown where the next row begins;
- a row of several lines that each look like a row of their own is reported as broken;
- after the first broken row, every row with a quote inside an unquoted cell is broken, too.
"""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper

from .texts import LONGEST_LINE, TextFile, stripped

DELIMITERS = ",;\t|"
"""The delimiters of cells, in the order in which they are tried."""

_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
"""The line that Excel writes and reads before the header, to name the delimiter."""

_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row of a table.

    Attributes:
        line: the number of its first line, from 1.
        cells: its cells; empty if it is broken.
        text: its first line.
        why: why it is broken; empty if it is not.
    """

    line: int
    cells: tuple[str, ...]
    text: str
    why: str = ""


class CsvFile:
    """A CSV file: its delimiter, its header, and its rows.

    Bytes that are not UTF-8 become lone surrogates in their cells, by which they are detected later.

    Args:
        text: the file.
        delimiter: the delimiter of cells, unless the file names another one.

    Attributes:
        header: the cells of its first row; `None` if it has no rows.
        delimiter: the delimiter of its cells.

    Raises:
        csv.Error: its first row is broken.
        OSError: it cannot be read.
    """

    def __init__(self, text: TextFile, delimiter: str) -> None:
        file = TextIOWrapper(text.stream, encoding="utf-8", errors="surrogateescape", newline="")
        self._lines = _Lines(file)
        named = _SEP.fullmatch(text.first_line)
        if named:
            next(self._lines, None)
        first_line = text.first_line if not named else ""
        self.delimiter = named[1] if named else _delimiter_of(first_line, delimiter)
        self._reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True, skipinitialspace=True)
        self.header = self._read_header()

    def _read_header(self) -> tuple[str, ...] | None:
        while (cells := self._next()) is not None:
            if any(cell.strip() for cell in cells):
                return tuple(cells)
        return None

    def _next(self) -> list[str] | None:
        self._lines.begin()
        with _long_cells():
            return next(self._reader, None)

    def rows(self) -> Iterator[CsvRow]:
        """Yield the rows after the header that are not empty, and those that are broken."""
        broken_at = None
        while True:
            first = self._lines.number + 1
            try:
                cells = self._next()
            except csv.Error as error:
                lost = not self._lines.quotes_are_paired
                after = "; its quotes are not in pairs, so nothing after this row is read" if lost else ""
                yield CsvRow(first, (), self._lines.first, f"{error}{after}")
                if lost:
                    return
                broken_at = broken_at or first
                continue
            if cells is None:
                return
            why = self._why_doubtful(len(self.header or ()), broken_at)
            if why or any(map(stripped, cells)):
                yield CsvRow(first, tuple(cells), self._lines.first, why)

    def _why_doubtful(self, columns: int, broken_at: int | None) -> str:
        """Return why the row just read is doubtful; empty if it is not."""
        lines = self._lines.of_row
        if broken_at is not None and not _is_proper("".join(lines), self.delimiter):
            return f"it has a quote inside a cell, and quotes were broken in line {broken_at} already"
        if len(lines) > 1 and _are_rows(lines, columns, self.delimiter):
            return (
                f"a quoted cell spans {len(lines)} lines, each of which looks like a row of its own: is there an extra "
                "quote, or one that is not doubled?"
            )
        return ""


class _Lines:
    """The lines of a file for `csv.reader`, with those of the current row.

    Attributes:
        number: the number of lines that were read.
        of_row: the lines of the current row.
    """

    def __init__(self, file: TextIOWrapper) -> None:
        self._file = file
        self.number = 0
        self.of_row: list[str] = []
        self._length = 0

    def begin(self) -> None:
        """Begin a row."""
        self.of_row = []
        self._length = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(LONGEST_LINE + 1 - self._length)
        if not line:
            raise StopIteration
        self.number += 1
        self.of_row.append(line)
        self._length += len(line)
        if self._length > LONGEST_LINE:
            self.of_row.append(line)  # its end is unknown, so its quotes do not count as paired
            raise csv.Error(f"it is longer than {LONGEST_LINE:,} characters")
        return line

    @property
    def first(self) -> str:
        """The first line of the current row, without its line end."""
        return self.of_row[0].rstrip("\r\n") if self.of_row else ""

    @property
    def quotes_are_paired(self) -> bool:
        """Whether the current row is one line in which every quote is closed."""
        return len(self.of_row) == 1 and self.of_row[0].count('"') % 2 == 0


def _delimiter_of(line: str, default: str) -> str:
    """Return the default delimiter if it is in `line`, or else the only other one in it."""
    found = [delimiter for delimiter in DELIMITERS if delimiter in line]
    return found[0] if default not in found and len(found) == 1 else default


_field_limit_lock = threading.Lock()


@contextmanager
def _long_cells() -> Generator[None]:
    """Let `csv` read cells as long as a row may be. Its limit holds for the whole process, and is restored at once."""
    with _field_limit_lock:
        before = csv.field_size_limit(LONGEST_LINE)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _is_proper(row: str, delimiter: str) -> bool:
    """Whether quotes are only where CSV allows them: around cells, and doubled inside."""
    cell = rf' *+(?:"(?:[^"]|"")*+"|[^"{re.escape(delimiter)}\r\n]*+)'
    return re.fullmatch(rf"{cell}(?:{re.escape(delimiter)}{cell})*+[\r\n]*", row) is not None


def _are_rows(lines: list[str], columns: int, delimiter: str) -> bool:
    """Whether each line has as many cells as the header, with the same shapes as in the first line."""
    table = [[_shape_of(cell.strip(' "\r\n')) for cell in line.split(delimiter)] for line in lines]
    if columns < 2 or any(len(shapes) != columns for shapes in table):
        return False
    shaped = [at for at, shape in enumerate(table[0]) if shape]
    return bool(shaped) and all(shapes[at] == table[0][at] for shapes in table for at in shaped)


def _shape_of(cell: str) -> str:
    """Return the shape that the cells of one column share: `9` for a number, `lake-9` for lake-12, empty for words."""
    if _NUMBER.fullmatch(cell):
        return "9"
    found = _SHAPED.fullmatch(cell)
    return _DIGITS.sub("9", found["ending"] or cell).lower() if found else ""


_SHAPED = re.compile(r"\S*\d\S*|\S+(?P<ending>\.(?:png|jpe?g|webp))", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
