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
class StateLabel:
    """The label of a state on the page, and its description."""

    label: str
    meaning: str


STATES: Mapping[State, StateLabel] = MappingProxyType(
    {
        "done": StateLabel("Done", "the image is there"),
        "filtered": StateLabel("Filtered", "an image was made, and withheld by the content filter"),
        "failed": StateLabel("Failed", "there is no image, and no doubt about money"),
        "unknown": StateLabel("Unknown", "there is no image, and it may have been charged"),
        "started": StateLabel(
            "In flight", "was on its way when this page was written, or when the job was interrupted"
        ),
        "pending": StateLabel("Waiting", "not sent yet"),
    }
)
"""Every state, in the order of the page."""

FAILING: tuple[State, ...] = ("filtered", "failed", "unknown")
"""The states that count as failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One request of the job, and its result. Only `id` and `state` are required.

    All texts are shown literally, whatever they contain.

    Attributes:
        id: the id of the request in the job.
        state: its state.
        prompt: the prompt.
        model: the model.
        operation: `text_to_image`, `edit` or `image_to_image`.
        parameters: all other parameters, by the SDK's names.
        path: the file of the image, absolute or relative to the report's folder. An image outside of that folder is
            named, but not shown.
        width: the width of the image in pixels.
        height: the height of the image in pixels.
        bytes: the size of the file.
        seed: the seed of the image.
        finish_reason: the finish reason from the server.
        cost: what was certainly charged, a sum for each currency.
        held: what may have been charged in addition to `cost`, likewise.
        unpriced: whether images or attempts were charged, or may have been, at an unknown price.
        attempts: the number of attempts.
        maybe_billed: the number of attempts that may have been charged.
        error: the class of the error, such as `RateLimitError`.
        error_message: the message of the error.
        started: when it was sent, in seconds since 1970.
        ended: when the response or the error arrived, in seconds since 1970.
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
        """The class of failures in which this row is counted; `None` if it is no failure."""
        if self.state not in FAILING:
            return None
        return self.error or STATES[self.state].label


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSummary:
    """The facts about the job as a whole.

    Attributes:
        title: the title of the report.
        made: the time of the report, in seconds since 1970.
        status: whether the job is running, has finished, or was stopped early.
        reason: why it was stopped.
        total: the number of its requests; if it is `None`, the rows are counted.
        seconds: the total duration of its runs; `None` means the time from the first start to the last end, without
            pauses of more than ten minutes.
        budget: the most it may spend.
        settings: the settings of the job, such as `{"concurrency": 40}`.
    """

    title: str
    made: float
    status: Literal["running", "finished", "stopped"] = "finished"
    reason: str | None = None
    total: int | None = None
    seconds: float | None = None
    budget: Money | None = None
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
