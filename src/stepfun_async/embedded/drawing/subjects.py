"""Small things drawn into a picture when its prompt names them.

Outlines are in units of the thing's own size: x to the right, y up, from the spot it stands on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from .canvas import Canvas, Point, oval
from .palettes import RGB, Palette, mix

Subject = Callable[[Canvas, Palette, random.Random], None]
Outline = list[Point]

_BLACK: RGB = (0, 0, 0)
_WOOD: RGB = (60, 34, 20)
_LAMP: RGB = (255, 226, 150)


def cat(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """A cat that sits and looks on."""
    place = _Place(canvas, canvas.width * (0.3 + 0.4 * chance.random()), canvas.height * 0.98, 0.34)
    coat = mix(palette.near, _BLACK, 0.45)
    place.paint([*_CAT, *(_flipped(ear) for ear in _CAT[:1])], coat)
    eye, slit = oval(0.085, 0.86, 0.035, 0.045), oval(0.085, 0.86, 0.009, 0.04)
    place.paint([eye, _flipped(eye)], palette.accent)
    place.paint([slit, _flipped(slit)], coat)


def birds(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """A few birds, far away."""
    color = palette.light if palette.dark else mix(palette.near, _BLACK, 0.4)
    x, y = canvas.width * (0.2 + 0.5 * chance.random()), canvas.height * (0.14 + 0.16 * chance.random())
    for _ in range(6):
        left, up = canvas.unit * 0.26 * (chance.random() - 0.5), canvas.unit * 0.14 * (chance.random() - 0.5)
        _Place(canvas, x + left, y + up, 0.016 + 0.016 * chance.random()).paint([_WINGS], color)


def boat(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """A boat under sail."""
    place = _Place(canvas, canvas.width * (0.25 + 0.5 * chance.random()), canvas.height * 0.72, 0.15)
    place.paint([oval(0, -0.2, 0.6, 0.035)], palette.near, opacity=0.4)
    place.paint([[(0.03, 1), (0.45, 0.07), (0.03, 0.07)]], palette.light, mix(palette.light, palette.sky[-1], 0.4))
    place.paint([[(-0.03, 0.86), (-0.03, 0.07), (-0.4, 0.07)]], palette.accent)
    place.paint([[(-0.5, 0), (0.55, 0), (0.36, -0.17), (-0.34, -0.17)]], mix(palette.near, _WOOD, 0.4))


def house(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """A cottage with light in its windows."""
    place = _Place(canvas, canvas.width * (0.28 + 0.5 * chance.random()), canvas.height * 0.9, 0.17)
    wall = mix(palette.far, palette.light, 0.35)
    place.paint([oval(0, 0, 0.95, 0.09)], mix(palette.near, _BLACK, 0.25))
    place.paint([_block(0.12, 0.5, 0.28, 1.1)], mix(wall, palette.near, 0.5))
    place.paint([_block(-0.5, 0, 0.5, 0.55)], wall, mix(wall, palette.near, 0.4))
    place.paint([[(-0.62, 0.52), (0, 1.05), (0.62, 0.52)]], mix(palette.near, palette.accent, 0.25))
    canvas.glow(place.x, place.y - place.size * 0.28, place.size * 0.7, palette.light, 0.45)
    place.paint([_block(-0.36, 0.18, -0.16, 0.4), _block(0.16, 0.18, 0.36, 0.4)], _LAMP)
    place.paint([_block(-0.08, 0, 0.08, 0.36)], mix(palette.near, _WOOD, 0.4))


def balloons(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """Hot-air balloons."""
    skin = (mix(palette.accent, palette.light, 0.35), palette.accent, mix(palette.accent, palette.near, 0.4))
    for scale in (1.0, 0.55, 0.35):
        x, y = canvas.width * (0.15 + 0.7 * chance.random()), canvas.height * (0.16 + 0.3 * chance.random())
        place = _Place(canvas, x, y, 0.11 * scale)
        place.paint([_BALLOON], *skin)
        for width in (0.62, 0.24):
            place.paint([[(x * width, y) for x, y in _BALLOON]], palette.light, opacity=0.22)
        place.paint([_BASKET, _ROPE, _flipped(_ROPE)], mix(palette.near, _WOOD, 0.5))


SUBJECTS: Mapping[str, Subject] = {"cat": cat, "bird": birds, "boat": boat, "house": house, "balloon": balloons}
"""By the names that `palettes.called_for` finds."""


class _Place:
    """A spot on a canvas, and the size of what stands there, as a share of the canvas' `unit`."""

    def __init__(self, canvas: Canvas, x: float, y: float, size: float) -> None:
        self._canvas = canvas
        self.x, self.y, self.size = x, y, canvas.unit * size

    def paint(self, outlines: Iterable[Outline], *colors: RGB, opacity: float = 1.0) -> None:
        """Fill outlines, which are in units, with colours from top to bottom."""
        placed = [[(self.x + x * self.size, self.y - y * self.size) for x, y in outline] for outline in outlines]
        self._canvas.shape(placed, *colors, opacity=opacity)


def _shares(count: int) -> list[float]:
    return [step / count for step in range(count + 1)]


def _flipped(outline: Outline) -> Outline:
    return [(-x, y) for x, y in outline]


def _block(left: float, bottom: float, right: float, top: float) -> Outline:
    return [(left, bottom), (right, bottom), (right, top), (left, top)]


def _stroke(path: Outline, half: float) -> Outline:
    """The outline of a line, `2 * half` wide, along `path`."""
    left: Outline = []
    right: Outline = []
    last = (2 * path[-1][0] - path[-2][0], 2 * path[-1][1] - path[-2][1])
    for (x, y), (next_x, next_y) in pairwise([*path, last]):
        length = math.hypot(next_x - x, next_y - y)
        across, along = -(next_y - y) / length * half, (next_x - x) / length * half
        left.append((x + across, y + along))
        right.append((x - across, y - along))
    return [*left, *right[::-1]]


def _balloon(turn: float) -> Point:
    """A circle that narrows towards the basket."""
    up = math.cos(2 * math.pi * turn)
    return math.sin(2 * math.pi * turn) * (1 - 0.28 * up * up if up < 0 else 1), 1.12 * up


_CAT: tuple[Outline, ...] = (
    [(0.19, 0.89), (0.17, 1.16), (0.02, 1.0)],
    oval(0, 0.86, 0.21, 0.175),
    oval(0, 0.55, 0.18, 0.3),
    oval(0, 0.28, 0.27, 0.36),
    oval(0, 0, 0.28, 0.07),
    _stroke([(0.2 + 0.3 * t, 0.08 + 0.42 * t * t) for t in _shares(12)], 0.05),
)
"""The right ear, head, chest, body, feet and tail."""

_WING = [(2 * t - 1, 0.45 * abs(math.sin(2 * math.pi * t))) for t in _shares(20)]
_WINGS: Outline = [*_WING, *((x, y - 0.16 * (1 - abs(x))) for x, y in _WING[::-1])]
_BALLOON: Outline = [_balloon(turn) for turn in _shares(64)]
_BASKET = [(-0.13, -1.4), (0.13, -1.4), (0.1, -1.6), (-0.1, -1.6)]
_ROPE = _stroke([(0.3, -1.02), (0.11, -1.42)], 0.012)
