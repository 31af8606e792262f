"""The doors through which an image comes in, and the verdict of Pillow on it."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image as pillow

from stepfun_async import Image

from .samples import ORIENTATION


def _path(data: bytes, folder: Path) -> Path:
    path = folder / "picture"
    path.write_bytes(data)
    return path


def _open_file(data: bytes, folder: Path) -> io.BytesIO:
    """A file object that gives a little at a time."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 50_000) if size and size > 0 else size)

    return Slow(data)


DOORS: dict[str, Callable[[bytes, Path], Any]] = {
    "path": _path,
    "path as text": lambda data, folder: str(_path(data, folder)),
    "bytes": lambda data, _: data,
    "bytearray": lambda data, _: bytearray(data),
    "file object": _open_file,
    "data URI": lambda data, _: f"data:image/png;base64,{base64.b64encode(data).decode()}",
    "result": lambda data, _: Image(data=data),
}
"""How an image is handed in, given its bytes and a folder."""


def pillows_verdict(data: bytes) -> tuple[str, int, int, int] | None:
    """Format, width, height and orientation as Pillow has them; None for what it cannot decode."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pillow.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
                image.load()
                name = "jpeg" if image.format == "MPO" else (image.format or "").lower()
                orientation = image.getexif().get(ORIENTATION, 1)
                return name, image.width, image.height, orientation if orientation in range(1, 9) else 1
    except Exception:  # noqa: BLE001 - Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        return None
