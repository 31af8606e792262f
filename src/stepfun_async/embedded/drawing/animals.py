"""The figures of animals."""

from __future__ import annotations

import math

from .figures import BLACK, WHITE, Figure, Layer
from .outlines import Outline, block, both, curve, moved, oval, shares, stroke
from .palettes import RGB

_PINK: RGB = (236, 150, 150)
_AMBER: RGB = (236, 170, 50)
_CREAM: RGB = (250, 238, 220)
_HORN: RGB = (240, 228, 200)

_POINTED: Outline = [(0.215, 0.84), (0.2, 1.12), (0.03, 0.96)]
_INSIDE: Outline = [(0.18, 0.89), (0.175, 1.05), (0.08, 0.96)]
_ROUND = oval(0.17, 0.97, 0.085, 0.085)
_ROUND_INSIDE = oval(0.17, 0.97, 0.045, 0.045)
_LONG = curve((0.05, 0.92), (0.03, 1.2), (0.09, 1.42), (0.16, 1.2), (0.15, 0.92))
_LONG_INSIDE = curve((0.075, 0.95), (0.065, 1.18), (0.095, 1.33), (0.13, 1.18), (0.12, 0.95))
_FLOPPY = curve((0.1, 0.97), (0.24, 0.93), (0.3, 0.72), (0.24, 0.6), (0.18, 0.74))

_BODY = (oval(0, 0.42, 0.19, 0.3), oval(0, 0.22, 0.29, 0.23))
_FEET = both(oval(0.12, 0.03, 0.11, 0.055))
_HEAD = oval(0, 0.8, 0.235, 0.195)
_EYES = both(oval(0.09, 0.82, 0.034, 0.042))
_PUPILS = both(oval(0.09, 0.82, 0.018, 0.034))
_MUZZLE = oval(0, 0.715, 0.12, 0.085)
_NOSE = curve((-0.035, 0.765), (0.035, 0.765), (0, 0.725))
_MOUTH = both(stroke([(0, 0.73), (0.01, 0.695), (0.055, 0.685)], 0.006))
_TAIL = stroke([(0.2 + 0.3 * t, 0.08 + 0.42 * t * t) for t in shares(12)], 0.05, 0.035)
_BRUSH = curve((0.2, 0.06), (0.44, 0.08), (0.58, 0.3), (0.54, 0.62), (0.44, 0.5), (0.38, 0.3), (0.24, 0.22))
_BRUSH_TIP = curve((0.5, 0.42), (0.58, 0.42), (0.54, 0.64), (0.45, 0.5))
_WHISKERS = both(*(stroke([(0.1, 0.73 + rise), (0.32, 0.73 + 3 * rise)], 0.004) for rise in (-0.012, 0.006, 0.024)))


def _sitting(*, behind: tuple[Layer, ...], ears: tuple[Layer, ...], face: tuple[Layer, ...] = ()) -> tuple[Layer, ...]:
    """Return an animal that sits and looks on: its parts behind, those that all animals share, and its face."""
    return (
        *behind,
        ("coat", _BODY),
        ("pale", (oval(0, 0.4, 0.1, 0.22),)),
        ("coat", _FEET),
        *ears,
        ("coat", (_HEAD,)),
        *face,
        (BLACK, (_NOSE, *_MOUTH)),
    )


def _eyes(color: RGB) -> tuple[Layer, ...]:
    return (color, _EYES), (BLACK, _PUPILS)


_DARK_EYES: tuple[Layer, ...] = (
    (BLACK, both(oval(0.09, 0.82, 0.03, 0.034))),
    (WHITE, (oval(0.1, 0.833, 0.009, 0.01), oval(-0.08, 0.833, 0.009, 0.01))),
)
_PALE_MUZZLE: Layer = ("pale", (_MUZZLE,))
_MASK = both(curve((0, 0.72), (0.05, 0.66), (0.16, 0.66), (0.22, 0.76), (0.13, 0.78), (0.06, 0.82)))
"""The white cheeks of a fox or a wolf."""

_STRIPES = both(
    [(0.235, 0.83), (0.13, 0.8), (0.233, 0.79)],
    [(0.225, 0.75), (0.14, 0.74), (0.205, 0.71)],
    [(0.285, 0.3), (0.14, 0.28), (0.29, 0.25)],
    [(0.22, 0.46), (0.1, 0.45), (0.21, 0.41)],
    [(0.28, 0.16), (0.17, 0.15), (0.27, 0.11)],
    [(0.02, 0.99), (0, 0.89), (0, 0.99)],
    [(0.09, 0.98), (0.05, 0.9), (0.06, 0.985)],
)

