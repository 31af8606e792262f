"""The kinds of rule a parameter can have: what is allowed, in words and as a check.

A rule is independent of models. `convert` returns the JSON value of one that is allowed, else a
`Violation` with the reason and the nearest allowed value. `from_text` reads one back from a form field or a command
line.
"""

from __future__ import annotations

import json
import math
import numbers
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, cast

from .headers import FORMATS
from .input_images import ImageURL, InputImage, InvalidImage
from .problems import show
from .scalars import python_value
from .sizes import RATIOS, Order, Size, ratio_of


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a value is not allowed, and the allowed value nearest to it."""

    why: str = ""
    nearest: object = None
    part: str = ""
    allowed: str = ""


OMITTED: Final = object()
"""The result of `Rule.convert` for a value that is allowed but not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The base of all rules.

    Attributes:
        default: what the server takes when the parameter is absent; `None` if it has no fixed one.
        required: whether a request without it is refused.
        source: where the rule is documented, a key of `SOURCES`.
        note: additional information for readers of the table.
    """

    default: object = None
    required: bool = False
    source: str = ""
    note: str = ""
    kind: ClassVar[str] = ""

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        raise AssertionError(type(self))

    @property
    def wire_allowed(self) -> str:
        """The allowed values, phrased for JSON and forms."""
        return self.allowed

    @property
    def shown_default(self) -> str:
        """The default, for people; empty where there is none."""
        return "" if self.default is None else repr(self.default)

    @property
    def notable(self) -> bool:
        """Whether there are values that are allowed, but do something else than they seem to say."""
        return False

    def convert(self, value: object) -> object:
        """Return the wire's value for `value` if it is allowed, otherwise a `Violation`; `OMITTED` to send none."""
        raise AssertionError(type(self))

    def judge(self, value: object) -> Violation | None:
        """Return `None` if `value` is allowed, otherwise the violation."""
        converted = self.convert(value)
        return converted if isinstance(converted, Violation) else None

    def faults(self, value: object) -> tuple[Violation, ...]:
        """Return all violations of `value`; it may have several parts."""
        fault = self.judge(value)
        return () if fault is None else (fault,)

    def to_wire(self, value: object) -> object:
        """Return the wire's value for `value`; `value` itself if it is not allowed or not sent."""
        converted = self.convert(value)
        return value if converted is OMITTED or isinstance(converted, Violation) else converted

    def from_text(self, text: str) -> object:
        """Parse `text`, or return it as it is if it has no value, so that `judge` rejects it."""
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Rule):
    """Text of `minimum` to `maximum` characters, counted in Unicode code points."""

    minimum: int = 1
    maximum: int = 512
    kind: ClassVar[str] = "text"

    @property
    def allowed(self) -> str:
        return f"text of {self.minimum} to {self.maximum:,} characters"

    def convert(self, value: object) -> object:
        if type(value) is not str and not isinstance(value, str):
            return Violation(f"{_kind_of(value)}, not text")
        if not self.minimum <= len(value) <= self.maximum:
            return Violation(f"{len(value):,} characters", self._nearest(value))
        if "\0" in value:
            return Violation("has a NUL character: it is not text, or text in UTF-16 or UTF-32", self._nearest(value))
        if not (value.isascii() or _encodable(value)):
            return Violation("has half of a surrogate pair, which UTF-8 cannot carry", self._nearest(value))
        return value

    def _nearest(self, text: str) -> str | None:
        nearest = _sayable(text)[: self.maximum]
        return nearest if len(nearest) >= max(self.minimum, 1) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Rule):
    """One of a few words."""

    options: tuple[str, ...]
    kind: ClassVar[str] = "choice"

    @property
    def allowed(self) -> str:
        return " or ".join(repr(option) for option in self.options)

    @property
    def wire_allowed(self) -> str:
        return " or ".join(json.dumps(option) for option in self.options)

    def convert(self, value: object) -> object:
        if (type(value) is str or isinstance(value, str)) and value in self.options:
            return value
        return Violation("", closest(value, self.options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean(Rule):
    """True or False."""

    kind: ClassVar[str] = "flag"

    @property
    def allowed(self) -> str:
        return "True or False"

    @property
    def wire_allowed(self) -> str:
        return "true or false"

    def convert(self, value: object) -> object:
        flag = python_value(value)
        if isinstance(flag, bool):
            return flag
        return Violation(f"{_kind_of(value)}, not a truth value", _truth_of(value))

    def from_text(self, text: str) -> object:
        return {"true": True, "false": False}.get(text.strip().lower(), text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer(Rule):
    """A whole number, both ends included. A float or decimal without a fraction is one: tables write 1 as 1.0.

    Attributes:
        minimum: the smallest.
        maximum: the largest.
        zero_is_random: whether 0 stands for a random number.
        drawn: whether a client draws a number if none is given.
    """

    minimum: int
    maximum: int
    zero_is_random: bool = False
    drawn: bool = False
    kind: ClassVar[str] = "whole number"

    @property
    def allowed(self) -> str:
        if self.minimum == self.maximum:
            return f"only {self.minimum}"
        return f"a whole number from {self.minimum} to {self.maximum}"

    @property
    def notable(self) -> bool:
        return self.zero_is_random

    def convert(self, value: object) -> object:
        number = value if type(value) is int else _whole(value)
        if number is None:
            return Violation(f"{_kind_of(value)}, not a whole number", self._nearest(value))
        if not self.minimum <= number <= self.maximum:
            return Violation("", self._nearest(number))
        return number

    def _nearest(self, value: object) -> int | None:
        number = _number(value)
        if number is None:
            return None
        return round(min(max(number, self.minimum), self.maximum))

    def from_text(self, text: str) -> object:
        try:
            return int(_ZEROS.sub("", text.strip()))
        except ValueError:
            return text


_ZEROS = re.compile(r"(?<=[0-9])\.0*$")
"""The end of a whole number that is written as a fraction, such as 1.0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Rule):
    """A finite number; both ends included, but for a minimum that is `above`."""

    minimum: float
    maximum: float
    above: bool = False
    kind: ClassVar[str] = "number"

    @property
    def allowed(self) -> str:
        start = f"above {self.minimum:g}" if self.above else f"from {self.minimum:g}"
        return f"a number {start} to {self.maximum:g}"

    def convert(self, value: object) -> object:
        number = value if type(value) is float else _real(value)
        if number is None:
            return Violation(f"{_kind_of(value)}, not a number", self._nearest(value))
        if not math.isfinite(number):
            return Violation("not a finite number", self._nearest(value))
        too_low = number <= self.minimum if self.above else number < self.minimum
        if too_low or number > self.maximum:
            return Violation("", self._nearest(value))
        return number

    def _nearest(self, value: object) -> float | None:
        number = _number(
            value.replace(",", ".", 1) if isinstance(value, str) else value
        )  # 2,5 is 2.5 in many languages
        if number is None:
            return None
        nearest = min(max(number, self.minimum), self.maximum)
        return None if self.above and nearest == self.minimum else nearest

    def from_text(self, text: str) -> object:
        number = _number(text)
        return text if number is None else number


@dataclass(frozen=True, kw_only=True)  # without slots, so that it can keep what its texts mean
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
            return Violation(f"{_kind_of(value)}, not a size", self._from_pair(value))
        return None if size in self.options else Violation("", self._nearest(size))

    def _judge_wire(self, text: str) -> Violation:
        """Judge a value of the wire. If the height comes first, a string is explained with named sides."""
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
        if isinstance(value, Size):  # the option itself: `Size(width=1024.0, ...)` equals it, but prints otherwise
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
        area: the pixels that an aspect ratio is made into, about.
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
            return Violation(f"{_kind_of(value)}, not a size")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput(Rule):
    """An image that goes into the request."""

    formats: tuple[str, ...]
    max_bytes: int | None = None
    min_side: int = 1
    max_side: int
    max_ratio: float | None = None
    links: bool = False
    kind: ClassVar[str] = "image"

    @property
    def allowed(self) -> str:
        parts = [f"one image ({', '.join(self.formats)})", f"each side {self.min_side} to {self.max_side} pixels"]
        if self.max_bytes:
            parts.append(f"at most {self.max_bytes:,} bytes")
        if self.max_ratio:
            parts.append(f"sides no further apart than 1:{self.max_ratio:g}")
        if self.links:
            parts.append("or an http(s) link to one")
        return ", ".join(parts)

    def convert(self, value: object) -> object:
        """`value` is what `load_image` made of the user's image; the request has it as it is."""
        if isinstance(value, ImageURL):
            return value if self.links else Violation("this endpoint takes no links: download the image first")
        if not isinstance(value, InputImage):
            return Violation(value.why if isinstance(value, InvalidImage) else f"{_kind_of(value)}, not an image")
        return self._judge_image(value) or value

    def _judge_image(self, image: InputImage) -> Violation | None:
        if image.format not in self.formats:
            next_step = FORMATS[image.format].next_step or "convert it, or give Image.open(path)"
            return Violation(f"the bytes are {image.format}: {next_step}")
        if why := self.why_not_sides(image.width, image.height):
            return Violation(why)
        if self.max_bytes and image.size > self.max_bytes:
            return Violation(f"{image.size:,} bytes{_smaller(image)}")
        if not image.complete:
            return Violation(f"the {image.format} is cut off: its end is missing")
        return None

    def why_not_sides(self, width: int, height: int) -> str | None:
        """Return why an image of this size in pixels is not allowed; `None` if it is."""
        shorter, longer = sorted((width, height))
        if shorter < self.min_side or longer > self.max_side:
            return f"{width}x{height} pixels"
        if self.max_ratio and longer > shorter * self.max_ratio:
            return f"{width}x{height} pixels are 1:{longer / shorter:.2f}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Style(Rule):
    """A mapping with the image whose style to take (`source_url`) and how strongly (`weight`)."""

    image: ImageInput
    weight: Number
    kind: ClassVar[str] = "style reference"

    @property
    def allowed(self) -> str:
        return f"{{'source_url': {self.image.allowed}, 'weight': {self.weight.allowed}}}"

    @property
    def wire_allowed(self) -> str:
        return f'{{"source_url": {self.image.allowed}, "weight": {self.weight.allowed}}}'

    def convert(self, value: object) -> object:
        if faults := self.faults(value):
            return faults[0]
        style = cast("Mapping[str, object]", value)
        weight = style.get("weight")
        given = {"source_url": style["source_url"]}
        return given if weight is None else {**given, "weight": self.weight.to_wire(weight)}

    def faults(self, value: object) -> tuple[Violation, ...]:
        """`value` is the user's mapping with `source_url` replaced by what `load_image` made of it."""
        if not isinstance(value, Mapping):
            return (Violation(value.why if isinstance(value, InvalidImage) else f"{_kind_of(value)}, not a mapping"),)
        return tuple(self._faults(cast("Mapping[object, object]", value)))

    def _faults(self, style: Mapping[object, object]) -> Iterator[Violation]:
        rules: Mapping[object, Rule] = {"source_url": self.image, "weight": self.weight}
        if "source_url" not in style:
            yield Violation("is missing", part="source_url", allowed=self.image.allowed)
        for key, item in style.items():
            rule = rules.get(key)
            if rule is None:
                nearest = closest(key, ("source_url", "weight"))
                yield Violation("no such key", nearest, part=str(key), allowed="source_url, weight")
            elif item is not None and (fault := rule.judge(item)):
                yield Violation(fault.why, fault.nearest, part=str(key), allowed=rule.allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored(Rule):
    """A parameter that the server takes and does nothing with: warned about and left out."""

    kind: ClassVar[str] = "ignored"
    effect: str = "has no effect"

    @property
    def allowed(self) -> str:
        return f"anything; it {self.effect}"

    @property
    def notable(self) -> bool:
        return True

    def convert(self, value: object) -> object:
        return OMITTED


def _smaller(image: InputImage) -> str:
    """Return how to make an image with too many bytes smaller; empty if no advice is known."""
    return ": save it as JPEG, quality 95, and give that" if image.format == "png" else ""


def closest(value: object, options: tuple[str, ...]) -> str | None:
    """The option spelled most like `value`; `None` if none is close."""
    if not issubclass(type(value), str):  # which asks nothing of the value itself
        return None
    import difflib  # only for those who have mistyped

    text = str.__str__(cast("str", value)).lower()
    matches = difflib.get_close_matches(text, options, n=1, cutoff=0.6)
    return matches[0] if matches else None


def _kind_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return show(value)
    name = type(value).__name__
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"


def _whole(value: object) -> int | None:
    """The whole number that `value` is, of whichever type; `None` for truth values, fractions and the rest."""
    number = python_value(value)
    if isinstance(number, bool):
        return None
    if isinstance(number, numbers.Integral):
        return int(number)
    if isinstance(number, numbers.Rational):
        return int(number.numerator) if number.denominator == 1 else None
    real = _real(number)
    return int(real) if real is not None and real.is_integer() else None


def _real(value: object) -> float | None:
    """The number that `value` is, of whichever type, as a float; `None` for truth values and the rest."""
    number = python_value(value)
    if isinstance(number, bool) or not isinstance(number, float | int | numbers.Real):
        return None
    return _float(number)


def _number(value: object) -> float | None:
    """The finite number in `value`, be it a number or text; `None` for truth values and the rest."""
    try:
        number = _float(value) if isinstance(value, str) else _real(value)
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _float(value: str | float | numbers.Real) -> float:
    """`value` as a float; infinity where it is a whole number or fraction too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _truth_of(value: object) -> bool | None:
    number = _number(value)
    return bool(number) if number in (0, 1) else None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sayable(text: str) -> str:
    """`text` without NUL and without halves of surrogate pairs."""
    return "".join(character for character in text if character != "\0" and not "\ud800" <= character <= "\udfff")
