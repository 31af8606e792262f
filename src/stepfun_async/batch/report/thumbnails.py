"""Thumbnails for the gallery, made with Pillow if it is installed."""

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
"""The folder of the thumbnails, beside the report."""

_SIDE = 400
"""The longer side in pixels; an image in the gallery is some 200 wide, on screens with a pixel ratio of 2."""

_MOST_PIXELS = 32_000_000
"""The maximum number of pixels of an image for which a thumbnail is made: each takes four bytes of memory."""

_SMALL_FILE = 30_000
"""The size in bytes up to which an image needs no thumbnail."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_QUALITY = 80
_METHOD = 0
"""The fastest method of WebP's encoder: a fifth of the default's time, and files of about the same size."""


def is_pillow_installed() -> bool:
    """Whether Pillow is installed."""
    return find_spec("PIL") is not None


def thumbnail(folder: Path, image: str, *, make: bool = True) -> str | None:
    """Return the thumbnail of an image, made unless there is one that is at least as new.

    Args:
        folder: the report's folder.
        image: the image, relative to that folder.
        make: whether a missing thumbnail is made.

    Returns:
        The thumbnail relative to `folder`; `None` if there is none, since the image is missing, broken, too large, or
        small itself.
    """
    made = os.path.join(FOLDER, f"{hashlib.sha256(os.fsencode(image)).hexdigest()[:32]}.webp")
    with suppress(Exception):  # Pillow's decoders raise OSError, SyntaxError, struct.error, DecompressionBombError, ...
        if _leads_elsewhere(folder / FOLDER):
            return None
        if _is_fresh(folder / made, folder / image) or (make and _make(folder / image, folder / made)):
            return made
    return None


def _leads_elsewhere(folder: Path) -> bool:
    """Whether `folder` is a symbolic link, through which files would be written somewhere else."""
    return folder.is_symlink()


def _is_fresh(made: Path, image: Path) -> bool:
    with suppress(FileNotFoundError):
        facts = made.lstat()
        return stat.S_ISREG(facts.st_mode) and facts.st_mtime_ns >= image.stat().st_mtime_ns
    return False


def _make(image: Path, target: Path) -> bool:
    """Make a thumbnail if the image needs one. Return whether it was made."""
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
