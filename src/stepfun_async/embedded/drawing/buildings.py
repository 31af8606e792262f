"""The figures of buildings."""

from __future__ import annotations

import math

from .figures import BLACK, WHITE, Figure, Layer
from .materials import CREAM, GOLD, LAMP, RED, WOOD
from .outlines import Outline, block, both, curve, dome, oval, shares, stroke
from .palettes import RGB

_STONE: RGB = (150, 148, 152)


def _roof(x: float, y: float, half: float, up: float) -> Outline:
    return [(x - half, y), (x, y + up), (x + half, y)]


def _battlements(left: float, right: float, y: float, count: int) -> tuple[Outline, ...]:
    wide = (right - left) / (2 * count - 1)
    return tuple(block(left + 2 * n * wide, y, left + (2 * n + 1) * wide, y + 0.05) for n in range(count))


HOUSE: tuple[Layer, ...] = (
    ("shade", (block(0.12, 0.5, 0.28, 1.1),)),
    ("coat", (block(-0.5, 0, 0.5, 0.55),)),
    ((150, 70, 60), ([(-0.62, 0.52), (0, 1.05), (0.62, 0.52)],)),
    (LAMP, (block(-0.36, 0.18, -0.16, 0.4), block(0.16, 0.18, 0.36, 0.4))),
    (WOOD, (block(-0.08, 0, 0.08, 0.36),)),
)
_SLITS = tuple(
    block(x - 0.018, y, x + 0.018, y + 0.1)
    for x, y in ((-0.5, 0.48), (0.5, 0.48), (-0.19, 0.72), (0.19, 0.72), (0, 0.6))
)
CASTLE: tuple[Layer, ...] = (
    ("shade", (block(-0.28, 0, 0.28, 0.74), *_battlements(-0.28, 0.28, 0.74, 5))),
    ("coat", (block(-0.6, 0, 0.6, 0.36), *_battlements(-0.6, 0.6, 0.36, 9))),
    (
        "coat",
        (
            block(-0.62, 0, -0.38, 0.7),
            block(0.38, 0, 0.62, 0.7),
            block(-0.28, 0.36, -0.1, 0.96),
            block(0.1, 0.36, 0.28, 0.96),
        ),
    ),
    (
        "accent",
        (
            _roof(-0.5, 0.7, 0.17, 0.36),
            _roof(0.5, 0.7, 0.17, 0.36),
            _roof(-0.19, 0.96, 0.14, 0.4),
            _roof(0.19, 0.96, 0.14, 0.4),
        ),
    ),
    (WOOD, (stroke([(-0.5, 1.04), (-0.5, 1.2)], 0.008), stroke([(0.5, 1.04), (0.5, 1.2)], 0.008))),
    (RED, ([(-0.5, 1.2), (-0.36, 1.155), (-0.5, 1.11)], [(0.5, 1.2), (0.64, 1.155), (0.5, 1.11)])),
    (LAMP, _SLITS),
    (WOOD, (block(-0.11, 0, 0.11, 0.16), dome(0, 0.16, 0.11, 0.12))),
    (BLACK, tuple(block(x - 0.006, 0, x + 0.006, 0.26) for x in (-0.06, 0, 0.06))),
)


def _tower(low: float, high: float) -> Outline:
    """Return a piece of a lighthouse, which narrows upwards."""
    return [
        (-0.17 + 0.06 * low, low),
        (0.17 - 0.06 * low, low),
        (0.17 - 0.06 * high, high),
        (-0.17 + 0.06 * high, high),
    ]


