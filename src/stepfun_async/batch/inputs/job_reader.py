"""The jobs that lines ask for, where reading a line may raise whatever a value's own methods do."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable

from stepfun_async._core.problems import Problem
from stepfun_async._core.text import reason

from .jobs import Job, JobDefaults, is_edit_without_image, job_of
from .lines import InputLine, InputWarning


def read_job(line: InputLine, terms: JobDefaults) -> Job:
    """Return the job that a line asks for. An error raised by a user's own value makes the line a bad one."""
    try:
        value = line.read()
        job = job_of(line.number, value, terms, line.digest)
        doubtful = job.request is not None and not terms.warned and is_edit_without_image(value, terms)
    except Exception as error:  # noqa: BLE001 - methods of a user's own value may raise anything
        problem = Problem("line", None, "values that can be read", f"reading it raised {reason(error)}")
        return Job(line=line.number, described={}, digest=line.digest, problems=(problem,))
    if doubtful:
        terms.warned.append(line.number)
        warnings.warn(_WITHOUT_IMAGE.format(line=line.number), InputWarning, 2)
    return job


_WITHOUT_IMAGE = (
    "line {line} has nothing in its `image`: it, and every later line like it, makes an image from its prompt alone, "
    'which is paid for; operation="edit" in the defaults makes such lines an error'
)


def is_reported_before(line: InputLine, job: Job, terms: JobDefaults) -> bool:
    """Whether a line is a bad variation whose line is reported already, since the variation before it is bad too."""
    if not job.problems or (line.number - 1) % terms.variations == 0:
        return False
    return bool(read_job(InputLine(line.number - 1, line.read), terms).problems)


def read_jobs(lines: Iterable[InputLine], as_it_was: set[int], terms: JobDefaults) -> list[Job | int]:
    """Return the jobs of lines, or only the number of a line that stands as it did.

    Of variations that are bad, only the first one is among them.
    """
    entries: list[Job | int] = []
    for line in lines:
        if line.number in as_it_was:
            entries.append(line.number)
        elif not is_reported_before(line, job := _job_of(line, terms), terms):
            entries.append(job)
    return entries


def _job_of(line: InputLine, terms: JobDefaults) -> Job:
    if line.number % _LINES_A_TURN == 0:
        time.sleep(_TURN)
    return read_job(line, terms)


_LINES_A_TURN = 8
_TURN = 5e-5
"""Seconds for the event loop to have its turn: it would get one from a thread that computes every 5 ms only."""
