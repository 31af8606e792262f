"""Progress for people: one line of text that fits the available columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

_NO_MONEY: Mapping[str, Decimal] = MappingProxyType({})

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""Seconds of each unit, longest first."""

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The progress of a piece of work.

    Attributes:
        ended: how many things have ended, those of earlier runs included.
        total: how many there are; `None` if unknown.
        failed: how many of them failed.
        ended_now: how many have ended since the work began, `seconds` ago.
        seconds: how long the work has taken.
        spent: what it has cost, by currency.
    """

    ended: int
    total: int | None = None
    failed: int = 0
    ended_now: int = 0
    seconds: float = 0.0
    spent: Mapping[str, Decimal] = field(default_factory=lambda: _NO_MONEY)


def progress_line(standing: Standing, columns: int = 80, separator: str = "\N{MIDDLE DOT}") -> str:
    """Describe how far a piece of work is, in at most `columns` characters if possible.

    >>> spent = {"USD": Decimal("0.072")}
    >>> progress_line(Standing(ended=24, total=200, failed=5, ended_now=24, seconds=7.7, spent=spent))
    '24 of 200 (12 %) · 5 failed · 3.1/s · 0.07 USD · 56 s left'
    """
    parts = list(_parts(standing))
    while len(parts) > 1 and len(_joined(parts, separator)) > columns:
        parts.remove(max(parts))  # the part that matters least
    return _joined(parts, separator)


def _joined(parts: list[tuple[int, int, str]], separator: str) -> str:
    return f" {separator} ".join(text for _, _, text in sorted(parts, key=lambda part: part[1]))


def _parts(standing: Standing) -> Iterator[tuple[int, int, str]]:
    """Return the parts of the line, each preceded by its rank (higher ones are dropped first) and its place."""
    yield 0, 0, _count(standing)
    if standing.failed:
        yield 1, 1, f"{standing.failed:,} failed"
    if standing.ended_now and standing.seconds > 0:
        yield 4, 2, _rate(standing.ended_now / standing.seconds)
    if money := ", ".join(_money(amount, name) for name, amount in standing.spent.items() if amount):
        yield 3, 3, money
    left = None if standing.total is None else standing.total - standing.ended
    if left and standing.ended_now and standing.seconds > 0:
        yield 2, 4, f"{duration(left * standing.seconds / standing.ended_now)} left"


def _count(standing: Standing) -> str:
    if standing.total is None:
        return f"{standing.ended:,} ended"
    share = 100 * standing.ended // standing.total if standing.total else 100
    return f"{standing.ended:,} of {standing.total:,} ({share} %)"


def _rate(per_second: float) -> str:
    return f"{per_second:,.1f}/s" if per_second >= 0.95 else f"{60 * per_second:.1f}/min"


def _money(amount: Decimal, currency: str) -> str:
    return f"{amount.quantize(_CENT) if amount >= _CENT else amount.normalize():f} {currency}"


def duration(seconds: float) -> str:
    """Format a time in its two largest units.

    >>> [duration(seconds) for seconds in (0.2, 48, 200, 7500, 100_000)]
    ['1 s', '48 s', '3 min 20 s', '2 h 5 min', '1 d 3 h']
    """
    left = max(1, round(seconds))
    parts: list[str] = []
    for length, unit in _UNITS:
        amount, left = divmod(left, length)
        if amount or parts:
            parts.append(f"{amount} {unit}" if amount else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)