LIGHTHOUSE: tuple[Layer, ...] = (
    ((255, 244, 200), ([(0, 1.16), (1.1, 1.4), (1.1, 1.1)],)),
    (
        (92, 88, 92),
        (curve((-0.62, -0.2), (-0.5, 0.0), (-0.3, 0.1), (0.26, 0.1), (0.46, 0.02), (0.72, -0.2), (0.2, -0.26)),),
    ),
    (WHITE, (_tower(0.06, 1.06),)),
    ("coat", (_tower(0.1, 0.28), _tower(0.46, 0.64), _tower(0.82, 0.98))),
    (BLACK, (block(-0.15, 1.04, 0.15, 1.08), block(-0.012, 1.3, 0.012, 1.42))),
    (LAMP, (block(-0.08, 1.08, 0.08, 1.22),)),
    ("coat", (dome(0, 1.22, 0.11, 0.1),)),
    (BLACK, (block(-0.045, 0.06, 0.045, 0.2), block(-0.02, 0.7, 0.02, 0.78), block(-0.02, 0.34, 0.02, 0.42))),
)
_JOINTS = (
    *(
        stroke([(-0.56 * math.cos(a), 0.5 * math.sin(a)), (0.56 * math.cos(a), 0.5 * math.sin(a))], 0.006)
        for a in (0.3, 0.62, 0.98)
    ),
    *(
        stroke([(x, y), (x, y + 0.14)], 0.006)
        for x, y in ((-0.3, 0.01), (-0.1, 0.16), (-0.3, 0.16), (0.16, 0.29), (-0.2, 0.29), (0.34, 0.16), (0, 0.4))
    ),
)
IGLOO: tuple[Layer, ...] = (
    ("coat", (dome(0, 0, 0.58, 0.52),)),
    ((150, 180, 206), _JOINTS),
    ("pale", (dome(0.32, 0, 0.25, 0.33), block(0.07, -0.02, 0.57, 0.01))),
    ((48, 66, 92), (dome(0.34, 0, 0.16, 0.24),)),
)


def _tier(y: float, half: float, high: float) -> tuple[Layer, ...]:
    """Return a storey of a pagoda, and its roof with turned-up ends."""
    roof = curve(
        (-half * 1.6, y + high + 0.06),
        (-half, y + high),
        (half, y + high),
        (half * 1.6, y + high + 0.06),
        (half * 0.8, y + high + 0.09),
        (half * 0.5, y + high + 0.14),
        (-half * 0.5, y + high + 0.14),
        (-half * 0.8, y + high + 0.09),
    )
    lit = tuple(block(x - 0.03, y + 0.02, x + 0.03, y + high * 0.75) for x in (-half * 0.55, 0, half * 0.55))
    return ("coat", (block(-half, y, half, y + high + 0.02),)), (LAMP, lit), ((60, 74, 86), (roof,))


TEMPLE: tuple[Layer, ...] = (
    (_STONE, (block(-0.5, 0, 0.5, 0.05), block(-0.42, 0.05, 0.42, 0.09))),
    *_tier(0.08, 0.32, 0.2),
    *_tier(0.38, 0.26, 0.16),
    *_tier(0.64, 0.2, 0.13),
    *_tier(0.86, 0.14, 0.1),
    (GOLD, (stroke([(0, 1.08), (0, 1.32)], 0.016, 0.004), oval(0, 1.16, 0.035, 0.035))),
)
_SAIL = ([(0.02, 0.06), (0.1, 0.1), (0.1, 0.62), (0.02, 0.62)], stroke([(0, 0), (0, 0.64)], 0.012))


def _turned(outline: Outline, turn: float, x: float, y: float) -> Outline:
    c, s = math.cos(turn), math.sin(turn)
    return [(x + a * c - b * s, y + a * s + b * c) for a, b in outline]


