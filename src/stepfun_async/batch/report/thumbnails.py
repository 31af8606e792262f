"""Small pictures for the gallery, made with Pillow where it is there."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from ..._core.pictures import read_header
from ..._files import write_bytes

FOLDER = "thumbnails"
"""The folder beside the report that has them."""

_SIDE = 400
"""Pixels of the longer side; a picture in the gallery is some 200 wide, on screens of two pixels to one."""

_MOST_PIXELS = 32_000_000
"""Pixels of the largest picture that is made small: each takes four bytes of memory."""

_HEAD = 65_536
"""Bytes in which a picture says its sides."""

_SMALL_FILE = 30_000
"""Bytes of a picture that needs no smaller one."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_QUALITY = 80

_SMOOTH = ("RGB", "RGBA")
"""Modes of pictures that can be made small as they are."""


def possible() -> bool:
    """Whether Pillow is there."""
    return find_spec("PIL") is not None


def thumbnail(folder: Path, picture: str) -> str | None:
    """A small copy of a picture, made unless there is one that is no older.

    Args:
        folder: the report's folder.
        picture: the picture, as seen from there.

    Returns:
        The small picture as seen from `folder`; None where there is none, because the picture is missing,
        broken, too large or small enough itself.
    """
    made = os.path.join(FOLDER, f"{hashlib.sha256(os.fsencode(picture)).hexdigest()[:32]}.webp")
    with suppress(OSError, ValueError, SyntaxError):  # what Pillow raises of broken pictures
        return made if _is_fresh(folder / made, folder / picture) or _make(folder / picture, folder / made) else None
    return None


def _is_fresh(made: Path, picture: Path) -> bool:
    with suppress(FileNotFoundError):
        return made.stat().st_mtime_ns >= picture.stat().st_mtime_ns
    return False


def _make(picture: Path, target: Path) -> bool:
    """Whether a small copy of `picture` was worth making, and was made."""
    with picture.open("rb") as file:
        header = read_header(file.read(_HEAD))
        if header is None or not 0 < header.width * header.height <= _MOST_PIXELS:
            return False
        if picture.stat().st_size <= _SMALL_FILE and max(header.width, header.height) <= 2 * _SIDE:
            return False
        file.seek(0)
        write_bytes(target, _shrunk(file), overwrite=True)
    return True


def _shrunk(file: io.BufferedReader) -> bytes:
    from PIL import Image as pillow

    buffer = io.BytesIO()
    with pillow.open(file, formats=_FORMATS) as image:
        image.draft("RGB", (_SIDE, _SIDE))
        small = image if image.mode in _SMOOTH else image.convert("RGBA" if image.has_transparency_data else "RGB")
        small.thumbnail((_SIDE, _SIDE), reducing_gap=2.0)
        small.save(buffer, format="WEBP", quality=_QUALITY)
    return buffer.getvalue()
