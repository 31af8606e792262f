"""The kinds of rules for parameters: what is allowed, in words and as a check.

A rule is independent of models. `convert` returns the JSON value of one that is allowed, else a
`Violation` with the reason and the nearest allowed value. `from_text` reads one back from a form field or a command
line.
"""

from __future__ import annotations

import json
import math
import numbers
import re
from dataclasses import dataclass
from typing import ClassVar, Final, cast

from .problems import show
from .scalars import python_value


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
        default: what the server uses if the parameter is absent; `None` if there is no fixed default.
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
        """Whether some allowed values do something other than they seem to say."""
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
            return Violation(f"{kind_of(value)}, not text")
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
        return Violation(f"{kind_of(value)}, not a truth value", _truth_of(value))

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
            return Violation(f"{kind_of(value)}, not a whole number", self._nearest(value))
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
"""The end of a whole number written as a fraction, such as 1.0."""


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
            return Violation(f"{kind_of(value)}, not a number", self._nearest(value))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored(Rule):
    """A parameter that the server accepts and ignores: the client warns and omits it."""

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


def closest(value: object, options: tuple[str, ...]) -> str | None:
    """The option spelled most like `value`; `None` if none is close."""
    if not issubclass(type(value), str):  # calls no method of the value
        return None
    import difflib  # only needed for misspelled values

    text = str.__str__(cast("str", value)).lower()
    matches = difflib.get_close_matches(text, options, n=1, cutoff=0.6)
    return matches[0] if matches else None


def kind_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return show(value)
    name = type(value).__name__
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"


def _whole(value: object) -> int | None:
    """Return `value`, a whole number of any type, as an int; `None` for booleans, fractions and anything else."""
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
    """Return `value`, a number of any type, as a float; `None` for booleans and anything else."""
    number = python_value(value)
    if isinstance(number, bool) or not isinstance(number, float | int | numbers.Real):
        return None
    return _float(number)


def _number(value: object) -> float | None:
    """Return the finite number in `value`, a number or text; `None` for booleans and anything else."""
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
