"""The plots, as SVG.

Coordinates are percentages and there is no viewBox, so a plot fills the available width while its text and lines keep
their size. No style attribute is needed, which the page's policy would block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from . import formatting
from .markup import Html, element, joined
from .stats import Bin, DurationHistogram, Timeline

_MOST_MOMENTS = 96
_MOST_DURATIONS = 48
"""The maximum number of bins of the plots."""

_PERCENTILES = (0.5, 0.95, 0.99)

_HEADROOM = 1.3
"""The height of the plot of durations relative to its highest bin: the upper part is for the percentiles."""

_RATES = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))
"""The units of rates: their length in seconds, and their symbols."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of requests in a unit of time."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{formatting.number(self.value)}{formatting.SPACE}/{formatting.SPACE}{self.unit}"


def rate_of(count: float, seconds: float) -> Rate:
    """Return the rate of `count` in `seconds`, in the shortest unit in which it is at least 1."""
    length, unit = next((each for each in _RATES if count / seconds * each[0] >= 1), _RATES[-1])
    return Rate(count / seconds * length, unit)


def progress(shares: Sequence[tuple[str, int]]) -> Html:
    """Return a bar in which each kind has its share.

    Args:
        shares: the kinds, which are the classes of the style sheet, and the number of each.
    """
    whole = sum(count for _, count in shares) or 1
    pieces: list[Html] = []
    at = 0
    for kind, count in shares:
        pieces.append(_bar(kind, 100 * at / whole, 0, 100 * count / whole, 100))
        at += count
    label = ", ".join(f"{count:,} {kind}" for kind, count in shares)
    return element("svg", *pieces, class_="progress", role="img", aria_label=f"Progress: {label}")


def over_time(timeline: Timeline) -> Html | None:
    """Return the plot of requests over time; `None` if none have ended."""
    width, bins = timeline.bins(_MOST_MOMENTS)
    if not bins:
        return None
    start, end = bins[0].start, bins[-1].start + width
    highest = max(bins, key=_all_of)
    unit = rate_of(_all_of(highest), width).unit
    length = next(length for length, name in _RATES if name == unit)
    ticks = _ticks(_all_of(highest) / width * length)
    scale = ticks[-1] / length * width  # requests in a column that reaches the top
    bars = (piece for bin_ in bins for piece in _stacked(bin_, start, end, width, scale))
    label = f"Requests ended over time: at most {rate_of(_all_of(highest), width)}"
    return joined(
        element("p", f"ended{formatting.SPACE}/{formatting.SPACE}{unit}", class_="unit"),
        _plot(label, *_levels(ticks), *bars, *_moments(start, end, width)),
    )


def _all_of(bin_: Bin) -> int:
    return bin_.images + bin_.others


def _stacked(bin_: Bin, start: float, end: float, width: float, scale: float) -> Iterator[Html]:
    """Yield a bar, with images below and everything else above, and its tooltip."""
    at, wide = 100 * (bin_.start - start) / (end - start), 100 * width / (end - start)
    until = formatting.clock(bin_.start + width, width)
    text = f"{formatting.clock(bin_.start, width)} to {until}: {formatting.count(bin_.images, 'image')}"
    title = element("title", f"{text}, {bin_.others:,} without" if bin_.others else text)
    middle = 100 * bin_.images / scale
    top = 100 * _all_of(bin_) / scale
    bars = [_bar("done", at, 0, wide * 0.86, middle)] if bin_.images else []
    if bin_.others:
        bars.append(_bar("failed", at, middle, wide * 0.86, top - middle))
    yield element("g", title, _bar("hover", at, 0, wide, 100), *bars)


def _moments(start: float, end: float, width: float) -> Iterator[Html]:
    anchors = ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    for share, anchor in anchors:
        text = formatting.clock(start + share * (end - start), width)
        yield element("text", text, x=_percent(100 * share), y="100%", dy="1.5em", text_anchor=anchor, class_="tick")


