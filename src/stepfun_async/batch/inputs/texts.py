"""Text files as inputs: decompressed, judged by how they begin, and cut into lines.

What is wrong with a file as a whole (its encoding, its format) is found out before its first line is read. A file
in UTF-16 would otherwise be lines of ASCII with NULs between the letters, each of which is valid UTF-8.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import json
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import IO, Any, Final

from stepfun_async._core.errors import ConfigurationError

LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of a line of JSON or of a row of a table, which may have an image in it."""

STDIN: Final = "-"

READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""The errors that reading a file may raise, decompression included."""

_START = 64 * 1024
"""Bytes from which a file is judged."""

_BOM = b"\xef\xbb\xbf"
_NOT_UTF8 = b"\xff"

_BLANK = b" \t\r\n\v\f\x1a"
"""Bytes that make no line: spaces, and the end mark of DOS, which `copy a.txt+b.txt` writes."""

_SAVE_AS_UTF8 = "save it as UTF-8 (in Excel: 'CSV UTF-8')"

_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe\x00\x00", f"is text in UTF-32: {_SAVE_AS_UTF8}"),
    (b"\x00\x00\xfe\xff", f"is text in UTF-32: {_SAVE_AS_UTF8}"),
    (b"\xff\xfe", f"is text in UTF-16, as PowerShell's > and Excel's 'Unicode text' write it: {_SAVE_AS_UTF8}"),
    (b"\xfe\xff", f"is text in UTF-16: {_SAVE_AS_UTF8}"),
    (b"PK\x03\x04", "is a ZIP archive, as .xlsx files are: save the table as 'CSV UTF-8', or unpack it"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel or Word file: save the table as 'CSV UTF-8'"),
    (b"\x1f\x8b", "is compressed: give its name the ending .gz"),
    (b"\x28\xb5\x2f\xfd", "is compressed: give its name the ending .zst"),
    (b"BZh", "is compressed: give its name the ending .bz2"),
    (b"\xfd7zXZ\x00", "is compressed: give its name the ending .xz"),
    (b"PAR1", "is a Parquet file: give its name the ending .parquet"),
    (b"%PDF", "is a PDF: save its text as UTF-8"),
    (b"\x89PNG", "is an image"),
    (b"\xff\xd8\xff", "is an image"),
    (b"GIF8", "is an image"),
    (b"{\\rtf", "is rich text of a word processor: save it as plain text, in UTF-8"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: run git lfs pull"),
)
"""The beginnings of files that are not text in UTF-8, longer ones first."""

_WEB_PAGES = (b"<!doctype html", b"<html")
"""The beginnings of web pages in lower case, such as a site's page shown in place of a file."""

_NO_TEXT = "\x1a\ufeff\u200b\u2060"
"""Characters at the ends of a file that are not text: the end mark of DOS, byte order marks, zero-width spaces."""

_MOST_NULS = 0.2
"""The share of NUL bytes above which a file is taken for UTF-16 or UTF-32 without its mark. Text in UTF-8 has none."""


def stripped(text: str) -> str:
    """`text` without spaces, and without what cannot be seen either, at its ends."""
    shorter = text.strip().strip(_NO_TEXT)
    return shorter if shorter == text else stripped(shorter)