CAT = _sitting(
    behind=(("coat", (_TAIL,)),),
    ears=(("coat", both(_POINTED)), (_PINK, both(_INSIDE))),
    face=(*_eyes(_AMBER), _PALE_MUZZLE, (WHITE, _WHISKERS)),
)
TIGER = _sitting(
    behind=(("coat", (_TAIL,)),),
    ears=(("coat", both(_ROUND)), (_CREAM, both(_ROUND_INSIDE))),
    face=((BLACK, _STRIPES), *_eyes(_AMBER), (_CREAM, (_MUZZLE,)), (WHITE, _WHISKERS)),
)
LION = _sitting(
    behind=(
        ("coat", (_TAIL,)),
        ("shade", (oval(0.5, 0.52, 0.07, 0.09),)),
    ),
    ears=(
        ("shade", tuple(oval(0.27 * math.sin(a), 0.8 + 0.25 * math.cos(a), 0.13, 0.13) for a in range(7))),
        ("shade", (oval(0, 0.78, 0.32, 0.3),)),
        ("coat", both(_ROUND)),
    ),
    face=(*_eyes(_AMBER), _PALE_MUZZLE),
)
FOX = _sitting(
    behind=(("coat", (_BRUSH,)), (WHITE, (_BRUSH_TIP,))),
    ears=(("coat", both(_POINTED)), (BLACK, both([(0.208, 0.98), (0.2, 1.12), (0.11, 1.04)]))),
    face=((WHITE, _MASK), *_DARK_EYES, (BLACK, both(oval(0.12, 0.03, 0.1, 0.05)))),
)
WOLF = _sitting(
    behind=(("shade", (_BRUSH,)),),
    ears=(("shade", both(_POINTED)), ("coat", both(_INSIDE))),
    face=((WHITE, _MASK), *_eyes(_AMBER)),
)
DOG = _sitting(
    behind=(("coat", (stroke([(0.2, 0.1), (0.38, 0.22), (0.44, 0.44)], 0.05, 0.025),)),),
    ears=(),
    face=(
        ("shade", both(_FLOPPY)),
        _PALE_MUZZLE,
        *_DARK_EYES,
        (_PINK, (curve((-0.035, 0.675), (0.035, 0.675), (0, 0.6)),)),
    ),
)
RABBIT = _sitting(
    behind=(("pale", (oval(0.28, 0.14, 0.1, 0.1),)),),
    ears=(("coat", both(_LONG)), (_PINK, both(_LONG_INSIDE))),
    face=(_PALE_MUZZLE, *_DARK_EYES, (WHITE, (block(-0.025, 0.64, 0.025, 0.685),))),
)
BEAR = _sitting(
    behind=(("coat", both(curve((0.16, 0.6), (0.36, 0.42), (0.34, 0.2), (0.2, 0.3)))),),
    ears=(("coat", both(_ROUND)), ("shade", both(_ROUND_INSIDE))),
    face=(_PALE_MUZZLE, *_DARK_EYES),
)
PANDA = _sitting(
    behind=(),
    ears=((BLACK, both(_ROUND)),),
    face=(
        (BLACK, both(curve((0.13, 0.6), (0.27, 0.48), (0.24, 0.26), (0.1, 0.38)), oval(0.16, 0.06, 0.14, 0.09))),
        (BLACK, both(curve((0.07, 0.87), (0.13, 0.88), (0.16, 0.76), (0.1, 0.74)))),
        (WHITE, both(oval(0.1, 0.825, 0.022, 0.024))),
        (BLACK, both(oval(0.1, 0.825, 0.012, 0.014))),
    ),
)


def _legs(*at: float, half: float, top: float = 0.5) -> tuple[Outline, ...]:
    return tuple([(x - half, top), (x + half, top), (x + half * 0.7, 0.0), (x - half * 0.7, 0.0)] for x in at)


