"""A few threads for the short work of many tasks. Work that waits for a thread is done as a group."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from stepfun_async._runtime.event_loop import ThreadResult, notify_all
from stepfun_async._runtime.workers import threads

V = TypeVar("V")
R = TypeVar("R")


class GroupExecutor(Generic[V, R]):
    """Does the work of many tasks in a few threads, a group at a time, like the group commit of a database.

    Writing a small file takes less time than switching to a thread and back, and files that are flushed together wait
    for the disk once. So while all threads are busy, work is queued; the next idle thread does all of it, and wakes the
    event loop once.

    Args:
        work: does a group, and returns the result or the error of each value, in their order. An error that it raises
            is the error of all values.
        count: the maximum number of threads.
        most: the maximum number of values in a group.
    """

    def __init__(self, work: Callable[[Sequence[V]], Sequence[R | BaseException]], count: int, most: int) -> None:
        self._work = work
        self._most = most
        self._idle_threads = count
        self._lock = threading.Lock()
        self._waiting: deque[_Entry[V, R]] = deque()

    async def run(self, value: V) -> R:
        """Return the result of a value, or raise its error. This waits for it even if the caller is cancelled."""
        entry = _Entry[V, R](value)
        self._waiting.append(entry)
        if self._claim_thread():
            try:
                threads().start(self._run)
            except RuntimeError:  # no thread can be started
                self._run()
        return await entry.finished()

    def _claim_thread(self) -> bool:
        with self._lock:
            if not self._idle_threads:
                return False
            self._idle_threads -= 1
            return True

    def _run(self) -> None:
        """Do one group after another, until none is waiting."""
        while group := self._next_group():
            for entry, result in zip(group, self._results_of(group), strict=True):
                if isinstance(result, BaseException):
                    entry.fail(result)
                else:
                    entry.set(result)
            notify_all(group)

    def _results_of(self, group: Sequence[_Entry[V, R]]) -> Sequence[R | BaseException]:
        """Do the work of a group. An error of the work itself is the result of each value, so no task waits forever."""
        try:
            return self._work([entry.value for entry in group])
        except BaseException as error:  # noqa: BLE001 - raised where the results are waited for
            return [error] * len(group)

    def _next_group(self) -> list[_Entry[V, R]]:
        """Return the queued work; if it is empty, the thread is idle again."""
        with self._lock:
            group = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            self._idle_threads += not group
            return group


class _Entry(ThreadResult[R], Generic[V, R]):
    """A value whose result a task waits for."""

    def __init__(self, value: V) -> None:
        super().__init__()
        self.value = value
