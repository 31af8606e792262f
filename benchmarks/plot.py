"""What was found, as one picture: four panels, a bar a client, ours first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .report import OURS, TITLES
from .run import Results


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: what is shown, and whether little or much of it is good.
        case: the case.
        figure: the figure.
        label: how a value is written beside its bar.
    """

    title: str
    case: str
    figure: str
    label: Callable[[float], str]


PANELS = (
    Panel("CPU a call, 64 in flight, µs", "1kb-c64", "cpu_us", lambda value: f"{value:,.0f}"),
    Panel(
        "Calls a second, 256 in flight, 50 ms (more is better)",
        "1kb-c256-50ms",
        "rate",
        lambda value: f"{value:,.0f}",
    ),
    Panel(
        "CPU a 1.5 MB picture, saved, 64 in flight, ms", "1.5mb-save-c64", "cpu_us", lambda value: f"{value / 1e3:.1f}"
    ),
    Panel("CPU of a fresh process to its first answer, ms", "first", "cpu_ms", lambda value: f"{value:,.0f}"),
)

_OURS, _OTHERS, _FLOOR, _INK = "#0b7285", "#ced4da", "#e9ecef", "#343a40"


def plot(results: Results, path: Path) -> None:
    """Write the panels that were measured to `path`."""
    panels = [panel for panel in PANELS if results.value(panel.case, OURS, panel.figure)]
    if not panels:
        return
    mpl.rcParams.update({"font.size": 9, "text.color": _INK, "font.family": "sans-serif"})
    figure = Figure(figsize=(10, 2.6 * ((len(panels) + 1) // 2)), layout="constrained")
    for place, panel in enumerate(panels, 1):
        _draw(figure.add_subplot((len(panels) + 1) // 2, 2, place), results, panel)
    figure.savefig(path, dpi=150)


def _draw(axes: Any, results: Results, panel: Panel) -> None:
    found = {client: results.value(panel.case, client, panel.figure) for client in results.found[panel.case]}
    clients = [client for client, value in found.items() if value]
    values = [found[client] or 0.0 for client in clients]
    end = _end(values)
    bars = axes.barh([TITLES[client] for client in clients], [min(v, end) for v in values], color=_colours(clients))
    labels = [panel.label(value) if value <= end else f"{panel.label(value)}, cut off" for value in values]
    axes.bar_label(bars, labels=labels, padding=3)
    # At the left edge of the whole panel, since long names of clients leave little room above the bars.
    axes.annotate(panel.title, (0, 1), xycoords="axes fraction", xytext=(-_NAMES, 6), textcoords="offset points",
        fontsize=10, fontweight="bold")  # fmt: skip
    axes.set_xlim(0, end * 1.3)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])


_NAMES = 105
"""Points to the left of the bars, in which the clients' names are."""


def _end(values: Sequence[float]) -> float:
    """Where the bars end: the longest one, unless the others could not be read beside it."""
    largest, *others = sorted(values, reverse=True)
    return min(largest, _MOST_TIMES * median(others)) if others else largest


_MOST_TIMES = 4
"""How many times as long as the middle one of the others a bar is at most."""


def _colours(clients: Sequence[str]) -> list[str]:
    special = {OURS: _OURS, "floor": _FLOOR, "floor-durable": _FLOOR}
    return [special.get(client, _OTHERS) for client in clients]
