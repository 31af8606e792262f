"""Small images for the gallery, made with Pillow where it is there."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from ..._core.headers import read_header
from ..._core.rendering import as_seen
from ..._runtime.files import open_input, write_bytes

FOLDER = "thumbnails"
"""The folder beside the report that has them."""

_SIDE = 400
"""Pixels of the longer side; an image in the gallery is some 200 wide, on screens of two pixels to one."""

_MOST_PIXELS = 32_000_000
"""Pixels of the largest image that is made small: each takes four bytes of memory."""

_SMALL_FILE = 30_000
"""Bytes of an image that needs no smaller one."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_QUALITY = 80
_METHOD = 0
"""Of WebP's encoder: the quickest, in a fifth of the usual time, and of about the same size."""


def possible() -> bool:
    """Whether Pillow is there."""
    return find_spec("PIL") is not None


def thumbnail(folder: Path, image: str, *, make: bool = True) -> str | None:
    """A small copy of an image, made unless there is one that is no older.

    Args:
        folder: the report's folder.
        image: the image, relative to that folder.
        make: whether one is made where there is none.

    Returns:
        The small image as seen from `folder`; `None` if there is none, because the image is missing,
        broken, too large or small enough itself.
    """
    made = os.path.join(FOLDER, f"{hashlib.sha256(os.fsencode(image)).hexdigest()[:32]}.webp")
    with suppress(Exception):  # Pillow's decoders raise OSError, SyntaxError, struct.error, DecompressionBombError, ...
        if _leads_elsewhere(folder / FOLDER):
            return None
        if _is_fresh(folder / made, folder / image) or (make and _make(folder / image, folder / made)):
            return made
    return None


def _leads_elsewhere(folder: Path) -> bool:
    """Whether `folder` is a link: what is written to it would be written somewhere else."""
    return folder.is_symlink()


def _is_fresh(made: Path, image: Path) -> bool:
    with suppress(FileNotFoundError):
        facts = made.lstat()
        return stat.S_ISREG(facts.st_mode) and facts.st_mtime_ns >= image.stat().st_mtime_ns
    return False


def _make(image: Path, target: Path) -> bool:
    """Whether a small copy of `image` was worth making, and was made."""
    with open_input(image) as (view, source):
        header = read_header(view)
    width, height = (header.width or 0, header.height or 0) if header else (0, 0)
    if not 0 < width * height <= _MOST_PIXELS:
        return False
    if source.size <= _SMALL_FILE and max(width, height) <= 2 * _SIDE:
        return False
    write_bytes(target, _shrunk(image), overwrite=True)
    return True


def _shrunk(path: Path) -> bytes:
    from PIL import Image as pillow

    buffer = io.BytesIO()
    with pillow.open(path, formats=_FORMATS) as image:
        image.draft("RGB", (_SIDE, _SIDE))
        small = as_seen(image, longest=_SIDE)
        profile = small.info.get("icc_profile")
        small.save(buffer, format="WEBP", quality=_QUALITY, method=_METHOD, icc_profile=profile)
    return buffer.getvalue()
