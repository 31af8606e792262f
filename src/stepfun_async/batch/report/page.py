"""The page around the records, as text: everything that is known once all rows have been seen."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from ..._core.errors import ConfigurationError
from ..._core.version import __version__
from . import plots, words
from .markup import Html, data_block, element, fill, joined, script_json
from .records import FIELDS, plain
from .tally import REST, Costs, Example, Failures, Tally
from .values import FAILING, STATES, ReportSummary, State

_SHOWN = 400
"""Characters of a text that are shown outside of the viewer."""

_NAME = 100
"""Characters of a name that are shown there."""

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
"""The content security policy: the page's own script and style, images beside it, and nothing else."""


def page_around_records(summary: ReportSummary, tally: Tally) -> tuple[str, str]:
    """The page up to the records, and from there on.

    Args:
        summary: what is known of the job.
        tally: the sums over all rows.
    """
    style, script = _asset("page.css"), _asset("page.js")
    before, after = _asset("page.html").split("{{records}}")
    pieces = {
        "policy": _policy(style, script),
        "style": Html(style),
        "script": Html(script),
        "title": _short(summary.title, _NAME),
        "icon": _icon(),
        "head": _head(summary, tally),
        "figures": _figures(summary, tally),
        "progress": _progress(summary, tally),
        "notices": _notices(summary, tally),
        "course": _course(summary, tally),
        "settings": _settings(summary),
        "states": _state_buttons(tally),
        "listed": _listed(tally),
        "about": data_block(script_json(_about(tally)), id="about"),
        "version": __version__,
        "made": words.moment(summary.made),
    }
    return fill(before, pieces), fill(after, pieces)


@cache
def _asset(name: str) -> str:
    try:
        return files("stepfun_async.batch.report").joinpath(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"the package's own file batch/report/{name} is missing ({error.strerror}): install stepfun-async again; "
            "in a frozen application have the freezer take the package's data files along (PyInstaller: "
            "--collect-data stepfun_async)"
        ) from error


def _policy(style: str, script: str) -> str:
    hashes = {"style": _hash(style), "script": _hash(script)}
    return "; ".join(f"{name} {value.format(**hashes)}" for name, value in _POLICY)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _icon() -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(_asset('icon.svg').encode()).decode('ascii')}"


def _about(tally: Tally) -> object:
    """Return the data for the page's script."""
    labels = {state: [name.label, name.meaning] for state, name in STATES.items()}
    failures = [plain(name) for name in tally.failures]
    return {"fields": FIELDS, "states": labels, "failures": failures, "listed": tally.listed.total()}


# --- the top ------------------------------------------------------------------------------------


def _head(summary: ReportSummary, tally: Tally) -> Html:
    status = element("span", _STATUS[summary.status], class_="status", data_status=summary.status)
    facts = [span for span in (_span(tally), _length(summary, tally), _models(tally)) if span]
    return joined(
        element("p", "Batch report", class_="eyebrow"),
        element("h1", element("span", _short(summary.title, _NAME), dir="auto"), status),
        element("p", *(element("span", fact) for fact in facts), class_="facts") if facts else None,
    )


def _span(tally: Tally) -> str | None:
    if tally.started is None:
        return None
    return words.span(tally.started, max(tally.started, tally.ended or 0))


def _length(summary: ReportSummary, tally: Tally) -> str | None:
    seconds = _seconds(summary, tally)
    return f"{words.duration(seconds)} at work" if seconds else None


def _models(tally: Tally) -> str | None:
    names = [_short(name, _NAME) or "no model" for name in tally.costs]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else None


def _seconds(summary: ReportSummary, tally: Tally) -> float:
    if summary.seconds is not None:
        return summary.seconds
    if tally.started is None or tally.ended is None:
        return 0.0
    return max(0.0, tally.ended - tally.started - tally.pace.paused())


def _total(summary: ReportSummary, tally: Tally) -> int:
    return max(tally.states.total(), summary.total or 0)


