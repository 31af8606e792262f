"""`python -m tests.gateways`: every fault through every gateway, and what was reported against what was billed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.gateways.cells import OPERATIONS, Operation, Outcome, Place, line, place
from tests.gateways.faults import FAULTS, Fault
from tests.gateways.gateways import GATEWAYS, Gateway
from tests.support.shells import SHELLS, Shell, shell


def main() -> int:
    options = _parser().parse_args()
    gateways = [one for one in GATEWAYS if options.gateway in ([], None) or one.name in options.gateway]
    missing = [one.name for one in gateways if one.version is None]
    if missing:
        print("not installed:", *missing, file=sys.stderr)
    wrongs = [wrong for gateway in gateways if gateway.version for wrong in _through(gateway, options)]
    print(f"\n{len(wrongs)} broken promises")
    return 1 if wrongs or missing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.gateways", description=__doc__)
    names = [gateway.name for gateway in GATEWAYS]
    parser.add_argument("--gateway", action="append", default=[], choices=names, metavar="NAME", help=", ".join(names))
    faults = [fault.name for fault in FAULTS]
    parser.add_argument("--fault", action="append", default=[], choices=faults, metavar="NAME", help=", ".join(faults))
    operations = [operation.name for operation in OPERATIONS]
    parser.add_argument("--operation", action="append", default=[], choices=operations, help="only this one")
    return parser


def _through(gateway: Gateway, options: argparse.Namespace) -> Iterator[str]:
    print(f"\n{gateway.name} ({gateway.package} {gateway.version})", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gateways-")))
        shells = {name: stack.enter_context(shell(name)) for name in SHELLS}
        here = stack.enter_context(place(gateway, folder))
        for fault in FAULTS:
            if fault.listener in gateway.listeners and options.fault in ([], [fault.name]):
                for operation in OPERATIONS:
                    if options.operation in ([], [operation.name]):
                        yield from _row(here, shells, fault, operation)


def _row(here: Place, shells: dict[str, Shell], fault: Fault, operation: Operation) -> Iterator[str]:
    lines = {}
    for name, code in shells.items():
        outcome = here.call(code, fault, operation)
        wrongs = list(outcome.wrongs(here.gateway, fault, operation))
        lines[name] = _line(outcome, wrongs)
        yield from wrongs
    same = len(set(lines.values())) == 1
    for name, text in lines.items():
        if not same or name == SHELLS[0]:
            print(f"  {fault.name:<40}{operation.name:<16}{'all' if same else name:<9}{text}", flush=True)


def _line(outcome: Outcome, wrongs: list[str]) -> str:
    hung_up = {None: "", True: "hang-up passed on", False: "hang-up not passed on"}[outcome.hung_up]
    results = "; ".join(map(line, outcome.results))
    return "  ".join(
        filter(None, [f"{results:<32}", f"billed {outcome.billed}", hung_up, *map("BROKEN: {}".format, wrongs)])
    )


if __name__ == "__main__":
    sys.exit(main())
