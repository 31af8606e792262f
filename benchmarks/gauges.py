"""What is read off a process while it works: CPU, memory, how long calls take, how late the event loop is."""

from __future__ import annotations

import resource
import time
from array import array
from collections.abc import Callable, Mapping
from typing import TypeAlias

import anyio

from .memory import Memory

Figures: TypeAlias = Mapping[str, float]
"""What was measured, by name; the names are in `report.FIGURES`."""

LONGEST = 12.0
"""Seconds after which a load ends, however few calls have."""


def cpu() -> float:
    """Seconds of CPU that this process has used, in all its threads, in the kernel or not."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Lag:
    """How much later than asked for a sleeping task woke up, at worst."""

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self.worst = 0.0

    async def watch(self) -> None:
        """Look at each tick, for ever."""
        while True:
            before = time.perf_counter()
            await anyio.sleep(self._tick)
            self.worst = max(self.worst, time.perf_counter() - before - self._tick)


_WARMING = 2
"""Calls of the first worker before the window opens: connections are open then."""


class Window:
    """The measured part of a load.

    The first worker opens and closes it at the ends of calls of its own: calls that end in bursts, as
    they do behind a fixed latency, are then not cut in the middle of one.

    Args:
        seconds: how long it is. Before it comes a warm-up: a quarter of that, and `_WARMING` calls a worker.
        close: what to call at its end.
        lag: the watch over the event loop, where there is one.
    """

    def __init__(self, seconds: float, close: Callable[[], None], lag: Lag | None = None) -> None:
        self._seconds = seconds
        self._close = close
        self._lag = lag
        self._warm_at = time.perf_counter() + seconds / 4
        self._warm = False
        self._calls_to_warm = _WARMING
        self._memory = Memory()
        self._open()

    def _open(self) -> None:
        self._durations = array("d")
        if self._lag:
            self._lag.worst = 0.0
        self._cpu = cpu()
        self._opened = time.perf_counter()

    def note(self, worker: int, began: float) -> None:
        """A call that `worker` began then has ended."""
        now = time.perf_counter()
        self._durations.append(now - began)
        if worker:
            return
        if self._calls_to_warm:
            self._calls_to_warm -= 1
        elif not self._warm and now > self._warm_at:
            self._warm = True
            self._open()
        elif self._warm and now > self._opened + self._seconds:
            self._close()

    def figures(self, in_flight: int) -> Figures:
        """What was measured since it opened.

        Raises:
            TimeoutError: no call has ended.
        """
        spent, passed = cpu() - self._cpu, time.perf_counter() - self._opened
        durations = sorted(self._durations)
        calls = len(durations)
        if not calls:
            raise TimeoutError(f"no call ended within {LONGEST:g} seconds")
        return {
            "cpu_us": spent / calls * 1e6,
            "rate": calls / passed,
            "p50_ms": durations[calls // 2] * 1e3,
            "p99_ms": durations[calls * 99 // 100] * 1e3,
            "peak_mb": self._memory.peak(),
            "slot_mb": self._memory.peak() / in_flight,
            **({"lag_ms": self._lag.worst * 1e3} if self._lag else {}),
        }
