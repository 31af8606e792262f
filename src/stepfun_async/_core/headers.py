"""Image headers: the format, the size in pixels, and whether the end is there.

The format comes from the magic bytes, never from a name or a claimed type. The size comes from the header alone, so
that a decompression bomb is measured without being decoded. The reading is as lenient as that of libjpeg, libpng and
libwebp: a file that all decoders read is not refused here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from .._runtime.files import FileView

ImageBytes: TypeAlias = bytes | FileView
"""Bytes to look at, in memory or on disk."""


@dataclass(frozen=True, slots=True)
class Format:
    """An image format.

    Attributes:
        content_type: its media type.
        extension: the extension of file names; empty if no server is known to send the format.
        next_step: what to do with such a file, since no model takes it; empty for the formats that models take.
    """

    content_type: str
    extension: str = ""
    next_step: str = ""


_BY_PILLOW = "open it with Pillow and give Image.open(path), or convert it to PNG or JPEG"

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "png": Format("image/png", ".png"),
        "jpeg": Format("image/jpeg", ".jpg"),
        "webp": Format("image/webp", ".webp"),
        "gif": Format("image/gif", ".gif", _BY_PILLOW),
        "avif": Format("image/avif", ".avif", f"{_BY_PILLOW} (Pillow 11.3 or newer reads AVIF)"),
        "bmp": Format("image/bmp", ".bmp", _BY_PILLOW),
        "svg": Format("image/svg+xml", ".svg", "draw it as PNG, with cairosvg or rsvg-convert"),
        "heic": Format(
            "image/heic",
            next_step="pip install pillow-heif, call pillow_heif.register_heif_opener() and give Image.open(path), "
            "or convert it to JPEG",
        ),
        "tiff": Format("image/tiff", next_step=_BY_PILLOW),
        "jxl": Format("image/jxl", next_step="convert it to PNG or JPEG, with djxl of libjxl"),
        "jpeg2000": Format("image/jp2", next_step=_BY_PILLOW),
        "ico": Format("image/vnd.microsoft.icon", next_step=_BY_PILLOW),
        "psd": Format("image/vnd.adobe.photoshop", next_step="export it as PNG or JPEG"),
        "qoi": Format("image/qoi", next_step=_BY_PILLOW),
        "pnm": Format("image/x-portable-anymap", next_step=_BY_PILLOW),
        "exr": Format("image/x-exr", next_step="convert it to PNG or JPEG"),
        "hdr": Format("image/vnd.radiance", next_step="convert it to PNG or JPEG"),
        "mng": Format("video/x-mng", next_step="convert it to PNG or JPEG"),
        "cr3": Format("image/x-canon-cr3", next_step="develop the raw photo, and give it as JPEG"),
        "cgbi": Format(
            "image/png",
            next_step="this is Xcode's own kind of PNG, which other programs cannot decode: convert it back with "
            "pngcrush -revert-iphone-optimizations, or take the PNG that the app was built from",
        ),
    }
)
"""The formats that are known by their first bytes."""

CONTENT_TYPES: Mapping[str, str] = MappingProxyType({name: row.content_type for name, row in FORMATS.items()})
EXTENSIONS: Mapping[str, str] = MappingProxyType(
    {name: row.extension for name, row in FORMATS.items() if row.extension}
)


class ImageHeader(NamedTuple):
    """The facts in an image's first bytes.

    Attributes:
        format: a key of `FORMATS`.
        width: pixels, as stored; `None` if the format's header is not read, or is cut off.
        height: pixels, likewise.
    """

    format: str
    width: int | None = None
    height: int | None = None


def read_header(data: ImageBytes) -> ImageHeader | None:
    """Return the format and size of an image, of which the first bytes suffice; `None` for an unknown format."""
    for name, magic, length in _MAGIC:
        if data[:length] == magic:
            return ImageHeader(name, *(_SIDES[name](data) or ()))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageHeader("webp", *(_webp_sides(data) or ()))
    return _foreign_header(data)


def is_whole(data: ImageBytes, format: str) -> bool:
    """Whether the end of the image in `data`, whose size `read_header` reads, is there."""
    return _ENDS[format](data)


_MAGIC = (
    ("cgbi", b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBI", 16),
    ("png", b"\x89PNG\r\n\x1a\n", 8),
    ("jpeg", b"\xff\xd8", 2),
    ("gif", b"GIF87a", 6),
    ("gif", b"GIF89a", 6),
)
"""Formats by the bytes that they begin with, and how many these are."""

_Sides: TypeAlias = tuple[int, int]

_TAIL = 4096
"""The number of last bytes in which the end of an image is searched for first."""

_SEARCHED = 2**30
"""The number of bytes in which it is searched for otherwise."""


def _ends_with(data: ImageBytes, mark: bytes, start: int) -> int:
    """Return the index of `mark` near the end, or else anywhere from `start` on, followed by other data; -1 if
    absent."""
    found = data.find(mark, max(start, len(data) - _TAIL))
    return found if found >= 0 else data.find(mark, start, start + _SEARCHED)


# --- PNG ----------------------------------------------------------------------------------------

_PNG_END = b"\x00\x00\x00\x00IEND"
_MAX_CHUNKS = 100_000
"""The maximum number of chunks of a PNG to skip: 800 MB in the pieces of 8 KB that libpng writes."""


def _png_sides(data: ImageBytes) -> _Sides | None:
    if data[12:16] != b"IHDR" or not data[23:24]:
        return None
    both = int.from_bytes(data[16:24], "big")
    return both >> 32, both & 0xFFFFFFFF


def _png_ends(data: ImageBytes) -> bool:
    end = _ends_with(data, _PNG_END, 8)
    if end < 0:  # an end that has content, which libpng reads with a warning
        return any(name == b"IEND" and stop + 4 <= len(data) for name, _, stop in png_chunks(data))
    return end <= len(data) - 12


def png_chunks(data: ImageBytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG: name, start and stop of the content of each."""
    at = 8
    for _ in range(_MAX_CHUNKS):
        head = data[at : at + 8]
        if len(head) < 8:
            return
        start, stop = at + 8, at + 8 + _big(head[:4])
        yield head[4:], start, stop
        if head[4:] == b"IEND":
            return
        at = stop + 4


