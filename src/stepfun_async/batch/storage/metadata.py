"""The request of an image, embedded in the image file: text in a PNG, EXIF in a JPEG or WebP.

The compressed image is copied byte for byte, so no pixel changes in any format; encoding a JPEG again would degrade it.
Everything else in the file stays, too.

    PNG          iTXt chunks: `Description` with the prompt, `stepfun-async` with the JSON
    JPEG, WebP   EXIF: ImageDescription with the prompt in UTF-8, UserComment with the JSON in ASCII
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from stepfun_async._core.headers import APP0, APP1, jpeg_segments
from stepfun_async._core.input_images import InputImage, of_bytes

KEYWORD = "stepfun-async"
"""The keyword of the JSON in a PNG."""

Embed = Callable[[InputImage, str, str], bytes | None]


def with_metadata(data: bytes, note: Mapping[str, object]) -> bytes:
    """Embed a note in an image file.

    Args:
        data: the file.
        note: what is needed to make the image again; the prompt is in its `request`.

    Returns:
        The file with the note. It is unchanged if the image is incomplete, its format holds no metadata, it has EXIF
        already, or the note is longer than the 64 KB that fit into a JPEG.
    """
    image = of_bytes(data)
    if not isinstance(image, InputImage) or not image.complete or image.format not in _EMBED:
        return data
    request = note.get("request")
    prompt = cast("Mapping[str, object]", request).get("prompt", "") if isinstance(request, Mapping) else ""
    described = str(prompt).replace("\0", "").encode("utf-8", "backslashreplace").decode()
    return _EMBED[image.format](image, described, json.dumps(note)) or data


# --- PNG ----------------------------------------------------------------------------------------

_AFTER_HEADER = 8 + 4 + 4 + 13 + 4
"""The end of the first chunk: signature, length, name, header, checksum."""


def _in_png(image: InputImage, prompt: str, text: str) -> bytes:
    data = image.data
    chunks = _itxt("Description", prompt) + _itxt(KEYWORD, text)
    return data[:_AFTER_HEADER] + chunks + data[_AFTER_HEADER:]


def _itxt(keyword: str, text: str) -> bytes:
    """Return a chunk of text, not compressed and without a language."""
    body = b"iTXt" + keyword.encode("ascii") + b"\0" + b"\0\0" + b"\0" + b"\0" + text.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


# --- EXIF ---------------------------------------------------------------------------------------

_EXIF = b"Exif\0\0"
_ASCII, _LONG, _UNDEFINED = 2, 4, 7
_IMAGE_DESCRIPTION, _EXIF_DIRECTORY, _USER_COMMENT = 0x010E, 0x8769, 0x9286


def _tiff(prompt: str, text: str) -> bytes:
    """Return the two texts as EXIF: a TIFF without an image, with two directories followed by their values."""
    described, comment = prompt.encode() + b"\0", b"ASCII\0\0\0" + text.encode("ascii")
    padding = b"\0" * (len(described) % 2)  # a value begins at an even offset
    first, second = 8, 8 + 2 + 2 * 12 + 4
    values = second + 2 + 12 + 4
    return b"".join(
        (
            b"II*\0" + struct.pack("<I", first),
            struct.pack("<H", 2),
            _entry(_IMAGE_DESCRIPTION, _ASCII, described, values),
            struct.pack("<HHII", _EXIF_DIRECTORY, _LONG, 1, second),
            struct.pack("<I", 0),
            struct.pack("<H", 1),
            _entry(_USER_COMMENT, _UNDEFINED, comment, values + len(described) + len(padding)),
            struct.pack("<I", 0),
            described,
            padding,
            comment,
        )
    )


def _entry(tag: int, kind: int, value: bytes, offset: int) -> bytes:
    """Return an entry whose value is at `offset`, or in the entry itself if it fits."""
    content = struct.pack("<I", offset) if len(value) > 4 else value.ljust(4, b"\0")
    return struct.pack("<HHI", tag, kind, len(value)) + content


_SOI = b"\xff\xd8"
_LONGEST_SEGMENT = 0xFFFF


def _in_jpeg(image: InputImage, prompt: str, text: str) -> bytes | None:
    """Insert EXIF after the JFIF header, if there is one, since that must come first."""
    data, body = image.data, _EXIF + _tiff(prompt, text)
    segments = list(jpeg_segments(data))
    has_exif = any(segment.marker == APP1 and segment.begins(data, _EXIF) for segment in segments)
    if has_exif or len(body) + 2 > _LONGEST_SEGMENT:
        return None
    first = segments[0]
    at = first.stop if first.marker == APP0 else len(_SOI)
    return data[:at] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[at:]


_HAS_EXIF, _HAS_ALPHA = 0x08, 0x10
_LONGEST_HEAD = 18
_MIN_BYTES = {b"VP8L": 13}
"""The bytes of the first chunk that are read, if fewer than `_LONGEST_HEAD`."""


def _in_webp(image: InputImage, prompt: str, text: str) -> bytes | None:
    """Append EXIF and set its flag in the extended header, which a simple file gets here."""
    data = image.data
    chunks = data[12 : 8 + int.from_bytes(data[4:8], "little")]
    extended = chunks[:4] == b"VP8X"
    if len(chunks) < _MIN_BYTES.get(chunks[:4], _LONGEST_HEAD):  # bytes after the declared end do not count
        return None
    flags = chunks[8] if extended else _alpha_of(chunks)
    if flags & _HAS_EXIF:
        return None
    sides = struct.pack("<I", image.width - 1)[:3] + struct.pack("<I", image.height - 1)[:3]
    head = _chunk(b"VP8X", bytes([flags | _HAS_EXIF, 0, 0, 0]) + sides)
    body = b"WEBP" + head + chunks[len(head) if extended else 0 :] + _chunk(b"EXIF", _tiff(prompt, text))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _alpha_of(chunks: bytes) -> int:
    """Return the alpha flag of a simple file: only a lossless one has a bit for it."""
    return _HAS_ALPHA if chunks[:4] == b"VP8L" and chunks[12] & 0x10 else 0


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


_EMBED: Mapping[str, Embed] = MappingProxyType({"png": _in_png, "jpeg": _in_jpeg, "webp": _in_webp})