def _figures(summary: ReportSummary, tally: Tally) -> Html:
    return joined(
        _images_figure(summary, tally),
        _failures_figure(tally),
        _money_figure(summary, tally),
        _rate_figure(summary, tally),
        _duration_figure(tally),
    )


def _figure(name: str, value: str, *more: str | None) -> Html:
    """A number in large letters, with its unit, if it has one, in smaller ones."""
    amount, space, unit = value.partition(words.SPACE)
    large = element("dd", amount, element("small", space, unit) if unit else None, class_="value")
    return element("div", element("dt", name), large, *(element("dd", each, class_="more") for each in more if each))


def _images_figure(summary: ReportSummary, tally: Tally) -> Html:
    done, total = tally.states["done"], _total(summary, tally)
    return _figure("Images", f"{done:,}", f"of {total:,}, {words.percent(done, total)}" if total else None)


def _failures_figure(tally: Tally) -> Html:
    counts = [(STATES[state].label.lower(), tally.states[state]) for state in FAILING if tally.states[state]]
    failed = sum(count for _, count in counts)
    return _figure("Without an image", f"{failed:,}", ", ".join(f"{count:,} {label}" for label, count in counts))


def _money_figure(summary: ReportSummary, tally: Tally) -> Html:
    costs = tally.all_costs
    spent, held = str(costs.spent), str(costs.held)
    unpriced = f"the price of {words.count(costs.unpriced, 'request')} is not known" if costs.unpriced else None
    budget = f"of a budget of {summary.budget}" if summary.budget else None
    return _figure(
        "Spent",
        spent.replace(" ", words.SPACE, 1) or costs.money or "0",
        budget,
        f"{held} more is uncertain" if held else None,
        unpriced,
    )


def _rate_figure(summary: ReportSummary, tally: Tally) -> Html:
    done, seconds = tally.states["done"], _seconds(summary, tally)
    if not done or not seconds:
        return _figure("Rate", words.NOTHING)
    return _figure("Rate", str(plots.rate_of(done, seconds)), "images, on average")


def _duration_figure(tally: Tally) -> Html:
    if not tally.durations.count:
        return _figure("Time for an image", words.NOTHING)
    (_, half), *others = plots.percentiles(tally.durations)
    slow = ", ".join(f"{name}{words.SPACE}{value}" for name, value in others)
    return _figure("Time for an image", half, "median", slow)


def _progress(summary: ReportSummary, tally: Tally) -> Html:
    counts = tally.states.copy()
    counts["pending"] += _total(summary, tally) - counts.total()
    shares: list[tuple[State, int]] = [(state, counts[state]) for state in STATES if counts[state]]
    legend = (
        element("li", element("span", f"{count:,} {STATES[state].label.lower()}", class_="mark", data_state=state))
        for state, count in shares
    )
    return joined(plots.progress(shares), element("ul", *legend, class_="legend"))


def _notices(summary: ReportSummary, tally: Tally) -> Html:
    notices = [*_stop_notice(summary), *_unknown_notice(tally)]
    return element("div", *notices, class_="notices") if notices else Html()


def _stop_notice(summary: ReportSummary) -> Iterable[Html]:
    if summary.reason:
        yield element(
            "p", element("strong", "Stopped early:"), " ", element("span", _short(summary.reason), dir="auto")
        )


def _unknown_notice(tally: Tally) -> Iterable[Html]:
    unknown = tally.states["unknown"]
    if unknown:
        show = element("button", "Show", class_="link", type="button", data_show="unknown")
        text = " may have been charged, and brought no image. "
        yield element("p", element("strong", words.count(unknown, "request")), text, show)


# --- plots, failures, costs -----------------------------------------------------------------------


def _course(summary: ReportSummary, tally: Tally) -> Html | None:
    """Return the plots, failures and costs of the batch; `None` if nothing has begun."""
    if not tally.states.total() - tally.states["pending"]:
        return None
    return joined(
        element("section", _plots(tally), class_="plots", aria_label="Plots"),
        element("section", element("h2", "Failures"), _failures(tally)),
        element("section", element("h2", "Cost"), _costs(summary, tally)),
    )


