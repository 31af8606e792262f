"""A batch in processes of its own, each of which ends at a named point of a line's way.

`python -m tests.batch.crashing` reads orders from stdin, one JSON list a line: the server's base URL, the
folder, a bucket for the pictures (or `null`), how many prompts, the point (or `none`), and at which time of
reaching it the process ends, without any clean-up. For each it forks, says the process's number, and then its
exit code, below 0 for a signal. Everything is imported by then, so that a process begins in no time.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from stepfun_async import Batch, Limits, RetryPolicy
from stepfun_async.batch.journal import journal
from stepfun_async.batch.run import engine, job_runner
from stepfun_async.batch.storage import bucket, group_write

CONCURRENCY = 4

FileStore = tuple[Any, str, Callable[..., bool] | None, bool]

POINTS: dict[str, FileStore] = {
    "before the line is admitted": (journal.Journal, "admit", None, False),
    "the line is admitted, not committed": (journal.Journal, "admit", None, True),
    "before the start is entered": (journal.Journal, "start", None, False),
    "the start is entered, not committed": (journal.Journal, "start", None, True),
    "the start is committed": (job_runner.JobRunner, "run", None, False),
    "the answer is there": (job_runner.JobRunner, "save", None, False),
    "before the note is written": (group_write.FileWrite, "_write_note", None, False),
    "the note is written": (group_write.FileWrite, "_write_note", None, True),
    "the temporary file is written, not flushed": (group_write.FileWrite, "flush", None, False),
    "the temporary file is flushed": (group_write.FileWrite, "rename", None, False),
    "the picture has both names": (group_write, "put_in_place", None, True),
    "the picture has its name": (group_write.FileWrite, "rename", None, True),
    "before the folder is flushed": (group_write, "sync_folder", None, False),
    "the folder is flushed": (group_write, "sync_folder", None, True),
    "before the end is entered": (journal.Journal, "end", None, False),
    "the end is entered, not committed": (journal.Journal, "end", None, True),
    "the end is committed": (engine.Engine, "_report_item", None, False),
    "before the inputs are at their end": (journal.Journal, "finish_reading", None, False),
}
"""Each point: what is patched, when it counts, and whether the process ends after it instead of before."""


BUCKET_POINTS: dict[str, FileStore] = {
    "before the note is put": (bucket.Bucket, "write", lambda *_, overwrite: overwrite, False),
    "the note is put": (bucket.Bucket, "write", lambda *_, overwrite: overwrite, True),
    "before the picture is put": (bucket.Bucket, "write", lambda *args, overwrite: _is_picture(*args), False),
    "the picture is put": (bucket.Bucket, "write", lambda *args, overwrite: _is_picture(*args), True),
    **{point: place for point, place in POINTS.items() if place[0] not in (group_write, group_write.FileWrite)},
}
"""The points of a line whose picture goes to a bucket."""


def _is_picture(_bucket: bucket.Bucket, name: str, _data: bytes) -> bool:
    return name.endswith(".png")


def end_at(point: str, time: int) -> None:
    """Have this process end when it comes to `point` for the given time."""
    home, name, counts, after = {**POINTS, **BUCKET_POINTS}[point]
    original = getattr(home, name)
    reached = itertools.count(1)

    def patched(*args: Any, **keywords: Any) -> Any:
        if counts is not None and not counts(*args, **keywords):
            return original(*args, **keywords)
        if not after and next(reached) == time:
            os._exit(9)
        result = original(*args, **keywords)
        if after and next(reached) == time:
            os._exit(9)
        return result

    setattr(home, name, patched)


def work(url: str, out: str, pictures: str | None, count: int, point: str, time: int) -> None:
    """Run the batch."""
    if point != "none":
        end_at(point, time)
    small = {"model": "step-2x-large", "size": "256x256"}
    lines = [{"prompt": f"lake {number}", "seed": number, **small} for number in range(1, count + 1)]
    retry = RetryPolicy(max_attempts=1)
    limits = Limits(max_concurrency=CONCURRENCY)
    Batch(lines, out=out, pictures=pictures, base_url=url, api_key="sk-test", limits=limits, retry=retry).run_sync()


READY = ("anyio._backends._asyncio", "httpcore", "attrs", "certifi", "stepfun_async._transport.pool")
"""What a run would import by itself."""


def main() -> None:
    """Fork for each order."""
    for name in READY:
        importlib.import_module(name)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            try:
                work(*json.loads(line))
                os._exit(0)
            finally:
                os._exit(1)
        _say(process)
        _, status = os.waitpid(process, 0)
        _say(os.waitstatus_to_exitcode(status))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
