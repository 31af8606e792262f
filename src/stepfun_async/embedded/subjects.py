"""Small things drawn into a picture when its prompt names them, as dark or bright silhouettes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

from .canvas import Canvas, Point, oval
from .palettes import Palette, mix

Subject = Callable[[Canvas, Palette, random.Random], None]


def cat(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """A cat that sits and looks on."""
    size = canvas.unit * 0.34
    x, y = canvas.width * (0.3 + 0.4 * chance.random()), canvas.height * 0.98
    coat = mix(palette.near, (0, 0, 0), 0.45)
    head = y - size * 0.86
    tail = _stroke([(x + size * (0.2 + 0.3 * t), y - size * (0.08 + 0.42 * t * t)) for t in _shares(12)], size * 0.05)
    ears: list[list[Point]] = [
        [
            (x + side * size * 0.19, head - size * 0.03),
            (x + side * size * 0.17, head - size * 0.3),
            (x + side * size * 0.02, head - size * 0.14),
        ]
        for side in (-1, 1)
    ]
    body = [oval(x, y - size * 0.28, size * 0.27, size * 0.36), oval(x, y - size * 0.55, size * 0.18, size * 0.3)]
    canvas.shape(
        [tail, *ears, *body, oval(x, head, size * 0.21, size * 0.175), oval(x, y, size * 0.28, size * 0.07)], coat
    )
    for side in (-1, 1):
        canvas.shape([oval(x + side * size * 0.085, head, size * 0.035, size * 0.045)], palette.accent)
        canvas.shape([oval(x + side * size * 0.085, head, size * 0.009, size * 0.04)], coat)


def birds(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """A few birds, far away."""
    color = palette.light if palette.dark else mix(palette.near, (0, 0, 0), 0.4)
    x, y = canvas.width * (0.2 + 0.5 * chance.random()), canvas.height * (0.14 + 0.16 * chance.random())
    outlines: list[list[Point]] = []
    for _ in range(6):
        at = (x + canvas.unit * 0.26 * (chance.random() - 0.5), y + canvas.unit * 0.14 * (chance.random() - 0.5))
        outlines.append(_wings(at, canvas.unit * (0.016 + 0.016 * chance.random())))
    canvas.shape(outlines, color)


def boat(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """A boat under sail."""
    size = canvas.unit * 0.15
    x, y = canvas.width * (0.25 + 0.5 * chance.random()), canvas.height * 0.72
    hull = [
        (x - size * 0.5, y),
        (x + size * 0.55, y),
        (x + size * 0.36, y + size * 0.17),
        (x - size * 0.34, y + size * 0.17),
    ]
    main = [(x + size * 0.03, y - size), (x + size * 0.45, y - size * 0.07), (x + size * 0.03, y - size * 0.07)]
    jib = [(x - size * 0.03, y - size * 0.86), (x - size * 0.03, y - size * 0.07), (x - size * 0.4, y - size * 0.07)]
    canvas.shape([oval(x, y + size * 0.2, size * 0.6, size * 0.035)], palette.near, opacity=0.4)
    canvas.shape([main], palette.light, mix(palette.light, palette.sky[-1], 0.4))
    canvas.shape([jib], palette.accent)
    canvas.shape([hull], mix(palette.near, (60, 30, 20), 0.4))


def house(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """A cottage with light in its windows."""
    size = canvas.unit * 0.17
    x, y = canvas.width * (0.2 + 0.5 * chance.random()), canvas.height * 0.9
    wall = mix(palette.far, palette.light, 0.35)
    canvas.shape([oval(x + size * 0.5, y, size * 0.95, size * 0.09)], mix(palette.near, (0, 0, 0), 0.25))
    canvas.shape(
        [
            [
                (x + size * 0.62, y - size * 1.1),
                (x + size * 0.78, y - size * 1.1),
                (x + size * 0.78, y - size * 0.5),
                (x + size * 0.62, y - size * 0.5),
            ]
        ],
        mix(wall, palette.near, 0.5),
    )
    canvas.shape(
        [[(x, y - size * 0.55), (x + size, y - size * 0.55), (x + size, y), (x, y)]], wall, mix(wall, palette.near, 0.4)
    )
    canvas.shape(
        [[(x - size * 0.12, y - size * 0.52), (x + size * 0.5, y - size * 1.05), (x + size * 1.12, y - size * 0.52)]],
        mix(palette.near, palette.accent, 0.25),
    )
    canvas.glow(x + size * 0.5, y - size * 0.28, size * 0.7, palette.light, 0.45)
    for left in (0.14, 0.66):
        canvas.shape(
            [[(x + size * (left + dx), y - size * dy) for dx, dy in ((0, 0.4), (0.2, 0.4), (0.2, 0.18), (0, 0.18))]],
            (255, 226, 150),
        )
    canvas.shape(
        [[(x + size * dx, y - size * dy) for dx, dy in ((0.42, 0.36), (0.58, 0.36), (0.58, 0), (0.42, 0))]],
        mix(palette.near, (50, 25, 20), 0.4),
    )


def balloon(canvas: Canvas, palette: Palette, chance: random.Random) -> None:
    """Hot-air balloons."""
    for scale in (1.0, 0.55, 0.35):
        size = canvas.unit * 0.11 * scale
        x, y = canvas.width * (0.15 + 0.7 * chance.random()), canvas.height * (0.16 + 0.3 * chance.random())
        skin = [
            (
                x + size * math.sin(a) * (1 if math.cos(a) < 0 else 1 - 0.28 * math.cos(a) ** 2),
                y + size * 1.12 * math.cos(a),
            )
            for a in (2 * math.pi * t for t in _shares(64))
        ]
        canvas.shape(
            [skin], mix(palette.accent, palette.light, 0.35), palette.accent, mix(palette.accent, palette.near, 0.4)
        )
        for width in (0.62, 0.24):
            gore = [(x + (px - x) * width, py) for px, py in skin]
            canvas.shape([gore], palette.light, opacity=0.22)
        basket = [
            (x - size * 0.13, y + size * 1.4),
            (x + size * 0.13, y + size * 1.4),
            (x + size * 0.1, y + size * 1.6),
            (x - size * 0.1, y + size * 1.6),
        ]
        ropes = [
            _stroke([(x + side * size * 0.3, y + size * 1.02), (x + side * size * 0.11, y + size * 1.42)], size * 0.012)
            for side in (-1, 1)
        ]
        canvas.shape([basket, *ropes], mix(palette.near, (70, 40, 20), 0.5))


SUBJECTS: Mapping[str, Subject] = {"cat": cat, "bird": birds, "boat": boat, "house": house, "balloon": balloon}
"""By the names that `palettes.called_for` finds."""


def _shares(count: int) -> list[float]:
    return [step / count for step in range(count + 1)]


def _wings(at: Point, size: float) -> list[Point]:
    x, y = at
    upper = [(x + size * (2 * t - 1), y - size * 0.45 * abs(math.sin(2 * math.pi * t))) for t in _shares(20)]
    lower = [(px, py + size * 0.16 * (1 - abs(px - x) / size)) for px, py in upper]
    return [*upper, *lower[::-1]]


def _stroke(path: list[Point], half: float) -> list[Point]:
    """The outline of a line of `2 * half` pixels along `path`."""
    left: list[Point] = []
    right: list[Point] = []
    for (x, y), (nx, ny) in zip(
        path, [*path[1:], (2 * path[-1][0] - path[-2][0], 2 * path[-1][1] - path[-2][1])], strict=True
    ):
        length = math.hypot(nx - x, ny - y) or 1.0
        dx, dy = -(ny - y) / length * half, (nx - x) / length * half
        left.append((x + dx, y + dy))
        right.append((x - dx, y - dy))
    return [*left, *right[::-1]]