class TextFile:
    """A text file, open, with its beginning known.

    Args:
        name: what messages call it.
        file: its bytes, decompressed.

    Attributes:
        name: as given.
        start: its first bytes, without byte order mark: the first line at least, or `_START` bytes.
        stream: all of its bytes, without byte order mark.

    Raises:
        ConfigurationError: it is not text in UTF-8.
    """

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        start = _start_of(file)
        _check(name, start)
        self.start = start.removeprefix(_BOM)
        self.stream = io.BufferedReader(_Joined(self.start, file), _START)

    @property
    def first_line(self) -> str:
        """The first line that is not blank, or as much as is known of it; empty where there is none."""
        lines = self.start.decode("utf-8", "surrogateescape").lstrip().splitlines()
        return lines[0].strip(" ") if lines else ""

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, with their numbers, without line ends.

        LF, CRLF and CR alone end a line. One that is longer than `LONGEST_LINE` is cut, and ends with a byte that UTF-8
        does not have, so that it is not taken for a whole one.
        """
        # Latin-1 makes a character of every byte, so that `TextIOWrapper` finds line ends in bytes of any encoding.
        file = io.TextIOWrapper(self.stream, encoding="latin-1", newline=None)
        number = 0
        while piece := file.readline(LONGEST_LINE):
            number += 1
            line = piece.encode("latin-1")
            while piece[-1:] != "\n" and (piece := file.readline(LONGEST_LINE)):
                line = line[:80] + _NOT_UTF8
            line = line.removeprefix(_BOM)
            if line.strip(_BLANK):
                yield number, line.rstrip(b"\n")


class _Joined(io.RawIOBase):
    """A file whose beginning has been read already."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start = start
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._start[: len(buffer)]
        if data:
            self._start = self._start[len(data) :]
        else:
            data = _some(self._rest, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _some(file: IO[bytes], size: int) -> bytes:
    """The next bytes, as many as are there already where that can be known."""
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    return read(size)


def _start_of(file: IO[bytes]) -> bytes:
    start = b""
    while len(start) < _START and b"\n" not in start.lstrip():
        piece = _some(file, _START - len(start))
        if not piece:
            break
        start += piece
    return start


def _check(name: str, start: bytes) -> None:
    what = next((what for mark, what in _MARKS if start.startswith(mark)), None)
    if start[:_START].removeprefix(_BOM).lstrip()[:20].lower().startswith(_WEB_PAGES):
        what = "is a web page, not the file itself: download that one"
    if what:
        raise ConfigurationError(f"the inputs {name!r} cannot be read: the file {what}; nothing was sent")
    if start.count(0) > len(start) * _MOST_NULS:
        raise ConfigurationError(
            f"the inputs {name!r} cannot be read: the file has NULs between its letters, as UTF-16 and UTF-32 do: "
            f"{_SAVE_AS_UTF8}; nothing was sent"
        )


# --- opening ------------------------------------------------------------------------------------


def open_text(path: Path, stack: ExitStack) -> TextFile:
    """Open a text file, compressed or not; `-` is stdin.

    Raises:
        ConfigurationError: it is not text in UTF-8, or what decompresses it is not installed.
        OSError: it cannot be read.
    """
    if str(path) == STDIN:
        return TextFile("-", stack.enter_context(open(0, "rb", closefd=False)))
    file = stack.enter_context(path.open("rb"))
    unpack = _COMPRESSIONS.get(path.suffix.lower())
    return TextFile(str(path), stack.enter_context(unpack(file)) if unpack else file)


def uncompressed(name: str) -> str:
    """`name` without the ending of a compression."""
    path = PurePath(name)
    return name.removesuffix(path.suffix) if path.suffix.lower() in _COMPRESSIONS else name


def _zstd(file: IO[bytes]) -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd  # in the standard library since then

        return zstd.ZstdFile(file)
    if find_spec("pyarrow") is None:
        raise ConfigurationError('.zst needs pyarrow before Python 3.14: pip install "stepfun-async[parquet]"')
    arrow: Any = importlib.import_module("pyarrow")
    return arrow.CompressedInputStream(file, "zstd")


_COMPRESSIONS: Mapping[str, Callable[[IO[bytes]], Any]] = MappingProxyType(
    {".gz": lambda file: gzip.GzipFile(fileobj=file), ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile, ".zst": _zstd}
)


# --- folders ------------------------------------------------------------------------------------


def prompt_files(folder: Path) -> list[Path]:
    """The `.txt` files in a folder, in the order of their names.

    Raises:
        ConfigurationError: it has none.
        OSError: it cannot be read.
    """
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(".txt") and not name.startswith("."))
    if not names:
        raise ConfigurationError(
            f"the inputs {str(folder)!r} are a folder without .txt files: give one file, or a folder of .txt files "
            "with a prompt each"
        )
    return [folder / name for name in names]


# --- JSON ---------------------------------------------------------------------------------------


class RepeatedKeyError(ValueError):
    """An object of JSON has a key twice."""


def parse_json(text: str) -> object:
    """The value that `text` says.

    Raises:
        RepeatedKeyError: an object has a key twice; most parsers would keep the last one in silence.
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    return _DECODER.decode(text)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedKeyError(f"{twice!r} is there twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def elements_of(text: str) -> Iterator[object]:
    """The elements of an array of JSON, one by one; an element that cannot be read is a `ValueError`, and the last one.

    An element with a key twice is a `RepeatedKeyError`, and the others follow.
    """
    at = _after_space(text, text.index("[") + 1)
    while text[at : at + 1] != "]":
        try:
            element, end = _element(text, at)
            at = _after_space(text, end)
            if text[at : at + 1] not in (",", "]"):
                raise ValueError(f"',' or ']' expected at character {at + 1}")
        except (ValueError, RecursionError) as error:
            yield error if isinstance(error, ValueError) else ValueError("it is nested too deeply")
            return
        yield element
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _element(text: str, at: int) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RepeatedKeyError as error:
        _, end = _LENIENT.raw_decode(text, at)
        return error, end


_LENIENT = json.JSONDecoder()


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
