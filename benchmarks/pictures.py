"""Pictures to serve and to send: real PNGs of random pixels, whose bytes do not get smaller by packing."""

from __future__ import annotations

import random
import struct
import zlib


def png(side: int) -> bytes:
    """A square PNG of about `3 * side * side` bytes, the same for the same side.

    Args:
        side: pixels.
    """
    pixels = random.Random(side).randbytes(3 * side * side)
    rows = b"".join(b"\0" + pixels[row : row + 3 * side] for row in range(0, len(pixels), 3 * side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(rows, 0), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_framed(chunk) for chunk in chunks)


def _framed(chunk: bytes) -> bytes:
    return struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
