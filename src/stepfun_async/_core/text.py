"""Text and values from elsewhere, made safe to show on terminals, in logs, errors and reports."""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST = 80
"""The maximum characters of a value shown."""

_CONTROLS = "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: what terminals obey
_LINES = "\u2028\u2029"  # what some viewers take for the end of a line
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what shows text in another order than it has
_HALVES = "\ud800-\udfff"  # what cannot be written at all
_UNSAFE = re.compile(f"[{_CONTROLS}{_LINES}{_BIDI}{_HALVES}]")
_UNSAFE_IN_LINES = re.compile(f"[{_CONTROLS}{_LINES}{_BIDI}{_HALVES}]".replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: str, *, lines: bool = False) -> str:
    r"""Return `text` with each character that a terminal obeys, or that hides others, written as its escape.

    The escapes are those of JSON: JSON without its controls is the same JSON.

    Args:
        text: the text of a server, a file name, or anything else that others chose.
        lines: whether line breaks stay, because they are our own.

    >>> print(escaped("no\x1b[2J\nbill: nothing"))
    no\u001b[2J\nbill: nothing
    """
    if text.isprintable():
        return text
    return (_UNSAFE_IN_LINES if lines else _UNSAFE).sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}"


def shown(value: object, write: Callable[[object], str] = repr) -> str:
    """Return `write(value)`, cut if it is long; a description if it raises, as it may for users' objects."""
    try:
        text = escaped(write(value))
    except Exception:  # noqa: BLE001 - a user's `__repr__` or `__str__` may raise anything
        return described(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def described(value: object) -> str:
    """Return the kind of `value`, for one that is not shown itself."""
    kind = type(value)
    if issubclass(kind, int):
        return "a number with thousands of digits"
    name = escaped(kind.__name__)
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def reason(error: BaseException) -> str:
    """Return the message and the class of `error`, which is not one of our own."""
    try:
        said = escaped(str(error))
    except Exception:  # noqa: BLE001 - a user's `__str__` may raise anything
        said = ""
    kind = escaped(type(error).__name__)
    return f"{kind}: {said[:LONGEST]}" if said else kind
