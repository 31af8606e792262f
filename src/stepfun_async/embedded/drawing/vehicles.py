"""The figures of vehicles on land, on the water and in the air."""

from __future__ import annotations

import math

from .canvas import Point
from .figures import BLACK, WHITE, Figure, Layer
from .materials import GOLD, LAMP, RED, STEEL, WOOD
from .outlines import Outline, block, both, curve, dome, moved, oval, ring, shares, stroke
from .palettes import RGB

_GLASS: RGB = (170, 208, 228)
_TYRE: RGB = (38, 40, 46)


def _wheel(x: float, y: float, radius: float) -> tuple[Layer, ...]:
    return (_TYRE, (oval(x, y, radius, radius),)), (STEEL, (oval(x, y, radius * 0.5, radius * 0.5),))


BOAT: tuple[Layer, ...] = (
    (WHITE, ([(0.03, 1), (0.45, 0.07), (0.03, 0.07)],)),
    ("accent", ([(-0.03, 0.86), (-0.03, 0.07), (-0.4, 0.07)],)),
    ("coat", ([(-0.5, 0), (0.55, 0), (0.36, -0.17), (-0.34, -0.17)],)),
)


def _skin(turn: float) -> Point:
    """Return a point of a circle that narrows towards the basket of a balloon."""
    up = math.cos(2 * math.pi * turn)
    return math.sin(2 * math.pi * turn) * (1 - 0.28 * up * up if up < 0 else 1), 1.12 * up


_BALLOON: Outline = [_skin(turn) for turn in shares(64)]


def _balloon(x: float, y: float, scale: float) -> tuple[Layer, ...]:
    def here(outline: Outline) -> Outline:
        return moved(outline, x, y, scale)

    ropes = both(stroke([(0.3, -1.02), (0.11, -1.42)], 0.012))
    return (
        ("coat", (here(_BALLOON),)),
        ("pale", (here([(x * 0.62, y) for x, y in _BALLOON]),)),
        ("coat", (here([(x * 0.24, y) for x, y in _BALLOON]),)),
        (WOOD, (here([(-0.13, -1.4), (0.13, -1.4), (0.1, -1.6), (-0.1, -1.6)]), *map(here, ropes))),
    )


