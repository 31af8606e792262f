"""Images to send: the forms in which users pass them, and what they contain.

Whatever form an image has (a path, bytes, a file object, a data URI, a PIL image), the same is read from it, so the
same is allowed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote

from pybase64 import b64encode_as_string

from .._runtime.files import CHUNK_SIZE, FileSource, open_input
from .data_uris import decode_base64, decode_text, is_data_uri
from .headers import CONTENT_TYPES, FORMATS, ImageBytes, ImageHeader, is_whole, read_header
from .orientation import ACROSS, read_orientation
from .text import described

MAX_PIXELS = 2**28
"""Pixels of the largest image that is read, 16384 x 16384; cameras make 200 million, decompression bombs billions."""


class Bounds(Protocol):
    """The formats and length of images that a model accepts, so that no more than that is read or encoded.

    Attributes:
        formats: the formats.
        max_bytes: bytes of the file; `None` for any number.
    """

    @property
    def formats(self) -> tuple[str, ...]: ...

    @property
    def max_bytes(self) -> int | None: ...

    def why_not_sides(self, width: int, height: int) -> str | None:
        """Return why an image of this size in pixels is not allowed; `None` if it is."""
        ...


class Content:
    """Bytes in memory, or in a file."""

    __slots__ = ()

    content: bytes | FileSource

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size

    @property
    def data(self) -> bytes:
        """Return its bytes. Blocks if they are on disk.

        Raises:
            FileChangedError: the file has changed since it was opened.
        """
        return self.content if isinstance(self.content, bytes) else self.content.read()


@dataclass(frozen=True, slots=True)
class InputImage(Content):
    """An image to send: its bytes, in memory or still on disk, and what they say of themselves.

    Attributes:
        content: the bytes, or the file that has them.
        format: `png`, `jpeg`, `webp` or `gif`.
        width: pixels, as stored.
        height: pixels, likewise.
        complete: whether its end is there.
        orientation: how EXIF turns it, from 1 (not at all) to 8.
    """

    content: bytes | FileSource = field(repr=False)
    format: str
    width: int
    height: int
    complete: bool = True
    orientation: int = 1

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.format]

    @property
    def seen_sides(self) -> tuple[int, int]:
        """Width and height in pixels as a viewer shows it, which heeds the orientation."""
        return (self.width, self.height) if self.orientation < ACROSS else (self.height, self.width)

    def to_data_uri(self) -> str:
        """`data:image/...;base64,...`"""
        return f"data:{self.content_type};base64,{b64encode_as_string(self.data)}"


@dataclass(frozen=True, slots=True)
class ImageURL:
    """A public link to an image, which the server fetches itself."""

    url: str


@dataclass(frozen=True, slots=True)
class InvalidImage:
    """A value passed as an image that is not one, and the reason."""

    why: str


def load_image(value: object, bounds: Bounds | None = None) -> InputImage | ImageURL | InvalidImage:
    """Read what a user passed as an image, and parse its header.

    Takes a path, bytes, a binary file object, a PIL image, an `Image` of an earlier response, a data
    URI or an http(s) link. A file object is read here, once. Of a file no more is read than what says that
    it is a whole image: it is sent from disk. A PIL image becomes what is seen: upright, in 8 bits, in sRGB.

    Args:
        value: what was handed in.
        bounds: what the model takes: an image in memory that is too large is not encoded, and a file object that
            gives too much not read to its end. `None` if that is not known.
    """
    if isinstance(value, str):
        return _load_text(value, bounds)
    if isinstance(value, bytes | bytearray | memoryview):
        return of_bytes(bytes(cast("bytes", value)), bounds)
    for attribute, read in _HANDLES:
        if hasattr(value, attribute) and not isinstance(value, type):
            return read(value, bounds)
    advice = "give a path, bytes, a file object or a PIL image"
    if hasattr(value, "__array__"):
        advice = "give PIL.Image.fromarray(array), or array.tobytes() where it holds an encoded file"
    elif hasattr(type(value), "image"):
        advice = "give its .image"
    return InvalidImage(f"a value of type {type(value).__name__} is not an image: {advice}")


def is_read_once(value: object) -> bool:
    """Whether an image can be read only once, because it is a file object."""
    try:
        return not isinstance(value, str | bytes | bytearray | memoryview) and hasattr(value, "read")
    except Exception:  # noqa: BLE001 - a user's object may raise anything
        return True


def of_bytes(data: bytes, bounds: Bounds | None = None) -> InputImage | InvalidImage:
    """Return the image in `data`."""
    return _of(data, data, bounds)


def _of(seen: ImageBytes, content: bytes | FileSource, bounds: Bounds | None) -> InputImage | InvalidImage:
    if not len(seen):
        return InvalidImage("it is empty (0 bytes)")
    header = read_header(seen)
    if header is None or header.width is None or header.height is None:
        return InvalidImage(_why_not(seen, header))
    if too_large := _too_large(header.width, header.height):
        return too_large
    most = bounds.max_bytes if bounds else None
    complete = (most is not None and len(seen) > most) or is_whole(seen, header.format)  # too long anyway
    orientation = read_orientation(seen, header.format)
    return InputImage(content, header.format, header.width, header.height, complete, orientation)


def _why_not(seen: ImageBytes, header: ImageHeader | None) -> str:
    """Return why bytes cannot be sent as an image of unknown size."""
    if header is None:
        kind = next((kind for kind, magic in _OTHERS if seen[:64].lstrip().lower().startswith(magic)), None)
        return f"the bytes are {kind}" if kind else f"the bytes are not an image: they begin with {seen[:12]!r}"
    if next_step := FORMATS[header.format].next_step:
        return f"the bytes are {header.format}, which no model takes: {next_step}"
    return f"the {header.format} is cut off or broken: its size is missing"


_OTHERS = (
    ("a Git LFS pointer, not the file itself: run git lfs pull", b"version https://git-lfs"),
    ("an HTML page, not an image", b"<!doctype html"),
    ("an HTML page, not an image", b"<html"),
    ("a PDF, not an image: export the page as PNG or JPEG", b"%pdf-"),
)
"""Values passed by mistake, by how they begin, in lower case."""


def _too_large(width: int, height: int) -> InvalidImage | None:
    if width * height <= MAX_PIXELS:
        return None
    return InvalidImage(f"{width}x{height} pixels are more than any model takes, or a decompression bomb")


def of_data_uri(text: str, bounds: Bounds | None = None) -> InputImage | InvalidImage:
    """The image in `data:image/...;base64,...`."""
    try:
        return of_bytes(decode_text(text), bounds)
    except ValueError as error:
        return InvalidImage(str(error))


def _load_text(text: str, bounds: Bounds | None) -> InputImage | ImageURL | InvalidImage:
    if is_data_uri(text):
        return of_data_uri(text, bounds)
    if names_link(text):
        return ImageURL(as_link(text)) if is_link(text) else InvalidImage("the link has no host, or a line break in it")
    if scheme := _SCHEME.match(text):
        return InvalidImage(f"{scheme[0]!r} is not fetched here: give the path of a file, or the bytes")
    if not text:
        return InvalidImage("it is empty: give the path of a file")
    if is_bare_base64(text):
        return InvalidImage("it is base64 without its head: put 'data:image/png;base64,' before it, or give the bytes")
    return _load_path(Path(text), bounds)


_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+://|(?:file|blob):).{,40}")
"""The beginning of an address that is neither an http(s) link nor a data URI."""

_LONG_NAME = 64
"""The number of characters from which a text may be base64, and by which that is recognised."""

_LONGEST_NAME = 1000
"""The maximum characters of a file's name in messages."""


