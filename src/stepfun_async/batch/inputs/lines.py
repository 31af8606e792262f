"""A line of the inputs: its number, a function that reads its value, and a digest that identifies it before that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from stepfun_async._core.errors import StepFunWarning
from stepfun_async._core.json_text import json_writer
from stepfun_async._core.problems import Problem

from .jobs import InvalidLine


class InputWarning(StepFunWarning):
    """The inputs of a batch may not be what was intended: they have no lines, a column without a name is ignored, or a
    line has an empty image.
    """


@dataclass(frozen=True, slots=True)
class InputLine:
    """A line of the inputs.

    Attributes:
        number: its line or row, from 1.
        read: returns its value: a mapping, a request value, or `InvalidLine`.
        digest: a hash of its text; `None` for a value that cannot be text.
    """

    number: int
    read: Callable[[], object]
    digest: bytes | None = None


def line_of(number: int, value: object) -> InputLine:
    return InputLine(number, lambda: value, digest_of(value))


def digest_of(value: object) -> bytes | None:
    """Return a hash of a mapping or a prompt; `None` if it cannot be encoded as JSON."""
    if not isinstance(value, Mapping | str):
        return None
    try:
        text = _write_json(cast("object", value))
    except (TypeError, ValueError, RecursionError):
        return None
    return digest(text.encode("utf-8", "surrogatepass"))


_write_json = json_writer(sort_keys=True)


def digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()


def invalid_line(text: bytes, allowed: str, why: str) -> InvalidLine:
    given = text[:80].decode("utf-8", "backslashreplace") if text else None
    return InvalidLine((Problem("line", given, allowed, why),))
