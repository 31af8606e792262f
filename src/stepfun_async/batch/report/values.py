"""The data that a report is made from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from ..._core.money import Money

State: TypeAlias = Literal["done", "filtered", "failed", "unknown", "started", "pending"]
"""The state of a request, see `STATES`."""


@dataclass(frozen=True, slots=True)
class StateName:
    """The label of a state on the page, and its description."""

    label: str
    meaning: str


STATES: Mapping[State, StateName] = MappingProxyType(
    {
        "done": StateName("Done", "the image is there"),
        "filtered": StateName("Filtered", "an image was made, and withheld by the content filter"),
        "failed": StateName("Failed", "there is no image, and no doubt about money"),
        "unknown": StateName("Unknown", "there is no image, and it may have been charged"),
        "started": StateName("In flight", "was on its way when this page was written, or when the job was interrupted"),
        "pending": StateName("Waiting", "not sent yet"),
    }
)
"""Every state, in the order of the page."""

FAILING: tuple[State, ...] = ("filtered", "failed", "unknown")
"""The states that count as failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One request of the job, and what became of it. Only `id` and `state` have to be known.

    All texts are taken as they are, whatever is in them.

    Attributes:
        id: what the job calls it.
        state: what became of it.
        prompt: what was asked for.
        model: the model asked.
        operation: `text_to_image`, `edit` or `image_to_image`.
        parameters: everything else that was sent, by the SDK's names.
        path: the image's file; a relative one is seen from the report's folder. One outside of that
            folder is named, but not shown.
        width: pixels of the image.
        height: pixels of the image.
        bytes: the size of the file.
        seed: the seed that the image was made from.
        finish_reason: as the server said it.
        cost: what was certainly charged, a sum for each currency.
        held: what may have been charged on top of `cost`, likewise.
        unpriced: whether images or attempts were charged, or may have been, at a price that is not known.
        attempts: how many times it was tried.
        maybe_billed: how many of these attempts may have been charged, as the client counts them.
        error: the class of the failure, such as `RateLimitError`.
        error_message: what the failure said.
        started: when it was sent, in seconds since 1970.
        ended: when the response or the failure was there, likewise.
        seconds: how long it took.
        trace_id: the server's `X-Trace-Id`.
    """

    id: str
    state: State
    prompt: str | None = None
    model: str | None = None
    operation: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict[str, object])
    path: str | os.PathLike[str] | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    seed: int | None = None
    finish_reason: str | None = None
    cost: tuple[Money, ...] = ()
    held: tuple[Money, ...] = ()
    unpriced: bool = False
    attempts: int = 0
    maybe_billed: int = 0
    error: str | None = None
    error_message: str | None = None
    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    trace_id: str | None = None

    @property
    def failure(self) -> str | None:
        """The class that this row is counted in among the failures; `None` if it is none."""
        if self.state not in FAILING:
            return None
        return self.error or STATES[self.state].label


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSummary:
    """The facts of the job as a whole, beside its rows.

    Attributes:
        title: what the job is called.
        made: when this report is made, in seconds since 1970.
        status: whether the job goes on, came to its end, or was stopped before.
        reason: why it was stopped.
        total: how many requests it has; `None` if unknown so far, so that its rows are counted.
        seconds: how long it was at work, all its runs together; None takes the time from the first start to
            the last end, without pauses of more than ten minutes.
        budget: the most it may spend.
        settings: how it was run, such as `{"concurrency": 40}`.
    """

    title: str
    made: float
    status: Literal["running", "finished", "stopped"] = "finished"
    reason: str | None = None
    total: int | None = None
    seconds: float | None = None
    budget: Money | None = None
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
