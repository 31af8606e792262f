"""Text files as inputs: decompressed, checked by their beginning, and split into lines.

Problems of a whole file (its encoding, its format) are found before its first line is read. Otherwise a file in UTF-16
would be lines of ASCII with NULs between the letters, each of which is valid UTF-8.
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
"""The maximum number of bytes of a line of JSON or a row of a table, which may contain an image."""

STDIN: Final = "-"

READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""The errors that reading a file may raise, decompression included."""

_START = 64 * 1024
"""The number of bytes by which the format of a file is checked."""

_BOM = b"\xef\xbb\xbf"
_NOT_UTF8 = b"\xff"

_BLANK = b" \t\r\n\v\f\x1a"
"""Bytes of blank lines: spaces, and the end mark of DOS, which `copy a.txt+b.txt` writes."""

_SAVE_AS_UTF8 = "save it as UTF-8 (in Excel: 'CSV UTF-8')"

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
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
"""Invisible characters at the start or end of text: the end mark of DOS, byte order marks, zero-width spaces."""

_MAX_NUL_SHARE = 0.2
"""The share of NUL bytes above which a file is taken for UTF-16 or UTF-32 without a byte order mark."""


def stripped(text: str) -> str:
    """Return `text` without spaces and invisible characters at both ends."""
    shorter = text.strip().strip(_NO_TEXT)
    return shorter if shorter == text else stripped(shorter)


class TextFile:
    """An open text file.

    Args:
        name: its name in messages.
        file: its bytes, decompressed.

    Attributes:
        name: as given.
        start: its first bytes, without byte order mark: at least the first line, or `_START` bytes.
        stream: all of its bytes, without byte order mark.

    Raises:
        ConfigurationError: it is not text in UTF-8.
    """

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        start = _read_start(file)
        _check_format(name, start)
        self.start = start.removeprefix(_BOM)
        self.stream = io.BufferedReader(_WithStart(self.start, file), _START)

    @property
    def first_line(self) -> str:
        """The first line that is not blank, as far as it is in `start`; empty if there is none."""
        lines = self.start.decode("utf-8", "surrogateescape").lstrip().splitlines()
        return lines[0].strip(" ") if lines else ""

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that are not blank, with their numbers and without line ends.

        LF, CRLF and CR end a line. A line that is longer than `LONGEST_LINE` is truncated, and ends with a byte that is
        invalid in UTF-8, so that it is not taken for a complete one.
        """
        # In Latin-1 every byte is a character, so `TextIOWrapper` finds line ends in bytes of any encoding.
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


class _WithStart(io.RawIOBase):
    """A file whose beginning has already been read."""

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
            data = _read_some(self._rest, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _read_some(file: IO[bytes], size: int) -> bytes:
    """Return the next bytes, only those that are available if the file supports that."""
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    return read(size)


def _read_start(file: IO[bytes]) -> bytes:
    start = b""
    while len(start) < _START and b"\n" not in start.lstrip():
        piece = _read_some(file, _START - len(start))
        if not piece:
            break
        start += piece
    return start


def _check_format(name: str, start: bytes) -> None:
    what = next((what for signature, what in _SIGNATURES if start.startswith(signature)), None)
    if start[:_START].removeprefix(_BOM).lstrip()[:20].lower().startswith(_WEB_PAGES):
        what = "is a web page, not the file itself: download that one"
    if what:
        raise ConfigurationError(f"the inputs {name!r} cannot be read: the file {what}; nothing was sent")
    if start.count(0) > len(start) * _MAX_NUL_SHARE:
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
    decompress = _COMPRESSIONS.get(path.suffix.lower())
    return TextFile(str(path), stack.enter_context(decompress(file)) if decompress else file)


def uncompressed(name: str) -> str:
    """Return `name` without the extension of a compression."""
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
    """Return the `.txt` files in a folder, sorted by name.

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
    """A JSON object has a key twice."""


def parse_json(text: str) -> object:
    """Parse JSON.

    Raises:
        RepeatedKeyError: an object has a key twice; most parsers silently keep the last one.
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    return _DECODER.decode(text)


def _reject_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedKeyError(f"{twice!r} is there twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_reject_repeated_keys)


def elements_of(text: str) -> Iterator[object]:
    """Yield the elements of a JSON array one by one. If an element cannot be parsed, yield a `ValueError` and end.

    For an element with a key twice, yield a `RepeatedKeyError` and continue.
    """
    at = _skip_spaces(text, text.index("[") + 1)
    while text[at : at + 1] != "]":
        try:
            element, end = _element(text, at)
            at = _skip_spaces(text, end)
            if text[at : at + 1] not in (",", "]"):
                raise ValueError(f"',' or ']' expected at character {at + 1}")
        except (ValueError, RecursionError) as error:
            yield error if isinstance(error, ValueError) else ValueError("it is nested too deeply")
            return
        yield element
        if text[at] == ",":
            at = _skip_spaces(text, at + 1)


def _element(text: str, at: int) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RepeatedKeyError as error:
        _, end = _LENIENT.raw_decode(text, at)
        return error, end


_LENIENT = json.JSONDecoder()


def _skip_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