def is_bare_base64(text: str) -> bool:
    """Whether `text` is an image in base64, without the head of a data URI."""
    try:
        return len(text) > _LONG_NAME and read_header(decode_base64(text[:_LONG_NAME])) is not None
    except ValueError:
        return False


def names_path(text: str) -> bool:
    """Whether `text` is a path, and none of the other forms of an image."""
    others = (is_data_uri, names_link, _SCHEME.match, is_bare_base64)
    return bool(text) and not any(is_other(text) for is_other in others)


def names_link(text: str) -> bool:
    """Whether `text` begins as an http(s) link does."""
    return ":" in text[:6] and text[:8].lower().startswith(("http://", "https://"))


def is_link(text: str) -> bool:
    """Whether `text` is an http(s) link with a host; it may have spaces in its path and at its end."""
    return _LINK.fullmatch(text.rstrip()) is not None


def as_link(text: str) -> str:
    """Return the link `text` with the spaces in it percent-encoded."""
    return _SPACE.sub(lambda space: quote(space[0]), text.rstrip())


_LINK = re.compile(r"https?://[^\s/?#]+(?:[/?#].*)?", re.IGNORECASE)
_SPACE = re.compile(r"\s")


def _load_path(path: Any, bounds: Bounds | None) -> InputImage | InvalidImage:
    try:
        with open_input(path) as (view, source):
            return _of(view, source, bounds)
    except Exception as error:  # noqa: BLE001 - a user's path-like may raise anything
        reason = getattr(error, "strerror", None) or str(error)
        return InvalidImage(f"cannot read {_clipped(str(path))!r}: {reason}")


