"""What was found, as text: a table a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .cases import CASES, Case
from .clients import CLIENTS
from .run import Results

OURS = next(iter(CLIENTS))
TITLES: Mapping[str, str] = {
    **{name: client.title for name, client in CLIENTS.items()},
    "workers": "bare workers",
    "gather": "gather, semaphore",
    "stdlib": "standard library",
}


@dataclass(frozen=True)
class Figure:
    """How a figure is shown."""

    heading: str
    digits: int = 1


FIGURES: Mapping[str, Figure] = {
    "cpu_us": Figure("CPU us/call", 0),
    "made_us": Figure("made us", 0),
    "wall_ms": Figure("ms", 1),
    "cpu_ms": Figure("CPU ms", 1),
    "rate": Figure("calls/s", 0),
    "p50_ms": Figure("p50 ms", 2),
    "p99_ms": Figure("p99 ms", 2),
    "slot_mb": Figure("MB/slot", 2),
    "peak_mb": Figure("peak MB", 1),
    "lag_ms": Figure("lag ms", 1),
    "first_ms": Figure("first ms", 1),
}
"""Every figure that is measured.

`cpu_us` is CPU a call, in user and kernel mode, of all threads; `rate` calls ended a second; `p50_ms` and
`p99_ms` how long calls took; `peak_mb` how far memory grew, `slot_mb` that by calls in flight; `lag_ms`
how late the event loop was at worst; `first_ms` when the first result was there. The first that a case
has is the one that clients are compared by.
"""


def report(results: Results) -> str:
    """Every case's table."""
    machine, versions = results.machine, results.versions
    about = (
        f"{machine['python']} on {machine['system']}, {machine['cpus']} CPUs, load {machine['load']:.1f} at the start"
    )
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    tables = (table(results, CASES[name]) for name in results.found)
    return "\n\n".join((f"{results.made}, {about}\n{packages}", *tables))


def table(results: Results, case: Case) -> str:
    """One case's clients: the main figure with its spread, its ratio to ours, and the medians of the rest."""
    clients = list(results.found[case.name])
    names = [figure for figure in FIGURES if any(results.rounds(case.name, client, figure) for client in clients)]
    if not names:
        return "\n".join((case.title, *(_failed(results, case, client) for client in clients)))
    main, *others = names
    heads = (FIGURES[main].heading, "min-max", "x ours", *(FIGURES[name].heading for name in others))
    lines = [f"{case.title} [{case.name}]", _line("", heads)]
    for client in clients:
        if results.failure(case.name, client):
            lines.append(_failed(results, case, client))
            continue
        cells = (*_main(results, case, client, main), *(_median(results, case, client, name) for name in others))
        lines.append(_line(TITLES[client], cells))
    return "\n".join(lines)


def _main(results: Results, case: Case, client: str, name: str) -> tuple[str, str, str]:
    found, digits = results.rounds(case.name, client, name), FIGURES[name].digits
    spread = f"{min(found):,.{digits}f}-{max(found):,.{digits}f}"
    times = results.ratio(case.name, name, client, OURS)
    return (
        f"{median(found):,.{digits}f}",
        spread,
        "" if times is None else f"{times:,.0f}" if times >= 10 else f"{times:.3g}",
    )


def _median(results: Results, case: Case, client: str, name: str) -> str:
    found = results.value(case.name, client, name)
    return "" if found is None else f"{found:,.{FIGURES[name].digits}f}"


def _failed(results: Results, case: Case, client: str) -> str:
    return f"  {TITLES[client]:<18}failed: {(results.failure(case.name, client) or '')[:90]}"


def _line(title: str, cells: Sequence[str]) -> str:
    widths = (11, 17, 8) + (12,) * len(cells)
    return f"  {title:<18}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
