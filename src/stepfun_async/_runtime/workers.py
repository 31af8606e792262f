"""Threads of the package's own, so that nothing waits for those of the application.

A thread of anyio's or of the loop's may itself be waiting for one of our calls, as those of a web framework's sync
endpoints do. So everything that blocks runs here. Threads start when there is work, wait a while for more, and
are daemons: none of them holds up the end of the interpreter.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeAlias

Work: TypeAlias = Callable[[], None]
"""The work of a thread. It must not raise."""

MOST = min(32, (os.cpu_count() or 1) + 4)
"""The number of threads at work while work gets done; more would only get in each other's way."""

_STALL = 0.05
"""Seconds without progress after which one more thread starts, as all of them may be waiting for something."""

_IDLE = 10.0
"""Seconds for which a thread waits for more work."""


class Threads:
    """Threads that start on demand.

    No lock here can be held by a thread in which garbage collection starts more work.

    Args:
        most: how many work at once, as long as work gets done.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._all: set[_Thread] = set()
        self._idle: deque[_Thread] = deque()
        self._waiting: deque[Work] = deque()
        self._watched = threading.Lock()
        self._is_quiet = False
        self._calls: SimpleQueue[None] = SimpleQueue()

    def start(self, work: Work, *, apart: bool = False) -> None:
        """Run `work` in a thread.

        Args:
            work: what to run.
            apart: whether to run it in a separate thread, for work that may wait long.

        Raises:
            RuntimeError: no thread can be started. `work` is not done.
        """
        if sys.is_finalizing():  # no other thread runs any more
            raise RuntimeError("no thread can be started while the interpreter ends")
        if apart:
            threading.Thread(target=work, name="stepfun-async waiter", daemon=True).start()
            return
        try:
            self._idle.pop().inbox.put(work)
        except IndexError:
            self._start_more(work)

    def _start_more(self, work: Work) -> None:
        if len(self._all) < self._most:
            self._start_thread(work)
            return
        self._waiting.append(work)
        if self._is_quiet:
            self._calls.put(None)
        elif self._watched.acquire(blocking=False):
            try:
                threading.Thread(target=self._watch, name="stepfun-async watch", daemon=True).start()
            except RuntimeError:  # the threads that exist take it
                self._watched.release()

    def _start_thread(self, work: Work) -> None:
        thread = _Thread(work)
        self._all.add(thread)
        try:
            threading.Thread(target=self._run, args=(thread,), name="stepfun-async worker", daemon=True).start()
        except BaseException:
            self._all.discard(thread)
            raise

    def _run(self, thread: _Thread) -> None:
        try:
            while (work := self._next(thread)) is not None:
                work()
        finally:
            self._all.discard(thread)

    def _next(self, thread: _Thread) -> Work | None:
        """Return what `thread` runs next; `None` if it is to end."""
        work, thread.first = thread.first, None
        if work is None:
            work = self._take()
        if work is not None:
            return work
        self._idle.append(thread)
        if self._waiting and self._remove_from_idle(thread):  # another thread found none idle just before
            return self._take() or self._next(thread)
        try:
            return thread.inbox.get(timeout=_IDLE)
        except Empty:
            return None if self._remove_from_idle(thread) else thread.inbox.get()

    def _first(self) -> Work | None:
        try:
            return self._waiting[0]
        except IndexError:
            return None

    def _take(self) -> Work | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _remove_from_idle(self, thread: _Thread) -> bool:
        """Return whether `thread` was idle; if not, another thread is about to put work into its inbox."""
        try:
            self._idle.remove(thread)
        except ValueError:
            return False
        return True

    def _watch(self) -> None:
        """Start one more thread whenever no work gets done while work waits, until none has waited for a while."""
        while True:
            while (first := self._first()) is not None:
                time.sleep(_STALL)
                if self._first() is first and (work := self._take()) is not None:
                    self._start_thread_for(work)
            if self._is_called():
                continue
            self._watched.release()
            if not self._waiting or not self._watched.acquire(blocking=False):
                return

    def _is_called(self) -> bool:
        """Wait until work waits. Return whether any did within a while."""
        self._is_quiet = True
        try:
            if not self._waiting:  # it is appended before `_is_quiet` is read
                self._calls.get(timeout=_IDLE)
        except Empty:
            return False
        finally:
            self._is_quiet = False
        return True

    def _start_thread_for(self, work: Work) -> None:
        try:
            self._start_thread(work)
        except RuntimeError:  # the system cannot start another
            self._waiting.appendleft(work)


class _Thread:
    """A worker thread's queue.

    Attributes:
        first: the work it starts with.
        inbox: the work it receives while it is idle.
    """

    def __init__(self, first: Work) -> None:
        self.first: Work | None = first
        self.inbox: SimpleQueue[Work] = SimpleQueue()


_threads = Threads()
_writers = Threads(1)


def _after_fork() -> None:
    """Create new pools: a forked child has none of its parent's threads."""
    global _threads, _writers
    _threads, _writers = Threads(), Threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def threads() -> Threads:
    """Return the threads of this process."""
    return _threads


def writers() -> Threads:
    """Return the threads of this process that write what no task waits for: one, unless the disk keeps it waiting.

    More would get in the way of the event loop, and of each other.
    """
    return _writers
