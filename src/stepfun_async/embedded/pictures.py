"""Draws pictures."""

from __future__ import annotations

import io

from PIL import Image

from stepfun_async._core.capabilities import Capability
from stepfun_async._core.validation import Values


class UndecodableError(ValueError):
    """The picture sent has a good header, but cannot be decoded."""


def draw(values: Values, row: Capability, seed: int) -> bytes:
    size = row.sizes.pick(values.get("size")) if row.sizes else None
    image = Image.new(
        "RGB",
        (size.width, size.height) if size else (values["image"].width, values["image"].height),
        (seed % 255, 80, 120),
    )
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
