"""Picture bytes: what they are, read from their first bytes, and how users hand them in.

The format comes from the magic bytes, never from a name or a claimed type, and the pixel size from
the header alone, so that a picture bomb is measured without being decoded.
"""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from pybase64 import b64decode, b64encode_as_string

from .._files import FileSource, FileView, read_all, viewed

CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
"""The formats this package knows by their first bytes."""

MAX_PIXELS = 2**28
"""Pixels of the largest picture that is looked at, 16384 x 16384; cameras make 200 million, picture bombs billions."""

EXTENSIONS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif"}


Seen: TypeAlias = bytes | FileView
"""Bytes to look at, in memory or on disk."""


class Header(NamedTuple):
    """What a picture's first bytes say: its format, and its sides in pixels."""

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to send: its bytes, in memory or still on disk, and what they say of themselves."""

    content: bytes | FileSource = field(repr=False)
    format: str
    width: int
    height: int
    complete: bool = True

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size

    @property
    def data(self) -> bytes:
        """Its bytes. Blocks where they are on disk.

        Raises:
            ChangedError: the file is not what it was.
        """
        return self.content if isinstance(self.content, bytes) else self.content.read()

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.format]

    def to_data_uri(self) -> str:
        """`data:image/...;base64,...`"""
        return f"data:{self.content_type};base64,{b64encode_as_string(self.data)}"


@dataclass(frozen=True, slots=True)
class Link:
    """A public link to a picture, which the server fetches itself."""

    url: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that was handed in as a picture and is none, and why."""

    why: str


def look(value: object) -> Picture | Link | Unreadable:
    """What the user handed in as a picture, with its bytes read and its header understood.

    Takes a path, bytes, a binary file object, a PIL image, an `Image` of an earlier answer, a data
    URI or an http(s) link. A file object is read here, once. Of a file no more is read than what says that
    it is a whole picture: it is sent from disk.
    """
    if isinstance(value, str):
        return _look_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return of_bytes(bytes(cast("bytes", value)))
    for attribute, read in _HANDLES:
        if hasattr(value, attribute) and not isinstance(value, type):
            return read(value)
    return Unreadable(
        f"a value of type {type(value).__name__} is no picture: give a path, bytes, a file object or a PIL image"
    )


def of_bytes(data: bytes) -> Picture | Unreadable:
    """The picture in `data`."""
    return _of(data, data)


def _of(seen: Seen, content: bytes | FileSource) -> Picture | Unreadable:
    if not len(seen):
        return Unreadable("it is empty (0 bytes)")
    header = read_header(seen)
    if header is None:
        return Unreadable(f"the bytes are no picture: they begin with {seen[:12]!r}")
    too_large = _too_large(header.width, header.height)
    return too_large or Picture(content, *header, complete=is_whole(seen, header.format))


def _too_large(width: int, height: int) -> Unreadable | None:
    if width * height <= MAX_PIXELS:
        return None
    return Unreadable(f"{width}x{height} pixels are more than any model takes, or a picture bomb")


def of_data_uri(text: str) -> Picture | Unreadable:
    """The picture in `data:image/...;base64,...`."""
    head, comma, payload = text.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        return Unreadable("the data URI is not of the form data:image/...;base64,...")
    try:
        return of_bytes(b64decode(payload, validate=True))
    except (binascii.Error, ValueError) as error:
        return Unreadable(f"the data URI's base64 is broken: {error}")


def _look_text(text: str) -> Picture | Link | Unreadable:
    scheme = text[:8].lower()
    if scheme.startswith("data:"):
        return of_data_uri(text)
    if scheme.startswith(("http://", "https://")):
        return Link(text) if is_link(text) else Unreadable("the link has no host, or a space in it")
    return _look_path(Path(text))


def is_link(text: str) -> bool:
    """Whether `text` is an http(s) link with a host."""
    return _LINK.fullmatch(text) is not None


_LINK = re.compile(r"https?://[^\s/?#]+[^\s]*", re.IGNORECASE)


def _look_path(path: Any) -> Picture | Unreadable:
    try:
        with viewed(path) as (view, source):
            return _of(view, source)
    except Exception as error:  # noqa: BLE001 - whatever a path-like of somebody's own may raise
        reason = getattr(error, "strerror", None) or str(error)
        return Unreadable(f"cannot read {str(path)!r}: {reason}")


def _look_file(value: Any) -> Picture | Unreadable:
    try:
        return of_bytes(read_all(partial(_piece_of, value)))
    except _NotBinaryError as error:
        return Unreadable(f"the file object {error}")
    except Exception as error:  # noqa: BLE001 - whatever a file object of somebody's own may raise
        return Unreadable(f"the file object cannot be read: {error}")


class _NotBinaryError(Exception):
    """A file object gives something else than bytes."""


def _piece_of(file: Any, size: int) -> bytes:
    piece = cast("object", file.read(size))
    if isinstance(piece, Coroutine):
        piece.close()
        raise _NotBinaryError("is asynchronous: give what `await file.read()` returns")
    if not isinstance(piece, bytes):
        raise _NotBinaryError("gives text: open it in binary mode, open(path, 'rb')")
    return piece


