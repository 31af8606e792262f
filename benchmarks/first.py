"""A fresh process to its first answer: `python -m benchmarks.first CLIENT URL BEGUN CPU`, called by `run`."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time

from .clients import CLIENTS, Target
from .memory import resident


async def _first(client: str, url: str) -> None:
    peer = CLIENTS[client].awaited(Target(url))
    await peer.open()
    await peer.generate(0)


def main() -> None:
    """Print milliseconds since `BEGUN`, a reading of the monotonic clock, and of CPU."""
    client, url, begun, cpu = sys.argv[1:]
    if cpu != "any":
        os.sched_setaffinity(0, {int(cpu)})
    asyncio.run(_first(client, url))
    used = resource.getrusage(resource.RUSAGE_SELF)
    wall, spent = time.monotonic() - float(begun), used.ru_utime + used.ru_stime
    print(f'{{"wall_ms": {wall * 1e3}, "cpu_ms": {spent * 1e3}, "peak_mb": {resident(peak=True)}}}')
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
