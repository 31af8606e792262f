"""The frame of a stand-in image: its size, its limits and its metadata."""

from __future__ import annotations

import math

from stepfun_async._core.capabilities import Capability
from stepfun_async._core.sizes import Size
from stepfun_async._core.validation import Values

SOFTWARE = "stepfun-async embedded engine"
NOTE = "A stand-in image for development, drawn by stepfun-async's embedded engine, not by a diffusion model."

_MAX_PIXELS = 4096 * 4096
"""Pixels of the largest image that is decoded."""


class UndecodableError(ValueError):
    """An image that was sent cannot be decoded, although its header is valid."""


def check_pixels(width: int, height: int) -> None:
    """Raise `UndecodableError` for an image with more pixels than the engine decodes."""
    if width * height > _MAX_PIXELS:
        raise UndecodableError(f"{width}x{height} pixels are more than the embedded engine decodes")


def size_of(values: Values, row: Capability, sent: tuple[int, int] | None) -> Size:
    """The size of the image that a request asks for.

    Args:
        values: the request's parameters, valid by `row`.
        row: the model's row of the tables.
        sent: width and height in pixels of the image that was sent; `None` if there is none.
    """
    asked = row.size_rule.pick(values.get("size")) if row.size_rule else None
    if sent is None or row.operation != "edit":
        return asked or Size(width=1024, height=1024)
    width, height = sent
    if asked is None:
        return Size(width=width, height=height)
    ratio = width / height
    area = asked.width * asked.height
    return Size(width=round(math.sqrt(area * ratio)), height=round(math.sqrt(area / ratio)))


def facts_of(values: Values, row: Capability, seed: int) -> dict[str, str]:
    """Return the image's metadata, by keyword."""
    return {
        "Software": SOFTWARE,
        "Comment": NOTE,
        "model": row.model,
        "prompt": str(values["prompt"]),
        "seed": str(seed),
    }