def _look_result(value: Any) -> Picture | Link | Unreadable:
    if value.data is not None:
        return of_bytes(value.data)
    if value.path is not None:
        return _look_path(value.path)
    if value.url is not None:
        return Link(value.url)
    return Unreadable("that result has no picture")


def _look_pil(value: Any) -> Picture | Unreadable:
    """Pillow decodes a file only now, so the sides are looked at before."""
    buffer = io.BytesIO()
    try:
        if unreadable := _too_large(*value.size):
            return unreadable
        value.save(buffer, format="PNG")
    except (OSError, SystemError, ValueError) as error:
        return Unreadable(f"the PIL image cannot be written as PNG: {error}")
    return of_bytes(buffer.getvalue())


_HANDLES: tuple[tuple[str, Callable[[Any], Picture | Link | Unreadable]], ...] = (
    ("finish_reason", _look_result),
    ("getbands", _look_pil),
    ("read", _look_file),
    ("__fspath__", _look_path),
)
"""How each kind of handle is known, and what reads it."""


# --- what the bytes say ---------------------------------------------------------------------------


def read_header(data: Seen) -> Header | None:
    """Format and sides of the picture in `data`, of which its first bytes will do; None for none that is known."""
    for name, magic in _MAGIC:
        if data[: len(magic)] == magic:
            sides = _SIDES[name](data)
            return sides and Header(name, *sides)
    return None


def is_whole(data: Seen, format: str) -> bool:
    """Whether the end of the picture in `data`, of which `read_header` knows the format, is there."""
    return _ENDS[format](data)


_MAGIC = (
    ("png", b"\x89PNG\r\n\x1a\n"),
    ("jpeg", b"\xff\xd8\xff"),
    ("webp", b"RIFF"),
    ("gif", b"GIF87a"),
    ("gif", b"GIF89a"),
)

_Sides: TypeAlias = tuple[int, int]

_TAIL = 4096
"""Bytes at the end in which a picture's end is looked for first."""


def _png_sides(data: Seen) -> _Sides | None:
    if data[12:16] != b"IHDR" or len(data) < 24:
        return None
    return _big(data[16:20]), _big(data[20:24])


_PNG_END = b"\x00\x00\x00\x00IEND"


def _png_ends(data: Seen) -> bool:
    end = data.find(_PNG_END, max(0, len(data) - _TAIL))
    if end < 0:  # or far from the end, with something else after it
        end = data.find(_PNG_END)
    return 0 <= end <= len(data) - 12


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that start a frame, whose header has the sides."""

_MAX_SEGMENTS = 10_000
"""JPEG segments and fill bytes that are passed over to find the frame; cameras write some twenty."""


def _jpeg_frame(data: Seen) -> int | None:
    """Where the frame begins."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        head = data[at : at + 4]
        if at + 9 > len(data) or head[0] != 0xFF:
            return None
        if head[1] in _FRAMES:
            return at
        at += 1 if head[1] == 0xFF else 2 + _big(head[2:])
    return None


def _jpeg_sides(data: Seen) -> _Sides | None:
    at = _jpeg_frame(data)
    return None if at is None else (_big(data[at + 7 : at + 9]), _big(data[at + 5 : at + 7]))


def _jpeg_ends(data: Seen) -> bool:
    at = _jpeg_frame(data) or 0
    return data.find(b"\xff\xd9", max(at, len(data) - _TAIL)) != -1  # not that of an Exif thumbnail


def _webp_sides(data: Seen) -> _Sides | None:
    if data[8:12] != b"WEBP" or len(data) < 30:
        return None
    sides = _WEBP_SIDES.get(data[12:16])
    return sides and sides(data)


def _webp_ends(data: Seen) -> bool:
    return len(data) >= _little(data[4:8]) + 8


def _webp_lossy(data: Seen) -> _Sides:
    return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF


def _webp_lossless(data: Seen) -> _Sides:
    bits = _little(data[21:25])
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _webp_extended(data: Seen) -> _Sides:
    return _little(data[24:27]) + 1, _little(data[27:30]) + 1


_WEBP_SIDES: dict[bytes, Callable[[Seen], _Sides]] = {
    b"VP8 ": _webp_lossy,
    b"VP8L": _webp_lossless,
    b"VP8X": _webp_extended,
}


def _gif_sides(data: Seen) -> _Sides | None:
    if len(data) < 10:
        return None
    return _little(data[6:8]), _little(data[8:10])


def _gif_ends(data: Seen) -> bool:
    return data[len(data) - 1 : len(data)] == b";"


_SIDES: dict[str, Callable[[Seen], _Sides | None]] = {
    "png": _png_sides,
    "jpeg": _jpeg_sides,
    "webp": _webp_sides,
    "gif": _gif_sides,
}
_ENDS: dict[str, Callable[[Seen], bool]] = {
    "png": _png_ends,
    "jpeg": _jpeg_ends,
    "webp": _webp_ends,
    "gif": _gif_ends,
}


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
