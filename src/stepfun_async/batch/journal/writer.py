"""One thread that writes the journal. Whatever waits while it commits goes into the next commit together."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import anyio
from anyio.lowlevel import current_token

from .database import JournalError, told
from .journal import Journal

T = TypeVar("T")


_WOKEN_AT_ONCE = 8
"""Tasks, each of which then works for some tenths of a millisecond: to check and to send a request."""


class Writer:
    """A journal, written by a thread for the tasks of one event loop.

    Args:
        journal: open for writing; nobody else uses it from now on, and it is closed at the end.
        folder: where it is, for messages.
    """

    def __init__(self, journal: Journal, folder: Path) -> None:
        self._journal = journal
        self._folder = folder
        self._steps: queue.SimpleQueue[_Step[Any] | None] = queue.SimpleQueue()
        loop: Any = current_token().native_token
        self._soon: Callable[..., object] = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
        self._failure: JournalError | None = None
        self._thread = threading.Thread(target=self._work, name="stepfun-journal", daemon=True)
        self._thread.start()

    async def do(self, change: Callable[[Journal], T]) -> T:
        """Make a change; it is durable when this returns.

        A caller that is cancelled has begun the change all the same.

        Args:
            change: what to do with the journal, in its thread.

        Raises:
            JournalError: it cannot be written any more; or what `change` raised.
        """
        step = _Step(change)
        self._steps.put(step)
        await step.over.wait()
        return step.outcome()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what waits, and close the journal."""
        self._steps.put(None)
        self._thread.join()
        with suppress(JournalError), told(self._folder):  # all that matters is committed
            self._journal.close()

    def _work(self) -> None:
        going_on = True
        while going_on:
            group, going_on = self._next_group()
            if group:
                self._commit(group)
                self._tell(group)

    def _next_group(self) -> tuple[list[_Step[Any]], bool]:
        """All steps that wait, at least one, and whether more may come."""
        step = self._steps.get()
        group: list[_Step[Any]] = []
        while step is not None:
            group.append(step)
            try:
                step = self._steps.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _tell(self, group: list[_Step[Any]]) -> None:
        """Wake all who wait for a group with one call from this thread, since each costs the loop a turn."""
        with suppress(RuntimeError):  # the loop is gone, and its tasks with it
            self._soon(self._wake, group)

    def _wake(self, group: list[_Step[Any]]) -> None:
        """Wake some, and the others when these have had their turn, so that the loop has time for anything else."""
        for step in group[:_WOKEN_AT_ONCE]:
            step.over.set()
        if len(group) > _WOKEN_AT_ONCE:
            self._soon(self._wake, group[_WOKEN_AT_ONCE:])

    def _commit(self, group: list[_Step[Any]]) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            with told(self._folder):
                self._journal.begin()
                for step in group:
                    step.make(self._journal)
                self._journal.commit()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told, whatever it is
            failure = error if isinstance(error, JournalError) else JournalError(f"nothing can be written: {error!r}")
            self._failure = failure
            for step in group:
                step.error = failure
            with suppress(Exception), told(self._folder):
                self._journal.rollback()


class _Step(Generic[T]):
    """A change that somebody waits for."""

    def __init__(self, change: Callable[[Journal], T]) -> None:
        self._change = change
        self._result: T | None = None
        self.error: Exception | None = None
        self.over = anyio.Event()

    def make(self, journal: Journal) -> None:
        """Make the change. What is wrong with it concerns its caller alone; what is wrong with the disk, all."""
        try:
            self._result = self._change(journal)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked for it is told
            self.error = error

    def outcome(self) -> T:
        """What came of it."""
        if self.error is not None:
            raise self.error
        return cast("T", self._result)
