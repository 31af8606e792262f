"""Converts the items of a batch to the rows of a report, and its status to the summary."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from stepfun_async._core.money import Money
from stepfun_async._core.results import FILTERED, SaveError

from ..items import Item, Status
from .values import ReportRow, ReportSummary, State

_NAMED = frozenset({"prompt", "model", "operation"})
"""Fields of a row; every other value is a parameter."""


def row_from(item: Item) -> ReportRow:
    """Return a line of the batch as a row of the report."""
    return ReportRow(
        id=item.id,
        state=_state_of(item),
        prompt=_text(item.request, "prompt"),
        model=_text(item.request, "model"),
        operation=_text(item.request, "operation"),
        parameters={name: value for name, value in item.request.items() if name not in _NAMED},
        path=_path_of(item),
        width=item.width,
        height=item.height,
        bytes=item.bytes,
        seed=item.seed,
        finish_reason=item.finish_reason,
        cost=_sums(item.spent),
        held=_sums(item.held),
        unpriced=bool(item.maybe_billed and item.price is None and not item.spent and not item.held),
        attempts=item.attempts,
        maybe_billed=item.maybe_billed,
        error=item.error,
        error_message=item.message,
        started=item.started,
        ended=item.ended,
        seconds=item.elapsed,
        trace_id=item.trace_id,
    )


def summary_from(status: Status, *, title: str, made: float) -> ReportSummary:
    """Return the summary of the batch.

    Args:
        status: the status of the batch.
        title: the title of the report.
        made: the time of the report, in seconds since 1970.
    """
    unsettled = status.counts["pending"] + status.counts["started"]
    return ReportSummary(
        title=title,
        made=made,
        status="running" if status.running else "stopped" if unsettled or status.lines is None else "finished",
        total=None if status.lines is None else status.lines + status.removed,
    )


def _state_of(item: Item) -> State:
    if item.state == "failed" and item.finish_reason == FILTERED:
        return "filtered"
    return item.state


def _text(request: Mapping[str, object], name: str) -> str | None:
    value = request.get(name)
    return None if value is None else str(value)


def _path_of(item: Item) -> str | None:
    """Return the path of the image; `None` if it is at a fallback path, which the page does not show."""
    return None if item.error == SaveError.__name__ else item.path


def _sums(amounts: Mapping[str, Decimal]) -> tuple[Money, ...]:
    return tuple(Money(amount, currency) for currency, amount in sorted(amounts.items()))
