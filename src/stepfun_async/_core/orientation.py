"""The orientation of an image: how its metadata says to rotate it.

It is in EXIF, or else in XMP; PNGs by ImageMagick have EXIF as hexadecimal text.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from .headers import APP1, ImageBytes, jpeg_segments, png_chunks, webp_chunks

EXIF_HEAD = b"Exif\0\0"
"""The first bytes of EXIF in a JPEG."""

ACROSS = 5
"""The first orientation that swaps width and height; all that follow do."""

_TAG = 0x0112
_LONGEST = 1024 * 1024
"""The maximum bytes of metadata read, decompressed."""


def read_orientation(data: ImageBytes, format: str) -> int:
    """The orientation of the image in `data`.

    Args:
        data: the image.
        format: its format, as `headers.read_header` has it.

    Returns:
        1 for an image that is upright or says nothing, 2 to 8 for one that is to be turned.
    """
    blocks = tuple(_BLOCKS[format](data)) if format in _BLOCKS else ()
    found = [_in_exif(block) for kind, block in blocks if kind == "exif"]
    found += [_in_xmp(block) for kind, block in blocks if kind == "xmp"]
    return next((orientation for orientation in found if orientation), 1)


_Blocks = Iterator[tuple[str, bytes]]
"""Blocks of metadata: `exif` or `xmp`, and the content."""

_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"


def _in_jpeg(data: ImageBytes) -> _Blocks:
    for segment in jpeg_segments(data):
        if segment.marker != APP1:
            continue
        if segment.begins(data, EXIF_HEAD):
            yield "exif", data[segment.start + 4 : segment.stop]
        if segment.begins(data, _XMP_HEAD):
            yield "xmp", data[segment.start + 4 + len(_XMP_HEAD) : segment.stop]


def _in_webp(data: ImageBytes) -> _Blocks:
    kinds = {b"EXIF": "exif", b"XMP ": "xmp"}
    for name, start, stop in webp_chunks(data):
        if name in kinds:
            yield kinds[name], data[start : min(stop, start + _LONGEST)]


_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})


def _in_png(data: ImageBytes) -> _Blocks:
    for name, start, stop in png_chunks(data):
        content = data[start : min(stop, start + _LONGEST)] if name in _TEXTS or name == b"eXIf" else b""
        if name == b"eXIf":
            yield "exif", content
        keyword, _, text = content.partition(b"\0")
        if keyword in _RAW_PROFILES:
            yield "exif", _from_hexadecimal(_unpacked(text[1:]) if name == b"zTXt" else text)
        if keyword == b"XML:com.adobe.xmp":
            yield "xmp", _unpacked(text[4:]) if text[:1] == b"\1" else text


_RAW_PROFILES = frozenset({b"Raw profile type exif", b"Raw profile type APP1"})
"""The keywords under which ImageMagick writes EXIF as text."""


def _unpacked(content: bytes) -> bytes:
    with suppress(zlib.error):
        return zlib.decompressobj().decompress(content, _LONGEST)
    return b""


def _from_hexadecimal(text: bytes) -> bytes:
    """The EXIF in a text of three lines: the kind of profile, its length, and its bytes in hexadecimal digits."""
    with suppress(binascii.Error, IndexError):
        return binascii.unhexlify(b"".join(text.strip().split(b"\n", 2)[2].split()))
    return b""


_BLOCKS: Mapping[str, Callable[[ImageBytes], _Blocks]] = {"png": _in_png, "jpeg": _in_jpeg, "webp": _in_webp}

_INTEGERS = {1: 1, 3: 2, 4: 4, 8: 2, 9: 4}
"""Bytes of a value, by the type that an entry names: BYTE, SHORT, LONG, SSHORT, SLONG."""


def _in_exif(exif: bytes) -> int | None:
    """The orientation in the first directory of a TIFF; `None` if it has none, or none that is allowed."""
    tiff = exif.removeprefix(EXIF_HEAD)
    order = _BYTE_ORDERS.get(tiff[:2])
    if order is None:
        return None
    at = order(tiff[4:8])
    for number in range(order(tiff[at : at + 2])):
        entry = tiff[at + 2 + 12 * number : at + 14 + 12 * number]
        length = _INTEGERS.get(order(entry[2:4]))
        if order(entry[:2]) == _TAG and length:
            return _allowed(order(entry[8 : 8 + length]))
    return None


_IN_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")


def _in_xmp(xmp: bytes) -> int | None:
    match = _IN_XMP.search(xmp)
    return _allowed(int(match[1])) if match else None


def _allowed(orientation: int) -> int | None:
    return orientation if 1 <= orientation <= 8 else None


_BYTE_ORDERS: Mapping[bytes, Callable[[bytes], int]] = {
    b"II": lambda data: int.from_bytes(data, "little"),
    b"MM": lambda data: int.from_bytes(data, "big"),
}
