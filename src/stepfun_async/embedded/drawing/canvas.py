"""A few soft brushes over Pillow; lengths are in pixels, and edges are smooth."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from .palettes import RGB

Point = tuple[float, float]
_FINE = 2
"""The factor by which shapes are drawn larger than they are shown."""
_RIM = 181
"""The level of Pillow's radial gradient in the middle of an edge; its corners have 255."""


class Canvas:
    """An image being painted.

    Args:
        image: what is there already; painted over in place.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.width, self.height = image.size
        self.unit = math.sqrt(self.width * self.height)

    @classmethod
    def blank(cls, width: int, height: int) -> Canvas:
        """A black canvas."""
        return cls(Image.new("RGB", (width, height)))

    def gradient(self, colors: Sequence[RGB], top: float = 0.0, bottom: float | None = None) -> None:
        """Fill the rows from `top` to `bottom` with colours that run into one another."""
        first, last = round(top), round(self.height if bottom is None else bottom)
        if last > first:
            self.image.paste(_column(colors, (self.width, last - first)), (0, first))

    def shape(self, outlines: Sequence[Sequence[Point]], *colors: RGB, opacity: float = 1.0) -> None:
        """Fill outlines with one colour, or with several from top to bottom."""
        box = self._box([point for outline in outlines for point in outline])
        if box is None:
            return
        left, top, right, bottom = box
        mask = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE))
        pen = ImageDraw.Draw(mask)
        for outline in outlines:
            pen.polygon([((x - left) * _FINE, (y - top) * _FINE) for x, y in outline], fill=round(255 * opacity))
        self._fill(colors, box, mask.reduce(_FINE))

    def land(self, line: Sequence[Point], *colors: RGB) -> None:
        """Fill everything below `line`, which runs from the left edge to the right."""
        lowest = min(self.height, math.ceil(max(y for _, y in line)) + 1)
        top = max(0, math.floor(min(y for _, y in line)))
        whole = _column(colors, (self.width, max(1, self.height - top)))
        box = self._box([*line, (0, lowest), (self.width, lowest)])
        if box is not None:
            mask = Image.new("L", ((box[2] - box[0]) * _FINE, (box[3] - box[1]) * _FINE))
            corners = [(line[-1][0], lowest), (line[0][0], lowest)]
            points = [((x - box[0]) * _FINE, (y - box[1]) * _FINE) for x, y in (*line, *corners)]
            ImageDraw.Draw(mask).polygon(points, fill=255)
            self.image.paste(whole.crop((box[0], box[1] - top, box[2], box[3] - top)), box, mask.reduce(_FINE))
        if lowest < self.height:
            self.image.paste(whole.crop((0, lowest - top, self.width, self.height - top)), (0, lowest))

    def disc(self, x: float, y: float, radius: float, *colors: RGB, opacity: float = 1.0) -> None:
        """A round spot."""
        self.shape([oval(x, y, radius, radius)], *colors, opacity=opacity)

    def glow(self, x: float, y: float, radius: float, color: RGB, opacity: float) -> None:
        """Light that fades out at `radius`."""
        side = max(2, round(radius * 2))
        box = self._box([(x - radius, y - radius), (x + radius, y + radius)])
        if box is None:
            return
        left, top = x - radius, y - radius
        # the part of the small built-in gradient that shows, stretched once
        part = tuple((edge - origin) * 256 / side for edge, origin in zip(box, (left, top) * 2, strict=True))
        inside = tuple(min(256.0, max(0.0, edge)) for edge in part)
        soft = relevel(Image.radial_gradient("L"), lambda level: opacity * 255 * _fade(level / _RIM))
        size = (box[2] - box[0], box[3] - box[1])
        mask = stretch(soft, size, box=(inside[0], inside[1], inside[2], inside[3]))
        self.image.paste(color, box, mask)

    def clouds(self, color: RGB, chance: random.Random, *, cover: float, bottom: float, flatness: float = 2.0) -> None:
        """Soft clouds down to the row `bottom`, `flatness` times as wide as high; `cover` from 0 (none) to 1 (all)."""
        size = (self.width, max(2, round(bottom)))
        small = (max(2, size[0] // 4), max(2, size[1] // 4))
        rough, fine = _noise(chance, (5, round(5 * flatness)), small), _noise(chance, (13, round(13 * flatness)), small)
        both = Image.blend(rough, fine, 0.4)
        start = 255 * (1 - cover)
        mask = relevel(both, lambda level: min(1.0, max(0.0, (level - start) / 110)) * 150)
        self.image.paste(color, (0, 0, *size), stretch(mask, size))

    def dots(self, points: Sequence[tuple[float, float, float]], color: RGB) -> None:
        """Small spots, each at x and y with a radius."""
        if points:
            self.shape([oval(x, y, radius, radius, 8) for x, y, radius in points], color)

    def _fill(self, colors: Sequence[RGB], box: tuple[int, int, int, int], mask: Image.Image) -> None:
        paint = colors[0] if len(colors) == 1 else _column(colors, mask.size)
        self.image.paste(paint, box, mask)

    def _box(self, points: Sequence[Point]) -> tuple[int, int, int, int] | None:
        left = max(0, math.floor(min(x for x, _ in points)))
        top = max(0, math.floor(min(y for _, y in points)))
        right = min(self.width, math.ceil(max(x for x, _ in points)) + 1)
        bottom = min(self.height, math.ceil(max(y for _, y in points)) + 1)
        return (left, top, right, bottom) if right > left and bottom > top else None


def oval(x: float, y: float, across: float, down: float, corners: int = 48) -> list[Point]:
    """The outline of an ellipse with half axes `across` and `down`."""
    angles = [2 * math.pi * step / corners for step in range(corners)]
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


def rectangle(x: float, y: float, wide: float, high: float) -> list[Point]:
    """The outline of a rectangle, from its upper left corner."""
    return [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]


def _noise(chance: random.Random, grain: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Soft spots: `grain` random levels, stretched to `size`."""
    levels = bytes(int(chance.random() * 256) for _ in range(grain[0] * grain[1]))
    return stretch(Image.frombytes("L", grain, levels), size, Image.Resampling.BICUBIC)


def _fade(level: float) -> float:
    return math.pow(max(0.0, 1.0 - level), 1.8)


def _column(colors: Sequence[RGB], size: tuple[int, int]) -> Image.Image:
    """Colours from top to bottom, the first and the last one right at the edges."""
    strip = Image.frombytes("RGB", (1, len(colors)), bytes(channel for color in colors for channel in color))
    if len(colors) > 1:
        strip = stretch(strip, (1, size[1]), box=(0.0, 0.5, 1.0, len(colors) - 0.5))
    return stretch(strip, size, Image.Resampling.NEAREST)


def stretch(
    image: Image.Image,
    size: tuple[int, int],
    how: Image.Resampling = Image.Resampling.BILINEAR,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """`image`, or the part of it in `box`, at another size in pixels."""
    return image.resize(size, how, box)  # pyright: ignore[reportUnknownMemberType] - numpy's types, when not installed


def relevel(image: Image.Image, change: Callable[[int], float]) -> Image.Image:
    """An image of levels (0 to 255) with `change` made to each."""
    table = [round(change(level)) for level in range(256)]
    return image.point(table)  # pyright: ignore[reportUnknownMemberType] - likewise
