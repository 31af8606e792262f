#!/usr/bin/env bash
# What:     A task that asks aiolimiter for a larger amount waits for ever while others ask for small ones: of those that wait, the smallest amount is
#           served first, however long a larger one has waited, and the bucket never empties far enough for the large one.
# Versions: aiolimiter 1.3.0; CPython 3.11.
# Expected: the one that asks for 10 of "10 in 0.5 s" is served within about a second, before those that asked after it.
# Seen:     in 4 seconds about 80 small ones are served and the large one is not; within a second after they have stopped, it is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiolimiter==1.3.0
timeout 60 venv/bin/python - <<'PYTHON'
import asyncio
import sys

from aiolimiter import AsyncLimiter


async def main():
    limiter = AsyncLimiter(10, 0.5)
    served = []

    async def small():
        while True:
            await limiter.acquire(1)
            served.append(1)

    await limiter.acquire(10)
    large = asyncio.create_task(limiter.acquire(10))
    await asyncio.sleep(0)  # it waits before the others do
    others = [asyncio.create_task(small()) for _ in range(3)]
    await asyncio.wait([large], timeout=4)
    beside = large.done()
    for other in others:
        other.cancel()
    await asyncio.wait([large], timeout=4)
    return beside, large.done(), len(served)


beside, after, small = asyncio.run(main())
print(f"after 4 seconds: {small} small amounts served, the large one {'too' if beside else 'not'}; without the small ones: {after}")
sys.exit((beside, after) != (False, True) or small < 40)
PYTHON
