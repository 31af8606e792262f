"""The page around the records: everything that depends on the totals over all rows."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from ..._core.errors import ConfigurationError
from ..._core.version import __version__
from . import formatting, plots
from .markup import Html, data_block, element, fill, joined, script_json
from .records import FIELDS, plain
from .stats import REST, Costs, Example, Failures, ReportStats
from .values import FAILING, STATES, ReportSummary, State

_SHOWN = 400
"""The maximum number of characters of a text outside of the viewer."""

_NAME = 100
"""The maximum number of characters of a name outside of the viewer."""

_STATUS = {"running": "Running", "finished": "Finished", "stopped": "Stopped"}

_POLICY = (
    ("default-src", "'none'"),
    ("img-src", "'self' file: data:"),
    ("style-src", "{style}"),
    ("script-src", "{script}"),
    ("base-uri", "'none'"),
    ("form-action", "'none'"),
    ("require-trusted-types-for", "'script'"),
    ("trusted-types", "'none'"),
)
"""The content security policy: only the page's own script and style, and images beside it."""


def page_around_records(summary: ReportSummary, stats: ReportStats) -> tuple[str, str]:
    """Return the page before the records, and after them.

    Args:
        summary: the facts about the job.
        stats: the totals over all rows.
    """
    style, script = _asset("page.css"), _asset("page.js")
    before, after = _asset("page.html").split("{{records}}")
    pieces = {
        "policy": _policy(style, script),
        "style": Html(style),
        "script": Html(script),
        "title": _short(summary.title, _NAME),
        "icon": _icon(),
        "head": _head(summary, stats),
        "figures": _figures(summary, stats),
        "progress": _progress(summary, stats),
        "notices": _notices(summary, stats),
        "results": _results(summary, stats),
        "settings": _settings(summary),
        "states": _state_buttons(stats),
        "listed": _listed(stats),
        "about": data_block(script_json(_about(stats)), id="about"),
        "version": __version__,
        "made": formatting.moment(summary.made),
    }
    return fill(before, pieces), fill(after, pieces)


@cache
def _asset(name: str) -> str:
    try:
        return files("stepfun_async.batch.report").joinpath(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"the package's own file batch/report/{name} is missing ({error.strerror}): install stepfun-async again; "
            "in a frozen application, include the package's data files (PyInstaller: --collect-data stepfun_async)"
        ) from error


def _policy(style: str, script: str) -> str:
    hashes = {"style": _hash(style), "script": _hash(script)}
    return "; ".join(f"{name} {value.format(**hashes)}" for name, value in _POLICY)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _icon() -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(_asset('icon.svg').encode()).decode('ascii')}"


def _about(stats: ReportStats) -> object:
    """Return the data for the page's script."""
    labels = {state: [name.label, name.meaning] for state, name in STATES.items()}
    failures = [plain(name) for name in stats.failures]
    return {"fields": FIELDS, "states": labels, "failures": failures, "listed": stats.listed.total()}


# --- the top ------------------------------------------------------------------------------------


def _head(summary: ReportSummary, stats: ReportStats) -> Html:
    status = element("span", _STATUS[summary.status], class_="status", data_status=summary.status)
    facts = [span for span in (_span(stats), _length(summary, stats), _models(stats)) if span]
    return joined(
        element("p", "Batch report", class_="eyebrow"),
        element("h1", element("span", _short(summary.title, _NAME), dir="auto"), status),
        element("p", *(element("span", fact) for fact in facts), class_="facts") if facts else None,
    )


def _span(stats: ReportStats) -> str | None:
    if stats.started is None:
        return None
    return formatting.span(stats.started, max(stats.started, stats.ended or 0))


def _length(summary: ReportSummary, stats: ReportStats) -> str | None:
    seconds = _seconds(summary, stats)
    return f"{formatting.duration(seconds)} at work" if seconds else None


def _models(stats: ReportStats) -> str | None:
    names = [_short(name, _NAME) or "no model" for name in stats.costs]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else None


def _seconds(summary: ReportSummary, stats: ReportStats) -> float:
    if summary.seconds is not None:
        return summary.seconds
    if stats.started is None or stats.ended is None:
        return 0.0
    return max(0.0, stats.ended - stats.started - stats.timeline.paused())


def _total(summary: ReportSummary, stats: ReportStats) -> int:
    return max(stats.states.total(), summary.total or 0)


def _figures(summary: ReportSummary, stats: ReportStats) -> Html:
    return joined(
        _images_figure(summary, stats),
        _failures_figure(stats),
        _money_figure(summary, stats),
        _rate_figure(summary, stats),
        _duration_figure(stats),
    )


