"""A few threads for short work of many tasks: whatever waits for a thread is done by it as a group."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from stepfun_async._runtime.event_loop import ThreadResult, notify_all
from stepfun_async._runtime.workers import threads

V = TypeVar("V")
R = TypeVar("R")


class Groups(Generic[V, R]):
    """Does the work of many tasks in a few threads, a group at a time, as databases commit.

    To write a small file takes less time than to go to a thread and back, and files that are flushed together wait
    for the disk once. So while all threads are busy, work gathers; the next thread that is free does all of it, and
    wakes the loop once.

    Args:
        work: does a group; it returns the result or the error of each value, in their order. What it raises instead
            is the error of all of them.
        count: how many threads work at once.
        most: how many values are in a group at most.
    """

    def __init__(self, work: Callable[[Sequence[V]], Sequence[R | BaseException]], count: int, most: int) -> None:
        self._work = work
        self._most = most
        self._free = count
        self._lock = threading.Lock()
        self._waiting: deque[_Entry[V, R]] = deque()

    async def do(self, value: V) -> R:
        """Return the result of a value, or raise its error. It is waited for even when the caller is cancelled."""
        entry = _Entry[V, R](value)
        self._waiting.append(entry)
        if self._takes_thread():
            try:
                threads().start(self._run)
            except RuntimeError:  # no thread can be started
                self._run()
        return await entry.finished()

    def _takes_thread(self) -> bool:
        with self._lock:
            if not self._free:
                return False
            self._free -= 1
            return True

    def _run(self) -> None:
        """Do one group after another, until nothing waits."""
        while group := self._next_group():
            for entry, result in zip(group, self._results_of(group), strict=True):
                if isinstance(result, BaseException):
                    entry.fail(result)
                else:
                    entry.set(result)
            notify_all(group)

    def _results_of(self, group: Sequence[_Entry[V, R]]) -> Sequence[R | BaseException]:
        """Do the work of a group. An error of the work itself is the result of each value, so that no task waits."""
        try:
            return self._work([entry.value for entry in group])
        except BaseException as error:  # noqa: BLE001 - raised where the results are waited for
            return [error] * len(group)

    def _next_group(self) -> list[_Entry[V, R]]:
        """Return the waiting work; empty if there is none, which ends the thread's turn."""
        with self._lock:
            group = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            self._free += not group
            return group


class _Entry(ThreadResult[R], Generic[V, R]):
    """A value whose result a task waits for."""

    def __init__(self, value: V) -> None:
        super().__init__()
        self.value = value
