"""The totals over all rows of a report, in bounded memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from ..._core.money import NOTHING, Money, total
from .values import ReportRow, State

_EXAMPLES = 3
"""The number of failures shown as examples of a class."""

_MOST_KINDS = 50
"""The number of error classes, and of models, that are counted separately. A job has a few; a faulty one, thousands."""

REST = "all others"
"""The label for classes and models beyond `_MOST_KINDS`."""

_WIDTHS: tuple[int, ...] = (
    1,
    5,
    15,
    60,
    300,
    900,
    3600,
    10800,
    43200,
    86400,
    604800,
    604800 * 52,
    604800 * 520,
    604800 * 5200,
)
"""The widths of the bins of the timeline in seconds, each a multiple of the one before."""

_MOST_BINS = 1024
"""The maximum number of bins; beyond it, bins are merged into wider ones."""

_PAUSE = 600
"""Seconds without an ended request after which the job counts as paused; the timeout of a request is 120 by default."""

_LAST = 32_503_680_000
"""The year 3000, in seconds since 1970; later times are ignored."""

_STEP = math.log(1.01)
"""The width of a bin of durations, as a difference of logarithms: 1 %."""

_SHORTEST = 0.001
"""The shortest duration that is distinguished, in seconds."""


@dataclass(slots=True)
class Totals:
    """Sums of money by currency."""

    by_currency: dict[str, Decimal] = field(default_factory=dict[str, Decimal])

    def add(self, sums: Iterable[Money]) -> None:
        for money in sums:
            whole = self.by_currency.get(money.currency, NOTHING)
            self.by_currency[money.currency] = total((whole, money.amount))

    def __str__(self) -> str:
        """The sums other than 0, such as `5.820 USD`; empty without any."""
        return " + ".join(str(Money(amount, name)) for name, amount in sorted(self.by_currency.items()) if amount)


@dataclass(slots=True)
class Costs:
    """Attempts and charges."""

    images: int = 0
    attempts: int = 0
    maybe_billed: int = 0
    unpriced: int = 0
    spent: Totals = field(default_factory=Totals)
    held: Totals = field(default_factory=Totals)

    @property
    def money(self) -> str:
        """The amount spent; `not known` if no price is known; empty if nothing was spent."""
        return str(self.spent) or ("not known" if self.unpriced else "")

    def add(self, row: ReportRow) -> None:
        self.images += row.state == "done"
        self.attempts += row.attempts
        self.maybe_billed += row.maybe_billed
        self.unpriced += row.unpriced
        self.spent.add(row.cost)
        self.held.add(row.held)


@dataclass(frozen=True, slots=True)
class Example:
    """An example of a class of failures, and its index among the listed rows; `None` if it is not listed."""

    row: ReportRow
    index: int | None


@dataclass(slots=True)
class Failures:
    """The failures of a class."""

    count: int = 0
    examples: list[Example] = field(default_factory=list[Example])

    def add(self, row: ReportRow, index: int | None) -> None:
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(Example(row, index))


@dataclass(frozen=True, slots=True)
class Bin:
    """The requests that ended in one bin, in seconds since 1970: images, and everything else."""

    start: float
    images: int
    others: int


class Timeline:
    """The number of requests that ended, over time."""

    def __init__(self) -> None:
        self._level = 0
        self._bins: dict[int, list[int]] = {}

    def add(self, moment: float, *, image: bool) -> None:
        """Count a request that ended at `moment`, in seconds since 1970."""
        if not 0 <= moment < _LAST:
            return
        counts = self._bins.setdefault(int(moment // _WIDTHS[self._level]), [0, 0])
        counts[not image] += 1
        while len(self._bins) > _MOST_BINS:
            self._level += 1
            self._bins = _coarser(self._bins, self._level)

    def paused(self) -> int:
        """Return the seconds of all pauses: periods longer than `_PAUSE` in which no request ended."""
        width = _WIDTHS[self._level]
        gaps = ((later - earlier - 1) * width for earlier, later in pairwise(sorted(self._bins)))
        return sum(gap for gap in gaps if gap > _PAUSE)

    def bins(self, most: int) -> tuple[int, list[Bin]]:
        """At most `most` columns, those that are not empty, and how many seconds each is wide."""
        bins, level = self._bins, self._level
        while bins and max(bins) - min(bins) >= most:
            level += 1
            bins = _coarser(bins, level)
        width = _WIDTHS[level]
        return width, [Bin(at * width, *counts) for at, counts in sorted(bins.items())]


def _coarser(bins: Mapping[int, list[int]], level: int) -> dict[int, list[int]]:
    """Merge bins of the width before `level` to the width of `level`."""
    factor = _WIDTHS[level] // _WIDTHS[level - 1]
    merged: dict[int, list[int]] = {}
    for at, counts in bins.items():
        sums = merged.setdefault(at // factor, [0, 0])
        sums[:] = [sums[0] + counts[0], sums[1] + counts[1]]
    return merged


class DurationHistogram:
    """A histogram of the durations of requests, with a resolution of 1 %."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        if math.isfinite(seconds) and seconds >= 0:
            self._counts[round(math.log(max(seconds, _SHORTEST)) / _STEP)] += 1

    @property
    def count(self) -> int:
        return self._counts.total()

    def percentile(self, share: float) -> float:
        """Return the seconds within which `share` of the requests ended; 0 without requests."""
        left = share * self.count
        for bin_, count in sorted(self._counts.items()):
            left -= count
            if left <= 1e-9:
                return math.exp(bin_ * _STEP)
        return 0.0

    def bins(self, most: int) -> Iterator[tuple[float, float, int]]:
        """At most `most` columns of equal width on a logarithmic scale: from, to, in seconds, and how many."""
        if not self._counts:
            return
        first, last = min(self._counts), max(self._counts) + 1
        width = max(1, math.ceil((last - first) / most))
        for start, end in pairwise(range(first, last + width, width)):
            count = sum(self._counts[bin_] for bin_ in range(start, end))
            yield math.exp((start - 0.5) * _STEP), math.exp((end - 0.5) * _STEP), count