def _figure(name: str, value: str, *more: str | None) -> Html:
    """Return a number in large letters, with its unit, if any, in smaller ones."""
    amount, space, unit = value.partition(formatting.SPACE)
    large = element("dd", amount, element("small", space, unit) if unit else None, class_="value")
    return element("div", element("dt", name), large, *(element("dd", each, class_="more") for each in more if each))


def _images_figure(summary: ReportSummary, stats: ReportStats) -> Html:
    done, total = stats.states["done"], _total(summary, stats)
    return _figure("Images", f"{done:,}", f"of {total:,}, {formatting.percent(done, total)}" if total else None)


def _failures_figure(stats: ReportStats) -> Html:
    counts = [(STATES[state].label.lower(), stats.states[state]) for state in FAILING if stats.states[state]]
    failed = sum(count for _, count in counts)
    return _figure("Without an image", f"{failed:,}", ", ".join(f"{count:,} {label}" for label, count in counts))


def _money_figure(summary: ReportSummary, stats: ReportStats) -> Html:
    costs = stats.all_costs
    spent, held = str(costs.spent), str(costs.held)
    unpriced = f"the price of {formatting.count(costs.unpriced, 'request')} is not known" if costs.unpriced else None
    budget = f"of a budget of {summary.budget}" if summary.budget else None
    return _figure(
        "Spent",
        spent.replace(" ", formatting.SPACE, 1) or costs.money or "0",
        budget,
        f"{held} more is uncertain" if held else None,
        unpriced,
    )


def _rate_figure(summary: ReportSummary, stats: ReportStats) -> Html:
    done, seconds = stats.states["done"], _seconds(summary, stats)
    if not done or not seconds:
        return _figure("Rate", formatting.NOTHING)
    return _figure("Rate", str(plots.rate_of(done, seconds)), "images, on average")


def _duration_figure(stats: ReportStats) -> Html:
    if not stats.durations.count:
        return _figure("Time for an image", formatting.NOTHING)
    (_, half), *others = plots.percentiles(stats.durations)
    slow = ", ".join(f"{name}{formatting.SPACE}{value}" for name, value in others)
    return _figure("Time for an image", half, "median", slow)


def _progress(summary: ReportSummary, stats: ReportStats) -> Html:
    counts = stats.states.copy()
    counts["pending"] += _total(summary, stats) - counts.total()
    shares: list[tuple[State, int]] = [(state, counts[state]) for state in STATES if counts[state]]
    legend = (
        element("li", element("span", f"{count:,} {STATES[state].label.lower()}", class_="mark", data_state=state))
        for state, count in shares
    )
    return joined(plots.progress(shares), element("ul", *legend, class_="legend"))


def _notices(summary: ReportSummary, stats: ReportStats) -> Html:
    notices = [*_stop_notice(summary), *_unknown_notice(stats)]
    return element("div", *notices, class_="notices") if notices else Html()


def _stop_notice(summary: ReportSummary) -> Iterable[Html]:
    if summary.reason:
        yield element(
            "p", element("strong", "Stopped early:"), " ", element("span", _short(summary.reason), dir="auto")
        )


def _unknown_notice(stats: ReportStats) -> Iterable[Html]:
    unknown = stats.states["unknown"]
    if unknown:
        show = element("button", "Show", class_="link", type="button", data_show="unknown")
        text = " may have been charged, and brought no image. "
        yield element("p", element("strong", formatting.count(unknown, "request")), text, show)


# --- plots, failures, costs -----------------------------------------------------------------------


def _results(summary: ReportSummary, stats: ReportStats) -> Html | None:
    """Return the plots, failures and costs of the batch; `None` if nothing has begun."""
    if not stats.states.total() - stats.states["pending"]:
        return None
    return joined(
        element("section", _plots(stats), class_="plots", aria_label="Plots"),
        element("section", element("h2", "Failures"), _failures(stats)),
        element("section", element("h2", "Cost"), _costs(summary, stats)),
    )


def _plots(stats: ReportStats) -> Html:
    over_time, durations = plots.over_time(stats.timeline), plots.of_durations(stats.durations)
    others = element("span", "without an image", class_="mark", data_state="failed") if stats.failures else None
    marks = joined(element("span", "images", class_="mark", data_state="done"), others)
    return joined(
        _plot("Rate", over_time, "Nothing has ended yet.", element("p", marks, " Times are UTC.", class_="caption")),
        _plot(
            "Time for an image",
            durations,
            "No image has been made yet.",
            element("p", "From sending to the response; logarithmic scale.", class_="caption"),
        ),
    )


def _plot(name: str, drawn: Html | None, empty: str, caption: Html) -> Html:
    content = joined(drawn, caption) if drawn else element("p", empty, class_="empty")
    return element("figure", element("figcaption", name), content)


