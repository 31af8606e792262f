"""Formats numbers, times and durations for people."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""Seconds of each unit, longest first."""

SPACE = "\N{NO-BREAK SPACE}"
NOTHING = "\N{EN DASH}"


def number(value: float) -> str:
    """`1,234`, `12.3`, `0.45`: whole from 100 on, otherwise three digits.

    >>> [number(value) for value in (0, 0.4512, 1.0, 12.34, 99.99, 1234.5)]
    ['0', '0.45', '1', '12.3', '100', '1,234']
    """
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def count(value: int, one: str, many: str | None = None) -> str:
    """`1 image`, `2 images`."""
    return f"{value:,}{SPACE}{one if value == 1 else many or one + 's'}"


def percent(part: int, whole: int) -> str:
    """`12 %`; 0 % and 100 % only if they are exact."""
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 1:
        return f"<{SPACE}1{SPACE}%"
    return f"{math.floor(share) if share > 99 else round(share)}{SPACE}%"


def duration(seconds: float) -> str:
    """`340 ms`, `1.23 s`, `2 min 5 s`, `2 h 39 min`: the two largest units.

    >>> [duration(value).replace(SPACE, " ") for value in (0, 0.34, 1.23, 59.96, 125, 9540, 360000)]
    ['0 s', '340 ms', '1.23 s', '1 min', '2 min 5 s', '2 h 39 min', '4 d 4 h']
    """
    if 0 < seconds < 0.9995:
        return f"{number(seconds * 1000)}{SPACE}ms"
    if seconds < 59.95:
        return f"{number(seconds)}{SPACE}s"
    return _in_units(seconds)


def _in_units(seconds: float) -> str:
    at = next(at for at, (length, _) in enumerate(_UNITS) if round(seconds) >= length)
    smallest = _UNITS[min(at + 1, len(_UNITS) - 1)][0]
    left = round(seconds / smallest) * smallest
    parts: list[str] = []
    for length, unit in _UNITS[max(at - 1, 0) : at + 2]:
        amount, left = divmod(left, length)
        if amount:
            parts.append(f"{amount}{SPACE}{unit}")
    return " ".join(parts[:2])


def moment(seconds: float) -> str:
    """`2026-11-25 14:02 UTC`."""
    return f"{_utc(seconds):%Y-%m-%d %H:%M} UTC"


def clock(seconds: float, width: float) -> str:
    """A label on an axis whose bins are `width` seconds wide: `14:02:05`, `14:02`, `11-25 14:02`."""
    if width >= 43200:
        return f"{_utc(seconds):%Y-%m-%d}"
    if width >= 1800:
        return f"{_utc(seconds):%m-%d %H:%M}"
    return f"{_utc(seconds):%H:%M:%S}" if width < 15 else f"{_utc(seconds):%H:%M}"


def span(start: float, end: float) -> str:
    """`2026-11-25 14:02 to 16:41 UTC`."""
    first, last = _utc(start), _utc(end)
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {until} UTC"


def listing(parts: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
