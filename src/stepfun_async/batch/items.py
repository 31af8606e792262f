"""The state of a batch and of its lines, as values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from stepfun_async._core.money import Money
from stepfun_async._core.problems import Problem

State: TypeAlias = Literal["pending", "started", "done", "failed", "unknown"]
"""The state of a line.

`pending`: to be sent. `started`: in flight, or it was when the process died. `done`: the image is in its file.
`failed`: there is no image, and its cost is certain. `unknown`: there is no image, and it may have been billed.
"""

STATES: tuple[State, ...] = get_args(State)

_NONE: Mapping[str, int] = MappingProxyType({})
_NO_MONEY: Mapping[str, Decimal] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of the inputs, and its result.

    Attributes:
        id: the id that the user gave, or the request's fingerprint, with `-2` and so on for equal lines.
        line: its line or row in the inputs, from 1; `None` if it is no longer in the inputs.
        state: its state, see `State`.
        request: the request: `operation`, `model` and the parameters; images by path or SHA-256.
        fingerprint: the fingerprint of the request; `None` if the request is invalid.
        path: the file of the image, relative to the batch's folder or its `pictures`, with `/`; an absolute path if the
            image had to be saved elsewhere; `None` without an image.
        sha256: the SHA-256 of that file.
        bytes: the size of that file.
        format: `png`, `jpeg`, `webp` or `gif`.
        width: the width of the image in pixels.
        height: the height of the image in pixels.
        seed: the seed of the image, as returned by the server.
        finish_reason: `success` or `content_filtered`, as returned by the server.
        price: the price of one image when the line was last sent; `None` if unknown.
        trace_id: the server's `X-Trace-Id`.
        attempts: the number of attempts in all runs.
        billed: the number of images charged in all runs.
        maybe_billed: the number of attempts that may have been charged, including those images, and attempts in flight.
        spent: the cost of those images by currency, each at the price at which it was bought.
        held: the possible cost of the other attempts that may have been charged, likewise.
        error: the name of the class of the last error; `None` without one.
        message: the message of that error.
        started: when it was last sent, in seconds since 1970.
        ended: when it ended, in seconds since 1970.
        elapsed: seconds from its slot to its response.
    """

    id: str
    line: int | None
    state: State
    request: Mapping[str, Any] = field(repr=False)
    fingerprint: str | None = None
    path: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    finish_reason: str | None = None
    price: Money | None = None
    trace_id: str | None = None
    attempts: int = 0
    billed: int = 0
    maybe_billed: int = 0
    spent: Mapping[str, Decimal] = field(default_factory=lambda: _NO_MONEY)
    held: Mapping[str, Decimal] = field(default_factory=lambda: _NO_MONEY)
    error: str | None = None
    message: str | None = None
    started: float | None = None
    ended: float | None = None
    elapsed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that cannot be sent.

    Attributes:
        line: its number, from 1.
        problems: all of its problems.
    """

    line: int
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "\n".join(f"line {self.line}: {problem}" for problem in self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The findings of `check`. Nothing was sent.

    Attributes:
        lines: the number of requests in the inputs.
        bad: the number of requests that cannot be sent.
        bad_lines: the first of those, at most `MOST_BAD_LINES`.
        price: the total price of the others, by currency.
        unpriced: the number of requests with an unknown price.
        seconds: the least time that the others take because of the limits, whatever the server's speed; `None` if the
            limits have no rate.
    """

    lines: int
    bad: int
    bad_lines: tuple[BadLine, ...]
    price: Mapping[str, Decimal]
    unpriced: int
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedLine:
    """A line without an image, and why.

    Attributes:
        line: its line or row in the inputs, from 1; `None` if it is no longer in the inputs.
        id: the id that the user gave, or the generated one.
        state: `failed` or `unknown`.
        error: the name of the class of its error.
        message: the message of the error, which may be empty.
    """

    line: int | None
    id: str
    state: State
    error: str
    message: str

    @classmethod
    def of(cls, item: Item) -> FailedLine:
        """Return the failure of an item that is `failed` or `unknown`."""
        error = item.error or item.state
        return cls(line=item.line, id=item.id, state=item.state, error=error, message=item.message or "")

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"

    @property
    def place(self) -> str:
        """The number of the line, and its id if the user gave one."""
        where = "a line that is gone" if self.line is None else f"line {self.line}"
        return where if _GENERATED_ID.fullmatch(self.id) else f"{where} ({self.id})"

    @property
    def reason(self) -> str:
        """The message in one line; the class if it is empty."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        if len(lines) > 1 and lines[0].endswith("nothing was sent:"):
            del lines[0]  # it only announces the problems
        return "; ".join(lines) or self.error


_GENERATED_ID = re.compile(r"[0-9a-f]{64}(-\d+)?|line-\d+")
"""The ids of lines to which the user gave none."""

EXAMPLES = 3
"""The number of lines listed for each reason."""

_MOST_REASONS = 100
"""The number of reasons that are counted separately. A batch has a few, but messages with numbers can be thousands."""

OTHER_REASONS = "other reasons"
"""The reason for all failures beyond those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReason:
    """A reason why lines have no image, and their number.

    Attributes:
        error: the name of the class of their error.
        reason: its message, in one line.
        count: the number of lines.
        first: the first of them, at most `EXAMPLES`.
    """

    error: str
    reason: str
    count: int
    first: tuple[FailedLine, ...]