WINDMILL: tuple[Layer, ...] = (
    ("coat", ([(-0.26, 0), (0.26, 0), (0.15, 0.8), (-0.15, 0.8)],)),
    ((120, 70, 56), (dome(0, 0.8, 0.18, 0.17),)),
    (WOOD, (block(-0.06, 0, 0.06, 0.2), block(-0.035, 0.44, 0.035, 0.54))),
    (CREAM, tuple(_turned(_SAIL[0], 0.4 + quarter * math.pi / 2, 0, 0.84) for quarter in range(4))),
    (
        WOOD,
        (
            *(_turned(_SAIL[1], 0.4 + quarter * math.pi / 2, 0, 0.84) for quarter in range(4)),
            oval(0, 0.84, 0.035, 0.035),
        ),
    ),
)
BRIDGE: tuple[Layer, ...] = (
    ("coat", (*(block(x - 0.05, -0.3, x + 0.05, 0.12) for x in (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0)),)),
    (
        "coat",
        (
            curve(
                (-1.3, 0.06),
                (-0.6, 0.16),
                (0, 0.2),
                (0.6, 0.16),
                (1.3, 0.06),
                (1.3, -0.02),
                (0.6, 0.06),
                (0, 0.1),
                (-0.6, 0.06),
                (-1.3, -0.02),
            ),
        ),
    ),
    (
        "shade",
        tuple(
            stroke([(x + 0.2 * math.cos(math.pi * t), -0.2 + 0.3 * math.sin(math.pi * t)) for t in shares(12)], 0.03)
            for x in (-0.8, -0.4, 0, 0.4, 0.8)
        ),
    ),
    (
        "shade",
        tuple(
            stroke([(x / 10, 0.1 + 0.08 * (1 - (x / 13) ** 2)), (x / 10, 0.22 + 0.08 * (1 - (x / 13) ** 2))], 0.01)
            for x in range(-12, 13, 2)
        ),
    ),
    ("shade", (stroke([(x / 10, 0.22 + 0.08 * (1 - (x / 13) ** 2)) for x in range(-13, 14)], 0.012),)),
)
TOWER: tuple[Layer, ...] = (
    (
        "coat",
        both(
            [
                (-0.36, 0),
                (-0.22, 0),
                (-0.1, 0.4),
                (-0.035, 0.9),
                (0, 1.3),
                (0, 1.0),
                (-0.02, 0.5),
                (-0.02, 0.46),
                (-0.13, 0.42),
            ]
        ),
    ),
    (
        "coat",
        (
            block(-0.17, 0.36, 0.17, 0.41),
            block(-0.1, 0.68, 0.1, 0.72),
            [(-0.03, 0.7), (0.03, 0.7), (0.006, 1.36), (-0.006, 1.36)],
        ),
    ),
    ("shade", (stroke([(-0.2 + 0.4 * t, 0.12 + 0.18 * math.sin(math.pi * t)) for t in shares(16)], 0.018),)),
    ("shade", both(*(stroke([(-0.26 + 0.4 * t, t), (-0.2 + 0.4 * t, t + 0.12)], 0.008) for t in (0.06, 0.18)))),
)
PYRAMID: tuple[Layer, ...] = (
    ("pale", ([(-1.0, 0), (-0.62, 0.46), (-0.2, 0)],)),
    ("coat", ([(-0.6, 0), (0.1, 0.82), (0.36, 0)],)),
    ("shade", ([(0.1, 0.82), (0.36, 0), (0.84, 0)], [(-0.62, 0.46), (-0.44, 0), (-0.2, 0)])),
)

BUILDINGS: dict[str, Figure] = {
    "house": Figure(HOUSE, (226, 208, 180), 0.19, scenes=("field", "mountains", "flowers")),
    "castle": Figure(CASTLE, (168, 162, 166), 0.4, "shore", ("mountains", "lake")),
    "lighthouse": Figure(LIGHTHOUSE, RED, 0.4, "shore", ("waves",)),
    "igloo": Figure(IGLOO, (222, 236, 246), 0.36, "shore", ("snowfield",)),
    "temple": Figure(TEMPLE, (180, 62, 48), 0.38, "shore", ("mountains", "trees")),
    "windmill": Figure(WINDMILL, (226, 214, 196), 0.36, "shore", ("flowers", "field")),
    "bridge": Figure(BRIDGE, (190, 96, 70), 0.42, "water", ("lake",)),
    "tower": Figure(TOWER, (120, 100, 88), 0.46, scenes=("city",)),
    "pyramid": Figure(PYRAMID, (222, 184, 120), 0.4, "shore", ("dunes",)),
}
"""By the names that `words.called_for` finds."""
