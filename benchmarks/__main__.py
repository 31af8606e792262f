"""`python -m benchmarks`: measure, print tables, write JSON and a plot."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from .cases import BEFORE, CASES, FEW, Case
from .clients import CLIENTS
from .goals import goals
from .report import report
from .run import Results, run

RESULTS = Path(__file__).parent / "results"

_QUICKLY = 0.6
"""Seconds that calls are counted with `--quick`."""


def main() -> None:
    options = _parser().parse_args()
    if options.list:
        print(*(f"{case.name:<22}{case.title}" for case in CASES.values()), sep="\n")
        return
    if options.show:
        results = Results.from_json(options.show.read_text())
    else:
        results = _measure(options)
        _write(results, options.out)
    print(report(results), goals(results), sep="\n\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--case", action="append", default=[], choices=CASES, metavar="NAME", help="only this case")
    parser.add_argument("--client", action="append", default=[], metavar="NAME", help=f"only: {', '.join(CLIENTS)}")
    parser.add_argument("--before", metavar="REVISION", help="measure this package as it was at a revision, too")
    parser.add_argument("--quick", action="store_true", help="the headline cases, with the clients that matter most")
    parser.add_argument("--all", action="store_true", help="every case, over https too")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each case (3)")
    parser.add_argument("--seconds", type=float, help="how long calls are counted; each case has its own")
    parser.add_argument("--out", type=Path, default=RESULTS / "latest", help="where to write: .json and .png are added")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print the tables of an earlier run")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    return parser


def _measure(options: argparse.Namespace) -> Results:
    cases = [CASES[name] for name in options.case] or [case for case in CASES.values() if _wanted(case, options)]
    clients = options.client or ((*FEW, "floor-durable", BEFORE) if options.quick else ())
    seconds = options.seconds or (_QUICKLY if options.quick else None)
    return run(
        cases,
        clients=clients,
        before=options.before,
        rounds=options.rounds,
        seconds=seconds,
        tell=_tell,
        keep=partial(_keep, options.out),
    )


def _wanted(case: Case, options: argparse.Namespace) -> bool:
    return case.quick if options.quick else options.all or not case.extra


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _keep(out: Path, results: Results) -> None:
    """Write what was found so far, so that a run which is broken off has not been for nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(results.to_json())


def _write(results: Results, out: Path) -> None:
    _keep(out, results)
    if find_spec("matplotlib"):
        from .plot import plot

        plot(results, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
