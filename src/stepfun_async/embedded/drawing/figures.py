"""Figures: the coloured outlines of one subject, and how they are painted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from .canvas import Canvas, oval
from .outlines import Outline
from .palettes import RGB, Palette, mix

Paint = RGB | Literal["coat", "shade", "pale", "accent", "light"]
"""A colour: fixed, the figure's coat, a darker or paler coat, or the palette's accent or light."""

Layer = tuple[Paint, tuple[Outline, ...]]
Where = Literal["ground", "shore", "water", "table", "air", "middle", "bust"]

BLACK: RGB = (18, 18, 24)
WHITE: RGB = (246, 246, 248)

_HEIGHTS: dict[Where, float] = {
    "ground": 0.93,
    "shore": 0.8,
    "water": 0.72,
    "table": 0.86,
    "air": 0.4,
    "middle": 0.55,
    "bust": 1.0,
}
"""The height of a figure's foot, or of its middle if it floats: a share of the image's height, from the top."""

_CASTING = frozenset({"ground", "table"})
"""The positions of figures with a shadow below."""

_SHADOW: Outline = oval(0, 0.01, 0.42, 0.045)


@dataclass(frozen=True, slots=True)
class Figure:
    """A subject that can be drawn.

    Attributes:
        layers: the outlines by colour, the ones behind first.
        coat: its usual colour, which a colour in the prompt replaces.
        size: the length of a unit, as a share of the canvas' `unit`.
        where: what it stands on.
        scenes: the scenes that suit it, if no word calls for one.
    """

    layers: tuple[Layer, ...]
    coat: RGB
    size: float = 0.34
    where: Where = "ground"
    scenes: tuple[str, ...] = ("field", "mountains", "flowers", "trees")

    @property
    def height(self) -> float:
        """The height of its foot or its middle, as a share of the image's height."""
        return _HEIGHTS[self.where]


@dataclass(frozen=True, slots=True)
class Placed:
    """A figure in an image.

    Attributes:
        name: of the figure.
        x, y: where its foot or its middle is, as shares of width and height.
        size: the length of a unit, as a share of the canvas' `unit`.
        coat: its colour; `None` for the usual one.
    """

    name: str
    x: float
    y: float
    size: float
    coat: RGB | None = None


def paint(canvas: Canvas, palette: Palette, figure: Figure, placed: Placed) -> None:
    """Paint a figure onto a canvas."""
    if figure.where in _CASTING:
        canvas.shape(_on(canvas, placed, [_SHADOW]), mix(palette.near, BLACK, 0.6), opacity=0.35)
    for color, outlines in figure.layers:
        tone = _toned(_mixed(color, placed.coat or figure.coat, palette), palette)
        lit, dim = mix(tone, palette.light, 0.14), mix(tone, BLACK, 0.16)
        canvas.shape(_on(canvas, placed, outlines), lit, tone, dim)


def silhouette(canvas: Canvas, figure: Figure, placed: Placed) -> Image.Image:
    """Return the levels (0 or 255) of the pixels that a figure and its shadow cover."""
    mask = Canvas(Image.new("RGB", canvas.image.size))
    shadow: tuple[Layer, ...] = ((BLACK, (_SHADOW,)),) if figure.where in _CASTING else ()
    for _, outlines in (*shadow, *figure.layers):
        mask.shape(_on(canvas, placed, outlines), (255, 255, 255))
    return mask.image.getchannel(0)


def _on(canvas: Canvas, placed: Placed, outlines: Iterable[Outline]) -> list[Outline]:
    x, y, size = canvas.width * placed.x, canvas.height * placed.y, canvas.unit * placed.size
    return [[(x + across * size, y - up * size) for across, up in outline] for outline in outlines]


def _mixed(color: Paint, coat: RGB, palette: Palette) -> RGB:
    if not isinstance(color, str):
        return color
    return {
        "coat": coat,
        "shade": mix(coat, BLACK, 0.35),
        "pale": mix(coat, WHITE, 0.6),
        "accent": palette.accent,
        "light": palette.light,
    }[color]


def _toned(color: RGB, palette: Palette) -> RGB:
    """Return a colour as it looks in the light of the palette."""
    return mix(color, palette.near, 0.3) if palette.dark else mix(color, palette.sky[-1], 0.08)
