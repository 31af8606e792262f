"""The figures in README.md and docs, made from a run: `python -m benchmarks.publish benchmarks/results/full.json`.

Writes docs/benchmarks.json, which is what the pages are compared with in the tests, and docs/benchmarks.png.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from docs.tables import ROOT, between

from .cases import BEFORE
from .goals import GOALS, Goal
from .report import FIGURES, OURS, TITLES
from .run import Results

PUBLISHED = ROOT / "docs" / "benchmarks.json"

BEGIN, END = "<!-- benchmarks: made from a run by `python -m benchmarks.publish` -->", "<!-- end of benchmarks -->"


class MissingFigureError(Exception):
    """A figure that the pages show was not measured."""


@dataclass(frozen=True)
class Row:
    """A line of the table in docs/performance.md."""

    title: str
    case: str
    figure: str = "cpu_us"


ROWS = (
    Row("1 KB responses, 1 in flight", "1kb-c1"),
    Row("64 in flight", "1kb-c64"),
    Row("64 in flight, over https", "tls-1kb-c64"),
    Row("64 in flight, on uvloop", "uvloop-1kb-c64"),
    Row("1,000 in flight, 50 ms latency", "1kb-c1000-50ms"),
    Row("the same, calls per second", "1kb-c1000-50ms", "rate"),
    Row("256 in flight, 50 ms latency, calls per second", "1kb-c256-50ms", "rate"),
    Row("1.5 MB images to files, 64 in flight", "1.5mb-save-c64"),
    Row("the same, MB of memory per slot", "1.5mb-save-c64", "slot_mb"),
    Row("1.5 MB images to files, over https", "tls-1.5mb-save-c64"),
    Row("1.5 MB images to memory, 64 in flight", "1.5mb-c64"),
    Row("edits that upload 1.5 MB, 16 in flight", "edit-1.5mb-c16"),
    Row("the same, p50 in ms", "edit-1.5mb-c16", "p50_ms"),
    Row("sync calls from 32 threads", "sync-32"),
    Row("a new process to its first response, ms", "first", "cpu_ms"),
)
COLUMNS = (OURS, BEFORE, "floor", "aiohttp", "httpx", "openai")


def pages(results: Results) -> dict[Path, str]:
    """Every page that shows figures, with those of `results`.

    Raises:
        MissingFigureError: one of them was not measured.
    """
    readme, performance = ROOT / "README.md", ROOT / "docs" / "performance.md"
    return {
        readme: between(readme.read_text(), BEGIN, END, summary(results)),
        performance: between(performance.read_text(), BEGIN, END, details(results)),
    }


def summary(results: Results) -> str:
    """README's sentences."""
    call, saved, first = (
        _ratio(results, case, figure, OURS, "openai")
        for case, figure in (("1kb-c64", "cpu_us"), ("1.5mb-save-c64", "cpu_us"), ("first", "cpu_ms"))
    )
    bare = _ratio(results, "1kb-c64", "cpu_us", OURS, "aiohttp")
    package = _value(results, "import", OURS, "cpu_ms")
    return _paragraph(
        f"With 64 in flight, a call costs {call} of the CPU that it costs with openai {results.versions['openai']}, and"
        f" {bare} of bare aiohttp's; a 1.5 MB image on its way to a file costs {saved} of openai's, the first"
        f" response of a new process {first}. `import stepfun_async` takes {package:.1f} ms."
    )


def details(results: Results) -> str:
    """What docs/performance.md says was measured: the table, further figures and the goals."""
    return "\n\n".join((_about(results), _table(results), _further(results), _goals(results)))


def _about(results: Results) -> str:
    machine, versions = results.machine, results.versions
    peers = ", ".join(f"{name} {versions[name]}" for name in ("openai", "httpx", "aiohttp"))
    return _paragraph(
        f"On a machine with {machine['cpus']} CPUs, {machine['python']}, each client in its newest version"
        f" ({peers}), in interleaved rounds, on {results.made[:10]}. Microseconds of CPU per call, user and kernel, if"
        " nothing else is said. The floor sends prepared bytes and checks nothing; *before* is this package at revision"
        f" `{versions[BEFORE]}`."
    )


def _table(results: Results) -> str:
    heads = ["case", *(TITLES[client].removeprefix("stepfun-async, ") for client in COLUMNS)]
    lines = [_cells(heads), "|---" * len(heads) + "|"]
    for row in ROWS:
        figures = (_shown(results.value(row.case, client, row.figure), row) for client in COLUMNS)
        lines.append(_cells([row.title, *figures]))
        _value(results, row.case, OURS, row.figure)
    return "\n".join(lines)


def _shown(value: float | None, row: Row) -> str:
    return "" if value is None else f"{value:,.{0 if row.figure == 'cpu_ms' else FIGURES[row.figure].digits}f}"


def _further(results: Results) -> str:
    check, made = _value(results, "check", OURS, "cpu_us"), _value(results, "second", OURS, "made_us")
    mapped = _value(results, "map-100000", OURS, "cpu_us") - _value(results, "map-100000", "workers", "cpu_us")
    small, large = (
        _ratio(results, case, "cpu_us", "ours-http2", OURS) for case in ("http2-1kb-c64", "http2-1.5mb-c16")
    )
    on_uvloop = _value(results, "uvloop-1kb-c64", OURS, "cpu_us") / _value(results, "1kb-c64", OURS, "cpu_us")
    return _paragraph(
        f"Validating and pricing a request takes {check:.0f} us, creating a further client {made:.0f} us;"
        f" `images.map` adds {mapped:.0f} us to each call. On uvloop a call takes {on_uvloop:.2f} of the CPU that it"
        f" takes on asyncio's own loop. With HTTP/2, through httpx, a 1 KB call takes {small} times the CPU of ours"
        f" over HTTP/1.1, a 1.5 MB image {large} times."
    )


def _paragraph(text: str) -> str:
    return fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _goals(results: Results) -> str:
    lines = ["| goal | | measured | |", "|---|---|---|---|"]
    for goal in GOALS:
        found = _present(goal.measure(results), goal.what)
        lines.append(_cells([goal.what, _limit(goal), f"{found:.3g}", "met" if goal.met(found) else "not met"]))
    return "\n".join(lines)


def _limit(goal: Goal) -> str:
    return f"at {goal.at} {goal.limit:.4g} {goal.unit}"


def _cells(words: list[str]) -> str:
    return "|".join(("", *(f" {word} " if word else " " for word in words), ""))


def _ratio(results: Results, case: str, figure: str, client: str, other: str) -> str:
    return f"{_present(results.ratio(case, figure, client, other), f'{client} and {other} in {case}'):.2g}"


def _value(results: Results, case: str, client: str, figure: str) -> float:
    return _present(results.value(case, client, figure), f"{client} in {case}")


def _present(found: float | None, what: str) -> float:
    if found is None:
        raise MissingFigureError(f"the run has no figure for: {what}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__)
    parser.add_argument("run", type=Path, metavar="JSON", help="what `make bench` wrote")
    results = Results.from_json(parser.parse_args().run.read_text())
    from .plot import plot

    written = pages(results)
    plot(results, PUBLISHED.with_suffix(".png"))
    PUBLISHED.write_text(results.to_json())
    for page, text in written.items():
        page.write_text(text)


if __name__ == "__main__":
    main()
