"""Virtual time for asyncio: an event loop whose clock jumps to the next timer when nothing else can happen."""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from asyncio import Future
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

T = TypeVar("T")
Args = TypeVarTuple("Args")


_RESOLUTION = time.get_clock_info("monotonic").resolution


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time, which starts at 0.

    Its clock stands still while anything runs, and jumps to the next timer once nothing else can run
    before it. While a thread works for the loop (`anyio.to_thread`, `asyncio.to_thread`,
    `run_in_executor`) or a socket is open, it does not jump: the loop waits for them in real time, and
    the timer fires only after its full real delay.

    Threads are counted by the default limiter of `anyio.to_thread`; work under another limiter is not
    counted, and time may jump during it. `time.monotonic` and `time.time` stay real.

    Create it with `asyncio.Runner(loop_factory=VirtualLoop)`, `anyio.run(..., backend_options=
    {"loop_factory": VirtualLoop})`, or `stepfun_async.testing.run`.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._jobs = 0
        self._limiter: anyio.CapacityLimiter | None = None
        self._watched = _Selector(self._waits_for_others, self._jump)
        super().__init__(self._watched)
        self._own_files = len(self._watched.get_map())

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._now

    def run_forever(self) -> None:
        if self._limiter is None:
            # anyio has one limiter for each loop, available only inside a task. This task ends in its first step.
            self.create_task(self._meet_limiter())
        super().run_forever()

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Args], T], *args: *Args) -> Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        self._jobs += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._jobs -= 1

    def note_work(self, more: int) -> None:
        """Change by `more` the number of threads that work for the loop outside its executors."""
        self._jobs += more

    async def _meet_limiter(self) -> None:
        self._limiter = anyio.to_thread.current_default_thread_limiter()

    def _job_done(self, future: Future[Any]) -> None:
        self._jobs -= 1

    def _jump(self, seconds: float) -> None:
        goal = self._now + seconds
        # asyncio runs timers due before now plus the clock's resolution, which rounding loses at large times.
        self._now = goal if goal + _RESOLUTION > goal else math.nextafter(goal, math.inf)

    def _waits_for_others(self) -> bool:
        """Whether something besides time can wake the loop: a thread at work for it, or a socket."""
        in_threads = self._limiter.borrowed_tokens if self._limiter else 0
        return bool(in_threads or self._jobs or len(self._watched.get_map()) > self._own_files)


class _Selector(selectors.DefaultSelector):
    """A selector that jumps instead of waiting for a timer."""

    def __init__(self, waits_for_others: Callable[[], bool], jump: Callable[[float], None]) -> None:
        super().__init__()
        self._waits_for_others = waits_for_others
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(timeout if self._waits_for_others() else 0)
        if not events:
            self._jump(timeout)
        return events
