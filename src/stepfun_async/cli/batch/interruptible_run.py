"""A run of a batch that Ctrl-C and other signals stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import anyio
from anyio.abc import TaskStatus

from stepfun_async import Batch, StepFunError
from stepfun_async._runtime.signals import signals_received

from ..console import counted, echo_stderr


class InterruptibleRun:
    """One run that signals can stop: the first one gracefully, the second one at once.

    Args:
        batch: the batch to run.

    Attributes:
        interrupts: the number of signals received.
        error: the error that ended the run; `None` if none did.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.interrupts = 0
        self.error: StepFunError | None = None

    async def run(self, *, quiet: bool) -> None:
        """Run until the batch ends. Store its error instead of raising it, since a task group would wrap it."""
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                await group.start(self._stop_on_signals, scope)
                await self._run_batch(quiet=quiet)
            group.cancel_scope.cancel()

    async def _run_batch(self, *, quiet: bool) -> None:
        try:
            await self._batch.run(progress=not quiet)
        except StepFunError as error:
            self.error = error

    async def _stop_on_signals(self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        with signals_received(*_stop_signals()) as signals:
            task_status.started()
            async for number in signals:
                if number == _HANGUP and self.interrupts:
                    continue  # both the terminal and its shell send it
                self.interrupts += 1
                if self.interrupts > 1:
                    scope.cancel()
                    return
                self._batch.stop()
                echo_stderr(_stopping_message(self._batch.progress.in_flight))


_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""The signal that the terminal was closed; Windows has none."""


def _stop_signals() -> Iterator[signal.Signals]:
    """The signals that stop a run: Ctrl-C, SIGTERM, and SIGHUP unless it is ignored, as under nohup."""
    yield from (signal.SIGINT, signal.SIGTERM)
    if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:
        yield _HANGUP


def _stopping_message(in_flight: int) -> str:
    images = f"{counted(in_flight, 'image')} {'is' if in_flight == 1 else 'are'}"
    return (
        f"stopping: no more lines are sent. {images} being made and may already be charged, so this waits for them. "
        "Press Ctrl-C again to stop at once; the next run may then pay again for the images in flight."
    )
