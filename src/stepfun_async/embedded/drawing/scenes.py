"""The scenes that stand-in images show, each painted from a palette and a source of chance."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

from PIL import Image

from .canvas import Canvas, oval, rectangle, stretch
from .palettes import Palette, mix
from .scenery import (
    belts,
    flakes,
    flower,
    glitter,
    houses,
    pine,
    ridge,
    ridges,
    ring,
    ripples,
    sky,
    spots,
    stars,
    swell,
    weed,
)

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


def field(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Green hills under the sky."""
    sky(canvas, palette, chance, 0.6)
    ridges(canvas, palette, chance, detail, first=0.52, last=0.6, count=2)
    grass = mix(palette.near, (70, 150, 70), 0.5)
    for row in range(3):
        share = row / 2
        line = swell(canvas, chance, canvas.height * (0.62 + 0.2 * share), canvas.height * 0.04, 0.5 + share, 0.2)
        color = mix(mix(grass, palette.sky[-1], 0.4), grass, share)
        canvas.land(line, mix(color, palette.light, 0.25), color, mix(color, palette.near, 0.3))


def snowfield(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """Snow as far as the mountains, and flakes in the air."""
    sky(canvas, palette, chance, 0.6)
    ridges(canvas, palette, chance, detail, first=0.5, last=0.6, count=2)
    white = mix(palette.sky[-1], (248, 251, 255), 0.6)
    for row in range(3):
        share = row / 2
        line = swell(canvas, chance, canvas.height * (0.62 + 0.18 * share), canvas.height * 0.03, 0.5 + share, 0.2)
        canvas.land(line, white, mix(white, palette.far, 0.2), mix(white, palette.far, 0.4))
    flakes(canvas, chance)


def road(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A road between hills and the viewer."""
    field(canvas, palette, chance, detail)
    top = canvas.height * 0.84
    asphalt = mix((74, 76, 84), palette.near, 0.35)
    canvas.land([(0, top), (canvas.width, top)], mix(asphalt, palette.sky[-1], 0.2), asphalt)
    dash, y = canvas.unit * 0.08, canvas.height * 0.965
    count = math.ceil(canvas.width / dash / 2)
    canvas.shape([rectangle(2 * n * dash, y, dash, canvas.height * 0.012) for n in range(count)], palette.light)


def table(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A table of wood, and lights out of focus behind it."""
    studio(canvas, palette, chance, detail)
    top = canvas.height * 0.74
    wood = mix((150, 98, 60), palette.near, 0.25)
    canvas.land([(0, top), (canvas.width, top)], mix(wood, palette.light, 0.3), wood, mix(wood, (0, 0, 0), 0.35))
    for _ in range(9):
        y = top + (canvas.height - top) * chance.random()
        grain = swell(canvas, chance, y, canvas.height * 0.004, 1.5)
        canvas.shape(
            [[*grain, *((x, y + canvas.unit * 0.003) for x, y in grain[::-1])]], mix(wood, (0, 0, 0), 0.3), opacity=0.4
        )


def window(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A window, seen from inside, with its sill."""
    mountains(canvas, palette, chance, detail)
    wall = mix(mix(palette.far, (236, 226, 210), 0.55), palette.near, 0.35 if palette.dark else 0.1)
    frame, wide, high = mix(wall, (255, 255, 255), 0.5), canvas.width, canvas.height
    side, bar = wide * 0.1, canvas.unit * 0.014
    walls = [rectangle(0, 0, wide, high * 0.07), rectangle(0, 0, side, high), rectangle(wide - side, 0, side, high)]
    canvas.shape([*walls, rectangle(0, high * 0.86, wide, high)], wall, mix(wall, palette.near, 0.3))
    posts = [rectangle(x - bar / 2, high * 0.07, bar, high * 0.8) for x in (side, wide / 2, wide - side)]
    rails = [rectangle(side, y, wide - 2 * side, bar) for y in (high * 0.07, high * 0.4)]
    canvas.shape([*posts, *rails], frame)
    canvas.shape(
        [rectangle(side * 0.6, high * 0.86, wide - 1.2 * side, high * 0.08)], frame, mix(frame, palette.near, 0.25)
    )


def studio(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """A plain backdrop, with lights out of focus."""
    middle = palette.sky[len(palette.sky) // 2]
    canvas.gradient((mix(palette.sky[0], palette.near, 0.4), mix(middle, palette.near, 0.2), palette.far))
    canvas.glow(canvas.width * 0.5, canvas.height * 0.42, canvas.unit * 0.75, mix(middle, palette.light, 0.5), 0.7)
    for _ in range(14):
        x, y, size = chance.random() * canvas.width, chance.random() * canvas.height * 0.75, chance.random()
        color = mix(palette.light, palette.accent, 0.6 * chance.random())
        canvas.disc(x, y, canvas.unit * (0.015 + 0.05 * size), color, opacity=0.16)


def underwater(canvas: Canvas, palette: Palette, chance: random.Random, detail: float) -> None:
    """The bottom of the sea, with weeds, rays of light and bubbles."""
    sea = (mix(palette.sky[2], (110, 210, 226), 0.6), mix(palette.sky[1], (30, 130, 180), 0.7), (12, 50, 92))
    canvas.gradient(sea)
    for _ in range(5):
        x, wide = canvas.width * chance.random(), canvas.unit * (0.04 + 0.08 * chance.random())
        ray = [
            (x, 0.0),
            (x + wide, 0.0),
            (x + wide * 2.4 - canvas.unit * 0.2, canvas.height),
            (x - canvas.unit * 0.3, canvas.height),
        ]
        canvas.shape([ray], palette.light, opacity=0.1)
    sand = mix((206, 186, 140), (12, 70, 110), 0.45)
    canvas.land(
        swell(canvas, chance, canvas.height * 0.86, canvas.height * 0.03, 1.2), mix(sand, palette.light, 0.2), sand
    )
    for _ in range(12):
        weed(canvas, chance, mix((30, 120, 80), palette.accent, 0.5 * chance.random()))
    bubbles = [(canvas.width * chance.random(), canvas.height * chance.random(), chance.random()) for _ in range(26)]
    canvas.shape(
        [oval(x, y, r, r, 16) for x, y, size in bubbles for r in [canvas.unit * (0.003 + 0.011 * size)]],
        (226, 246, 250),
        opacity=0.45,
    )


SCENES: Mapping[str, Scene] = {
    "mountains": mountains,
    "lake": lake,
    "waves": waves,
    "trees": trees,
    "city": city,
    "space": space,
    "flowers": flowers,
    "dunes": dunes,
    "field": field,
    "snowfield": snowfield,
    "road": road,
    "table": table,
    "window": window,
    "studio": studio,
    "underwater": underwater,
    "bands": bands,
}
"""By the names that `words.called_for` finds."""