_HORSE_HEAD = (
    curve((0.2, 0.44), (0.36, 0.5), (0.44, 0.72), (0.5, 0.9), (0.38, 1.02), (0.28, 0.84), (0.14, 0.62)),
    curve((0.36, 1.02), (0.48, 0.98), (0.64, 0.78), (0.6, 0.72), (0.52, 0.74), (0.42, 0.84)),
    [(0.38, 1.0), (0.42, 1.12), (0.46, 0.98)],
)
_FLANK = curve(
    (-0.4, 0.56), (-0.36, 0.68), (-0.1, 0.64), (0.2, 0.68), (0.36, 0.54), (0.3, 0.38), (0, 0.36), (-0.3, 0.38)
)
HORSE: tuple[Layer, ...] = (
    ("shade", (curve((-0.36, 0.62), (-0.48, 0.56), (-0.56, 0.2), (-0.46, 0.22), (-0.4, 0.46)),)),
    ("shade", _legs(-0.22, 0.2, half=0.045)),
    ("coat", (*_legs(-0.32, 0.28, half=0.055), _FLANK, *_HORSE_HEAD)),
    ("shade", (curve((0.36, 1.06), (0.3, 0.98), (0.18, 0.72), (0.1, 0.64), (0.24, 0.7), (0.34, 0.9)),)),
    (BLACK, (oval(0.48, 0.9, 0.016, 0.018), oval(0.6, 0.77, 0.01, 0.012))),
    (BLACK, tuple(block(x - 0.042, 0, x + 0.042, 0.05) for x in (-0.32, 0.28))),
)
_ANTLER = (
    stroke([(0.42, 1.02), (0.38, 1.2), (0.26, 1.32), (0.24, 1.44)], 0.016, 0.008),
    stroke([(0.35, 1.25), (0.4, 1.38)], 0.012, 0.006),
    stroke([(0.29, 1.3), (0.18, 1.32)], 0.012, 0.006),
    stroke([(0.45, 1.0), (0.54, 1.18), (0.62, 1.26), (0.6, 1.4)], 0.016, 0.008),
    stroke([(0.55, 1.19), (0.66, 1.2)], 0.012, 0.006),
)
DEER: tuple[Layer, ...] = (
    ((120, 86, 54), _ANTLER),
    ("pale", (oval(-0.4, 0.6, 0.05, 0.08),)),
    ("shade", _legs(-0.22, 0.2, half=0.035)),
    ("coat", (*_legs(-0.32, 0.28, half=0.04), _FLANK, *_HORSE_HEAD)),
    (
        "pale",
        (*(oval(x, 0.58 + 0.04 * (index % 2), 0.022, 0.022) for index, x in enumerate((-0.3, -0.2, -0.1, 0, 0.1))),),
    ),
    (BLACK, (oval(0.48, 0.9, 0.018, 0.02), oval(0.62, 0.745, 0.02, 0.018))),
)
COW: tuple[Layer, ...] = (
    ("shade", (stroke([(-0.4, 0.6), (-0.48, 0.5), (-0.47, 0.26)], 0.014), oval(-0.47, 0.23, 0.03, 0.05))),
    ("shade", _legs(-0.2, 0.2, half=0.05)),
    (
        "coat",
        (
            *_legs(-0.31, 0.3, half=0.06),
            curve((-0.42, 0.5), (-0.38, 0.7), (0, 0.7), (0.38, 0.7), (0.42, 0.5), (0.34, 0.34), (-0.34, 0.34)),
        ),
    ),
    (
        BLACK,
        (
            curve((-0.3, 0.68), (-0.12, 0.66), (-0.14, 0.46), (-0.32, 0.5)),
            curve((0.06, 0.6), (0.22, 0.64), (0.24, 0.46), (0.1, 0.42)),
        ),
    ),
    (_PINK, (oval(-0.14, 0.35, 0.09, 0.06),)),
    (_HORN, tuple(moved(h, 0.5, 0) for h in both(curve((0.09, 0.88), (0.15, 0.9), (0.17, 1.02), (0.06, 0.93))))),
    ("shade", tuple(moved(ear, 0.5, 0) for ear in both(oval(0.2, 0.85, 0.08, 0.035)))),
    ("coat", (curve((0.36, 0.9), (0.64, 0.9), (0.62, 0.72), (0.58, 0.58), (0.42, 0.58), (0.38, 0.72)),)),
    (_PINK, (oval(0.5, 0.61, 0.11, 0.07),)),
    (BLACK, tuple(oval(0.5 + x, y, 0.018, 0.02) for x, y in ((-0.07, 0.8), (0.07, 0.8), (-0.04, 0.62), (0.04, 0.62)))),
)
SHEEP: tuple[Layer, ...] = (
    ((60, 52, 50), _legs(-0.24, -0.12, 0.14, 0.26, half=0.035, top=0.4)),
    ("coat", tuple(oval(0.34 * math.cos(a * 0.7), 0.5 + 0.17 * math.sin(a * 0.7), 0.14, 0.13) for a in range(9))),
    ("coat", (oval(0, 0.5, 0.36, 0.2),)),
    ((60, 52, 50), (oval(0.44, 0.6, 0.11, 0.13), oval(0.32, 0.66, 0.08, 0.035), oval(0.54, 0.68, 0.07, 0.03))),
    ("coat", (oval(0.43, 0.72, 0.1, 0.06),)),
    (WHITE, (oval(0.41, 0.63, 0.022, 0.024), oval(0.48, 0.63, 0.022, 0.024))),
)
ELEPHANT: tuple[Layer, ...] = (
    ("shade", (stroke([(-0.42, 0.56), (-0.5, 0.36)], 0.014), *_legs(-0.16, 0.12, half=0.09, top=0.4))),
    ("coat", (*_legs(-0.3, 0.24, half=0.1), oval(-0.04, 0.56, 0.42, 0.27))),
    (
        "coat",
        (
            oval(0.42, 0.68, 0.2, 0.21),
            stroke([(0.54, 0.66), (0.63, 0.5), (0.63, 0.28), (0.7, 0.14), (0.78, 0.16)], 0.085, 0.035),
        ),
    ),
    (_HORN, (curve((0.54, 0.52), (0.6, 0.44), (0.74, 0.44), (0.6, 0.5)),)),
    ("shade", (curve((0.3, 0.86), (0.42, 0.78), (0.4, 0.56), (0.3, 0.44), (0.18, 0.52), (0.16, 0.74)),)),
    (BLACK, (oval(0.52, 0.72, 0.018, 0.02),)),
)
OWL: tuple[Layer, ...] = (
    ((96, 66, 44), (stroke([(-0.62, 0.02), (0, 0.05), (0.62, 0.0)], 0.04, 0.03),)),
    ("coat", (oval(0, 0.48, 0.3, 0.44), oval(0, 0.78, 0.29, 0.22), *both([(0.28, 0.84), (0.27, 1.08), (0.08, 0.95)]))),
    ("shade", both(curve((0.2, 0.66), (0.34, 0.5), (0.3, 0.2), (0.18, 0.12), (0.2, 0.4)))),
    ("pale", (oval(0, 0.4, 0.18, 0.26),)),
    ("shade", tuple(oval(x, y, 0.024, 0.03) for y in (0.28, 0.4, 0.52) for x in (-0.09, 0, 0.09))),
    ("pale", both(oval(0.12, 0.8, 0.13, 0.13))),
    (_AMBER, both(oval(0.12, 0.8, 0.085, 0.085))),
    (BLACK, both(oval(0.12, 0.8, 0.045, 0.05))),
    (_AMBER, ([(-0.045, 0.74), (0.045, 0.74), (0, 0.62)], *both(oval(0.1, 0.06, 0.06, 0.03)))),
)
PENGUIN: tuple[Layer, ...] = (
    ((240, 150, 50), both(curve((0.02, 0.0), (0.24, 0.0), (0.16, 0.08), (0.06, 0.08)))),
    (
        "coat",
        (
            oval(0, 0.44, 0.27, 0.42),
            oval(0, 0.82, 0.19, 0.18),
            *both(curve((0.22, 0.62), (0.36, 0.4), (0.38, 0.22), (0.24, 0.36))),
        ),
    ),
    (WHITE, (oval(0, 0.4, 0.19, 0.34), *both(oval(0.08, 0.83, 0.085, 0.095)))),
    (BLACK, both(oval(0.075, 0.84, 0.026, 0.03))),
    ((240, 150, 50), ([(-0.06, 0.79), (0.06, 0.79), (0, 0.71)],)),
)
FISH: tuple[Layer, ...] = (
    ("shade", (curve((-0.4, 0.02), (-0.66, 0.3), (-0.74, 0.24), (-0.6, 0), (-0.74, -0.26), (-0.64, -0.3)),)),
    (
        "shade",
        (
            curve((-0.2, 0.2), (0, 0.46), (0.16, 0.38), (0.2, 0.2)),
            curve((-0.1, -0.2), (-0.06, -0.4), (0.1, -0.34), (0.12, -0.2)),
        ),
    ),
    (
        "coat",
        (curve((0.52, 0), (0.34, 0.2), (0, 0.28), (-0.34, 0.1), (-0.46, 0), (-0.34, -0.1), (0, -0.26), (0.34, -0.18)),),
    ),
    (
        "pale",
        (
            curve((0.46, -0.06), (0.2, -0.08), (-0.24, -0.06), (0, -0.22), (0.32, -0.17)),
            *(curve((x, 0.2), (x + 0.04, 0.02), (x, -0.16), (x - 0.03, 0.02)) for x in (0.16, 0.0, -0.16)),
        ),
    ),
    ("shade", (curve((0.14, -0.02), (-0.02, -0.02), (-0.1, -0.16), (0.1, -0.12)),)),
    (WHITE, (oval(0.34, 0.06, 0.05, 0.055),)),
    (BLACK, (oval(0.35, 0.06, 0.026, 0.03),)),
)
WHALE: tuple[Layer, ...] = (
    (
        WHITE,
        (
            stroke([(0.26, 0.34), (0.26, 0.5), (0.14, 0.62), (0.06, 0.56)], 0.022, 0.008),
            stroke([(0.26, 0.5), (0.36, 0.62), (0.46, 0.56)], 0.018, 0.008),
        ),
    ),
    (
        "coat",
        (
            curve(
                (-0.5, 0.06),
                (-0.7, 0.3),
                (-0.92, 0.4),
                (-0.8, 0.44),
                (-0.66, 0.4),
                (-0.6, 0.52),
                (-0.56, 0.36),
                (-0.4, 0.14),
            ),
        ),
    ),
    (
        "coat",
        (
            curve(
                (0.62, 0.04),
                (0.52, 0.26),
                (0.2, 0.36),
                (-0.2, 0.24),
                (-0.52, 0.1),
                (-0.4, -0.1),
                (0, -0.2),
                (0.46, -0.16),
            ),
        ),
    ),
    ("pale", (curve((0.6, 0.0), (0.3, -0.02), (0, -0.08), (0, -0.19), (0.44, -0.15)),)),
    (
        "shade",
        (
            curve((0.16, -0.08), (0.06, -0.06), (-0.1, -0.28), (0.06, -0.24)),
            *(stroke([(0.56, y), (0.12, y - 0.02)], 0.005) for y in (-0.04, -0.08, -0.12)),
        ),
    ),
    (BLACK, (oval(0.42, 0.06, 0.024, 0.026),)),
)
BUTTERFLY: tuple[Layer, ...] = (
    (
        "coat",
        both(
            curve((0.03, 0.06), (0.2, 0.44), (0.52, 0.5), (0.54, 0.26), (0.3, 0.04)),
            curve((0.03, 0.0), (0.32, -0.02), (0.4, -0.24), (0.22, -0.42), (0.06, -0.22)),
        ),
    ),
    ("pale", both(oval(0.36, 0.3, 0.09, 0.09), oval(0.22, -0.2, 0.07, 0.08))),
    ("shade", both(oval(0.36, 0.3, 0.045, 0.045), oval(0.46, 0.42, 0.03, 0.03), oval(0.46, 0.22, 0.025, 0.025))),
    (
        BLACK,
        (
            oval(0, 0, 0.035, 0.24),
            oval(0, 0.24, 0.045, 0.05),
            *both(stroke([(0.01, 0.26), (0.07, 0.42), (0.14, 0.48)], 0.008)),
        ),
    ),
)


