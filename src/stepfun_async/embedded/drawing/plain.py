"""Plain images for tests: one colour above another, in a fraction of a millisecond, without Pillow.

They are written row by row as PNG has it, with one trick: in deflate, a piece that ends in a full
flush refers to nothing before it. So a few equal rows are compressed once, and repeated in the file as often as the
image has them.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import cast

from stepfun_async._core.capabilities import Capability
from stepfun_async._core.input_images import InputImage
from stepfun_async._core.sizes import Size
from stepfun_async._core.validation import Values

from .frame import check_pixels, facts_of, size_of

_ROWS = 8
"""The number of equal rows compressed at once."""

_ADLER = 65521
"""The modulus of Adler-32, the checksum of zlib streams (RFC 1950)."""


def draw(values: Values, row: Capability, seed: int) -> bytes:
    """The plain image for a request, as an RGB PNG; see `landscape.draw`.

    Of an image that was sent only the header counts, so that one which is broken inside passes.

    Args:
        values: the request's parameters, valid by `row`; images as `load_image` read them.
        row: the model's row of the tables.
        seed: what the colours depend on, besides everything else that was asked for.

    Raises:
        UndecodableError: an image that was sent has too many pixels.
    """
    size = size_of(values, row, _sides(values.get("image")))
    chance = hashlib.sha256(repr((row.model, row.operation, size, seed, _compared(values))).encode(*_TEXT)).digest()
    above, below, share = chance[:3], chance[3:6], 1 / 4 + chance[6] / 512
    horizon = round(size.height * share)
    rows = ((b"\0" + above * size.width, horizon), (b"\0" + below * size.width, size.height - horizon))
    return _png(size, rows, facts_of(values, row, seed))


_TEXT = ("utf-8", "backslashreplace")
"""The encoding of text, which accepts half a surrogate pair."""


def _sides(image: object) -> tuple[int, int] | None:
    if not isinstance(image, InputImage):
        return None
    check_pixels(image.width, image.height)
    return image.seen_sides


def _compared(value: object) -> object:
    """Return `value` with images as their bytes and parameters in one order, so that equal ones read equal."""
    if isinstance(value, InputImage):
        return hashlib.sha256(value.data).hexdigest()
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, object]", value)
        return [(name, _compared(parts[name])) for name in sorted(parts) if name not in ("response_format", "size")]
    return value


# --- PNG ----------------------------------------------------------------------------------------

_Rows = tuple[tuple[bytes, int], ...]
"""Rows from top to bottom, each with the number of repetitions."""


def _png(size: Size, rows: _Rows, facts: Mapping[str, str]) -> bytes:
    header = struct.pack(">IIBBBBB", size.width, size.height, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    texts = (b"%b\0\0\0\0\0%b" % (name.encode("latin-1"), text.encode(*_TEXT)) for name, text in facts.items())
    chunks = (
        _chunk(b"IHDR", header),
        *(_chunk(b"iTXt", text) for text in texts),
        _chunk(b"IDAT", _deflated(rows)),
        _chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _deflated(rows: _Rows) -> bytes:
    """The rows as a zlib stream."""
    body, checksum = b"\x78\x01", 1
    for piece, times in _pieces(rows):
        body += _flushed(piece) * times
        own = zlib.adler32(piece)
        for _ in range(times):
            checksum = _joined(checksum, own, len(piece))
    return body + b"\x03\x00" + struct.pack(">I", checksum)  # an empty last block


def _pieces(rows: _Rows) -> Iterator[tuple[bytes, int]]:
    for row, times in rows:
        whole, rest = divmod(times, _ROWS)
        if whole:
            yield row * _ROWS, whole
        if rest:
            yield row * rest, 1


def _flushed(piece: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)


def _joined(first: int, second: int, length: int) -> int:
    """The Adler-32 of two pieces one after another, from theirs; the second is `length` bytes long."""
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)
    return (high % _ADLER) << 16 | low % _ADLER
