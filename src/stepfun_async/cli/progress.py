"""Progress of a batch run: a bar on a terminal, a log line every ten seconds elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import anyio
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from stepfun_async import Batch
from stepfun_async.batch import Progress
from stepfun_async.batch.inputs.sources import source_of

from .console import complain, counted, on_terminal, plain_money

_REDRAW_SECONDS = 0.2
"""Seconds between two updates of the bar."""

_LOG_SECONDS = 10.0
"""Seconds between two log lines."""

_COUNTED_AT_ONCE = 4096


@asynccontextmanager
async def watched(batch: Batch, inputs: str) -> AsyncGenerator[None]:
    """Show the progress of a run on stderr during the block."""
    if on_terminal():
        columns = (
            BarColumn(bar_width=None),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=None)
            async with _beside(_BarProgress(batch, inputs, bar, task).go_on):
                yield
            _draw(batch, bar, task)
    else:
        async with _beside(_LogProgress(batch).go_on):
            yield


@asynccontextmanager
async def _beside(function: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Run `function` until the block ends."""
    async with anyio.create_task_group() as group:
        group.start_soon(function)
        yield
        group.cancel_scope.cancel()


class _BarProgress:
    """Progress as a bar."""

    def __init__(self, batch: Batch, inputs: str, bar: Bar, task: TaskID) -> None:
        self._batch = batch
        self._inputs = inputs
        self._bar = bar
        self._task = task

    async def go_on(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._count)
            while True:
                _draw(self._batch, self._bar, self._task)
                await anyio.sleep(_REDRAW_SECONDS)

    async def _count(self) -> None:
        """Count the lines ahead of the run, so that the remaining time can be estimated."""
        source = source_of(self._inputs)
        total = 0
        try:
            while lines := await source.take(_COUNTED_AT_ONCE):
                total += len(lines)
        finally:
            source.close()
        self._bar.update(self._task, total=total)


class _LogProgress:
    """Progress as log lines."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    async def go_on(self) -> None:
        while True:
            await anyio.sleep(_LOG_SECONDS)
            complain(line_of(self._batch.progress))


def _draw(batch: Batch, bar: Bar, task: TaskID) -> None:
    progress = batch.progress
    completed = progress.done + progress.failed + progress.unknown + progress.skipped
    bar.update(task, completed=completed, description=line_of(progress))


def line_of(progress: Progress) -> str:
    """Format a run in one line."""
    counts = (
        ("done", progress.done),
        ("failed", progress.failed),
        ("unknown", progress.unknown),
        ("skipped", progress.skipped),
        ("in flight", progress.in_flight),
    )
    parts = [f"{number} {name}" for name, number in counts if number or name == "done"]
    return ", ".join([*parts, *money_of(progress.spent, progress.held, progress.unpriced)])


def money_of(spent: Mapping[str, Decimal], held: Mapping[str, Decimal], unpriced: int = 0) -> list[str]:
    """Format what was spent and what is held, if any, and of how many images the price is not known."""
    sums = (("spent", plain_money(spent)), ("possibly billed for nothing", plain_money(held)))
    unknown = [f"the price of {counted(unpriced, 'image')} is not known"] if unpriced else []
    return [*(f"{amount} {name}" for name, amount in sums if amount), *unknown]