def _winding(share: float) -> tuple[float, float]:
    return 1.5 * share - 0.85, 0.2 * math.sin(share * 4.2 * math.pi) * (0.5 + 0.5 * share) + 0.12 * share


_SPINE = [_winding(t) for t in shares(40)]
DRAGON: tuple[Layer, ...] = (
    ((236, 180, 60), tuple([(x - 0.05, y + 0.03), (x + 0.0, y + 0.17), (x + 0.05, y + 0.03)] for x, y in _SPINE[3::3])),
    ("coat", (stroke(_SPINE, 0.02, 0.1),)),
    ("pale", (stroke([(x, y - 0.03) for x, y in _SPINE], 0.006, 0.035),)),
    (
        "coat",
        tuple(
            stroke([(x, y), (x + 0.03, y - 0.17), (x + 0.11, y - 0.2)], 0.035, 0.014)
            for x, y in (_SPINE[14], _SPINE[30])
        ),
    ),
    ((236, 180, 60), ([(-0.86, 0.02), (-1.0, 0.12), (-0.95, 0.0), (-1.02, -0.1)],)),
    (
        (236, 180, 60),
        tuple(moved(h, 0.72, 0.14) for h in both(stroke([(0.04, 0.08), (0.06, 0.24), (0.14, 0.32)], 0.02, 0.006))),
    ),
    ("coat", (curve((0.58, 0.1), (0.64, 0.28), (0.82, 0.28), (1.0, 0.18), (1.02, 0.1), (0.84, 0.06), (0.66, 0.0)),)),
    ((200, 60, 50), ([(0.82, 0.09), (1.0, 0.1), (0.96, 0.04)],)),
    (
        (236, 180, 60),
        (
            stroke([(0.98, 0.17), (1.1, 0.24), (1.16, 0.14)], 0.01, 0.004),
            stroke([(0.98, 0.12), (1.1, 0.04), (1.18, 0.1)], 0.01, 0.004),
        ),
    ),
    (WHITE, (oval(0.8, 0.2, 0.036, 0.036),)),
    (BLACK, (oval(0.81, 0.2, 0.018, 0.022), oval(0.97, 0.18, 0.012, 0.01))),
)

