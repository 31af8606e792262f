"""Virtual time for trio: a clock that jumps to the next deadline when nothing else can happen."""

from __future__ import annotations

import math
import time

import trio

_LONGEST = 3600.0
"""The maximum seconds of one real wait; trio itself limits waits to a day."""

_EARLY = 0.001
"""Seconds by which a real wait may end early, as timers of operating systems do."""


class VirtualClock(trio.abc.Clock, trio.abc.Instrument):
    """A clock in virtual time for `trio.run(..., clock=VirtualClock())`, which starts at 0 in every run.

    It does what `VirtualLoop` does for asyncio. trio's own `MockClock` jumps as well, but
    ignores running threads, so that deadlines pass during their work.

    trio gets the time to wait from its clock, shortens it if a task is in `wait_all_tasks_blocked`, and
    calls its instruments just before it waits. So this clock is an instrument too, and jumps at that
    moment, after such tasks have run; then it wakes trio, which finds that the deadline has passed.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._wait = 0.0
        self._deadline = math.inf
        self._since: float | None = None
        self._jobs = 0

    def start_clock(self) -> None:
        self._now = 0.0
        self._jobs = 0
        trio.lowlevel.add_instrument(self)

    def current_time(self) -> float:
        """The virtual time in seconds."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        self._deadline = deadline
        self._wait = min(max(0.0, deadline - self._now), _LONGEST)
        return self._wait

    def before_io_wait(self, timeout: float) -> None:
        self._since = None
        if not 0 < timeout == self._wait or self._deadline == math.inf:
            return  # a task can run, one waits until all others are blocked, or there is no deadline
        if self._jobs or _waits_for_others():
            self._since = time.monotonic()
        else:
            self._now = self._deadline
            trio.lowlevel.current_trio_token().run_sync_soon(_wake)

    def note_work(self, more: int) -> None:
        """Change by `more` the number of threads that work for trio without its limiter."""
        self._jobs += more

    def after_io_wait(self, timeout: float) -> None:
        if self._since is not None and time.monotonic() - self._since >= timeout - _EARLY:
            self._now = min(self._deadline, self._now + timeout)


def _wake() -> None:
    """Do nothing: calling it wakes trio."""


def _waits_for_others() -> bool:
    """Whether something besides time can wake trio: a thread at work for it, a socket, or a call from outside."""
    facts = trio.lowlevel.current_statistics()
    sockets = sum(getattr(facts.io_statistics, name, 0) for name in _WAITING)
    in_threads = trio.to_thread.current_default_thread_limiter().borrowed_tokens
    return bool(in_threads or sockets > 1 or facts.run_sync_soon_queue_size)  # trio waits on one socket itself


_WAITING = ("tasks_waiting", "tasks_waiting_read", "tasks_waiting_write", "tasks_waiting_overlapped")
"""The names of trio's counts of tasks that wait for sockets, by platform."""