BALLOONS = (*_balloon(0, 0, 1.0), *_balloon(1.9, 0.9, 0.55), *_balloon(-1.7, -0.7, 0.36))
ROCKET: tuple[Layer, ...] = (
    ((255, 170, 60), (curve((-0.11, -0.5), (0.11, -0.5), (0.05, -0.76), (0, -0.96), (-0.05, -0.76)),)),
    ((255, 236, 150), (curve((-0.06, -0.5), (0.06, -0.5), (0.02, -0.68), (0, -0.78), (-0.02, -0.68)),)),
    ("accent", both([(0.12, -0.1), (0.32, -0.42), (0.3, -0.56), (0.1, -0.42)])),
    ("coat", (curve((-0.12, -0.5), (-0.19, -0.1), (-0.15, 0.3), (0, 0.66), (0.15, 0.3), (0.19, -0.1), (0.12, -0.5)),)),
    (
        "accent",
        (
            curve((-0.13, 0.36), (0, 0.4), (0.13, 0.36), (0.07, 0.54), (0, 0.66), (-0.07, 0.54)),
            block(-0.12, -0.54, 0.12, -0.46),
        ),
    ),
    (STEEL, (oval(0, 0.1, 0.095, 0.095),)),
    ((60, 110, 160), (oval(0, 0.1, 0.065, 0.065),)),
)
AIRPLANE: tuple[Layer, ...] = (
    ("shade", ([(0.02, 0.06), (0.3, 0.34), (0.4, 0.34), (0.26, 0.06)],)),
    (
        "coat",
        (
            curve(
                (-0.74, 0.06),
                (-0.6, 0.12),
                (0.4, 0.12),
                (0.66, 0.04),
                (0.72, -0.02),
                (0.6, -0.08),
                (0.3, -0.1),
                (-0.5, -0.06),
            ),
        ),
    ),
    (
        "accent",
        (
            [(-0.72, 0.08), (-0.84, 0.4), (-0.7, 0.4), (-0.48, 0.1)],
            [(-0.66, 0.06), (-0.86, 0.0), (-0.78, -0.02), (-0.5, 0.02)],
        ),
    ),
    ("shade", ([(0.14, -0.02), (-0.3, -0.36), (-0.42, -0.36), (-0.18, -0.02)], oval(-0.12, -0.2, 0.09, 0.045))),
    (
        (60, 100, 140),
        (
            *(oval(x / 10, 0.05, 0.022, 0.026) for x in range(-4, 5)),
            [(0.54, 0.08), (0.62, 0.05), (0.56, 0.02), (0.5, 0.03)],
        ),
    ),
)
CAR: tuple[Layer, ...] = (
    (
        "coat",
        (
            curve(
                (-0.72, 0.14),
                (-0.7, 0.32),
                (-0.4, 0.38),
                (-0.22, 0.56),
                (0.16, 0.56),
                (0.38, 0.38),
                (0.66, 0.3),
                (0.72, 0.14),
                (0.4, 0.1),
                (-0.4, 0.1),
            ),
        ),
    ),
    (
        _GLASS,
        (
            [(-0.32, 0.38), (-0.19, 0.51), (-0.04, 0.51), (-0.04, 0.38)],
            [(0.0, 0.38), (0.0, 0.51), (0.13, 0.51), (0.3, 0.38)],
        ),
    ),
    ("shade", (stroke([(-0.68, 0.22), (0.7, 0.22)], 0.008), block(0.02, 0.3, 0.1, 0.315))),
    (LAMP, (oval(0.67, 0.25, 0.035, 0.03),)),
    (RED, (oval(-0.7, 0.27, 0.022, 0.03),)),
    *_wheel(-0.42, 0.12, 0.13),
    *_wheel(0.42, 0.12, 0.13),
)
TRAIN: tuple[Layer, ...] = (
    (
        (120, 110, 104),
        (block(-1.1, -0.02, 1.1, 0.015), *(block(x / 5 - 0.04, -0.06, x / 5 + 0.04, -0.02) for x in range(-5, 6))),
    ),
    (
        (226, 226, 230),
        tuple(
            oval(x, y, r, r * 0.8)
            for x, y, r in ((0.42, 0.96, 0.1), (0.3, 1.08, 0.13), (0.1, 1.2, 0.16), (-0.16, 1.28, 0.18))
        ),
    ),
    ("shade", (block(-1.06, 0.14, -0.64, 0.5), block(0.38, 0.5, 0.5, 0.82), block(0.34, 0.8, 0.54, 0.86))),
    (
        "coat",
        (
            block(-0.5, 0.16, -0.1, 0.78),
            block(-0.12, 0.2, 0.62, 0.54),
            oval(0.62, 0.37, 0.06, 0.17),
            dome(0.14, 0.54, 0.08, 0.12),
        ),
    ),
    (
        BLACK,
        (block(-0.56, 0.76, -0.04, 0.83), block(-0.64, 0.14, 0.64, 0.22), [(0.6, 0.02), (0.8, 0.02), (0.62, 0.22)]),
    ),
    (_GLASS, (block(-0.42, 0.5, -0.2, 0.7),)),
    (LAMP, (oval(0.66, 0.48, 0.045, 0.045),)),
    (GOLD, tuple(block(x, 0.2, x + 0.025, 0.54) for x in (0.02, 0.26, 0.5))),
    *(
        layer
        for x, r in ((-0.94, 0.1), (-0.74, 0.1), (-0.4, 0.15), (-0.06, 0.15), (0.26, 0.11), (0.5, 0.11))
        for layer in _wheel(x, r, r)
    ),
)
BICYCLE: tuple[Layer, ...] = (
    (_TYRE, (ring(-0.42, 0.26, 0.27, 0.235), ring(0.42, 0.26, 0.27, 0.235))),
    (
        STEEL,
        tuple(
            stroke([(x, 0.26), (x + 0.235 * math.cos(a), 0.26 + 0.235 * math.sin(a))], 0.005)
            for x in (-0.42, 0.42)
            for a in (math.pi * n / 5 for n in range(10))
        ),
    ),
    (
        "coat",
        tuple(
            stroke(path, 0.02)
            for path in (
                [(-0.42, 0.26), (-0.2, 0.6), (0.28, 0.62), (-0.04, 0.26), (-0.42, 0.26)],
                [(-0.04, 0.26), (-0.22, 0.68)],
                [(0.42, 0.26), (0.26, 0.74)],
            )
        ),
    ),
    (
        BLACK,
        (
            curve((-0.36, 0.7), (-0.1, 0.7), (-0.2, 0.66)),
            stroke([(0.26, 0.74), (0.36, 0.78), (0.4, 0.7)], 0.018),
            ring(-0.04, 0.26, 0.06, 0.035),
        ),
    ),
)

VEHICLES: dict[str, Figure] = {
    "boat": Figure(BOAT, (140, 92, 62), 0.16, "water", ("waves", "lake")),
    "balloon": Figure(BALLOONS, (226, 100, 80), 0.12, "air", ("mountains", "dunes", "field")),
    "rocket": Figure(ROCKET, WHITE, 0.34, "middle", ("space",)),
    "airplane": Figure(AIRPLANE, WHITE, 0.3, "air", ("mountains", "waves", "city")),
    "car": Figure(CAR, (214, 52, 48), 0.3, scenes=("road",)),
    "train": Figure(TRAIN, (52, 92, 84), 0.27, scenes=("field", "mountains")),
    "bicycle": Figure(BICYCLE, (58, 130, 170), 0.32, scenes=("road",)),
}
"""By the names that `words.called_for` finds."""
