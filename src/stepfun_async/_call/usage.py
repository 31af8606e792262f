"""The usage of a client: counted by any thread, read as a snapshot."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from .._core.money import NOTHING, Money, times, total
from .._core.results import ModelUsage, Usage
from .._runtime.fork import ForkSafeLock
from .record import CallRecord

_Entry: TypeAlias = tuple[str, int, int, int, Money | None]
"""Of one call: its model, its attempts, the images billed, those that may have been billed, and the price of one."""

_MOST_ENTRIES = 256
"""Calls that wait to be added up."""


class UsageCounter:
    """The sums of a client's calls.

    A call that ends appends its numbers to a queue, which needs no lock. They are added up when the sums are read, and
    whenever the queue is long.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._entries: deque[_Entry] = deque()
        self._new = 0
        self._sums: dict[str, _Sums] = {}

    def enter(self, record: CallRecord, price: Money | None) -> None:
        """Enter a call that ended, well or not.

        Args:
            record: the call, which has a model.
            price: the price of one image; `None` if unknown.
        """
        response = record.response
        billed = 0 if response is None else len(response.data)
        unknown = record.maybe_billed - (response is not None)
        self._entries.append((record.model or "", record.attempts, billed, unknown, price))
        self._new += 1  # threads may lose a count to each other, which only makes the queue a little longer
        if self._new >= _MOST_ENTRIES:
            self._new = 0
            self._lock.soon(self._add_up)

    def _add_up(self) -> None:
        """Add the calls in the queue to the sums; the lock is held."""
        while self._entries:
            model, attempts, billed, unknown, price = self._entries.popleft()
            sums = self._sums.get(model) or self._sums.setdefault(model, _Sums())
            sums.requests += 1
            sums.attempts += attempts
            sums.billed += billed
            sums.maybe_billed += unknown
            if price is None:
                sums.unpriced += billed
            elif billed:
                sums.spend(price.currency, times(price.amount, billed))

    def snapshot(self) -> Usage:
        """The sums as they are now."""
        with self._lock:
            self._add_up()
            by_model = {model: ModelUsage(**sums.facts()) for model, sums in sorted(self._sums.items())}
            whole = _Sums()
            for sums in self._sums.values():
                whole.add(sums)
        return Usage(**whole.facts(), by_model=by_model)


@dataclass(slots=True)
class _Sums:
    """`ModelUsage`, as it grows."""

    requests: int = 0
    attempts: int = 0
    billed: int = 0
    maybe_billed: int = 0
    unpriced: int = 0
    spent: dict[str, Decimal] = field(default_factory=dict[str, Decimal])

    def spend(self, currency: str, amount: Decimal) -> None:
        self.spent[currency] = total((self.spent.get(currency, NOTHING), amount))

    def add(self, other: _Sums) -> None:
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for currency, amount in other.spent.items():
            self.spend(currency, amount)

    def facts(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in _NUMBERS}, "spent": dict(sorted(self.spent.items()))}


_NUMBERS = ("requests", "attempts", "billed", "maybe_billed", "unpriced")
