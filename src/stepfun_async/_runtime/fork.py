"""Locks that are free in a forked child, and that garbage collection never waits for."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from weakref import WeakSet


class ForkSafeLock:
    """A `threading.Lock` that is new in every forked child, where the thread that held it does not exist.

    Attributes:
        raw: the lock itself, for a few statements that every call runs. The caller that held it calls `do_due` after
            releasing it, if something is `due`.
        due: the changes that wait for the lock.
    """

    __slots__ = ("__weakref__", "due", "raw")

    def __init__(self) -> None:
        self.raw = threading.Lock()
        self.due: deque[Callable[[], object]] = deque()
        _locks.add(self)

    def __enter__(self) -> None:
        self.raw.acquire()
        if self.due:
            self._catch_up()

    def __exit__(self, *_: object) -> None:
        self.raw.release()
        if self.due:
            self.do_due()

    def soon(self, change: Callable[..., object], *arguments: object) -> None:
        """Run `change` under the lock: now if it is free, otherwise when it is next released or acquired.

        This never waits, so a call may end in this way wherever Python collects it as garbage: in any thread, even
        in one that holds this very lock, or another lock that a thread waiting for this one holds.

        Args:
            change: what to run; it raises nothing.
            arguments: its arguments.
        """
        if self.raw.acquire(blocking=False):
            try:
                if self.due:
                    self._catch_up()
                change(*arguments)
            finally:
                self.raw.release()
        else:
            self.due.append(partial(change, *arguments))
        if self.due:
            self.do_due()

    def renew(self) -> None:
        """Become free, as a new lock is."""
        self.raw = threading.Lock()
        self.due.clear()

    def do_due(self) -> None:
        """Run the changes that wait for the lock, unless it is held: its holder then runs them."""
        while self.due and self.raw.acquire(blocking=False):
            try:
                self._catch_up()
            finally:
                self.raw.release()

    def _catch_up(self) -> None:
        while self.due:
            self.due.popleft()()


_locks: WeakSet[ForkSafeLock] = WeakSet()


def _after_fork() -> None:
    for lock in tuple(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