def _plots(tally: Tally) -> Html:
    over_time, durations = plots.over_time(tally.pace), plots.of_durations(tally.durations)
    others = element("span", "without an image", class_="mark", data_state="failed") if tally.failures else None
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


def _failures(tally: Tally) -> Html:
    if not tally.failures:
        made = tally.states["done"]
        text = " Every request that ended made an image." if made else None
        return element("p", element("strong", "No failures."), text, class_="empty")
    whole = sum(failures.count for failures in tally.failures.values())
    classes = [
        (failures.count, _class(place, name, failures, whole))
        for place, (name, failures) in enumerate(tally.failures.items())
    ]
    return element("div", *(each for _, each in sorted(classes, key=_most_first)), class_="classes")


def _most_first(counted: tuple[int, Html]) -> int:
    return -counted[0]


def _class(place: int, name: str, failures: Failures, whole: int) -> Html:
    share = f"{words.count(failures.count, 'request')}, {words.percent(failures.count, whole)} of the failures"
    listed = name != REST and any(example.place is not None for example in failures.examples)
    show = element("button", "Show all", class_="link", type="button", data_failure=place)
    return element(
        "article",
        element(
            "header", element("h3", _short(name, _NAME), dir="auto"), element("p", share), show if listed else None
        ),
        element("ol", *(_example(example) for example in failures.examples)),
    )


def _example(example: Example) -> Html:
    row, prompt = example.row, _short(example.row.prompt or "no prompt")
    opening = element("button", prompt, type="button", data_place=example.place, dir="auto")
    return element(
        "li",
        opening if example.place is not None else element("p", prompt, dir="auto"),
        element("p", _short(row.error_message), class_="said", dir="auto") if row.error_message else None,
        element("p", _short(row.id, _NAME), class_="id", dir="auto"),
    )


def _short(text: str, most: int = _SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


_COST_COLUMNS = ("Model", "Images", "Attempts", "Maybe charged", "Spent", "Uncertain")


def _costs(summary: ReportSummary, tally: Tally) -> Html:
    if not tally.costs:
        return element("p", element("strong", "Nothing spent."), " No request has left this machine.", class_="empty")
    head = element("tr", *(element("th", name, scope="col") for name in _COST_COLUMNS))
    by_name = sorted(tally.costs.items())
    rows = [_cost_row(_short(name, _NAME) or "no model", costs) for name, costs in by_name]
    foot = element("tfoot", _cost_row("All models", tally.all_costs)) if len(rows) > 1 else None
    table = element("table", element("thead", head), element("tbody", *rows), foot)
    return joined(element("div", table, class_="wide", tabindex=0), _cost_note(summary))


def _cost_row(name: str, costs: Costs) -> Html:
    numbers = (costs.images, costs.attempts, costs.maybe_billed)
    cells = [f"{value:,}" for value in numbers] + [costs.money or words.NOTHING, str(costs.held) or words.NOTHING]
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


def _state_buttons(tally: Tally) -> Html | None:
    """Return the choices; `None` if there is only one."""
    states: list[State] = [state for state in STATES if tally.listed[state]]
    if len(states) < 2:
        return None
    return element(
        "div",
        element("button", *_counted("All", tally.listed.total()), type="button", aria_pressed="true", data_filter=""),
        *(_state_button(state, tally.listed[state]) for state in states),
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


def _listed(tally: Tally) -> Html | None:
    """That not every row is listed, where this is so."""
    cut = [
        f"{tally.listed[state]:,} of {count:,} {STATES[state].label.lower()}"
        for state, count in tally.states.items()
        if tally.listed[state] < count
    ]
    if not cut:
        return None
    return element("p", f"To stay small, this page lists the first {words.listing(cut)}.", class_="caption")
