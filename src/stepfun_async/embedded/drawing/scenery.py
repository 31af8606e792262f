"""The elements of scenes: skies, ridges, waves, trees, houses, flowers."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise

from PIL import Image

from .canvas import Canvas, Point, oval, stretch
from .palettes import RGB, Palette, mix


def sky(canvas: Canvas, palette: Palette, chance: random.Random, horizon: float) -> Point:
    """Sky, stars, sun or moon and clouds above `horizon` (a share of the height); where the sun is."""
    bottom = canvas.height * horizon
    canvas.gradient(palette.sky, 0, bottom)
    canvas.gradient((palette.sky[-1],), bottom)
    x, y = canvas.width * (0.18 + 0.64 * chance.random()), bottom * (0.32 + 0.5 * chance.random())
    radius = canvas.unit * (0.035 + 0.03 * chance.random())
    if palette.dark:
        y *= 0.6
        stars(canvas, palette.light, chance, horizon, 140)
    canvas.glow(x, y, canvas.unit * 0.55, mix(palette.sky[-1], palette.light, 0.4), 0.55 if palette.dark else 0.85)
    canvas.glow(x, y, radius * 2.6, palette.light, 0.7)
    canvas.disc(x, y, radius, palette.light)
    canvas.clouds(mix(palette.sky[-1], palette.light, 0.5), chance, cover=0.3 + 0.25 * chance.random(), bottom=bottom)
    return x, y


def stars(canvas: Canvas, color: RGB, chance: random.Random, share: float, count: int) -> None:
    height = canvas.height * share
    spots = [(chance.random() * canvas.width, chance.random() * height, chance.random()) for _ in range(count)]
    canvas.dots([(x, y, canvas.unit * (0.0007 + 0.0018 * size**4)) for x, y, size in spots], color)


def ridges(
    canvas: Canvas, palette: Palette, chance: random.Random, detail: float, *, first: float, last: float, count: int
) -> None:
    for row in range(count):
        share = row / max(1, count - 1)
        line = ridge(canvas, chance, first + (last - first) * share, 0.26 - 0.12 * share, detail)
        color = mix(mix(palette.sky[-1], palette.far, 0.75), palette.near, share**1.1)
        haze = mix(color, palette.sky[-1], 0.45 * (1 - share) + 0.08)
        canvas.land(line, color, mix(color, haze, 0.6), haze)


def ridge(canvas: Canvas, chance: random.Random, base: float, swing: float, detail: float) -> list[Point]:
    """A jagged line at about `base`, by midpoint displacement."""
    heights = [chance.random(), chance.random()]
    spread = 1.5
    for _ in range(7):
        spread *= 0.46 + 0.1 * detail
        middles = [(a + b) / 2 + (chance.random() - 0.5) * spread for a, b in pairwise(heights)]
        heights = [height for pair in zip(heights, middles, strict=False) for height in pair] + heights[-1:]
    step = canvas.width / (len(heights) - 1)
    level, reach = canvas.height * base, canvas.height * swing
    return [(index * step, level - reach * (height - 0.35)) for index, height in enumerate(heights)]


def swell(
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


def ripples(canvas: Canvas, palette: Palette, chance: random.Random, shore: float) -> None:
    for color, opacity in ((palette.light, 0.22), (palette.near, 0.16)):
        streaks: list[list[Point]] = []
        for _ in range(36):
            share = chance.random()
            x, y = chance.random() * canvas.width, shore + (canvas.height - shore) * share**1.3
            streaks.append(oval(x, y, canvas.unit * (0.02 + 0.08 * share), canvas.unit * (0.0008 + 0.0022 * share), 24))
        canvas.shape(streaks, color, opacity=opacity)


def glitter(canvas: Canvas, palette: Palette, chance: random.Random, x: float, horizon: float) -> None:
    streaks: list[list[Point]] = []
    for row in range(60):
        share = row / 60
        spread = canvas.unit * (0.02 + 0.1 * share)
        at = x + (chance.random() - 0.5) * 2 * spread
        y = horizon + (canvas.height - horizon) * share * 0.8
        streaks.append(oval(at, y, spread * (0.2 + 0.5 * chance.random()), canvas.unit * (0.001 + 0.0025 * share), 20))
    canvas.shape(streaks, palette.light, opacity=0.75)


def spots(ground: Sequence[Point], chance: random.Random, apart: float) -> list[Point]:
    """Points along a line, about `apart` pixels from one another."""
    spots: list[Point] = []
    x = -apart * chance.random()
    while x < ground[-1][0] + apart:
        step = ground[-1][0] / (len(ground) - 1)
        index = min(len(ground) - 1, max(0, round(x / step)))
        spots.append((x, ground[index][1]))
        x += apart * (0.6 + 0.9 * chance.random())
    return spots


def pine(spot: Point, height: float, chance: random.Random) -> list[list[Point]]:
    x, y = spot
    tall = height * (0.6 + 0.6 * chance.random())
    y += tall * 0.1  # into the ground, which may fall away to a side
    tiers: list[list[Point]] = []
    for tier in range(4):
        top, foot = y - tall + tall * 0.2 * tier, y - tall + tall * (0.36 + 0.21 * tier)
        half = tall * (0.09 + 0.055 * tier)
        tiers.append([(x, top), (x + half, foot), (x - half, foot)])
    return tiers


def houses(canvas: Canvas, palette: Palette, chance: random.Random, color: RGB, share: float, detail: float) -> None:
    walls: list[list[Point]] = []
    windows: list[list[Point]] = []
    x = -canvas.unit * 0.05 * chance.random()
    while x < canvas.width:
        wide = canvas.unit * (0.05 + 0.05 * chance.random() + 0.02 * share)
        top = canvas.height * (0.34 + 0.36 * share + 0.24 * chance.random())
        walls.append([(x, top), (x + wide, top), (x + wide, canvas.height), (x, canvas.height)])
        if chance.random() < 0.3:
            walls.append(
                [
                    (x + wide * 0.48, top - wide * 0.7),
                    (x + wide * 0.52, top - wide * 0.7),
                    (x + wide * 0.55, top),
                    (x + wide * 0.45, top),
                ]
            )
        windows += _windows(canvas, chance, (x, top), wide, detail) if share > 0.2 else []
        x += wide * (1.0 + 0.25 * chance.random())
    canvas.shape(walls, color, mix(color, palette.sky[-1], 0.3 * (1 - share)))
    if windows:
        canvas.shape(windows, mix(palette.accent, palette.light, 0.55), opacity=0.35 + 0.6 * share)


def _windows(canvas: Canvas, chance: random.Random, corner: Point, wide: float, detail: float) -> list[list[Point]]:
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


def belts(canvas: Canvas, palette: Palette, chance: random.Random, center: Point, radius: float) -> None:
    x, y = center
    for _ in range(7):
        offset = (chance.random() - 0.5) * 1.7
        half = radius * math.sqrt(max(0.0, 1 - offset * offset)) * 0.995
        thick = radius * (0.015 + 0.04 * chance.random())
        canvas.shape([oval(x, y + offset * radius, half, thick)], palette.light, opacity=0.13)


def ring(canvas: Canvas, palette: Palette, center: Point, radius: float, *, front: bool) -> None:
    """Half of a ring round a planet: the half before it, or the one behind."""
    x, y = center
    angles = [math.pi * (step / 48 + (0 if front else 1)) for step in range(49)]
    edges = [
        [(x + radius * far * math.cos(a), y + radius * far * 0.2 * math.sin(a)) for a in angles] for far in (1.8, 1.36)
    ]
    colors = (palette.light, palette.accent) if front else (palette.accent, palette.light)
    canvas.shape([[*edges[0], *edges[1][::-1]]], *colors, opacity=0.75)


def flower(canvas: Canvas, palette: Palette, chance: random.Random, spot: Point, size: float, leaf: RGB) -> None:
    x, y = spot
    stem = [
        (x - size * 0.06, y),
        (x + size * 0.06, y),
        (x + size * 0.12, y + size * 3),
        (x - size * 0.02, y + size * 3),
    ]
    canvas.shape([stem], mix(leaf, (0, 0, 0), 0.25))
    color = (palette.accent, palette.light, mix(palette.accent, palette.sky[0], 0.5))[int(chance.random() * 3)]
    petals, at = 5 + int(chance.random() * 4), chance.random() * math.pi
    angles = [2 * math.pi * step / 96 for step in range(96)]
    radii = [size * (0.62 + 0.38 * math.cos(petals * angle)) for angle in angles]
    outline = [(x + r * math.cos(a + at), y + r * 0.85 * math.sin(a + at)) for r, a in zip(radii, angles, strict=True)]
    canvas.shape([outline], mix(color, palette.light, 0.3), color)
    canvas.disc(x, y, size * 0.22, mix((250, 200, 60), palette.accent, 0.25))


def weed(canvas: Canvas, chance: random.Random, color: RGB) -> None:
    """A plant that sways on the bottom of the sea."""
    x, tall = canvas.width * chance.random(), canvas.unit * (0.1 + 0.22 * chance.random())
    foot, half, turn = canvas.height * 0.97, canvas.unit * 0.011, chance.random() * math.pi
    steps = [step / 14 for step in range(15)]
    sway = [(x + canvas.unit * 0.02 * math.sin(turn + 6 * t), foot - tall * t, half * (1 - t)) for t in steps]
    outline = [*((a - wide, b) for a, b, wide in sway), *((a + wide, b) for a, b, wide in sway[::-1])]
    canvas.shape([outline], mix(color, (255, 255, 255), 0.15), color)


def flakes(canvas: Canvas, chance: random.Random) -> None:
    """Snow in the air."""
    spots = [(chance.random() * canvas.width, chance.random() * canvas.height, chance.random()) for _ in range(150)]
    canvas.dots([(x, y, canvas.unit * (0.0012 + 0.004 * size**2)) for x, y, size in spots], (252, 253, 255))


def drops(canvas: Canvas, chance: random.Random) -> None:
    """Rain, slanting."""
    streaks: list[list[Point]] = []
    for _ in range(170):
        x, y, size = chance.random() * canvas.width, chance.random() * canvas.height, chance.random()
        long, wide = canvas.unit * (0.02 + 0.03 * size), canvas.unit * 0.0012
        streaks.append([(x, y), (x + wide, y), (x + wide - long * 0.2, y + long), (x - long * 0.2, y + long)])
    canvas.shape(streaks, (224, 232, 244), opacity=0.5)


def haze(canvas: Canvas, color: RGB) -> None:
    """Mist, thickest at the middle of the height."""
    levels = bytes(round(150 * math.sin(math.pi * step / 31)) for step in range(32))
    mask = stretch(Image.frombytes("L", (1, 32), levels), canvas.image.size)
    canvas.image.paste(color, (0, 0), mask)
