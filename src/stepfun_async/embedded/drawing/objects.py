"""The figures of other objects."""

from __future__ import annotations

import math

from .figures import BLACK, Figure, Layer
from .materials import CREAM, GOLD, LAMP, RED, STEEL, WOOD
from .outlines import block, both, curve, dome, oval, star, stroke

FIREWORKS: tuple[Layer, ...] = tuple(
    (
        color,
        tuple(
            stroke(
                [(x + 0.25 * r * math.cos(a), y + 0.25 * r * math.sin(a)), (x + r * math.cos(a), y + r * math.sin(a))],
                0.003,
                0.013,
            )
            for a in (math.pi * n / 9 for n in range(18))
        ),
    )
    for color, x, y, r in (
        (GOLD, 0.0, 0.1, 0.42),
        ((240, 100, 130), 0.74, 0.28, 0.32),
        ((110, 190, 250), -0.72, 0.3, 0.3),
    )
)
GUITAR: tuple[Layer, ...] = (
    (WOOD, (block(-0.04, 0.5, 0.04, 1.2), [(-0.06, 1.18), (0.06, 1.18), (0.075, 1.36), (-0.075, 1.36)])),
    (
        "coat",
        (
            curve(
                (0, 0.02),
                (0.28, 0.06),
                (0.36, 0.24),
                (0.22, 0.42),
                (0.24, 0.58),
                (0.16, 0.7),
                (0, 0.68),
                (-0.16, 0.7),
                (-0.24, 0.58),
                (-0.22, 0.42),
                (-0.36, 0.24),
                (-0.28, 0.06),
            ),
        ),
    ),
    (BLACK, (oval(0, 0.46, 0.085, 0.085), block(-0.1, 0.19, 0.1, 0.22))),
    (CREAM, tuple(stroke([(x, 0.2), (x, 1.32)], 0.003) for x in (-0.024, -0.008, 0.008, 0.024))),
    (STEEL, both(*(oval(0.09, y, 0.022, 0.016) for y in (1.22, 1.27, 1.32)))),
)
BOOK: tuple[Layer, ...] = (
    (CREAM, (block(-0.34, 0.03, 0.4, 0.98),)),
    ("coat", ([(-0.4, 0.0), (0.34, 0.0), (0.34, 1.0), (-0.4, 1.0)],)),
    ("shade", (block(-0.4, 0, -0.32, 1.0),)),
    (GOLD, (block(-0.2, 0.74, 0.24, 0.78), block(-0.14, 0.67, 0.18, 0.7), star(0.02, 0.38, 0.15, 0.06, 8))),
)
UMBRELLA: tuple[Layer, ...] = (
    (WOOD, (stroke([(0, 0.9), (0, 0.12), (0.04, 0.03), (0.12, 0.03), (0.15, 0.1)], 0.016),)),
    (
        "coat",
        (
            [
                *dome(0, 0.62, 0.62, 0.5),
                *(
                    p
                    for x in (-0.465, -0.155, 0.155, 0.465)
                    for p in ((x - 0.1, 0.66), (x, 0.675), (x + 0.1, 0.66), (x + 0.155, 0.62))
                ),
            ],
        ),
    ),
    ("shade", (curve((-0.16, 0.63), (-0.13, 0.9), (0, 1.12), (0.13, 0.9), (0.16, 0.63), (0, 0.68)),)),
    (WOOD, (stroke([(0, 1.1), (0, 1.2)], 0.014),)),
)
HEART: tuple[Layer, ...] = (
    (
        "coat",
        (
            curve(
                (0, -0.5),
                (0.3, -0.22),
                (0.52, 0.1),
                (0.5, 0.36),
                (0.28, 0.48),
                (0.08, 0.38),
                (0, 0.22),
                (-0.08, 0.38),
                (-0.28, 0.48),
                (-0.5, 0.36),
                (-0.52, 0.1),
                (-0.3, -0.22),
            ),
        ),
    ),
    ("pale", (curve((-0.4, 0.2), (-0.34, 0.36), (-0.24, 0.38), (-0.32, 0.2)),)),
)
STAR: tuple[Layer, ...] = (("coat", (star(0, 0, 0.55, 0.24),)), ("pale", (star(0, 0.01, 0.3, 0.13),)))
CROWN: tuple[Layer, ...] = (
    ("coat", ([(-0.46, 0.04), (0.46, 0.04), (0.56, 0.6), (0.26, 0.34), (0, 0.74), (-0.26, 0.34), (-0.56, 0.6)],)),
    ("shade", (block(-0.46, 0.0, 0.46, 0.12),)),
    (RED, (oval(0, 0.76, 0.055, 0.055), *both(oval(0.56, 0.62, 0.05, 0.05)), oval(0, 0.06, 0.05, 0.04))),
    ((80, 140, 210), both(oval(0.24, 0.06, 0.045, 0.035))),
)
LANTERN: tuple[Layer, ...] = (
    (WOOD, (stroke([(0, 0.46), (0, 0.8)], 0.012),)),
    ("coat", (oval(0, 0, 0.44, 0.4),)),
    ("shade", (oval(0, 0, 0.26, 0.4),)),
    ("coat", (oval(0, 0, 0.2, 0.395),)),
    (LAMP, (oval(0, 0, 0.09, 0.34),)),
    (
        GOLD,
        (
            block(-0.2, 0.34, 0.2, 0.43),
            block(-0.2, -0.43, 0.2, -0.34),
            *(stroke([(x, -0.43), (x, -0.72)], 0.01) for x in (-0.06, 0, 0.06)),
        ),
    ),
)
SIGN: tuple[Layer, ...] = (
    (WOOD, (block(-0.05, 0, 0.05, 0.5),)),
    ("coat", (block(-0.6, 0.42, 0.6, 0.94),)),
    (CREAM, (block(-0.55, 0.47, 0.55, 0.89),)),
    (BLACK, (block(-0.4, 0.72, 0.4, 0.78), block(-0.28, 0.58, 0.28, 0.63))),
)

OBJECTS: dict[str, Figure] = {
    "fireworks": Figure(FIREWORKS, GOLD, 0.32, "air", ("city", "lake")),
    "guitar": Figure(GUITAR, (190, 118, 60), 0.4, "table", ("studio",)),
    "book": Figure(BOOK, (52, 84, 130), 0.38, "table", ("table",)),
    "umbrella": Figure(UMBRELLA, (220, 60, 70), 0.34, scenes=("lake", "city", "field")),
    "heart": Figure(HEART, (226, 54, 84), 0.4, "middle", ("studio", "bands")),
    "star": Figure(STAR, GOLD, 0.32, "middle", ("studio", "bands")),
    "crown": Figure(CROWN, GOLD, 0.36, "table", ("studio",)),
    "lantern": Figure(LANTERN, (214, 48, 46), 0.26, "air", ("city", "studio")),
    "sign": Figure(SIGN, (150, 100, 60), 0.34, scenes=("field", "road")),
}
"""By the names that `words.called_for` finds."""
