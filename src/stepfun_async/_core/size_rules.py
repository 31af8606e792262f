"""Rules for sizes: `Sizes`, those of a list, and `AnySize`, any within limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from .rules import Rule, Violation, kind_of
from .sizes import RATIOS, Order, Size, ratio_of


@dataclass(frozen=True, kw_only=True)  # without slots, so that it can cache the meaning of its texts
class Sizes(Rule):
    """One of the sizes a model makes, given as `Size`, aspect ratio or the model's own wire string."""

    options: tuple[Size, ...]
    order: Order = "width x height"
    kind: ClassVar[str] = "size"

    @property
    def shown_default(self) -> str:
        size = None if self.default is None else self.pick(None)
        return size.label if size else ""

    @property
    def wire_options(self) -> tuple[str, ...]:
        """The documented strings, with the sides in the model's order."""
        return tuple(size.to_wire(self.order) for size in self.options)

    @property
    def ratios(self) -> tuple[str, ...]:
        """The aspect ratios that some option goes by."""
        return tuple(ratio for ratio in RATIOS if self._of_ratio(ratio))

    @property
    def allowed(self) -> str:
        return (
            f"{', '.join(size.label for size in self.options)}, as Size(width=..., height=...); or a ratio: "
            f"{', '.join(self.ratios)}; or the model's own text, {self.order}"
        )

    @property
    def wire_allowed(self) -> str:
        return f"{', '.join(self.wire_options)} ({self.order})"

    def convert(self, value: object) -> object:
        if type(value) is str and value in self._meant:
            return value
        fault = self._fault(value)
        size = None if fault else self.pick(value)
        return fault or (value if size is None else size.to_wire(self.order))

    def _fault(self, value: object) -> Violation | None:
        if not isinstance(value, str):
            return self._judge_size(value, value if isinstance(value, Size) else Size.from_mapping(value))
        if value in self._meant or self._of_ratio(value):
            return None
        if ratio_of(value) is not None:
            return Violation("no size of this model has that ratio", self._nearest_ratio(value))
        return self._judge_wire(value)

    def _judge_size(self, value: object, size: Size | None) -> Violation | None:
        if size is None:
            return Violation(f"{kind_of(value)}, not a size", self._from_pair(value))
        return None if size in self.options else Violation("", self._nearest(size))

    def _judge_wire(self, text: str) -> Violation:
        """Check a value from the wire. If the height comes first, a string is explained with named sides."""
        size = Size.from_wire(text.strip().lower().translate(_TIMES), self.order)
        if size is None:
            return Violation()
        nearest = self._nearest(size)
        if self.order == "width x height":
            return Violation("", nearest and nearest.to_wire(self.order))
        return Violation(f"read as {self.order}: {size.width} wide and {size.height} high", nearest)

    def pick(self, value: object) -> Size | None:
        """The size that an allowed `value` means, or the default one for None."""
        if value is None:
            value = self.default
        if not isinstance(value, str):
            value = Size.from_mapping(value) or value
        if isinstance(value, Size):  # the option itself: `Size(width=1024.0, ...)` is equal, but prints differently
            return next((option for option in self.options if option == value), value)
        text = str(value)
        return self._meant.get(text) or self._of_ratio(text) or Size.from_wire(text, self.order)

    @cached_property
    def turning(self) -> Mapping[str, Size]:
        """The wire strings that people who read width x height take for a turned image, and what each means."""
        if self.order == "width x height":
            return {}
        return {text: size for text, size in self._meant.items() if size.width != size.height}

    @cached_property
    def _meant(self) -> Mapping[str, Size]:
        """The documented strings, and what each means."""
        return dict(zip(self.wire_options, self.options, strict=True))

    def _of_ratio(self, ratio: str) -> Size | None:
        fitting = [size for size in self.options if size.fits_ratio(ratio)]
        default = Size.from_wire(str(self.default), self.order)
        return default if default in fitting else max(fitting, key=lambda size: size.width, default=None)

    def _nearest(self, wanted: Size) -> Size | None:
        if not wanted.possible:
            return None
        return min(self.options, key=wanted.distance)

    def _nearest_ratio(self, ratio: str) -> str:
        wanted = ratio_of(ratio) or 1.0
        return min(self.ratios, key=lambda name: abs(math.log((ratio_of(name) or 1.0) / wanted)))

    def _from_pair(self, value: object) -> Size | None:
        match value:
            case (int(width), int(height)):
                return self._nearest(Size(width=width, height=height))
            case _:
                return None


_STEP = 16
"""Pixels of which the sides of a size made from an aspect ratio are a multiple, as most models require."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnySize(Rule):
    """Any size within the bounds, given as `Size`, aspect ratio or wire string.

    Attributes:
        minimum: the smallest side, in pixels.
        maximum: the largest side, in pixels.
        order: how the wire string orders the sides.
        area: the approximate number of pixels for an aspect ratio.
    """

    minimum: int = 1
    maximum: int = 4096
    area: int = 1024 * 1024
    order: Order = "width x height"
    kind: ClassVar[str] = "size"

    @property
    def allowed(self) -> str:
        return f"{self.wire_allowed}; or Size(width=..., height=...); or an aspect ratio such as '16:9'"

    @property
    def wire_allowed(self) -> str:
        form = "WIDTHxHEIGHT" if self.order == "width x height" else "HEIGHTxWIDTH"
        return f"{form}, each side {self.minimum} to {self.maximum} pixels"

    def convert(self, value: object) -> object:
        size = self.pick(value) if isinstance(value, str | Size) else Size.from_mapping(value)
        if size is None and not isinstance(value, str):
            return Violation(f"{kind_of(value)}, not a size")
        if size is None:
            return Violation("", self._nearest(value))
        return size.to_wire(self.order) if self._within(size) else Violation("", self._clamped(size))

    def pick(self, value: object) -> Size | None:
        """The size that `value` means; `None` if it is not a size, or the server's choice."""
        if value is None or isinstance(value, Size):
            return value
        if not isinstance(value, str):
            return Size.from_mapping(value)
        text = str(value)
        ratio = ratio_of(text)
        return Size.from_wire(text, self.order) if ratio is None else _of_area(ratio, self.area)

    def _within(self, size: Size) -> bool:
        return size.possible and all(self.minimum <= side <= self.maximum for side in (size.width, size.height))

    def _clamped(self, size: Size) -> Size | None:
        if not size.possible:
            return None
        width, height = (min(max(side, self.minimum), self.maximum) for side in (size.width, size.height))
        return Size(width=width, height=height)

    def _nearest(self, text: object) -> str | None:
        size = Size.from_wire(str(text).strip().lower().translate(_TIMES), self.order)
        return size.to_wire(self.order) if size is not None and self._within(size) else None


def _of_area(ratio: float, area: int) -> Size:
    """The size of about `area` pixels whose width is `ratio` times its height."""
    height = math.sqrt(area / ratio)
    width, height = (max(round(side / _STEP), 1) * _STEP for side in (height * ratio, height))
    return Size(width=width, height=height)


_TIMES = str.maketrans({"*": "x", "×": "x", " ": None, "_": None})  # noqa: RUF001 - the sign people type