def _failures(stats: ReportStats) -> Html:
    if not stats.failures:
        made = stats.states["done"]
        text = " Every request that ended made an image." if made else None
        return element("p", element("strong", "No failures."), text, class_="empty")
    whole = sum(failures.count for failures in stats.failures.values())
    classes = [
        (failures.count, _class(index, name, failures, whole))
        for index, (name, failures) in enumerate(stats.failures.items())
    ]
    return element("div", *(each for _, each in sorted(classes, key=_most_first)), class_="classes")


def _most_first(counted: tuple[int, Html]) -> int:
    return -counted[0]


def _class(index: int, name: str, failures: Failures, whole: int) -> Html:
    share = (
        f"{formatting.count(failures.count, 'request')}, {formatting.percent(failures.count, whole)} of the failures"
    )
    listed = name != REST and any(example.index is not None for example in failures.examples)
    show = element("button", "Show all", class_="link", type="button", data_failure=index)
    return element(
        "article",
        element(
            "header", element("h3", _short(name, _NAME), dir="auto"), element("p", share), show if listed else None
        ),
        element("ol", *(_example(example) for example in failures.examples)),
    )


def _example(example: Example) -> Html:
    row, prompt = example.row, _short(example.row.prompt or "no prompt")
    opening = element("button", prompt, type="button", data_place=example.index, dir="auto")
    return element(
        "li",
        opening if example.index is not None else element("p", prompt, dir="auto"),
        element("p", _short(row.error_message), class_="said", dir="auto") if row.error_message else None,
        element("p", _short(row.id, _NAME), class_="id", dir="auto"),
    )


def _short(text: str, most: int = _SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


_COST_COLUMNS = ("Model", "Images", "Attempts", "Maybe charged", "Spent", "Uncertain")


def _costs(summary: ReportSummary, stats: ReportStats) -> Html:
    if not stats.costs:
        return element("p", element("strong", "Nothing spent."), " No request has left this machine.", class_="empty")
    head = element("tr", *(element("th", name, scope="col") for name in _COST_COLUMNS))
    by_name = sorted(stats.costs.items())
    rows = [_cost_row(_short(name, _NAME) or "no model", costs) for name, costs in by_name]
    foot = element("tfoot", _cost_row("All models", stats.all_costs)) if len(rows) > 1 else None
    table = element("table", element("thead", head), element("tbody", *rows), foot)
    return joined(element("div", table, class_="wide", tabindex=0), _cost_note(summary))


def _cost_row(name: str, costs: Costs) -> Html:
    numbers = (costs.images, costs.attempts, costs.maybe_billed)
    cells = [f"{value:,}" for value in numbers] + [
        costs.money or formatting.NOTHING,
        str(costs.held) or formatting.NOTHING,
    ]
    return element("tr", element("th", name, scope="row", dir="auto"), *(element("td", cell) for cell in cells))


def _cost_note(summary: ReportSummary) -> Html:
    meaning = "Maybe charged: attempts that were, or may have been. Uncertain: the price of those in doubt."
    budget = f" The budget is {summary.budget}." if summary.budget else ""
    return element("p", meaning + budget, class_="caption")


def _settings(summary: ReportSummary) -> Html | None:
    if not summary.settings:
        return None
    pairs = (
        element(
            "div",
            element("dt", _short(name.replace("_", " "), _NAME)),
            element("dd", _short(str(plain(value))), dir="auto"),
        )
        for name, value in summary.settings.items()
    )
    return element("section", element("h2", "Settings"), element("dl", *pairs, class_="settings"))


# --- the gallery ----------------------------------------------------------------------------------


def _state_buttons(stats: ReportStats) -> Html | None:
    """Return the buttons of states; `None` if there is only one state."""
    states: list[State] = [state for state in STATES if stats.listed[state]]
    if len(states) < 2:
        return None
    return element(
        "div",
        element("button", *_counted("All", stats.listed.total()), type="button", aria_pressed="true", data_filter=""),
        *(_state_button(state, stats.listed[state]) for state in states),
        class_="states",
        role="group",
        aria_label="Show only",
    )


def _state_button(state: State, count: int) -> Html:
    name = element("span", STATES[state].label, class_="mark", data_state=state)
    return element(
        "button",
        *_counted(name, count),
        type="button",
        aria_pressed="false",
        data_filter=state,
        title=STATES[state].meaning,
    )


def _counted(label: str, count: int) -> tuple[str, str, Html]:
    return label, " ", element("span", f"{count:,}", class_="count")


def _listed(stats: ReportStats) -> Html | None:
    """Return a note that not all rows are listed; `None` if they are."""
    cut = [
        f"{stats.listed[state]:,} of {count:,} {STATES[state].label.lower()}"
        for state, count in stats.states.items()
        if stats.listed[state] < count
    ]
    if not cut:
        return None
    return element("p", f"To stay small, this page lists the first {formatting.listing(cut)}.", class_="caption")
