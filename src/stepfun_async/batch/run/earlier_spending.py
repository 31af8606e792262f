"""Adds the spending of a batch's earlier runs to its budget, once in each process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias
from weakref import WeakKeyDictionary

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.money import NOTHING, less, times, total
from stepfun_async._core.text import escaped
from stepfun_async._limits.budget import Budget

from ..journal.journal import Journal

_Sums: TypeAlias = tuple[Decimal, Decimal]

_settled: WeakKeyDictionary[Budget, dict[Path, _Sums]] = WeakKeyDictionary()
"""The amounts that each budget includes already, by batch, so that no run of this process is counted twice."""


def settle_earlier(journal: Journal, budget: Budget | None, folder: Path) -> None:
    """Add to the budget what earlier runs have spent, or may have spent.

    Raises:
        ConfigurationError: the budget lacks a price for some of it.
    """
    if budget is None:
        return
    journal.begin()
    unpriced = journal.charges.set_missing_prices(lambda model: budget.price_of(model, None))
    journal.commit()
    _refuse_unpriced(budget, unpriced, "at an unknown price")
    spent, held = _sums(journal, budget)
    settled_spent, settled_held = _settled.get(budget, {}).get(folder.absolute(), (NOTHING, NOTHING))
    budget.settle(held=less(held, settled_held), spent=less(spent, settled_spent))
    mark_settled(journal, budget, folder)


def mark_settled(journal: Journal, budget: Budget | None, folder: Path) -> None:
    """Remember that the budget includes the spending in the journal."""
    if budget is not None:
        _settled.setdefault(budget, {})[folder.absolute()] = _sums(journal, budget)


def _sums(journal: Journal, budget: Budget) -> _Sums:
    """Return the amounts spent and held in the budget's currency; those in other currencies at the budget's price.

    Raises:
        ConfigurationError: the budget has no price for them.
    """
    money = journal.money()
    spent, held = money.spent.get(budget.currency, NOTHING), money.held.get(budget.currency, NOTHING)
    unknown: Counter[str] = Counter()
    for model, charge in journal.charges.in_other_currencies(budget.currency):
        price = budget.price_of(model, None)
        if price is None:
            unknown[model] += charge.maybe_billed
            continue
        spent = total((spent, times(price.amount, charge.billed)))
        held = total((held, times(price.amount, charge.maybe_billed - charge.billed)))
    _refuse_unpriced(budget, unknown, "in another currency")
    return spent, held


def _refuse_unpriced(budget: Budget, counts: Mapping[str, int], how: str) -> None:
    if not counts:
        return
    bought = ", ".join(f"{count} images of {escaped(model)}" for model, count in sorted(counts.items()))
    prices = ", ".join(f"{model!r}: ..." for model in sorted(counts))
    raise ConfigurationError(
        f"earlier runs of this batch bought {bought} {how}, so the budget cannot count them: "
        f"Budget({budget.limit:f}, {budget.currency!r}, prices={{{prices}}}); nothing was sent"
    )