def of_durations(durations: DurationHistogram) -> Html | None:
    """Return the plot of durations with their percentiles; `None` without images."""
    bins = list(durations.bins(_MOST_DURATIONS))
    if not bins:
        return None
    highest = max(count for _, _, count in bins)
    scale = _HEADROOM * highest
    first, last = math.log(bins[0][0]), math.log(bins[-1][1])

    def x_of(seconds: float) -> float:
        return 100 * (math.log(seconds) - first) / (last - first)

    wide = 100 / len(bins)
    bars = (_duration_bar(each, at * wide, wide, scale) for at, each in enumerate(bins) if each[2])
    lines = ((share, durations.percentile(share)) for share in _PERCENTILES)
    marks = _percentiles(
        [(f"p{100 * share:g} {formatting.duration(seconds)}", x_of(seconds)) for share, seconds in lines]
    )
    ticks = (_duration_tick(seconds, x_of(seconds)) for seconds in _round_durations(bins[0][0], bins[-1][1]))
    text = ", ".join(f"p{100 * share:g} {formatting.duration(durations.percentile(share))}" for share in _PERCENTILES)
    return joined(
        element("p", "images", class_="unit"),
        _plot(f"Seconds an image took: {text}", *_levels(_ticks(highest), scale), *bars, *marks, *ticks),
    )


def percentiles(durations: DurationHistogram) -> list[tuple[str, str]]:
    """The names of the percentiles, and the durations."""
    return [(f"p{100 * share:g}", formatting.duration(durations.percentile(share))) for share in _PERCENTILES]


def _duration_bar(bin_: tuple[float, float, int], at: float, wide: float, scale: float) -> Html:
    start, end, count = bin_
    text = f"{formatting.duration(start)} to {formatting.duration(end)}: {formatting.count(count, 'image')}"
    bar = _bar("done", at, 0, wide * 0.86, 100 * count / scale)
    return element("g", element("title", text), _bar("hover", at, 0, wide, 100), bar)


def _percentiles(marks: Sequence[tuple[str, float]]) -> Iterator[Html]:
    """Yield a line for each mark, and above the lines the names, each in a row of its own so that none overlap."""
    for _, at in marks:
        yield element("line", x1=_percent(at), x2=_percent(at), y1="0%", y2="100%", class_="percentile")
    for row, (name, at) in enumerate(marks):
        anchor, shift = ("end", "-0.4em") if at > 50 else ("start", "0.4em")
        height = f"{0.9 + 1.25 * row:g}em"
        yield element(
            "text", name, x=_percent(at), y="0", dx=shift, dy=height, text_anchor=anchor, class_="percentile-name"
        )


def _duration_tick(seconds: float, at: float) -> Html:
    anchor = "start" if at < 4 else "end" if at > 96 else "middle"
    return element(
        "text", formatting.duration(seconds), x=_percent(at), y="100%", dy="1.5em", text_anchor=anchor, class_="tick"
    )


def _round_durations(start: float, end: float) -> list[float]:
    """Return up to six durations between `start` and `end`, 1, 2 or 5 times a power of ten; their mean if none is."""
    powers = range(math.floor(math.log10(start)), math.ceil(math.log10(end)) + 1)
    rounds = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    between = [seconds for seconds in rounds if start <= seconds <= end]
    step = math.ceil(len(between) / 6)
    return between[::step] if between else [math.sqrt(start * end)]


def _ticks(highest: float) -> tuple[float, float, float]:
    """Return 0, half of the next round number from `highest` on, and that number."""
    power = 10.0 ** math.floor(math.log10(highest))
    top = next(step * power for step in (1, 2, 4, 6, 10) if step * power >= highest * 0.999)
    return 0.0, top / 2, top


def _levels(ticks: Iterable[float], top: float | None = None) -> Iterator[Html]:
    """Yield horizontal lines with their numbers to the left."""
    levels = list(ticks)
    whole = top or levels[-1]
    for level in levels:
        y = _percent(100 - 100 * level / whole)
        if level <= whole:
            yield element("line", x1="0%", x2="100%", y1=y, y2=y, class_="level")
            yield element(
                "text", formatting.number(level), x="0", y=y, dx="-8", dy="0.32em", text_anchor="end", class_="tick"
            )


def _plot(label: str, *pieces: Html) -> Html:
    return element("svg", *pieces, class_="plot", role="img", aria_label=label)


def _bar(kind: str, x: float, bottom: float, width: float, height: float) -> Html:
    return element(
        "rect",
        x=_percent(x),
        y=_percent(100 - bottom - height),
        width=_percent(width),
        height=_percent(height),
        class_=kind,
    )


def _percent(value: float) -> str:
    return f"{value:.4g}%"
