"""The scenes that stand-in pictures show, each painted from a palette and a source of chance."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from .canvas import Canvas, Point, oval
from .palettes import RGB, Palette, mix

Scene = Callable[[Canvas, Palette, random.Random, float], None]
"""Paints a whole canvas; the last argument, from 0 to 1, is how fine the details are."""


def mountains(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Ridges one behind another, paler with distance."""
    _sky(canvas, palette, chance, 0.62)
    _ridges(canvas, palette, chance, detail, first=0.48, last=0.98, count=5)


def lake(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Mountains over still water that mirrors them."""
    shore = canvas.height * (0.6 + 0.06 * chance.random())
    _sky(canvas, palette, chance, 0.55)
    _ridges(canvas, palette, chance, detail, first=0.42, last=0.6, count=3)
    above = canvas.image.crop((0, 0, canvas.width, round(shore)))
    depth = canvas.height - round(shore)
    mirrored = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).crop((0, 0, canvas.width, min(depth * 2, above.height)))
    water = mirrored.resize((canvas.width, depth), Image.Resampling.BILINEAR)
    tint = Image.new("RGB", water.size, mix(palette.near, palette.sky[1], 0.6))
    canvas.image.paste(Image.blend(water, tint, 0.32), (0, round(shore)))
    _ripples(canvas, palette, chance, shore)
    front = _ridge(canvas, chance, 0.97, 0.05, detail)
    canvas.land(front, mix(palette.near, (0, 0, 0), 0.35))


def waves(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """The open sea."""
    horizon = canvas.height * (0.46 + 0.08 * chance.random())
    x, _ = _sky(canvas, palette, chance, horizon / canvas.height)
    far, deep = mix(palette.sky[-1], palette.far, 0.75), mix(palette.near, palette.sky[0], 0.3)
    canvas.gradient((far, mix(far, deep, 0.5)), horizon)
    for row in range(1, 9):
        share = row / 8
        base = horizon + (canvas.height - horizon) * share**1.6 * 0.95
        line = _swell(canvas, chance, base, canvas.height * (0.002 + 0.016 * share), 4.2 - 2.4 * share + detail)
        crest = mix(far, deep, 0.3 + 0.7 * share)
        canvas.land(line, mix(crest, palette.sky[-1], 0.3), mix(crest, far, 0.1), mix(crest, deep, 0.4))
    _glitter(canvas, palette, chance, x, horizon)


def trees(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Rows of pines in haze."""
    _sky(canvas, palette, chance, 0.7)
    for row in range(5):
        share = row / 4
        ground = _ridge(canvas, chance, 0.52 + 0.46 * share, 0.10 - 0.04 * share, detail)
        color = mix(mix(palette.sky[-1], palette.far, 0.55), palette.near, share**0.9)
        height = canvas.unit * (0.07 + 0.17 * share)
        outlines = [tree for spot in _spots(ground, chance, height * 0.28) for tree in _pine(spot, height, chance)]
        canvas.shape(outlines, color)
        canvas.land(ground, color, mix(color, palette.sky[-1], 0.3 * (1 - share)))


def city(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A skyline with lit windows."""
    _sky(canvas, palette, chance, 0.8)
    for row in range(4):
        share = row / 3
        color = mix(mix(palette.sky[-2], palette.far, 0.6), mix(palette.near, (0, 0, 0), 0.2), share)
        _houses(canvas, palette, chance, color, share, detail)


def space(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A planet among stars."""
    dark = palette.map(lambda color: mix(color, (6, 6, 22), 0.8))
    canvas.gradient(dark.sky)
    for color in (mix(palette.accent, (150, 60, 190), 0.6), palette.sky[1], (70, 60, 170)):
        canvas.clouds(mix(color, (0, 0, 20), 0.3), chance, cover=0.42, bottom=canvas.height, stretch=1.0)
    _stars(canvas, palette.light, chance, 1.0, 160 + round(80 * detail))
    x, y = canvas.width * (0.3 + 0.4 * chance.random()), canvas.height * (0.36 + 0.3 * chance.random())
    radius = canvas.unit * (0.15 + 0.09 * chance.random())
    canvas.glow(x, y, radius * 2.2, palette.sky[-1], 0.6)
    _ring(canvas, palette, (x, y), radius, front=False)
    canvas.disc(x, y, radius, palette.sky[-1], palette.accent, mix(palette.accent, palette.near, 0.5), palette.near)
    _belts(canvas, palette, chance, (x, y), radius)
    _ring(canvas, palette, (x, y), radius, front=True)
    canvas.disc(x + radius * 1.7, y - radius * 1.2, radius * 0.2, palette.light, palette.far)


def flowers(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A meadow in bloom."""
    _sky(canvas, palette, chance, 0.5)
    leaf = mix(palette.near, (40, 120, 60), 0.5)
    _ridges(canvas, palette, chance, detail, first=0.46, last=0.56, count=2)
    canvas.land(_swell(canvas, chance, canvas.height * 0.58, canvas.height * 0.03, 1.5), mix(leaf, palette.sky[-1], 0.45), leaf)
    for row in range(46):
        share = row / 45
        x, y = canvas.width * chance.random(), canvas.height * (0.6 + 0.36 * share**1.2 + 0.03 * chance.random())
        size = canvas.unit * (0.008 + 0.042 * share) * (0.8 + 0.5 * chance.random())
        _flower(canvas, palette, chance, (x, y), size, leaf)


def dunes(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Smooth hills of sand, each with a lit crest."""
    _sky(canvas, palette, chance, 0.6)
    for row in range(6):
        share = row / 5
        line = _swell(canvas, chance, canvas.height * (0.5 + 0.44 * share), canvas.height * 0.06, 0.6 + 0.5 * chance.random() + 0.3 * detail, 0.25)
        color = mix(mix(palette.sky[-1], palette.far, 0.5), palette.near, share)
        canvas.land(line, mix(color, palette.light, 0.35), color, mix(color, palette.near, 0.35))


def bands(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Bands of colour that flow across."""
    canvas.gradient(palette.sky)
    colors = [*palette.sky[::-1], palette.accent, palette.far, palette.near]
    for row in range(9):
        share = row / 8
        color = colors[min(len(colors) - 1, int(share * len(colors)))]
        line = _swell(canvas, chance, canvas.height * (0.12 + 0.86 * share), canvas.height * 0.06, 0.5 + 0.8 * chance.random() + 0.3 * detail, 0.3)
        canvas.land(line, mix(color, palette.light, 0.18), mix(color, palette.near, 0.15))
    for _ in range(4):
        x, y, size = chance.random() * canvas.width, chance.random() * canvas.height, chance.random()
        canvas.disc(x, y, canvas.unit * (0.03 + 0.09 * size), palette.light, palette.accent, opacity=0.75)


SCENES: Mapping[str, Scene] = {
    "mountains": mountains,
    "lake": lake,
    "waves": waves,
    "trees": trees,
    "city": city,
    "space": space,
    "flowers": flowers,
    "dunes": dunes,
    "bands": bands,
}
"""By the names that `palettes.called_for` finds."""


# --- parts --------------------------------------------------------------------------------------


def _sky(canvas: Canvas, palette: Palette, chance: random.Random, horizon: float) -> Point:
    """Sky, stars, sun or moon and clouds above `horizon` (a share of the height); where the sun is."""
    bottom = canvas.height * horizon
    canvas.gradient(palette.sky, 0, bottom)
    canvas.gradient((palette.sky[-1],), bottom)
    x, y = canvas.width * (0.18 + 0.64 * chance.random()), bottom * (0.32 + 0.5 * chance.random())
    radius = canvas.unit * (0.035 + 0.03 * chance.random())
    if palette.dark:
        y *= 0.6
        _stars(canvas, palette.light, chance, horizon, 140)
    canvas.glow(x, y, canvas.unit * 0.55, mix(palette.sky[-1], palette.light, 0.4), 0.55 if palette.dark else 0.85)
    canvas.glow(x, y, radius * 2.6, palette.light, 0.7)
    canvas.disc(x, y, radius, palette.light)
    canvas.clouds(mix(palette.sky[-1], palette.light, 0.5), chance, cover=0.3 + 0.25 * chance.random(), bottom=bottom)
    return x, y


def _stars(canvas: Canvas, color: RGB, chance: random.Random, share: float, count: int) -> None:
    height = canvas.height * share
    spots = [(chance.random() * canvas.width, chance.random() * height, chance.random()) for _ in range(count)]
    canvas.dots([(x, y, canvas.unit * (0.0007 + 0.0018 * size**4)) for x, y, size in spots], color)


def _ridges(
    canvas: Canvas, palette: Palette, chance: random.Random, detail: float, *, first: float, last: float, count: int
) -> None:
    for row in range(count):
        share = row / max(1, count - 1)
        line = _ridge(canvas, chance, first + (last - first) * share, 0.26 - 0.12 * share, detail)
        color = mix(mix(palette.sky[-1], palette.far, 0.75), palette.near, share**1.1)
        haze = mix(color, palette.sky[-1], 0.45 * (1 - share) + 0.08)
        canvas.land(line, color, mix(color, haze, 0.6), haze)


def _ridge(canvas: Canvas, chance: random.Random, base: float, swing: float, detail: float) -> list[Point]:
    """A jagged line at about `base`, by midpoint displacement."""
    heights = [chance.random(), chance.random()]
    spread = 1.5
    for _ in range(7):
        spread *= 0.46 + 0.1 * detail
        middles = [(a + b) / 2 + (chance.random() - 0.5) * spread for a, b in zip(heights, heights[1:], strict=False)]
        heights = [height for pair in zip(heights, middles, strict=False) for height in pair] + heights[-1:]
    step = canvas.width / (len(heights) - 1)
    level, reach = canvas.height * base, canvas.height * swing
    return [(index * step, level - reach * (height - 0.35)) for index, height in enumerate(heights)]


def _swell(
    canvas: Canvas, chance: random.Random, base: float, swing: float, turns: float, ripple: float = 1.0
) -> list[Point]:
    """A smooth line at about the row `base`, of three sines; `ripple` is the share of the two quicker ones."""
    sizes = (1.0, 0.5 * ripple, 0.2 * ripple)
    parts = [(size, turns * rate, chance.random()) for size, rate in zip(sizes, (1.0, 2.3, 5.1), strict=True)]
    count = 96
    return [
        (
            canvas.width * step / count,
            base + swing * sum(size * math.sin(2 * math.pi * (rate * step / count + at)) for size, rate, at in parts),
        )
        for step in range(count + 1)
    ]


def _ripples(canvas: Canvas, palette: Palette, chance: random.Random, shore: float) -> None:
    for color, opacity in ((palette.light, 0.22), (palette.near, 0.16)):
        streaks: list[list[Point]] = []
        for _ in range(36):
            share = chance.random()
            x, y = chance.random() * canvas.width, shore + (canvas.height - shore) * share**1.3
            streaks.append(oval(x, y, canvas.unit * (0.02 + 0.08 * share), canvas.unit * (0.0008 + 0.0022 * share), 24))
        canvas.shape(streaks, color, opacity=opacity)


def _glitter(canvas: Canvas, palette: Palette, chance: random.Random, x: float, horizon: float) -> None:
    streaks: list[list[Point]] = []
    for row in range(60):
        share = row / 60
        spread = canvas.unit * (0.02 + 0.1 * share)
        at = x + (chance.random() - 0.5) * 2 * spread
        y = horizon + (canvas.height - horizon) * share * 0.8
        streaks.append(oval(at, y, spread * (0.2 + 0.5 * chance.random()), canvas.unit * (0.001 + 0.0025 * share), 20))
    canvas.shape(streaks, palette.light, opacity=0.75)


def _spots(ground: Sequence[Point], chance: random.Random, apart: float) -> list[Point]:
    """Points along a line, about `apart` pixels from one another."""
    spots: list[Point] = []
    x = -apart * chance.random()
    while x < ground[-1][0] + apart:
        step = ground[-1][0] / (len(ground) - 1)
        index = min(len(ground) - 1, max(0, round(x / step)))
        spots.append((x, ground[index][1]))
        x += apart * (0.6 + 0.9 * chance.random())
    return spots


def _pine(spot: Point, height: float, chance: random.Random) -> list[list[Point]]:
    x, y = spot
    tall = height * (0.6 + 0.6 * chance.random())
    tiers: list[list[Point]] = []
    for tier in range(4):
        top, foot = y - tall + tall * 0.2 * tier, y - tall + tall * (0.36 + 0.21 * tier)
        half = tall * (0.09 + 0.055 * tier)
        tiers.append([(x, top), (x + half, foot), (x - half, foot)])
    return [*tiers, [(x - tall * 0.02, y - tall * 0.1), (x + tall * 0.02, y - tall * 0.1), (x, y + tall * 0.08)]]


def _houses(canvas: Canvas, palette: Palette, chance: random.Random, color: RGB, share: float, detail: float) -> None:
    walls: list[list[Point]] = []
    windows: list[list[Point]] = []
    x = -canvas.unit * 0.05 * chance.random()
    while x < canvas.width:
        wide = canvas.unit * (0.05 + 0.05 * chance.random() + 0.02 * share)
        top = canvas.height * (0.34 + 0.36 * share + 0.24 * chance.random())
        walls.append([(x, top), (x + wide, top), (x + wide, canvas.height), (x, canvas.height)])
        if chance.random() < 0.3:
            walls.append([(x + wide * 0.48, top - wide * 0.7), (x + wide * 0.52, top - wide * 0.7), (x + wide * 0.55, top), (x + wide * 0.45, top)])
        windows += _windows(canvas, chance, (x, top), wide, detail) if share > 0.2 else []
        x += wide * (1.0 + 0.25 * chance.random())
    canvas.shape(walls, color, mix(color, palette.sky[-1], 0.3 * (1 - share)))
    if windows:
        canvas.shape(windows, mix(palette.accent, palette.light, 0.55), opacity=0.35 + 0.6 * share)


def _windows(
    canvas: Canvas, chance: random.Random, corner: Point, wide: float, detail: float
) -> list[list[Point]]:
    x, top = corner
    pitch = canvas.unit * 0.0155
    lit: list[list[Point]] = []
    columns, rows = int(wide / pitch) - 1, int((canvas.height - top) / pitch / 1.35)
    left = x + (wide - columns * pitch) / 2
    for column in range(columns):
        for row in range(rows):
            if chance.random() < 0.3 + 0.1 * detail:
                a, b = left + (column + 0.2) * pitch, top + (row + 0.6) * pitch * 1.35
                lit.append([(a, b), (a + pitch * 0.55, b), (a + pitch * 0.55, b + pitch * 0.75), (a, b + pitch * 0.75)])
    return lit


def _belts(canvas: Canvas, palette: Palette, chance: random.Random, center: Point, radius: float) -> None:
    x, y = center
    for _ in range(7):
        offset = (chance.random() - 0.5) * 1.7
        half = radius * math.sqrt(max(0.0, 1 - offset * offset)) * 0.995
        thick = radius * (0.015 + 0.04 * chance.random())
        canvas.shape([oval(x, y + offset * radius, half, thick)], palette.light, opacity=0.13)


def _ring(canvas: Canvas, palette: Palette, center: Point, radius: float, *, front: bool) -> None:
    """Half of a ring round a planet: the half before it, or the one behind."""
    x, y = center
    angles = [math.pi * (step / 48 + (0 if front else 1)) for step in range(49)]
    edges = [[(x + radius * far * math.cos(a), y + radius * far * 0.2 * math.sin(a)) for a in angles] for far in (1.8, 1.36)]
    canvas.shape([[*edges[0], *edges[1][::-1]]], palette.light, palette.accent, opacity=0.75)


def _flower(
    canvas: Canvas, palette: Palette, chance: random.Random, spot: Point, size: float, leaf: RGB
) -> None:
    x, y = spot
    stem = [(x - size * 0.06, y), (x + size * 0.06, y), (x + size * 0.12, y + size * 3), (x - size * 0.02, y + size * 3)]
    canvas.shape([stem], mix(leaf, (0, 0, 0), 0.25))
    color = (palette.accent, palette.light, mix(palette.accent, palette.sky[0], 0.5))[int(chance.random() * 3)]
    petals, at = 5 + int(chance.random() * 4), chance.random() * math.pi
    angles = [2 * math.pi * step / 96 for step in range(96)]
    radii = [size * (0.62 + 0.38 * math.cos(petals * angle)) for angle in angles]
    outline = [(x + r * math.cos(a + at), y + r * 0.85 * math.sin(a + at)) for r, a in zip(radii, angles, strict=True)]
    canvas.shape([outline], mix(color, palette.light, 0.3), color)
    canvas.disc(x, y, size * 0.22, mix((250, 200, 60), palette.accent, 0.25))