_WING = [(2 * t - 1, 0.45 * abs(math.sin(2 * math.pi * t))) for t in shares(20)]
_WINGS: Outline = [*_WING, *((x, y - 0.16 * (1 - abs(x))) for x, y in _WING[::-1])]
_FLOCK = (
    (0.0, 0.0, 0.1),
    (0.42, 0.22, 0.08),
    (-0.5, 0.3, 0.07),
    (0.62, -0.2, 0.06),
    (-0.3, -0.24, 0.09),
    (-0.9, 0.02, 0.06),
)
BIRDS: tuple[Layer, ...] = (("coat", tuple(moved(_WINGS, x, y, scale) for x, y, scale in _FLOCK)),)

ANIMALS: dict[str, Figure] = {
    "cat": Figure(CAT, (92, 82, 78)),
    "dog": Figure(DOG, (206, 150, 90)),
    "fox": Figure(FOX, (222, 108, 40)),
    "wolf": Figure(WOLF, (130, 136, 148), scenes=("trees", "mountains", "snowfield")),
    "lion": Figure(LION, (216, 166, 84), scenes=("dunes", "field")),
    "tiger": Figure(TIGER, (232, 140, 44), scenes=("trees",)),
    "rabbit": Figure(RABBIT, (190, 170, 154), 0.27, scenes=("flowers", "field")),
    "panda": Figure(PANDA, WHITE, scenes=("trees",)),
    "bear": Figure(BEAR, (124, 82, 52), 0.4, scenes=("trees", "mountains")),
    "horse": Figure(HORSE, (142, 88, 52), scenes=("field", "dunes", "mountains")),
    "deer": Figure(DEER, (172, 118, 72), 0.3, scenes=("trees", "field")),
    "cow": Figure(COW, WHITE, 0.32, scenes=("field", "flowers")),
    "sheep": Figure(SHEEP, (240, 236, 226), 0.3, scenes=("field", "flowers")),
    "elephant": Figure(ELEPHANT, (134, 138, 150), 0.42, scenes=("dunes", "field")),
    "owl": Figure(OWL, (150, 108, 70), 0.32, "shore", ("trees",)),
    "penguin": Figure(PENGUIN, (40, 44, 58), 0.32, scenes=("snowfield",)),
    "fish": Figure(FISH, (70, 140, 200), 0.3, "middle", ("underwater",)),
    "whale": Figure(WHALE, (64, 96, 140), 0.36, "water", ("waves",)),
    "butterfly": Figure(BUTTERFLY, (240, 136, 50), 0.26, "air", ("flowers",)),
    "dragon": Figure(DRAGON, (190, 48, 44), 0.36, "air", ("mountains", "waves")),
    "bird": Figure(BIRDS, (52, 54, 70), 0.17, "air", ("lake", "mountains", "waves")),
}
"""By the names that `words.called_for` finds."""
