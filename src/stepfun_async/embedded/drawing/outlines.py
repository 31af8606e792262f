"""Outlines that figures are made of.

An outline is a list of points in units of the figure's own size: x to the right, y up, from the spot it stands on.
"""

from __future__ import annotations

import math
from itertools import pairwise

from .canvas import Point, oval

Outline = list[Point]

__all__ = ["Outline", "block", "both", "curve", "dome", "flipped", "moved", "oval", "ring", "shares", "star", "stroke"]


def shares(count: int) -> list[float]:
    """Return the numbers from 0 to 1 in `count` steps."""
    return [step / count for step in range(count + 1)]


def flipped(outline: Outline) -> Outline:
    """Return the mirror image, left for right."""
    return [(-x, y) for x, y in outline]


def both(*outlines: Outline) -> tuple[Outline, ...]:
    """Return outlines and their mirror images."""
    return (*outlines, *map(flipped, outlines))


def moved(outline: Outline, right: float, up: float, scale: float = 1.0) -> Outline:
    """Return an outline scaled and then moved."""
    return [(right + x * scale, up + y * scale) for x, y in outline]


def block(left: float, bottom: float, right: float, top: float) -> Outline:
    """Return a rectangle."""
    return [(left, bottom), (right, bottom), (right, top), (left, top)]


def dome(x: float, y: float, across: float, up: float) -> Outline:
    """Return the upper half of an oval."""
    return [(x + across * math.cos(math.pi * t), y + up * math.sin(math.pi * t)) for t in shares(24)]


def ring(x: float, y: float, outer: float, inner: float) -> Outline:
    """Return a band around a point, as one outline that turns back at its seam."""
    around, back = oval(x, y, outer, outer), oval(x, y, inner, inner)[::-1]
    return [*around, around[0], back[-1], *back]


def star(x: float, y: float, outer: float, inner: float, points: int = 5) -> Outline:
    """Return a star whose first point is at the top."""
    turns = [(math.pi * step / points, outer if step % 2 == 0 else inner) for step in range(2 * points)]
    return [(x + reach * math.sin(turn), y + reach * math.cos(turn)) for turn, reach in turns]


def stroke(path: Outline, half: float, end: float | None = None) -> Outline:
    """Return the outline of a line along `path`, `2 * half` wide at its beginning and `2 * end` at its end."""
    left: Outline = []
    right: Outline = []
    last = (2 * path[-1][0] - path[-2][0], 2 * path[-1][1] - path[-2][1])
    for index, ((x, y), (next_x, next_y)) in enumerate(pairwise([*path, last])):
        wide = half + ((half if end is None else end) - half) * index / (len(path) - 1)
        length = math.hypot(next_x - x, next_y - y) or 1.0
        across, along = -(next_y - y) / length * wide, (next_x - x) / length * wide
        left.append((x + across, y + along))
        right.append((x - across, y - along))
    return [*left, *right[::-1]]


def curve(*points: Point, steps: int = 6) -> Outline:
    """Return a smooth closed outline through `points`: a Catmull-Rom spline."""
    count = len(points)
    return [
        _between([points[(index + shift) % count] for shift in (-1, 0, 1, 2)], step / steps)
        for index in range(count)
        for step in range(steps)
    ]


def _between(points: list[Point], share: float) -> Point:
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    return _spline(ax, bx, cx, dx, share), _spline(ay, by, cy, dy, share)


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)