# --- JPEG ---------------------------------------------------------------------------------------

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that start a frame, whose header has the size."""

_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without length and content."""

EOI, SOS, APP0, APP1 = 0xD9, 0xDA, 0xE0, 0xE1

_MAX_SEGMENTS = 10_000
"""The maximum number of JPEG segments, and runs of stray bytes, to skip; cameras write about twenty."""


class Segment(NamedTuple):
    """A segment of a JPEG.

    Attributes:
        marker: the second byte of its marker.
        start: where the marker's FF is.
        stop: the index after its content.
    """

    marker: int
    start: int
    stop: int

    def begins(self, data: ImageBytes, head: bytes) -> bool:
        """Whether its content begins with `head`."""
        return data[self.start + 4 : self.start + 4 + len(head)] == head


def jpeg_segments(data: ImageBytes) -> Iterator[Segment]:
    """The segments before the compressed image, the last one being that of its beginning.

    Stray bytes, fill bytes and markers without a length between segments are skipped, as libjpeg does.
    """
    at = 2
    for _ in range(_MAX_SEGMENTS):
        start = _marker_from(data, at)
        if start is None:
            return
        head = data[start : start + 4]
        marker, stop = head[1], start + 2
        if marker not in _ALONE:
            stop += max(2, _big(head[2:]))
            yield Segment(marker, start, stop)
        if marker in (SOS, EOI):
            return
        at = stop


def _marker_from(data: ImageBytes, at: int) -> int | None:
    """Return the index of the next marker's last FF; `None` if there is no further marker."""
    head = data[at : at + 2]
    if len(head) == 2 and head[0] == 0xFF and head[1] not in (0x00, 0xFF):
        return at
    for _ in range(_MAX_SEGMENTS):
        at = data.find(b"\xff", at)
        if at < 0:
            return None
        while (piece := data[at : at + _TAIL]) == b"\xff" * _TAIL:
            at += _TAIL - 1
        at += len(piece) - len(piece.lstrip(b"\xff")) - 1
        code = data[at + 1 : at + 2]
        if code != b"\0":
            return at if code else None
        at += 2
    return None


def _jpeg_sides(data: ImageBytes) -> _Sides | None:
    for marker, start, _ in jpeg_segments(data):
        if marker in _FRAMES:
            sides = data[start + 5 : start + 9]
            return (_big(sides[2:]), _big(sides[:2])) if len(sides) == 4 else None
    return None


def _jpeg_ends(data: ImageBytes) -> bool:
    """Looks behind the start of the compressed data, in which FF D9 is nothing but the end."""
    return any(marker == SOS and _ends_with(data, b"\xff\xd9", stop) >= 0 for marker, _, stop in jpeg_segments(data))


