"""Parses lines into jobs. A line whose methods raise is a bad one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable

from stepfun_async._core.problems import Problem
from stepfun_async._core.text import reason

from .jobs import Job, JobDefaults, is_edit_without_image, parse_job
from .lines import InputLine, InputWarning


def read_job(line: InputLine, defaults: JobDefaults) -> Job:
    """Return the job of a line. A line whose value raises an error is a bad one."""
    try:
        value = line.read()
        job = parse_job(line.number, value, defaults, line.digest)
        is_doubtful = job.request is not None and not defaults.warned and is_edit_without_image(value, defaults)
    except Exception as error:  # noqa: BLE001 - methods of a user's own value may raise anything
        problem = Problem("line", None, "values that can be read", f"reading it raised {reason(error)}")
        return Job(line=line.number, described={}, digest=line.digest, problems=(problem,))
    if is_doubtful:
        defaults.warned.append(line.number)
        warnings.warn(_IMAGE_IS_EMPTY.format(line=line.number), InputWarning, 2)
    return job


_IMAGE_IS_EMPTY = (
    "line {line} has an empty `image`: this line, and every later one like it, generates a paid image from its prompt "
    'alone; with operation="edit" in the defaults, such lines are errors'
)


def is_reported_before(line: InputLine, job: Job, defaults: JobDefaults) -> bool:
    """Whether a line is a bad variation of a line that is reported already, since the variation before is bad too."""
    if not job.problems or (line.number - 1) % defaults.variations == 0:
        return False
    return bool(read_job(InputLine(line.number - 1, line.read), defaults).problems)


def read_jobs(lines: Iterable[InputLine], unchanged: set[int], defaults: JobDefaults) -> list[Job | int]:
    """Return the jobs of lines; for an unchanged line, only its number. Of bad variations, only the first is there."""
    entries: list[Job | int] = []
    for line in lines:
        if line.number in unchanged:
            entries.append(line.number)
        elif not is_reported_before(line, job := _read_one(line, defaults), defaults):
            entries.append(job)
    return entries


def _read_one(line: InputLine, defaults: JobDefaults) -> Job:
    if line.number % _LINES_PER_PAUSE == 0:
        time.sleep(_PAUSE)
    return read_job(line, defaults)


_LINES_PER_PAUSE = 8
_PAUSE = 5e-5
"""Seconds of a pause for the event loop, which otherwise gets the interpreter from a busy thread only every 5 ms."""
