"""A line of the inputs: its number, its value when it is read, and a digest that identifies it unread."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from stepfun_async._core.errors import StepFunWarning
from stepfun_async._core.json_text import json_writer
from stepfun_async._core.problems import Problem

from .jobs import Broken


class InputWarning(StepFunWarning):
    """Inputs of a batch that are read, but may not be what was meant: there is no line in them, or a column without a
    name is passed over.
    """


@dataclass(frozen=True, slots=True)
class InputLine:
    """A line as it stands in the inputs.

    Attributes:
        number: its line or row, from 1.
        read: returns its value: a mapping, a request value, or `Broken`.
        digest: of how it is written; `None` for a value that has no written form.
    """

    number: int
    read: Callable[[], object]
    digest: bytes | None = None


def line_of(number: int, value: object) -> InputLine:
    return InputLine(number, lambda: value, digest_of(value))


def digest_of(value: object) -> bytes | None:
    """Return a hash of a mapping or a prompt; `None` if it cannot be written as JSON."""
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


def broken(text: bytes, allowed: str, why: str) -> Broken:
    given = text[:80].decode("utf-8", "backslashreplace") if text else None
    return Broken((Problem("line", given, allowed, why),))