class ReportStats:
    """The totals over all rows.

    Attributes:
        states: the number of rows in each state.
        listed: the number of these that the page lists.
        failures: the failures by class.
        costs: the costs by model.
        all_costs: the costs of all models together.
        timeline: the number of requests that ended over time.
        durations: the durations of requests that made an image.
        started: the first start, in seconds since 1970; `None` if none is known.
        ended: the last end, likewise.
    """

    def __init__(self) -> None:
        self.states: Counter[State] = Counter()
        self.listed: Counter[State] = Counter()
        self.failures: dict[str, Failures] = {}
        self.costs: dict[str, Costs] = {}
        self.all_costs = Costs()
        self.timeline = Timeline()
        self.durations = DurationHistogram()
        self.started: float | None = None
        self.ended: float | None = None

    def add(self, row: ReportRow, index: int | None) -> None:
        """Count a row; `index` is its position among the listed rows, and `None` if it is not listed."""
        self.states[row.state] += 1
        self.listed[row.state] += index is not None
        self.all_costs.add(row)
        if row.attempts:
            self.costs.setdefault(_kind(row.model or "", self.costs), Costs()).add(row)
        if row.failure is not None:
            self.failures.setdefault(_kind(row.failure, self.failures), Failures()).add(row, index)
        self._add_times(row)

    def _add_times(self, row: ReportRow) -> None:
        if row.state == "done" and row.seconds is not None:
            self.durations.add(row.seconds)
        if row.started is not None and 0 <= row.started < _LAST:
            self.started = row.started if self.started is None else min(self.started, row.started)
        if row.ended is not None and 0 <= row.ended < _LAST:
            self.ended = row.ended if self.ended is None else max(self.ended, row.ended)
            self.timeline.add(row.ended, image=row.state == "done")


def _kind(name: str, known: Mapping[str, object]) -> str:
    return name if name in known or len(known) < _MOST_KINDS else REST
