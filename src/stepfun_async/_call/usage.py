"""The usage of a client: counted by any thread, read as a snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from .._core.money import NOTHING, Money, times, total
from .._core.results import ModelUsage, Usage
from .._runtime.fork import ForkSafeLock
from .record import CallRecord


class UsageCounter:
    """The sums of a client's calls."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._sums: dict[str, _Sums] = {}

    def enter(self, record: CallRecord, price: Money | None) -> None:
        """Enter a call that ended, well or not.

        Args:
            record: the call, which has a model.
            price: the price of one image; `None` if unknown.
        """
        self._lock.soon(partial(self._enter, record, price))

    def _enter(self, record: CallRecord, price: Money | None) -> None:
        model, billed = record.model or "", record.billed
        sums = self._sums.get(model) or self._sums.setdefault(model, _Sums())
        sums.requests += 1
        sums.attempts += record.attempts
        sums.billed += billed
        sums.maybe_billed += record.unknown
        if price is None:
            sums.unpriced += billed
        elif billed:
            sums.spend(price.currency, times(price.amount, billed))

    def snapshot(self) -> Usage:
        """The sums as they are now."""
        with self._lock:
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
