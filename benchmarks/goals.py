"""What calls shall cost at most, as ratios to what others cost in the same run, and whether they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .cases import CASES
from .pictures import png
from .run import Results

Measure: TypeAlias = Callable[[Results], float | None]
"""A number out of the results; None where it was not measured."""


@dataclass(frozen=True)
class Goal:
    """One goal.

    Attributes:
        what: what is measured.
        at: whether `limit` is the `most` or the `least`.
        limit: the goal.
        unit: of both numbers.
        measure: where the number is found.
    """

    what: str
    at: str
    limit: float
    unit: str
    measure: Measure

    def line(self, results: Results) -> str:
        """The goal, what was measured, and whether it is met."""
        goal = f"  {self.what:<66}{'<=' if self.at == 'most' else '>='} {self.limit:<7.4g}{self.unit:<17}"
        found = self.measure(results)
        if found is None:
            return goal + "not measured"
        return f"{goal}{found:>8.4g}  {'met' if self.met(found) else 'NOT MET'}"

    def met(self, found: float) -> bool:
        """Whether `found` is good enough."""
        return found <= self.limit if self.at == "most" else found >= self.limit


def _of(case: str, other: str, figure: str = "cpu_us") -> Measure:
    """Ours in parts of the other's."""
    return lambda results: results.ratio(case, figure, "ours", other)


def _times(case: str, other: str, figure: str) -> Measure:
    """The other's in parts of ours."""
    return lambda results: results.ratio(case, figure, other, "ours")


def _value(case: str, figure: str, unit: float = 1.0, client: str = "ours") -> Measure:
    """Ours in units of `unit`."""

    def measure(results: Results) -> float | None:
        found = results.value(case, client, figure)
        return None if found is None else found / unit

    return measure


def _of_ideal(case: str) -> Measure:
    """Our rate in parts of what the server's latency allows."""
    row = CASES[case]
    return _value(case, "rate", row.in_flight / (row.latency or 1.0))


def _tail(results: Results) -> float | None:
    slow, usual = (results.value("1kb-c16", "ours", figure) for figure in ("p99_ms", "p50_ms"))
    return slow / usual if slow and usual else None


def _pieces(results: Results) -> float | None:
    return results.ratio("decode-1.5mb", "cpu_us", "stdlib", "pieces")


def _difference(case: str, figure: str, less: tuple[str, str]) -> Measure:
    """Ours without another case's or client's."""

    def measure(results: Results) -> float | None:
        whole, part = results.value(case, "ours", figure), results.value(*less, figure)
        return None if whole is None or part is None else whole - part

    return measure


_PICTURE_MB = len(png(CASES["1.5mb-c64"].side)) / 1e6

GOALS = (
    Goal("CPU a call, 1 KB, 64 in flight", "most", 0.7, "of aiohttp", _of("1kb-c64", "aiohttp")),
    Goal("the same (the moonshot)", "most", 0.5, "of aiohttp", _of("1kb-c64", "aiohttp")),
    Goal("CPU a call, 1 KB, 64 in flight", "most", 0.07, "of openai", _of("1kb-c64", "openai")),
    Goal("CPU a call, 1 KB, 1 in flight", "most", 1 / 4, "of openai", _of("1kb-c1", "openai")),
    Goal("CPU a call, 1 KB, 1 in flight", "most", 1 / 2, "of httpx", _of("1kb-c1", "httpx")),
    Goal("CPU a sync call from 32 threads", "most", 1 / 4, "of openai", _of("sync-32", "openai")),
    Goal("p99, 1 KB, 16 in flight", "most", 2, "of p50", _tail),
    Goal("calls a second, 64 in flight, 50 ms latency", "least", 0.95, "of the ideal", _of_ideal("1kb-c64-50ms")),
    Goal("calls a second, 256 in flight, 50 ms latency", "least", 0.95, "of the ideal", _of_ideal("1kb-c256-50ms")),
    Goal(
        "calls a second, 1,000 in flight, 50 ms latency",
        "least",
        1.5,
        "of aiohttp",
        _of("1kb-c1000-50ms", "aiohttp", "rate"),
    ),
    Goal("CPU a 1.5 MB image, to files, 64 in flight", "most", 2, "of the floor", _of("1.5mb-save-c64", "floor")),
    Goal(
        "the same, of a floor that flushes and renames",
        "most",
        1.5,
        "of that floor",
        _of("1.5mb-save-c64", "floor-durable"),
    ),
    Goal("memory a slot, 1.5 MB images to files, 64 in flight", "most", 0.4, "MB", _value("1.5mb-save-c64", "slot_mb")),
    Goal(
        "memory a slot, 1.5 MB images to memory, 64 in flight",
        "most",
        1.2,
        "of the image",
        _value("1.5mb-c64", "slot_mb", _PICTURE_MB),
    ),
    Goal("CPU an edit of 1.5 MB, 16 in flight", "most", 1.15, "of aiohttp", _of("edit-1.5mb-c16", "aiohttp")),
    Goal("p50 of the same", "most", 1.15, "of aiohttp", _of("edit-1.5mb-c16", "aiohttp", "p50_ms")),
    Goal("CPU of a fresh process to its first response", "most", 1 / 4, "of openai", _of("first", "openai", "cpu_ms")),
    Goal("CPU of a fresh process to its first response", "most", 1, "of aiohttp", _of("first", "aiohttp", "cpu_ms")),
    Goal("import stepfun_async, CPU", "most", 10, "ms", _value("import", "cpu_ms")),
    Goal("one more client, made", "most", 1, "ms", _value("second", "made_us", 1e3)),
    Goal(
        "decoding a whole 1.5 MB response, speed",
        "least",
        40,
        "of json+base64",
        _times("decode-1.5mb", "stdlib", "cpu_us"),
    ),
    Goal("decoding it while it arrives, speed", "least", 15, "of json+base64", _pieces),
    Goal("a fan-out's own CPU a job", "most", 15, "us", _difference("map-100000", "cpu_us", ("map-100000", "workers"))),
    Goal("event-loop lag over 100,000 jobs", "most", 10, "ms", _value("map-100000", "lag_ms")),
    Goal(
        "memory of 100,000 jobs over that of 10,000",
        "most",
        1,
        "MB",
        _difference("map-100000", "peak_mb", ("map-10000", "ours")),
    ),
)


def goals(results: Results) -> str:
    """The goals as a table."""
    return "\n".join(("Goals", *(goal.line(results) for goal in GOALS)))
