"""The subjects that a prompt names: which figures they are, and where in an image they are placed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from .animals import ANIMALS
from .buildings import BUILDINGS
from .figures import Figure, Placed
from .food import FOOD
from .nature import NATURE
from .objects import OBJECTS
from .palettes import RGB
from .people import PEOPLE
from .vehicles import VEHICLES

FIGURES: Mapping[str, Figure] = MappingProxyType(
    {**ANIMALS, **PEOPLE, **BUILDINGS, **NATURE, **VEHICLES, **FOOD, **OBJECTS}
)
"""By the names that `words.called_for` finds."""

_MOST = 4
"""The maximum number of subjects drawn."""


def place(names: Sequence[str], coats: Mapping[str, RGB], chance: random.Random) -> list[Placed]:
    """Return where subjects go: one alone anywhere in the middle, several side by side, the largest behind."""
    names = names[:_MOST]
    shares = _across(len(names), chance)
    scale = (1.0, 1.0, 0.86, 0.74, 0.64)[len(names)]
    placed = [_placed(name, x, scale, coats) for name, x in zip(names, shares, strict=True)]
    return sorted(placed, key=lambda one: -one.size)


def _placed(name: str, x: float, scale: float, coats: Mapping[str, RGB]) -> Placed:
    figure = FIGURES[name]
    centered = 0.5 if figure.where in ("table", "bust", "middle") and scale == 1.0 else x
    return Placed(name, centered, figure.height, figure.size * scale, coats.get(name))


def _across(count: int, chance: random.Random) -> list[float]:
    if count == 1:
        return [0.36 + 0.28 * chance.random()]
    return [0.08 + 0.84 * (slot + 0.35 + 0.3 * chance.random()) / count for slot in range(count)]
