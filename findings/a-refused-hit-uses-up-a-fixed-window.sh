#!/usr/bin/env bash
# What:     With the strategy "fixed window", the default of the frameworks that build on `limits`, a hit that is refused is counted all the same:
#           a request of cost 5 that does not fit in what is left of 10 also shuts out requests of cost 1 that do, for the rest of the window.
#           The other two strategies of the library count only what they let through.
# Versions: limits 5.8.0, in memory, all three strategies; throttled-py 3.5.0, all five algorithms, does the same.
# Expected: after 8 of 10 were used, cost 5 is refused, and cost 1 goes through twice.
# Seen:     hits of cost 8, 5, 1, 1, 1: fixed window True, False, False, False, False; all others True, False, True, True, False.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check limits==5.8.0 throttled-py==3.5.0
timeout 60 venv/bin/python - <<'PYTHON'
import sys

import limits
import throttled
from limits import strategies
from limits.storage import MemoryStorage

COSTS = (8, 5, 1, 1, 1)
ten = limits.parse("10/hour")
seen = {}
for strategy in (strategies.FixedWindowRateLimiter, strategies.MovingWindowRateLimiter, strategies.SlidingWindowCounterRateLimiter):
    limiter = strategy(MemoryStorage())
    seen["limits", strategy.__name__] = [limiter.hit(ten, "key", cost=cost) for cost in COSTS]
for algorithm in ("fixed_window", "sliding_window", "token_bucket", "leaking_bucket", "gcra"):
    throttle = throttled.Throttled(key=algorithm, using=algorithm, quota=throttled.per_hour(10, burst=10))
    seen["throttled", algorithm] = [not throttle.limit(cost=cost).limited for cost in COSTS]
for (library, name), found in seen.items():
    print(f"{library:10}{name:33}{found}")
fixed = {("limits", "FixedWindowRateLimiter"), ("throttled", "fixed_window")}
wrong = [key for key, found in seen.items() if found != [True, False, *([False] * 3 if key in fixed else [True, True, False])]]
sys.exit(bool(wrong))
PYTHON
