#!/usr/bin/env bash
# What:     Three retry decorators on a generator that fails after two items: tenacity's and backoff's never retry it, and say nothing, since calling it
#           only makes it; stamina's does, and gives the caller the items again that it has had, so that a stream of rows has two of them twice.
# Versions: stamina 26.1.0, tenacity 9.2.1, backoff 2.2.1; generators and async generators alike.
# Expected: one rule for all three, or an error when a generator is decorated.
# Seen:     tenacity and backoff: "a", "b" and the ValueError, one call. stamina: "a", "b", "a", "b", "c", two calls.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check stamina==26.1.0 tenacity==9.2.1 backoff==2.2.1
timeout 60 venv/bin/python - 2>errors <<'PYTHON' || { cat errors; exit 1; }
import asyncio
import sys

import backoff
import stamina
import tenacity

calls = 0


def rows():
    global calls
    calls += 1
    yield "a"
    yield "b"
    if calls == 1:
        raise ValueError
    yield "c"


async def async_rows():
    for row in rows():
        yield row


def read(decorated):
    got = []
    try:
        for row in decorated():
            got.append(row)
    except ValueError:
        got.append("ValueError")
    return got


async def read_async(decorated):
    got = []
    try:
        async for row in decorated():
            got.append(row)
    except ValueError:
        got.append("ValueError")
    return got


decorators = {
    "tenacity": tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True),
    "backoff": backoff.on_exception(backoff.constant, ValueError, max_tries=3, interval=0),
    "stamina": stamina.retry(on=ValueError, attempts=3, wait_initial=0, wait_jitter=0),
}
seen = {}
for name, decorator in decorators.items():
    calls = 0
    seen[name, "generator"] = read(decorator(rows)), calls
    calls = 0
    seen[name, "async generator"] = asyncio.run(read_async(decorator(async_rows))), calls
for (name, kind), (got, count) in seen.items():
    print(f"{name:9} {kind:16} {count} call(s): {got}")
once, again = (["a", "b", "ValueError"], 1), (["a", "b", "a", "b", "c"], 2)
sys.exit(any(found != (again if name == "stamina" else once) for (name, _), found in seen.items()))
PYTHON
