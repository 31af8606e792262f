"""The state of a batch and of its lines, as plain values."""

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

`pending`: to be sent. `started`: in flight, or it was when the process died. `done`: the image is in
its file. `failed`: there is no image, and what is known of money says all. `unknown`: there is no
image, and it may have been billed.
"""

STATES: tuple[State, ...] = get_args(State)

_NONE: Mapping[str, int] = MappingProxyType({})
_NO_MONEY: Mapping[str, Decimal] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of the inputs, and its result.

    Attributes:
        id: the user's, or the request's fingerprint, with `-2` and so on for lines that are equal.
        line: its line or row in the inputs, from 1; `None` if the inputs no longer have it.
        state: how it stands, see `State`.
        request: what was asked for: `operation`, `model` and the parameters; images by path or SHA-256.
        fingerprint: the request's; `None` if the line is no valid request.
        path: the image's file below the batch's folder, or below where its `pictures` are, with `/`; a
            whole path where it had to be rescued to another place; `None` without an image.
        sha256: of that file.
        bytes: its size.
        format: `png`, `jpeg`, `webp` or `gif`.
        width: pixels.
        height: pixels.
        seed: what it was made from, as the server said.
        finish_reason: `success` or `content_filtered`, as the server said.
        price: of one image when it was last sent; `None` if unknown.
        trace_id: the server's `X-Trace-Id`.
        attempts: how many were made, in all runs.
        billed: how many images were charged, in all runs.
        maybe_billed: how many attempts may have been charged, those included, and those in flight now.
        spent: what those images have cost, by currency, each at the price at which it was bought.
        held: what the other attempts cost that may have been charged, likewise.
        error: the name of the class of the last error; `None` without one.
        message: its message.
        started: when it was last sent, seconds since 1970.
        ended: when it ended.
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
        problems: everything that is wrong with it.
    """

    line: int
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "\n".join(f"line {self.line}: {problem}" for problem in self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The findings of `check`. Nothing was sent.

    Attributes:
        lines: how many requests the inputs have, good and bad.
        bad: how many of them cannot be sent.
        bad_lines: the first of those, `MOST_BAD_LINES` at most.
        price: what the good ones cost together, by currency.
        unpriced: how many have a price that is not known.
        seconds: how long the limits make them take at least, whatever the server's speed; `None` if
            they say nothing of time.
    """

    lines: int
    bad: int
    bad_lines: tuple[BadLine, ...]
    price: Mapping[str, Decimal]
    unpriced: int
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedLine:
    """A line that brought no image, and why.

    Attributes:
        line: its line or row in the inputs, from 1; `None` if the inputs no longer have it.
        id: the user's, or ours where the line has none.
        state: `failed` or `unknown`.
        error: the name of the class of its error.
        message: what that said; empty where it said nothing.
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
        """The number of the line, and its id where it has one of its own."""
        where = "a line that is gone" if self.line is None else f"line {self.line}"
        return where if _MADE_ID.fullmatch(self.id) else f"{where} ({self.id})"

    @property
    def reason(self) -> str:
        """The message in one line; the class where there is none."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        if len(lines) > 1 and lines[0].endswith("nothing was sent:"):
            del lines[0]  # that there are problems, before the problems
        return "; ".join(lines) or self.error


_MADE_ID = re.compile(r"[0-9a-f]{64}(-\d+)?|line-\d+")
"""The ids of lines that have none of their own."""

EXAMPLES = 3
"""Lines that a reason has as examples."""

_MOST_REASONS = 100
"""Reasons that are counted each on its own; a batch has a few, and messages with numbers in them thousands."""

OTHER_REASONS = "other reasons"
"""The reason of what is beyond these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReason:
    """A reason for which lines have no image, and their number.

    Attributes:
        error: the name of the class of their error.
        reason: what it said, in one line.
        count: how many lines.
        first: the first of them, `EXAMPLES` at most.
    """

    error: str
    reason: str
    count: int
    first: tuple[FailedLine, ...]


class FailureCounts:
    """Failures, counted by their reason in memory that does not grow with their number."""

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
        """All reasons, the commonest first."""
        return tuple(
            FailureReason(error=error, reason=reason, count=count, first=tuple(self._first[error, reason]))
            for (error, reason), count in self._counts.most_common()
        )


MOST_BAD_LINES = 1000
"""Bad lines that are listed one by one; a list of a million would not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a batch over all runs so far.

    Attributes:
        counts: lines by state; every state is there.
        failures: lines that are `failed` or `unknown`, by the name of the error's class, the commonest first.
        reasons: why, each with its count and the first lines, the commonest first.
        attempts: how many were made.
        billed: how many images were charged.
        maybe_billed: how many attempts may have been charged, those included, and those in flight now.
        maybe_twice: how many images may have been charged on top of one for each line.
        spent: what the images that came have cost, by currency.
        held: what attempts cost that may have been billed and brought no image, those in flight included.
        unpriced: images whose price is not known.
        lines: how many lines the inputs have; `None` until they were read to the end.
        removed: lines of earlier runs that the inputs no longer have.
        running: the process that works on it now, in words; `None` if there is none.
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
        done: images made in this run, those adopted included.
        failed: lines that failed in this run without a doubt about money.
        unknown: lines of this run that may have been billed and brought no image.
        adopted: images of an earlier run that were found whole, but not in the journal.
        skipped: lines that an earlier run had settled.
        in_flight: lines being sent.
        lines: how many lines the inputs have; `None` until they were read to the end.
        reasons: why lines of this run are `failed` or `unknown`, each reason with its count and the lines that ended
            first, the commonest first.
        spent: what this run's images have cost, by currency.
        held: what attempts of this run cost that may have been billed for nothing.
        unpriced: images of this run whose price is not known.
        stopped: why the run ended before the inputs did, in words; `None` if it did not.
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
