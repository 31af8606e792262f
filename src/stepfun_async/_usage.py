"""What a client was used for: counted by any thread, read as a snapshot."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from ._core.capabilities import Money
from ._core.errors import Billing
from ._core.results import ModelUsage, Usage


class Tally:
    """One call's attempts, and how many of them may have been charged."""

    __slots__ = ("attempts", "maybe_billed")

    def __init__(self) -> None:
        self.attempts = 0
        self.maybe_billed = 0

    def ended(self, billing: Billing) -> None:
        """Note how an attempt ended."""
        if billing in ("executed", "unknown"):
            self.maybe_billed += 1


class Ledger:
    """The sums of a client's calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._spent: dict[str, dict[str, Decimal]] = {}

    def after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._lock = threading.Lock()

    def enter(self, model: str, tally: Tally, *, billed: int, price: Money | None) -> None:
        """Enter a call that ended, well or not.

        Args:
            model: the model asked.
            tally: the call's attempts.
            billed: how many pictures were answered.
            price: the price of one; None where it is not known.
        """
        with self._lock:
            counts = self._counts.setdefault(model, Counter())
            counts["requests"] += 1
            counts["attempts"] += tally.attempts
            counts["billed"] += billed
            counts["maybe_billed"] += tally.maybe_billed - bool(billed)
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
