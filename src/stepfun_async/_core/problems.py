"""`Problem`: why one field of a request is invalid."""

from dataclasses import dataclass
from typing import cast

from .text import LONGEST, described, escaped, shown

_ADDRESS = " at 0x"
"""The part of a value's `repr` that carries no information."""

_PLAIN = (str, int, float, bool, type(None))

_WRITABLE = 2**2000
"""The largest whole number that Python writes with any settings; they may limit it to 640 digits."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that cannot be sent as it is.

    Attributes:
        field: the request's field, such as `steps`; `style_reference.weight` for one inside another.
        given: the value given, where it is text or a number; a short description of anything else.
        allowed: what is allowed instead, in words, such as `a whole number from 1 to 50`.
        why: what is wrong, in words; empty where `allowed` says it all.
        nearest: the allowed value nearest to what was given; `None` if there is none.
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
        return escaped("".join(parts))


class Description(str):
    """The placeholder of a value that is not kept; shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def show(value: object) -> str:
    """`value` for a message: exact when short, cut and measured when long."""
    if value is None:
        return "nothing"
    if isinstance(value, str) and not isinstance(value, Description):
        length = f" ({len(value)} characters)" if len(repr(value)) > LONGEST else ""
        return f"{shown(value)}{length}"
    return shown(value, repr if type(value) in _PLAIN else str)


def plain(value: object) -> object:
    """Return `value` itself if it certainly pickles and prints, otherwise its description."""
    try:
        return _plain(value)
    except Exception:  # noqa: BLE001 - a user's methods may raise anything
        return Description(described(value))


def _plain(value: object) -> object:
    if type(value) in _PLAIN:
        return _number(value) if type(value) is int else value
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _number(int.__int__(value))
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return value if isinstance(value, Description) else str.__str__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return Description(f"{memoryview(cast('bytes', value)).nbytes:,} bytes")
    text = escaped(repr(value))
    own = len(text) <= LONGEST and _ADDRESS not in text
    return Description(text if own else described(value))


def _number(value: int) -> object:
    return value if -_WRITABLE < value < _WRITABLE else Description(described(value))
