"""Image sizes, and the two orders in which servers write them.

StepFun writes the size of `step-image-edit-2` as HEIGHT x WIDTH and of its other models as
WIDTH x HEIGHT. `Size` names its sides, so that an image never comes out turned by 90 degrees.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NewType, Self, TypeAlias, cast

from .errors import InvalidRequestError
from .problems import Problem, plain

Order = Literal["width x height", "height x width"]
"""The order of the two sides in a model's wire string."""

CustomSize = NewType("CustomSize", str)
"""A size as text that is known only at run time, for type checkers: the methods of every model accept
`size=CustomSize(text)`, and check it before anything is sent. It is an aspect ratio, or the model's own wire string.
"""

RATIOS = ("1:1", "16:9", "9:16", "16:10", "10:16", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21")
"""The aspect ratios, width to height, by which sizes are named."""

_RATIO_TOLERANCE = 0.03
"""The tolerance for naming a size by a ratio: 1360x768 is 0.4 % off 16:9."""

_WIRE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_PIXELS = re.compile(r"(\d{1,5})\s*[x*×]\s*(\d{1,5})\s*(?:px|pixels)", re.ASCII | re.IGNORECASE)  # noqa: RUF001 - people type it
_SIDES = ("width", "height")
_RATIO = re.compile(r"(\d{1,4}):(\d{1,4})", re.ASCII)


Parsable: TypeAlias = "str | tuple[int, int] | list[int] | Size"
"""The syntax of `Size.parse`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """An image's size in pixels, with named sides.

    >>> Size(width=1360, height=768)
    Size(width=1360, height=768)
    """

    width: int
    height: int

    def to_wire(self, order: Order) -> str:
        """The wire string, with the sides in a model's `order`."""
        if order == "height x width":
            return f"{self.height}x{self.width}"
        return f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, value: Parsable) -> "Size | CustomSize":
        """Read a size that is known only at run time, such as one from a configuration file or a command line.

        Args:
            value: pixels with their unit, width first (`"1360x768 px"`); a pair of width and height; a `Size`; or
                an aspect ratio, width to height (`"16:9"`), which each model has its own pixels for.

        Returns:
            A `Size`, or the aspect ratio, as what the methods accept as `size`.

        Raises:
            InvalidRequestError: `value` is none of these, or text without a unit: models write the sides in either
                order, so that "1360x768" alone would be a guess.

        >>> Size.parse("1360x768 px")
        Size(width=1360, height=768)
        >>> Size.parse("16:9")
        '16:9'
        """
        if isinstance(value, Size):
            return value
        if isinstance(value, str):
            return _parsed(value.strip())
        given: object = value
        match given:
            case (int(width), int(height)) if not any(isinstance(side, bool) for side in (width, height)):
                return _possible(Size(width=width, height=height), given)
            case _:
                raise _unparsable(given, "")

    @classmethod
    def from_wire(cls, text: str, order: Order) -> Self | None:
        """The size that a wire string means in `order`; `None` if it is not one."""
        match = _WIRE.fullmatch(text)
        if match is None:
            return None
        first, second = int(match[1]), int(match[2])
        if order == "height x width":
            return cls(width=second, height=first)
        return cls(width=first, height=second)

    @classmethod
    def from_mapping(cls, value: object) -> Self | None:
        """The size that `{"width": ..., "height": ...}` means, as JSON has it; `None` for anything else.

        A side may be a float without a fraction, since JSON does not distinguish 1360 from 1360.0.
        """
        if not isinstance(value, Mapping):
            return None
        sides = cast("Mapping[object, object]", value)
        if len(sides) != len(_SIDES) or not all(type(sides.get(side)) in (int, float) for side in _SIDES):
            return None
        width, height = (cast("int | float", sides[side]) for side in _SIDES)
        return cls(width=_whole(width), height=_whole(height))

    @property
    def label(self) -> str:
        """The size for people, always width x height, with its ratio and shape; no server accepts it as a wire string.

        >>> Size(width=1360, height=768).label
        '1360 x 768 (16:9, landscape)'
        """
        sides = f"{self.width} x {self.height}"
        if not self.possible:
            return sides
        ratio = "" if self.shape == "square" or self.ratio is None else f"{self.ratio}, "
        return f"{sides} ({ratio}{self.shape})"

    @property
    def ratio(self) -> str | None:
        """The first of `RATIOS` that this size goes by, such as `16:9`; None without one."""
        return next((ratio for ratio in RATIOS if self.fits_ratio(ratio)), None)

    @property
    def shape(self) -> str:
        """`square`, `landscape` or `portrait`."""
        return "square" if self.width == self.height else "landscape" if self.width > self.height else "portrait"

    @property
    def possible(self) -> bool:
        """Whether both sides are whole numbers above 0; users may have passed anything."""
        sides: list[object] = [self.width, self.height]
        return all(type(side) is int and side > 0 for side in sides)

    def distance(self, other: Self) -> float:
        """Return how different two sizes are: 0 for equal ones, shape before area; both must be `possible`."""
        wider = math.log(self.width) - math.log(other.width)
        higher = math.log(self.height) - math.log(other.height)
        return 2 * abs(wider - higher) + abs(wider + higher)

    def fits_ratio(self, ratio: str) -> bool:
        """Whether this size goes by `ratio`, width to height, such as `16:9`."""
        wanted = ratio_of(ratio)
        if wanted is None or not self.possible:
            return False
        return abs(math.log(self.width) - math.log(self.height) - math.log(wanted)) <= _RATIO_TOLERANCE


def _parsed(text: str) -> Size | CustomSize:
    if ratio_of(text) is not None:
        return CustomSize(text)
    if pixels := _PIXELS.fullmatch(text):
        return _possible(Size(width=int(pixels[1]), height=int(pixels[2])), text)
    unitless = _PIXELS.fullmatch(f"{text} px")
    raise _unparsable(text, "some models write the height first: say which side is which" if unitless else "")


def _possible(size: Size, given: object) -> Size:
    if not size.possible:
        raise _unparsable(given, "a side is not above 0")
    return size


def _unparsable(given: object, why: str) -> InvalidRequestError:
    allowed = '"WIDTHxHEIGHT px", such as "1360x768 px"; (width, height); an aspect ratio, such as "16:9"; or a Size'
    return InvalidRequestError.of("Size.parse", (Problem("size", plain(given), allowed, why),))


def _whole(side: float) -> int:
    """Return `side` as an int if it is a whole number, otherwise as it is, which no model makes."""
    return int(side) if float(side).is_integer() else cast("int", side)


def ratio_of(text: str) -> float | None:
    """Width over height of an aspect ratio such as `16:9`; `None` if `text` is not one."""
    match = _RATIO.fullmatch(text)
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return int(match[1]) / int(match[2])