def _clipped(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def _load_file(value: Any, bounds: Bounds | None) -> InputImage | InvalidImage:
    start = _position_of(value)
    try:
        data = _read_file(value, bounds.max_bytes if bounds else None)
        if start and read_header(data) is None:
            where = f"at byte {start:,}, where no image begins" if data else "at its end"
            return InvalidImage(f"the file object is {where}: call its seek(0), or give its bytes")
        return of_bytes(data, bounds)
    except (_NotBinaryError, _TooLongError) as error:
        return InvalidImage(f"the file object {error}")
    except Exception as error:  # noqa: BLE001 - a user's file object may raise anything
        return InvalidImage(f"the file object cannot be read: {error}")


def _position_of(file: Any) -> int:
    """Return the number of bytes before the position of a file object; 0 if it has none, as a pipe."""
    try:
        position: object = file.tell()
    except Exception:  # noqa: BLE001 - a pipe, or a user's file object
        return 0
    return position if isinstance(position, int) else 0


_HEAD = 4096
"""The number of bytes of a file object that show whether it is an image at all."""


def _read_file(file: Any, most: int | None) -> bytes:
    """Read a file object to its end, or only as far as needed to see that it is not an image.

    Raises:
        _NotBinaryError: it gives no bytes.
        _TooLongError: it gives more than `most` bytes.
    """
    whole = io.BytesIO()
    known = False
    while piece := _piece_of(file, CHUNK_SIZE):
        whole.write(piece)
        if most is not None and whole.tell() > most:
            raise _TooLongError(f"gives more than {most:,} bytes")
        if not known and whole.tell() >= _HEAD:
            header = read_header(whole.getvalue())
            if header is None or FORMATS[header.format].next_step:
                break
            known = True
    return whole.getvalue()


class _NotBinaryError(Exception):
    """A file object returns something other than bytes."""


class _TooLongError(Exception):
    """A file object returns more bytes than the model accepts."""


def _piece_of(file: Any, size: int) -> bytes:
    piece = cast("object", file.read(size))
    if isinstance(piece, Coroutine):
        piece.close()
        raise _NotBinaryError("is asynchronous: give what `await file.read()` returns")
    if not isinstance(piece, bytes | str):
        raise _NotBinaryError(f"gives {described(piece)} in place of bytes")
    if isinstance(piece, str):
        raise _NotBinaryError("gives text: open it in binary mode, open(path, 'rb')")
    return piece


def _load_result(value: Any, bounds: Bounds | None) -> InputImage | ImageURL | InvalidImage:
    if value.data is not None:
        return of_bytes(value.data, bounds)
    if value.path is not None:
        return _load_path(value.path, bounds)
    if value.url is not None:
        return of_data_uri(value.url, bounds) if is_data_uri(value.url) else ImageURL(as_link(value.url))
    return InvalidImage("that result has no image")


def _load_pil(value: Any, bounds: Bounds | None) -> InputImage | InvalidImage:
    """Pillow decodes a file only now, and encoding takes seconds, so the size is checked first."""
    from .rendering import encoded

    try:
        if too_large := _too_large(*value.size):
            return too_large
        if bounds and (why := bounds.why_not_sides(*value.size)):
            return InvalidImage(why)
        formats, most = (bounds.formats, bounds.max_bytes) if bounds else (tuple(FORMATS), None)
        return of_bytes(encoded(value, formats, most), bounds)
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        return InvalidImage(f"the PIL image cannot be sent: {str(error) or _SILENT}")


_SILENT = "it cannot be decoded; if its file is closed, call its load() before that"
"""The reason if Pillow gives none, as for an image whose `with` block has ended."""

_HANDLES: tuple[tuple[str, Callable[[Any, Bounds | None], InputImage | ImageURL | InvalidImage]], ...] = (
    ("finish_reason", _load_result),
    ("getbands", _load_pil),
    ("read", _load_file),
    ("__fspath__", _load_path),
)
"""The kinds of handles, by their types, and the functions that read them."""
