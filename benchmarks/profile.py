"""Where our CPU goes in a case: `python -m benchmarks.profile 1kb-c64`.

The functions with the most time of their own, for each call: cProfile's numbers, so that what matters
is which functions are there and how often, more than the microseconds.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import re
import tempfile
from collections.abc import Awaitable, Callable

import anyio

from .cases import CASES, Case
from .clients import CLIENTS, Target
from .pictures import png
from .run import Cpus, environment_for, serving

WARMING = 3
"""Calls of each worker that are not profiled."""


async def profiled(client: str, case: Case, target: Target, calls: int) -> cProfile.Profile:
    """The profile of `calls` calls, made as the case makes them."""
    peer = CLIENTS[client].awaited(target)
    await peer.open()
    call = getattr(peer, case.job)
    await _made(call, case.in_flight, WARMING * case.in_flight)
    profiler = cProfile.Profile()
    profiler.enable()
    await _made(call, case.in_flight, calls)
    profiler.disable()
    profiler.create_stats()
    return profiler


async def _made(call: Callable[[int], Awaitable[object]], in_flight: int, calls: int) -> None:
    numbers = iter(range(calls))

    async def work(worker: int) -> None:
        for _ in numbers:
            await call(worker)

    async with anyio.create_task_group() as tasks:
        for worker in range(in_flight):
            tasks.start_soon(work, worker)


def show(profile: cProfile.Profile, calls: int, top: int) -> None:
    """Print the functions with the most time of their own, and the sums."""
    rows = sorted(profile.stats.items(), key=lambda row: -row[1][2])
    own, entered = sum(row[1][2] for row in rows), sum(row[1][1] for row in rows)
    print(
        f"{own / calls * 1e6:,.0f} us and {entered / calls:,.0f} function calls a call, both with what profiling costs"
    )
    print(f"{'own us':>8}{'us':>9}{'calls':>8}  function")
    for (file, line, name), (_, times, in_itself, in_all, _) in rows[:top]:
        place = f"  {_FOLDERS.sub('', file)}:{line}" if line else ""
        print(f"{in_itself / calls * 1e6:8.1f}{in_all / calls * 1e6:9.1f}{times / calls:8.1f}  {name}{place}")


_FOLDERS = re.compile(r".*/(site-packages|src|python3\.\d+)/")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Where our CPU goes in a case.")
    parser.add_argument("case", choices=[name for name, case in CASES.items() if case.kind == "load"], metavar="CASE")
    parser.add_argument("--client", default="ours", choices=CLIENTS, help="another client (ours)")
    parser.add_argument("--calls", type=int, default=2000, help="how many (2000)")
    parser.add_argument("--top", type=int, default=40, help="how many functions (40)")
    options = parser.parse_args()
    case, cpus = CASES[options.case], Cpus.of_this_machine()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder, serving(case, cpus, folder) as url:
        os.environ.update(environment_for(case, folder))
        if cpus.client is not None:
            os.sched_setaffinity(0, {cpus.client})
        target = Target(url, case.in_flight, folder, png(case.upload))
        profile = anyio.run(profiled, options.client, case, target, options.calls)
    show(profile, options.calls, options.top)


if __name__ == "__main__":
    main()
