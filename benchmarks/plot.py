"""What was found, as one picture: four panels, a line a client.

Scales are logarithmic, since one client may cost hundreds of times as much as another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .cases import BEFORE
from .report import OURS, TITLES
from .run import Results


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: what is shown.
        unit: in which unit, and whether little or much of it is good.
        case: the case.
        figure: the figure.
        scale: how many of the figure's units make one of the panel's.
        digits: decimal places of the values beside the markers.
    """

    title: str
    unit: str
    case: str
    figure: str
    scale: float = 1.0
    digits: int = 0


_LESS, _MORE = "less is better", "more is better"

PANELS = (
    Panel("A call with a 1 KB response, 64 in flight", f"µs of CPU, {_LESS}", "1kb-c64", "cpu_us"),
    Panel("256 in flight, a server that takes 50 ms", f"calls a second, {_MORE}", "1kb-c256-50ms", "rate"),
    Panel("A 1.5 MB image to a file, 64 in flight", f"ms of CPU, {_LESS}", "1.5mb-save-c64", "cpu_us", 1e3, 1),
    Panel("A new process to its first response", f"ms of CPU, {_LESS}", "first", "cpu_ms"),
)


@dataclass(frozen=True)
class Look:
    """How a client is drawn. Markers differ, so that nothing depends on seeing colours."""

    marker: str
    colour: str
    fill: str
    line: str = "solid"


_BLUE, _GREY, _PALE, _INK = "#0072b2", "#5c636a", "#e3e6e9", "#212529"

_LOOKS: Mapping[str, Look] = {
    OURS: Look("o", _BLUE, _BLUE),
    BEFORE: Look("o", _BLUE, "white", "dashed"),
    "floor": Look("D", _GREY, "white", "dotted"),
    "floor-durable": Look("D", _GREY, "white", "dotted"),
}
_PEER = Look("s", _GREY, _GREY)

_SHOWN = (OURS, BEFORE, "aiohttp", "httpx", "openai", "floor", "floor-durable")
"""The clients that are drawn, from top to bottom."""


_CAPTION = "Logarithmic scales. In brackets: how many times the figure of stepfun-async it is."


def plot(results: Results, path: Path) -> None:
    """Write the panels that were measured to `path`."""
    panels = [panel for panel in PANELS if results.value(panel.case, OURS, panel.figure)]
    if not panels:
        return
    mpl.rcParams.update({"font.size": 8, "text.color": _INK, "font.family": "sans-serif"})
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(8.4, 2.3 * rows), layout="constrained")
    for place, panel in enumerate(panels, 1):
        _draw(figure.add_subplot(rows, min(2, len(panels)), place), results, panel)
    figure.supxlabel(_CAPTION, fontsize=7, color=_GREY)
    figure.get_layout_engine().set(h_pad=0.06, w_pad=0.06)
    figure.savefig(path, dpi=200)


def _draw(axes: Any, results: Results, panel: Panel) -> None:
    found = {client: results.value(panel.case, client, panel.figure) for client in _SHOWN}
    values = {client: value / panel.scale for client, value in found.items() if value}
    left, right = _ends([*values.values()])
    for place, (client, value) in enumerate(values.items()):
        look = _LOOKS.get(client, _PEER)
        axes.plot([left, value], [place, place], color=look.colour, linestyle=look.line, linewidth=1.2, zorder=2)
        axes.plot(value, place, look.marker, color=look.colour, markerfacecolor=look.fill, markersize=6, zorder=3)
        weight = "bold" if client == OURS else "normal"
        label = _label(value, values[OURS], panel.digits)
        axes.annotate(label, (value, place), xytext=(7, 0), textcoords="offset points", va="center", weight=weight)
    axes.set_yticks(range(len(values)), [TITLES[client] for client in values])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0,) if right / left > 50 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.grid(axis="x", color=_PALE, linewidth=0.8)
    axes.tick_params(length=0, labelcolor=_INK)
    axes.tick_params(axis="x", labelcolor=_GREY, labelsize=7)
    axes.spines[:].set_visible(False)
    # At the left edge of the whole panel, since long names of clients leave little room above the lines.
    above = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(panel.title, (0, 1), xytext=(-_NAMES, 16), fontsize=9, fontweight="bold", **above)
    axes.annotate(panel.unit, (0, 1), xytext=(-_NAMES, 5), color=_GREY, **above)


_NAMES = 92
"""Points to the left of the lines, in which the clients' names are."""


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Where an axis begins and ends: there is room for the least one's line and the largest one's label."""
    left, largest = min(values) / 2, max(values)
    return left, largest * (largest / left) ** 0.5


def _label(value: float, ours: float, digits: int) -> str:
    """A value, and how many times ours it is."""
    times = value / ours
    said = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
    return f"{value:,.{digits}f}" if value == ours else f"{value:,.{digits}f}  ({said} x)"