# --- WebP and GIF -------------------------------------------------------------------------------


def _webp_sides(data: ImageBytes) -> _Sides | None:
    least, sides = _WEBP_SIDES.get(data[12:16], (0, None))
    return sides(data) if sides and len(data) >= least else None


def _webp_ends(data: ImageBytes) -> bool:
    return len(data) >= _little(data[4:8]) + 8


def _webp_lossy(data: ImageBytes) -> _Sides:
    return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF


def _webp_lossless(data: ImageBytes) -> _Sides:
    bits = _little(data[21:25])
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _webp_extended(data: ImageBytes) -> _Sides:
    return _little(data[24:27]) + 1, _little(data[27:30]) + 1


_WEBP_SIDES: Mapping[bytes, tuple[int, Callable[[ImageBytes], _Sides]]] = {
    b"VP8 ": (30, _webp_lossy),
    b"VP8L": (25, _webp_lossless),
    b"VP8X": (30, _webp_extended),
}
"""By the kind of the first chunk: the bytes up to the end of the header, and what reads it."""


def webp_chunks(data: ImageBytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a WebP: name, start and stop of the content of each."""
    at, end = 12, _little(data[4:8]) + 8
    for _ in range(_MAX_CHUNKS):
        head = data[at : at + 8]
        if len(head) < 8 or at >= end:
            return
        start, length = at + 8, _little(head[4:])
        yield head[:4], start, start + length
        at = start + length + length % 2


def _gif_sides(data: ImageBytes) -> _Sides | None:
    if len(data) < 10:
        return None
    return _little(data[6:8]), _little(data[8:10])


def _gif_ends(data: ImageBytes) -> bool:
    return data[len(data) - 1 : len(data)] == b";"


_SIDES: Mapping[str, Callable[[ImageBytes], _Sides | None]] = {
    "cgbi": lambda _: None,
    "png": _png_sides,
    "jpeg": _jpeg_sides,
    "gif": _gif_sides,
}
_ENDS: Mapping[str, Callable[[ImageBytes], bool]] = {
    "png": _png_ends,
    "jpeg": _jpeg_ends,
    "webp": _webp_ends,
    "gif": _gif_ends,
}


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


# --- formats that no model takes ----------------------------------------------------------------

_FOREIGN = (
    ("tiff", b"II*\0"),
    ("tiff", b"MM\0*"),
    ("tiff", b"II+\0"),
    ("tiff", b"MM\0+"),
    ("jxl", b"\xff\x0a"),
    ("jxl", b"\0\0\0\x0cJXL \r\n\x87\n"),
    ("jpeg2000", b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("jpeg2000", b"\xff\x4f\xff\x51"),
    ("ico", b"\0\0\x01\0"),
    ("psd", b"8BPS"),
    ("qoi", b"qoif"),
    ("exr", b"v/1\x01"),
    ("hdr", b"#?RADIANCE"),
    ("mng", b"\x8aMNG"),
)

_PNM = re.compile(rb"P[1-7][ \t\r\n#]")
_SVG = re.compile(rb"\s*<(?:[?!][^>]*>[^<]*<)*(?:\w+:)?svg[\s>]", re.IGNORECASE)
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""Lengths of the second header of a BMP, which distinguish it from text that starts with BM."""

_BRANDS = (
    ("avif", {b"avif", b"avis"}),
    ("heic", {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}),
    ("cr3", {b"crx "}),
)
"""Formats in ISO base media files, by the brands that such a file names; the first that fits."""


def _foreign_header(data: ImageBytes) -> ImageHeader | None:
    head = data[:4096]
    for name, magic in _FOREIGN:
        if head.startswith(magic):
            return ImageHeader(name)
    if head[4:8] == b"ftyp":
        return _header_of_brands(head)
    if head[:2] == b"BM" and _little(head[14:18]) in _BMP_HEADERS:
        return ImageHeader("bmp")
    if _PNM.match(head):
        return ImageHeader("pnm")
    return ImageHeader("svg") if _SVG.match(head.removeprefix(b"\xef\xbb\xbf")) else None


def _header_of_brands(head: bytes) -> ImageHeader | None:
    stop = min(_big(head[:4]), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, stop, 4))}
    return next((ImageHeader(name) for name, known in _BRANDS if brands & known), None)
