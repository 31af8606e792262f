"""The scenes that stand-in pictures show, each painted from a palette and a source of chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from PIL import Image

from .canvas import Canvas, stretch
from .palettes import Palette, mix
from .scenery import belts, flower, glitter, houses, pine, ridge, ridges, ring, ripples, sky, spots, stars, swell

Scene = Callable[[Canvas, Palette, random.Random, float], None]
"""Paints a whole canvas; the last argument, from 0 to 1, is how fine the details are."""


def mountains(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Ridges one behind another, paler with distance."""
    sky(canvas, palette, chance, 0.62)
    ridges(canvas, palette, chance, detail, first=0.48, last=0.98, count=5)


def lake(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Mountains over still water that mirrors them."""
    shore = canvas.height * (0.6 + 0.06 * chance.random())
    sky(canvas, palette, chance, 0.55)
    ridges(canvas, palette, chance, detail, first=0.42, last=0.6, count=3)
    above = canvas.image.crop((0, 0, canvas.width, round(shore)))
    depth = canvas.height - round(shore)
    mirrored = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).crop((0, 0, canvas.width, min(depth * 2, above.height)))
    water = stretch(mirrored, (canvas.width, depth))
    tint = Image.new("RGB", water.size, mix(palette.near, palette.sky[1], 0.6))
    canvas.image.paste(Image.blend(water, tint, 0.32), (0, round(shore)))
    ripples(canvas, palette, chance, shore)
    front = ridge(canvas, chance, 0.97, 0.05, detail)
    canvas.land(front, mix(palette.near, (0, 0, 0), 0.35))


def waves(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """The open sea."""
    horizon = canvas.height * (0.46 + 0.08 * chance.random())
    x, _ = sky(canvas, palette, chance, horizon / canvas.height)
    far, deep = mix(palette.sky[-1], palette.far, 0.75), mix(palette.near, palette.sky[0], 0.3)
    canvas.gradient((far, mix(far, deep, 0.5)), horizon)
    for row in range(1, 9):
        share = row / 8
        base = horizon + (canvas.height - horizon) * share**1.6 * 0.95
        line = swell(canvas, chance, base, canvas.height * (0.002 + 0.016 * share), 4.2 - 2.4 * share + detail)
        crest = mix(far, deep, 0.3 + 0.7 * share)
        canvas.land(line, mix(crest, palette.sky[-1], 0.3), mix(crest, far, 0.1), mix(crest, deep, 0.4))
    glitter(canvas, palette, chance, x, horizon)


def trees(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Rows of pines in haze."""
    sky(canvas, palette, chance, 0.7)
    for row in range(5):
        share = row / 4
        ground = ridge(canvas, chance, 0.52 + 0.46 * share, 0.10 - 0.04 * share, detail)
        color = mix(mix(palette.sky[-1], palette.far, 0.55), palette.near, share**0.9)
        height = canvas.unit * (0.07 + 0.17 * share)
        outlines = [tree for spot in spots(ground, chance, height * 0.28) for tree in pine(spot, height, chance)]
        canvas.shape(outlines, color)
        canvas.land(ground, color, mix(color, palette.sky[-1], 0.3 * (1 - share)))


def city(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A skyline with lit windows."""
    sky(canvas, palette, chance, 0.8)
    for row in range(4):
        share = row / 3
        color = mix(mix(palette.sky[-2], palette.far, 0.6), mix(palette.near, (0, 0, 0), 0.2), share)
        houses(canvas, palette, chance, color, share, detail)


def space(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A planet among stars."""
    dark = palette.map(lambda color: mix(color, (6, 6, 22), 0.8))
    canvas.gradient(dark.sky)
    for color in (mix(palette.accent, (150, 60, 190), 0.6), palette.sky[1], (70, 60, 170)):
        canvas.clouds(mix(color, (0, 0, 20), 0.3), chance, cover=0.42, bottom=canvas.height, flatness=1.0)
    stars(canvas, palette.light, chance, 1.0, 160 + round(80 * detail))
    x, y = canvas.width * (0.3 + 0.4 * chance.random()), canvas.height * (0.36 + 0.3 * chance.random())
    radius = canvas.unit * (0.15 + 0.09 * chance.random())
    canvas.glow(x, y, radius * 2.2, palette.sky[-1], 0.6)
    ring(canvas, palette, (x, y), radius, front=False)
    canvas.disc(x, y, radius, palette.sky[-1], palette.accent, mix(palette.accent, palette.near, 0.5), palette.near)
    belts(canvas, palette, chance, (x, y), radius)
    ring(canvas, palette, (x, y), radius, front=True)
    canvas.disc(x + radius * 1.7, y - radius * 1.2, radius * 0.2, palette.light, palette.far)


def flowers(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A meadow in bloom."""
    sky(canvas, palette, chance, 0.5)
    leaf = mix(palette.near, (40, 120, 60), 0.5)
    ridges(canvas, palette, chance, detail, first=0.46, last=0.56, count=2)
    canvas.land(
        swell(canvas, chance, canvas.height * 0.58, canvas.height * 0.03, 1.5), mix(leaf, palette.sky[-1], 0.45), leaf
    )
    for row in range(46):
        share = row / 45
        x, y = canvas.width * chance.random(), canvas.height * (0.6 + 0.36 * share**1.2 + 0.03 * chance.random())
        size = canvas.unit * (0.008 + 0.042 * share) * (0.8 + 0.5 * chance.random())
        flower(canvas, palette, chance, (x, y), size, leaf)


def dunes(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Smooth hills of sand, each with a lit crest."""
    sky(canvas, palette, chance, 0.6)
    for row in range(6):
        share = row / 5
        line = swell(
            canvas,
            chance,
            canvas.height * (0.5 + 0.44 * share),
            canvas.height * 0.06,
            0.6 + 0.5 * chance.random() + 0.3 * detail,
            0.25,
        )
        color = mix(mix(palette.sky[-1], palette.far, 0.5), palette.near, share)
        canvas.land(line, mix(color, palette.light, 0.35), color, mix(color, palette.near, 0.35))


def bands(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Bands of colour that flow across."""
    canvas.gradient(palette.sky)
    colors = [*palette.sky[::-1], palette.accent, palette.far, palette.near]
    for row in range(9):
        share = row / 8
        color = colors[min(len(colors) - 1, int(share * len(colors)))]
        line = swell(
            canvas,
            chance,
            canvas.height * (0.12 + 0.86 * share),
            canvas.height * 0.06,
            0.5 + 0.8 * chance.random() + 0.3 * detail,
            0.3,
        )
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
