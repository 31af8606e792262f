"""The result of a batch run, in words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from stepfun_async.batch import Progress

from .console import counted, plain_money


def line_of(progress: Progress) -> str:
    """Format a run in one line."""
    counts = (
        ("done", progress.done),
        ("failed", progress.failed),
        ("unknown", progress.unknown),
        ("skipped", progress.skipped),
        ("in flight", progress.in_flight),
    )
    parts = [f"{number} {name}" for name, number in counts if number or name == "done"]
    return ", ".join([*parts, *money_of(progress.spent, progress.held, progress.unpriced)])


def money_of(spent: Mapping[str, Decimal], held: Mapping[str, Decimal], unpriced: int = 0) -> list[str]:
    """Format what was spent and what is held, if any, and of how many images the price is not known."""
    sums = (("spent", plain_money(spent)), ("possibly billed for nothing", plain_money(held)))
    unknown = [f"the price of {counted(unpriced, 'image')} is not known"] if unpriced else []
    return [*(f"{amount} {name}" for name, amount in sums if amount), *unknown]
