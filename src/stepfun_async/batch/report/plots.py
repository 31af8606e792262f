"""The plots, as SVG.

Places are percentages and there is no viewBox, so a plot takes the width it is given while its letters
and lines keep their size; no style attribute is needed, which the page's policy would refuse.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from . import words
from .markup import Html, element, joined
from .tally import Column, Durations, Pace

_MOST_MOMENTS = 96
_MOST_DURATIONS = 48
"""Columns of the plots."""

_PERCENTILES = (0.5, 0.95, 0.99)

_HEADROOM = 1.3
"""The height of the plot of durations relative to its highest column: the upper part is for the percentiles."""

_RATES = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))
"""Seconds in which requests are counted, and how that is written."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of requests in a unit of time."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{words.number(self.value)}{words.SPACE}/{words.SPACE}{self.unit}"


def rate_of(count: float, seconds: float) -> Rate:
    """`count` in `seconds` by the shortest unit that has at least one of them."""
    length, unit = next((each for each in _RATES if count / seconds * each[0] >= 1), _RATES[-1])
    return Rate(count / seconds * length, unit)


def progress(shares: Sequence[tuple[str, int]]) -> Html:
    """A bar in which each kind has its share.

    Args:
        shares: the kinds, which are the classes of the style sheet, and how many there are of each.
    """
    whole = sum(count for _, count in shares) or 1
    pieces: list[Html] = []
    at = 0
    for kind, count in shares:
        pieces.append(_bar(kind, 100 * at / whole, 0, 100 * count / whole, 100))
        at += count
    label = ", ".join(f"{count:,} {kind}" for kind, count in shares)
    return element("svg", *pieces, class_="progress", role="img", aria_label=f"Progress: {label}")


def over_time(pace: Pace) -> Html | None:
    """Return the plot of requests over time; `None` if none have ended."""
    width, columns = pace.columns(_MOST_MOMENTS)
    if not columns:
        return None
    start, end = columns[0].start, columns[-1].start + width
    highest = max(columns, key=_all_of)
    unit = rate_of(_all_of(highest), width).unit
    length = next(length for length, name in _RATES if name == unit)
    ticks = _ticks(_all_of(highest) / width * length)
    scale = ticks[-1] / length * width  # requests in a column that reaches the top
    bars = (piece for column in columns for piece in _stacked(column, start, end, width, scale))
    label = f"Requests ended over time: at most {rate_of(_all_of(highest), width)}"
    return joined(
        element("p", f"ended{words.SPACE}/{words.SPACE}{unit}", class_="unit"),
        _plot(label, *_levels(ticks), *bars, *_moments(start, end, width)),
    )


def _all_of(column: Column) -> int:
    return column.images + column.others


def _stacked(column: Column, start: float, end: float, width: float, scale: float) -> Iterator[Html]:
    """A column, images below and everything else above, with what it says to a pointer."""
    at, wide = 100 * (column.start - start) / (end - start), 100 * width / (end - start)
    until = words.clock(column.start + width, width)
    said = f"{words.clock(column.start, width)} to {until}: {words.count(column.images, 'image')}"
    title = element("title", f"{said}, {column.others:,} without" if column.others else said)
    middle = 100 * column.images / scale
    top = 100 * _all_of(column) / scale
    bars = [_bar("done", at, 0, wide * 0.86, middle)] if column.images else []
    if column.others:
        bars.append(_bar("failed", at, middle, wide * 0.86, top - middle))
    yield element("g", title, _bar("hover", at, 0, wide, 100), *bars)


def _moments(start: float, end: float, width: float) -> Iterator[Html]:
    anchors = ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    for share, anchor in anchors:
        text = words.clock(start + share * (end - start), width)
        yield element("text", text, x=_percent(100 * share), y="100%", dy="1.5em", text_anchor=anchor, class_="tick")


def of_durations(durations: Durations) -> Html | None:
    """Return the plot of durations with their percentiles; `None` without images."""
    columns = list(durations.columns(_MOST_DURATIONS))
    if not columns:
        return None
    highest = max(count for _, _, count in columns)
    scale = _HEADROOM * highest
    first, last = math.log(columns[0][0]), math.log(columns[-1][1])

    def place(seconds: float) -> float:
        return 100 * (math.log(seconds) - first) / (last - first)

    wide = 100 / len(columns)
    bars = (_duration_bar(each, at * wide, wide, scale) for at, each in enumerate(columns) if each[2])
    lines = ((share, durations.percentile(share)) for share in _PERCENTILES)
    marks = _percentiles([(f"p{100 * share:g} {words.duration(seconds)}", place(seconds)) for share, seconds in lines])
    ticks = (_duration_tick(seconds, place(seconds)) for seconds in _round_durations(columns[0][0], columns[-1][1]))
    said = ", ".join(f"p{100 * share:g} {words.duration(durations.percentile(share))}" for share in _PERCENTILES)
    return joined(
        element("p", "images", class_="unit"),
        _plot(f"Seconds an image took: {said}", *_levels(_ticks(highest), scale), *bars, *marks, *ticks),
    )


def percentiles(durations: Durations) -> list[tuple[str, str]]:
    """The names of the percentiles, and the durations."""
    return [(f"p{100 * share:g}", words.duration(durations.percentile(share))) for share in _PERCENTILES]


def _duration_bar(column: tuple[float, float, int], at: float, wide: float, scale: float) -> Html:
    start, end, count = column
    said = f"{words.duration(start)} to {words.duration(end)}: {words.count(count, 'image')}"
    bar = _bar("done", at, 0, wide * 0.86, 100 * count / scale)
    return element("g", element("title", said), _bar("hover", at, 0, wide, 100), bar)


def _percentiles(marks: Sequence[tuple[str, float]]) -> Iterator[Html]:
    """A line for each mark, and above all lines the names, each in a row of its own so that no two meet."""
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
        "text", words.duration(seconds), x=_percent(at), y="100%", dy="1.5em", text_anchor=anchor, class_="tick"
    )


def _round_durations(start: float, end: float) -> list[float]:
    """Up to six durations from 1, 2 and 5 times powers of ten, as many as lie between; the ends where none does."""
    powers = range(math.floor(math.log10(start)), math.ceil(math.log10(end)) + 1)
    rounds = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    between = [seconds for seconds in rounds if start <= seconds <= end]
    step = math.ceil(len(between) / 6)
    return between[::step] if between else [math.sqrt(start * end)]


def _ticks(highest: float) -> tuple[float, float, float]:
    """0, the half and the whole of the next round number from `highest` on."""
    power = 10.0 ** math.floor(math.log10(highest))
    top = next(step * power for step in (1, 2, 4, 6, 10) if step * power >= highest * 0.999)
    return 0.0, top / 2, top


def _levels(ticks: Iterable[float], top: float | None = None) -> Iterator[Html]:
    """Horizontal lines with their numbers to the left."""
    levels = list(ticks)
    whole = top or levels[-1]
    for level in levels:
        y = _percent(100 - 100 * level / whole)
        if level <= whole:
            yield element("line", x1="0%", x2="100%", y1=y, y2=y, class_="level")
            yield element(
                "text", words.number(level), x="0", y=y, dx="-8", dy="0.32em", text_anchor="end", class_="tick"
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
