"""The rows of a report, from what a batch's journal has."""

from __future__ import annotations

from collections.abc import Mapping

from stepfun_async._core.capabilities import Money
from stepfun_async._core.results import FILTERED

from ..items import Item, Status
from .values import ReportRow, ReportSummary, State

_NAMED = frozenset({"prompt", "model", "operation"})
"""What a row has a field of its own for; the rest are parameters."""


def row_from(item: Item) -> ReportRow:
    """A line of the batch as a row of the report."""
    return ReportRow(
        id=item.id,
        state=_state_of(item),
        prompt=_text(item.request, "prompt"),
        model=_text(item.request, "model"),
        operation=_text(item.request, "operation"),
        parameters={name: value for name, value in item.request.items() if name not in _NAMED},
        path=item.path if item.state == "done" else None,
        width=item.width,
        height=item.height,
        bytes=item.bytes,
        seed=item.seed,
        finish_reason=item.finish_reason,
        cost=_times(item.price, item.billed),
        held=_times(item.price, item.maybe_billed - item.billed),
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
    """What a report says of the batch as a whole.

    Args:
        status: how it stands.
        title: what it is called.
        made: when the report is made, in seconds since 1970.
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


def _times(price: Money | None, count: int) -> Money | None:
    return None if price is None or count <= 0 else Money(price.amount * count, price.currency)
