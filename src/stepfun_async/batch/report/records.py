"""A row as the page's script reads it: a list of plain values in the order of `FIELDS`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, cast

from ..._core.money import Money
from .links import ImageLocation
from .values import ReportRow

Plain: TypeAlias = str | int | float | bool | list["Plain"] | dict[str, "Plain"] | None

LONGEST = 20_000
"""The maximum number of characters of a text on the page, far more than any model accepts."""

_DEEPEST = 4
"""The number of levels of nested parameters that are kept."""

_MOST_ITEMS = 200
"""The number of items of a nested parameter that are kept."""

_EXACT = 2**53
"""The largest number up to which JavaScript represents all integers."""

FIELDS = (
    "id",
    "state",
    "prompt",
    "error",
    "width",
    "height",
    "source",
    "thumbnail",
    "path",
    "model",
    "operation",
    "parameters",
    "bytes",
    "seed",
    "finish_reason",
    "cost",
    "held",
    "attempts",
    "maybe_billed",
    "error_message",
    "started",
    "ended",
    "seconds",
    "trace_id",
)
"""The fields of a record, in order: those that are often empty come last, since trailing empty values are omitted."""


def record_of(row: ReportRow, location: ImageLocation) -> list[Plain]:
    """Return a row as a list of plain values, without the empty ones at its end."""
    more: dict[str, object] = {
        "error": row.failure or row.error,
        "source": location.source,
        "thumbnail": location.thumbnail,
        "path": location.name,
        "cost": _money(row.cost),
        "held": _money(row.held),
        "attempts": row.attempts or None,
        "maybe_billed": row.maybe_billed or None,
    }
    values = [plain(more[name] if name in more else getattr(row, name)) for name in FIELDS]
    while values[-1] in (None, {}):
        values.pop()
    return values


def plain(value: object, depth: int = 0) -> Plain:
    """Return `value` as a JSON value that JavaScript represents exactly, or else as text."""
    if isinstance(value, str):
        return _cut(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) <= _EXACT else _text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return _compound(value, depth)


def _compound(value: object, depth: int) -> Plain:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(cast('bytes', value)):,} bytes"
    if depth < _DEEPEST and isinstance(value, Mapping):
        items = list(cast("Mapping[object, object]", value).items())[:_MOST_ITEMS]
        return {_text(key): plain(item, depth + 1) for key, item in items}
    if depth < _DEEPEST and isinstance(value, Sequence):
        return [plain(item, depth + 1) for item in list(cast("Sequence[object]", value))[:_MOST_ITEMS]]
    return _text(value)


def _text(value: object) -> str:
    try:
        return _cut(str(value))
    except (ValueError, RecursionError):  # a number with thousands of digits, a value that contains itself
        return f"a {type(value).__name__} that cannot be shown"


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text) - LONGEST:,} more characters)"


def _money(sums: Iterable[Money]) -> str | None:
    return " + ".join(str(money) for money in sums if money.amount) or None