class FailureCounts:
    """Failures, counted by reason in bounded memory."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], list[FailedLine]] = {}

    def add(self, failed: FailedLine) -> None:
        """Count a failure."""
        key = (failed.error, failed.reason)
        if key not in self._counts and len(self._counts) >= _MOST_REASONS:
            key = (failed.error, OTHER_REASONS)
        self._counts[key] += 1
        if self._counts[key] <= EXAMPLES:
            self._first.setdefault(key, []).append(failed)

    def reasons(self) -> tuple[FailureReason, ...]:
        """Return all reasons, the most common first."""
        return tuple(
            FailureReason(error=error, reason=reason, count=count, first=tuple(self._first[error, reason]))
            for (error, reason), count in self._counts.most_common()
        )


MOST_BAD_LINES = 1000
"""The maximum number of bad lines that are listed one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a batch over all runs so far.

    Attributes:
        counts: the number of lines by state, with every state.
        failures: the number of `failed` and `unknown` lines by the name of the error's class, the most common first.
        reasons: the reasons of these, each with its number of lines and the first of them, the most common first.
        attempts: the number of attempts.
        billed: the number of images charged.
        maybe_billed: the number of attempts that may have been charged, including those images, and attempts in flight.
        maybe_twice: the number of images that may have been charged beyond one for each line.
        spent: the cost of the images, by currency.
        held: the possible cost of attempts without an image that may have been charged, including those in flight.
        unpriced: the number of images with an unknown price.
        lines: the number of lines in the inputs; `None` until they were read to the end.
        removed: the number of lines of earlier runs that are no longer in the inputs.
        running: a description of the process that is running the batch; `None` if there is none.
    """

    counts: Mapping[State, int]
    failures: Mapping[str, int] = field(default_factory=lambda: _NONE)
    reasons: tuple[FailureReason, ...] = ()
    attempts: int = 0
    billed: int = 0
    maybe_billed: int = 0
    maybe_twice: int = 0
    spent: Mapping[str, Decimal] = field(default_factory=lambda: _NO_MONEY)
    held: Mapping[str, Decimal] = field(default_factory=lambda: _NO_MONEY)
    unpriced: int = 0
    lines: int | None = None
    removed: int = 0
    running: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a run.

    Attributes:
        done: the number of images made in this run, including those adopted.
        failed: the number of lines that failed in this run, whose cost is certain.
        unknown: the number of lines of this run that may have been billed and have no image.
        adopted: the number of complete images of an earlier run that were found and were not in the journal.
        skipped: the number of lines that an earlier run had settled.
        in_flight: the number of lines in flight.
        lines: the number of lines in the inputs; `None` until they were read to the end.
        reasons: why lines of this run are `failed` or `unknown`, each reason with its number of lines and those that
            ended first, the most common first.
        spent: the cost of this run's images, by currency.
        held: the possible cost of attempts of this run that may have been billed without an image.
        unpriced: the number of this run's images with an unknown price.
        stopped: why the run ended before the inputs did; `None` if it did not.
    """

    done: int = 0
    failed: int = 0
    unknown: int = 0
    adopted: int = 0
    skipped: int = 0
    in_flight: int = 0
    lines: int | None = None
    reasons: tuple[FailureReason, ...] = ()
    spent: Mapping[str, Decimal] = field(default_factory=lambda: _NO_MONEY)
    held: Mapping[str, Decimal] = field(default_factory=lambda: _NO_MONEY)
    unpriced: int = 0
    stopped: str | None = None
