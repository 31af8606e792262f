"""What is wrong with one field of a request, as a value."""

from dataclasses import dataclass
from typing import cast

_SHOWN = 80
"""Characters of a value shown in messages."""

_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that cannot be sent as it is.

    Attributes:
        field: the request's field, such as `steps`; `style_reference.weight` for one inside another.
        given: the value given, where it is text or a number; a short description of anything else.
        allowed: what is allowed instead, in words, such as `a whole number from 1 to 50`.
        why: what is wrong, in words; empty where `allowed` says it all.
        nearest: the allowed value nearest to what was given; None where there is none.
    """

    field: str
    given: object
    allowed: str
    why: str = ""
    nearest: object = None

    def __str__(self) -> str:
        parts = [f"{self.field}: got {show(self.given)}"]
        if self.why:
            parts.append(f" ({self.why})")
        if self.allowed:
            parts.append(f"; allowed: {self.allowed}")
        if self.nearest is not None:
            parts.append(f". Did you mean {show(self.nearest)}?")
        return "".join(parts)


class Description(str):
    """What stands for a value that is not kept itself; shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def show(value: object) -> str:
    """`value` for a message: exact when short, cut and measured when long."""
    if value is None:
        return "nothing"
    try:
        text = repr(value) if isinstance(value, _PLAIN) else str(value)
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        return "a number with thousands of digits"
    if len(text) <= _SHOWN:
        return text
    length = f" ({len(value)} characters)" if isinstance(value, str) else ""
    return f"{text[: _SHOWN - 3]}...{length}"


def plain(value: object) -> object:
    """`value` itself where it pickles and prints for certain, otherwise its description."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return Description(f"{len(cast('bytes', value)):,} bytes")
    text = repr(value)
    return Description(text if len(text) <= _SHOWN else f"a {type(value).__name__}")
