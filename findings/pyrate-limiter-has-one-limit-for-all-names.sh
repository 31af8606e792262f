#!/usr/bin/env bash
# What:     The name in `Limiter.try_acquire(name)` of pyrate-limiter chooses no limit: all names share one, so that a limit "for each user" is used
#           up by the first one. In `limits` and `throttled-py`, whose calls look the same, the name is the key of a limit of its own.
# Versions: pyrate-limiter 4.5.1; limits 5.8.0 and throttled-py 3.5.0 to compare.
# Expected: two calls for each name, of 2 in an hour.
# Seen:     alice, alice, bob, bob: True, True, False, False; the two others: four times True.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyrate-limiter==4.5.1 limits==5.8.0 throttled-py==3.5.0
timeout 60 venv/bin/python - <<'PYTHON'
import sys

import limits
import throttled
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pyrate_limiter import Duration, Limiter, Rate

NAMES = ("alice", "alice", "bob", "bob")
pyrate = Limiter(Rate(2, Duration.HOUR))
moving, two = MovingWindowRateLimiter(MemoryStorage()), limits.parse("2/hour")
throttle = throttled.Throttled(quota=throttled.per_hour(2, burst=2))
seen = {
    "pyrate-limiter": [pyrate.try_acquire(name, blocking=False) for name in NAMES],
    "limits": [moving.hit(two, name) for name in NAMES],
    "throttled-py": [not throttle.limit(name).limited for name in NAMES],
}
for library, found in seen.items():
    print(f"{library:16}{dict(enumerate(zip(NAMES, found)))}")
sys.exit(seen != {"pyrate-limiter": [True, True, False, False], "limits": [True] * 4, "throttled-py": [True] * 4})
PYTHON
