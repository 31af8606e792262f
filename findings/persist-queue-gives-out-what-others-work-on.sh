#!/usr/bin/env bash
# What:     A `SQLiteAckQueue` of persist-queue that is opened gives out the jobs again that another worker, which has the queue open, has taken and is
#           working on: opening takes every job without an acknowledgement for one of a worker that died. So each worker that starts does again
#           what all others have in hand.
# Versions: persist-queue 1.1.0, defaults; litequeue 0.9 to compare.
# Expected: the second worker gets the next job, as from litequeue.
# Seen:     jobs a, b, c; the first worker takes a. The second opens the queue and takes a, b, c. With `auto_resume=False` it takes b, c.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check persist-queue==1.1.0 litequeue==0.9
cat >second.py <<'PYTHON'
import json
import sys

import litequeue
import persistqueue

if sys.argv[1] == "litequeue":
    queue = litequeue.LiteQueue("lite.db")
    taken = [job.data for job in iter(queue.pop, None)]
else:
    queue = persistqueue.SQLiteAckQueue("jobs", auto_resume=sys.argv[1] == "resume")
    taken = [queue.get() for _ in range(queue.size)]
print(json.dumps(taken))
PYTHON
timeout 60 venv/bin/python - <<'PYTHON'
import json
import shutil
import subprocess
import sys

import litequeue
import persistqueue


def second(way):
    return json.loads(subprocess.run([sys.executable, "second.py", way], check=True, capture_output=True).stdout)


def through(way):
    shutil.rmtree("jobs", ignore_errors=True)
    queue = persistqueue.SQLiteAckQueue("jobs")
    for job in "abc":
        queue.put(job)
    assert queue.get() == "a"
    return second(way)


lite = litequeue.LiteQueue("lite.db")
for job in "abc":
    lite.put(job)
assert lite.pop().data == "a"
seen = {"persist-queue": through("resume"), "persist-queue, auto_resume=False": through("wait"), "litequeue": second("litequeue")}
for name, found in seen.items():
    print(f"{name:34}the second worker takes {found}")
sys.exit(list(seen.values()) != [["a", "b", "c"], ["b", "c"], ["b", "c"]])
PYTHON
