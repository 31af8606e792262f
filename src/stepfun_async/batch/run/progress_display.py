"""Shows the progress of a run."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from stepfun_async._core.errors import StepFunError
from stepfun_async._core.progress import Standing, progress_line
from stepfun_async._runtime.status_line import StatusLine, status_line

from ..inputs.sources import is_file, source_of
from ..items import Progress

_COUNTED_AT_ONCE = 4096


@asynccontextmanager
async def show_progress(
    progress: Callable[[], Progress], inputs: Any, variations: int, limit: int | None
) -> AsyncGenerator[None]:
    """Show the progress of a run during the block, and its result after it.

    Args:
        progress: returns the progress.
        inputs: the inputs of the batch. If they can be read twice, their lines are counted ahead of the run.
        variations: the number of images for each line.
        limit: the maximum number of images.
    """
    display = _ProgressDisplay(progress, status_line())
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(display.count, inputs, variations, limit)
            group.start_soon(display.refresh)
            yield
            group.cancel_scope.cancel()
    finally:
        display.line.end(*display.text())


def interruption_message(progress: Progress) -> str:
    """Return the message for a run that Ctrl-C has ended."""
    lost = f" {progress.unknown:,} may have been charged without an image." if progress.unknown else ""
    return f"interrupted: {progress.done:,} images were made and are kept.{lost} The next run makes the rest."


class _ProgressDisplay:
    """Shows a run."""

    def __init__(self, progress: Callable[[], Progress], line: StatusLine) -> None:
        self.line = line
        self._progress = progress
        self._total: int | None = None
        self._began = time.monotonic()

    async def refresh(self) -> None:
        """Refresh the line until this is cancelled."""
        while True:
            await anyio.sleep(self.line.interval)
            self.line.show(*self.text())

    async def count(self, inputs: Any, variations: int, limit: int | None) -> None:
        """Count the lines ahead of the run, so that the time left can be estimated."""
        try:
            length = await _length_of(inputs)
        except (StepFunError, OSError):
            return  # the run raises it
        total = None if length is None else length * variations
        self._total = total if total is None or limit is None else min(total, limit)

    def text(self) -> tuple[str, float | None]:
        """Return the progress of the run as text, and as a fraction."""
        standing = _standing(self._progress(), self._total, time.monotonic() - self._began)
        share = standing.ended / standing.total if standing.total else None
        return progress_line(standing, self.line.columns, self.line.separator), share


def _standing(progress: Progress, counted: int | None, seconds: float) -> Standing:
    failed = progress.failed + progress.unknown
    return Standing(
        ended=progress.done + failed + progress.skipped,
        total=progress.lines if progress.lines is not None else counted,
        failed=failed,
        ended_now=progress.done - progress.adopted + failed,
        seconds=seconds,
        spent=progress.spent,
    )


async def _length_of(inputs: Any) -> int | None:
    """Return the number of lines; `None` if counting would consume the inputs."""
    if not is_file(inputs):
        return len(inputs) if hasattr(inputs, "__len__") else None
    if inputs == "-":
        return None
    source = source_of(inputs)
    total = 0
    try:
        while lines := await source.take(_COUNTED_AT_ONCE):
            total += len(lines)
    finally:
        source.close()
    return total
