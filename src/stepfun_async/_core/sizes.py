"""Picture sizes, and the two orders in which servers write them.

StepFun writes the size of `step-image-edit-2` as HEIGHT x WIDTH and of its other models as
WIDTH x HEIGHT. `Size` names its sides, so that a picture never comes out turned by 90 degrees.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal, Self

Order = Literal["width x height", "height x width"]
"""How a model's wire string orders the two sides."""

RATIOS = ("1:1", "16:9", "9:16", "16:10", "10:16", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21")
"""The aspect ratios, width to height, that sizes are named by."""

_RATIO_TOLERANCE = 0.03
"""How far a size may lie from a ratio and still go by its name: 1360x768 is 0.4 % off 16:9."""

_WIRE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_RATIO = re.compile(r"(\d{1,4}):(\d{1,4})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A picture's size in pixels, with named sides.

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
    def from_wire(cls, text: str, order: Order) -> Self | None:
        """The size that a wire string means in `order`; None where it is not one."""
        match = _WIRE.fullmatch(text)
        if match is None:
            return None
        first, second = int(match[1]), int(match[2])
        if order == "height x width":
            return cls(width=second, height=first)
        return cls(width=first, height=second)

    @property
    def possible(self) -> bool:
        """Whether both sides are whole numbers above 0; a user may have put anything in."""
        sides: list[object] = [self.width, self.height]
        return all(type(side) is int and side > 0 for side in sides)

    def distance(self, other: Self) -> float:
        """How unlike two sizes are: 0 for the same, shape before area; both `possible`."""
        wider = math.log(self.width) - math.log(other.width)
        higher = math.log(self.height) - math.log(other.height)
        return 2 * abs(wider - higher) + abs(wider + higher)

    def fits_ratio(self, ratio: str) -> bool:
        """Whether this size goes by `ratio`, width to height, such as `16:9`."""
        wanted = ratio_of(ratio)
        if wanted is None or not self.possible:
            return False
        return abs(math.log(self.width) - math.log(self.height) - math.log(wanted)) <= _RATIO_TOLERANCE


def ratio_of(text: str) -> float | None:
    """Width over height of an aspect ratio such as `16:9`; None where `text` is not one."""
    match = _RATIO.fullmatch(text)
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return int(match[1]) / int(match[2])
