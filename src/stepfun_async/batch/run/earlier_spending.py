"""Budgets of batches: what earlier runs have spent counts, once in each process."""

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

_known_to: WeakKeyDictionary[Budget, dict[Path, _Sums]] = WeakKeyDictionary()
"""The amounts already counted, by budget and batch, so that no run of this process is counted twice."""


def settle_earlier(journal: Journal, budget: Budget | None, folder: Path) -> None:
    """Add to the budget what earlier runs have spent and may have spent.

    Raises:
        ConfigurationError: for some of it the budget has no price.
    """
    if budget is None:
        return
    journal.begin()
    unpriced = journal.charges.price_unpriced(lambda model: budget.price_of(model, None))
    journal.commit()
    _refuse_unpriced(budget, unpriced, "at a price that is not known")
    spent, held = _sums(journal, budget)
    known_spent, known_held = _known_to.get(budget, {}).get(folder.absolute(), (NOTHING, NOTHING))
    budget.settle(held=less(held, known_held), spent=less(spent, known_spent))
    note_known(journal, budget, folder)


def note_known(journal: Journal, budget: Budget | None, folder: Path) -> None:
    if budget is not None:
        _known_to.setdefault(budget, {})[folder.absolute()] = _sums(journal, budget)


def _sums(journal: Journal, budget: Budget) -> _Sums:
    """Return the amounts spent and held in the budget's currency; payments in others count at the budget's price.

    Raises:
        ConfigurationError: it has none for that.
    """
    money = journal.money()
    spent, held = money.spent.get(budget.currency, NOTHING), money.held.get(budget.currency, NOTHING)
    unknown: Counter[str] = Counter()
    for model, charge in journal.charges.not_in(budget.currency):
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
