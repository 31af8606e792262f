#!/usr/bin/env bash
# What:     A shielded cancel scope of anyio's does not hold off `asyncio.timeout`, `asyncio.wait_for` or `Task.cancel()`: a step in
#           `CancelScope(shield=True)` is cut off in the middle, and what a worker thread returns there is dropped while the thread goes on.
#           The same block under anyio's own timeout, on asyncio and on trio, is seen through.
# Versions: anyio 4.12.0, trio 0.32.0; CPython 3.11, Linux.
# Expected: "shield" shields a step that must end (a commit, a file to be written) from whatever cancels the task around it.
# Seen:     anyio.move_on_after on asyncio and trio: the thread's result arrives, and the step after it is done. asyncio.timeout: neither,
#           although the thread's work is done all the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check anyio==4.12.0 trio==0.32.0
timeout 60 venv/bin/python - <<'PYTHON'
import asyncio, importlib.metadata, sys, time

import anyio, anyio.to_thread


def work(seen):
    time.sleep(0.3)
    seen.append("thread done")
    return "result"


async def step(seen):
    with anyio.CancelScope(shield=True):
        seen.append(await anyio.to_thread.run_sync(work, seen))
        seen.append("step after it")


async def by_anyio():
    seen = []
    with anyio.move_on_after(0.05):
        await step(seen)
    return seen


async def by_asyncio():
    seen = []
    try:
        async with asyncio.timeout(0.05):
            await step(seen)
    except TimeoutError:
        seen.append("timed out")
    await asyncio.sleep(0.5)
    return seen


print(f"anyio {importlib.metadata.version('anyio')}, Python {sys.version.split()[0]}")
whole = ["thread done", "result", "step after it"]
found = {
    "anyio.move_on_after on asyncio": anyio.run(by_anyio),
    "anyio.move_on_after on trio": anyio.run(by_anyio, backend="trio"),
    "asyncio.timeout": anyio.run(by_asyncio),
}
for how, seen in found.items():
    print(f"{how}: {seen}")
sys.exit(0 if list(found.values()) == [whole, whole, ["timed out", "thread done"]] else 1)
PYTHON
