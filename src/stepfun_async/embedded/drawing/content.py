"""The content of a drawn image, kept in its metadata so that an edit of it finds its subjects again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast

from .figures import Placed
from .palettes import RGB
from .scenes import SCENES
from .subjects import FIGURES

KEYWORD = "content"
"""The metadata's keyword."""

_MOST = 12
"""The maximum number of subjects cached."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of an image.

    Attributes:
        figures: its subjects, the ones behind first.
        scene: the scene behind them; empty if unknown.
    """

    figures: tuple[Placed, ...] = ()
    scene: str = ""

    def of(self, name: str) -> Placed | None:
        """Return the subject of that name that is furthest in front."""
        return next((placed for placed in reversed(self.figures) if placed.name == name), None)

    def without(self, gone: Placed) -> Content:
        """Return the same without one subject."""
        return replace(self, figures=tuple(placed for placed in self.figures if placed != gone))

    def plus(self, *more: Placed) -> Content:
        """Return the same with further subjects in front."""
        return replace(self, figures=(*self.figures, *more)[-_MOST:])

    def to_text(self) -> str:
        """Return the text for the metadata."""
        figures = [[one.name, one.x, one.y, one.size, one.coat] for one in self.figures]
        return json.dumps({"scene": self.scene, "figures": figures})

    @classmethod
    def from_text(cls, text: object) -> Content:
        """Return the content from metadata, ignoring anything that `to_text` cannot have written."""
        if not isinstance(text, str) or len(text) > 4096:
            return cls()
        try:
            entries: object = json.loads(text)
        except (ValueError, RecursionError):
            return cls()
        return cls._from(cast("dict[str, object]", entries)) if isinstance(entries, dict) else cls()

    @classmethod
    def _from(cls, entries: Mapping[str, object]) -> Content:
        figures, scene = entries.get("figures"), entries.get("scene")
        found = filter(None, map(_placed, cast("list[object]", figures))) if isinstance(figures, list) else ()
        return cls(tuple(islice(found, _MOST)), str(scene) if scene in list(SCENES) else "")


def of(metadata: Mapping[Any, object]) -> Content:
    """Return the content named in an image's metadata; empty for images from elsewhere."""
    return Content.from_text(metadata.get(KEYWORD))


def _placed(entry: object) -> Placed | None:
    if not isinstance(entry, list):
        return None
    match cast("list[object]", entry):
        case [str(name), int() | float() as x, int() | float() as y, int() | float() as size, coat] if (
            name in FIGURES and 0 <= x <= 1 and 0 <= y <= 1.2 and 0 < size <= 2
        ):
            return Placed(name, x, y, size, _rgb(coat))
        case _:
            return None


def _rgb(coat: object) -> RGB | None:
    match coat:
        case [int(red), int(green), int(blue)] if all(0 <= level <= 255 for level in (red, green, blue)):
            return red, green, blue
        case _:
            return None
