"""The colours of images, and the source of chance."""

from __future__ import annotations

import colorsys
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of an image.

    Attributes:
        sky: from the top to the horizon.
        light: of sun, moon and windows.
        far: of the land furthest away.
        near: of the land in front.
        accent: of what should stand out.
        dark: whether it is night: with stars, and a moon for the sun.
    """

    sky: tuple[RGB, ...]
    light: RGB
    far: RGB
    near: RGB
    accent: RGB
    dark: bool = False

    def map(self, change: Callable[[RGB], RGB]) -> Palette:
        """The palette with `change` made to every colour."""
        sky = tuple(change(color) for color in self.sky)
        far, near, accent = change(self.far), change(self.near), change(self.accent)
        return replace(self, sky=sky, light=change(self.light), far=far, near=near, accent=accent)


PALETTES = {
    "sunset": Palette(
        ((48, 34, 92), (150, 62, 118), (240, 118, 92), (255, 206, 130)),
        (255, 240, 205),
        (158, 84, 122),
        (38, 20, 52),
        (255, 120, 80),
    ),
    "dawn": Palette(
        ((96, 124, 190), (186, 172, 214), (250, 202, 192), (255, 236, 208)),
        (255, 250, 230),
        (156, 156, 192),
        (52, 70, 98),
        (240, 140, 150),
    ),
    "day": Palette(
        ((44, 112, 204), (104, 174, 232), (184, 222, 244), (240, 248, 250)),
        (255, 252, 232),
        (128, 170, 202),
        (28, 84, 72),
        (250, 190, 60),
    ),
    "night": Palette(
        ((6, 8, 32), (14, 22, 66), (34, 48, 108), (78, 86, 146)),
        (248, 244, 220),
        (44, 54, 104),
        (5, 7, 22),
        (255, 214, 120),
        dark=True,
    ),
    "forest": Palette(
        ((112, 166, 160), (164, 202, 180), (214, 230, 196), (248, 246, 216)),
        (255, 252, 224),
        (118, 162, 142),
        (12, 46, 38),
        (236, 186, 72),
    ),
    "snow": Palette(
        ((108, 142, 192), (162, 190, 224), (212, 226, 242), (246, 249, 253)),
        (255, 255, 250),
        (196, 210, 230),
        (72, 98, 138),
        (224, 92, 88),
    ),
    "sea": Palette(
        ((20, 86, 158), (58, 148, 200), (142, 206, 226), (232, 246, 240)),
        (255, 250, 226),
        (92, 164, 188),
        (10, 58, 92),
        (255, 146, 96),
    ),
    "autumn": Palette(
        ((120, 128, 150), (204, 172, 150), (244, 206, 150), (255, 234, 190)),
        (255, 246, 214),
        (196, 128, 84),
        (74, 32, 24),
        (222, 88, 36),
    ),
    "rose": Palette(
        ((120, 70, 130), (206, 118, 160), (246, 178, 190), (255, 230, 222)),
        (255, 246, 240),
        (196, 130, 162),
        (82, 36, 78),
        (248, 96, 128),
    ),
    "storm": Palette(
        ((36, 46, 60), (70, 86, 102), (124, 140, 148), (190, 200, 196)),
        (240, 244, 236),
        (104, 120, 128),
        (22, 30, 38),
        (232, 190, 96),
    ),
}

COLORS: dict[str, RGB] = {
    "red": (214, 48, 52),
    "orange": (240, 132, 40),
    "yellow": (246, 204, 60),
    "green": (56, 160, 90),
    "teal": (34, 150, 150),
    "blue": (46, 104, 214),
    "purple": (132, 70, 190),
    "pink": (240, 120, 170),
    "brown": (134, 88, 56),
    "black": (24, 24, 30),
    "white": (244, 244, 248),
    "gold": (222, 170, 60),
    "grey": (130, 134, 142),
}

_GROUNDS = {
    "red": "sunset",
    "orange": "autumn",
    "yellow": "autumn",
    "green": "forest",
    "teal": "sea",
    "blue": "day",
    "purple": "rose",
    "pink": "rose",
    "brown": "autumn",
    "black": "night",
    "white": "snow",
    "gold": "autumn",
    "grey": "storm",
}
"""The palette that goes with a colour, where no word calls for another."""


def chance_of(*facts: object) -> random.Random:
    """A source of chance that is the same for the same facts, here and elsewhere."""
    digest = hashlib.sha256("\x1f".join(map(repr, facts)).encode()).digest()
    return random.Random(int.from_bytes(digest[:16], "big"))  # noqa: S311 - has to repeat, not to be secret


def choose_palette(called: Mapping[str, Sequence[str]], chance: random.Random) -> Palette:
    """The palette that the words call for, or one by chance; drawn towards a colour they name."""
    drawn = sorted(PALETTES)[int(chance.random() * len(PALETTES))]
    names = [*called["palette"], *(_GROUNDS[color] for color in called["color"]), drawn]
    palette = PALETTES[names[0]]
    drift = (chance.random() - 0.5) * 0.06
    palette = palette.map(lambda color: turn(color, drift))
    if not called["color"]:
        return palette
    wanted = COLORS[called["color"][0]]
    return replace(palette.map(lambda color: mix(color, wanted, 0.42)), light=palette.light, accent=wanted)


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """`share` (0 to 1) of `second` in `first`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def turn(color: RGB, hue: float, saturation: float = 1.0) -> RGB:
    """`color` with its hue turned by `hue` (in turns) and its saturation multiplied."""
    h, s, v = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
    red, green, blue = colorsys.hsv_to_rgb((h + hue) % 1.0, min(1.0, s * saturation), v)
    return round(red * 255), round(green * 255), round(blue * 255)
