"""What a client was used for: counted by any thread, read as a snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from ._calls import CallRecord
from ._core.capabilities import Money
from ._core.results import ModelUsage, Usage
from ._locks import ForkSafeLock


class Ledger:
    """The sums of a client's calls."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._counts: dict[str, Counter[str]] = {}
        self._spent: dict[str, dict[str, Decimal]] = {}

    def enter(self, record: CallRecord, price: Money | None) -> None:
        """Enter a call that ended, well or not.

        Args:
            record: the call, which has a model.
            price: the price of one picture; None where it is not known.
        """
        model, billed = record.model or "", record.billed
        with self._lock:
            counts = self._counts.setdefault(model, Counter())
            counts["requests"] += 1
            counts["attempts"] += record.attempts
            counts["billed"] += billed
            counts["maybe_billed"] += record.unknown
            if price is None:
                counts["unpriced"] += billed
            elif billed:
                spent = self._spent.setdefault(model, {})
                spent[price.currency] = spent.get(price.currency, Decimal(0)) + price.amount * billed

    def snapshot(self) -> Usage:
        """The sums as they are now."""
        with self._lock:
            by_model = {
                model: _usage(counts, [self._spent.get(model, {})]) for model, counts in sorted(self._counts.items())
            }
            total: Counter[str] = Counter()
            for counts in self._counts.values():
                total.update(counts)
            whole = _usage(total, self._spent.values())
        return Usage(
            whole.requests,
            whole.attempts,
            whole.billed,
            whole.maybe_billed,
            whole.spent,
            whole.unpriced,
            by_model,
        )


def _usage(counts: Counter[str], spent: Iterable[dict[str, Decimal]]) -> ModelUsage:
    sums: dict[str, Decimal] = {}
    for amounts in spent:
        for currency, amount in amounts.items():
            sums[currency] = sums.get(currency, Decimal(0)) + amount
    return ModelUsage(
        counts["requests"],
        counts["attempts"],
        counts["billed"],
        counts["maybe_billed"],
        dict(sorted(sums.items())),
        counts["unpriced"],
    )
