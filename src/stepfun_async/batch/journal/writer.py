"""One thread that writes the journal. Whatever waits while it commits goes into the next commit together."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from stepfun_async._runtime.event_loop import ThreadResult, notify_all

from .database import JournalError, translate_sqlite_errors
from .journal import Journal

T = TypeVar("T")


class Writer:
    """A journal, written by a thread for the tasks of one event loop.

    Args:
        journal: open for writing; only this writer uses it from now on, and closes it at the end.
        folder: where it is, for messages.
    """

    def __init__(self, journal: Journal, folder: Path) -> None:
        self._journal = journal
        self._folder = folder
        self._steps: queue.SimpleQueue[_Step[Any] | None] = queue.SimpleQueue()
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
        return await self._begun(change).wait()

    async def finish(self, change: Callable[[Journal], T]) -> T:
        """Make a change as `do` does, and wait for it even when the caller is cancelled."""
        return await self._begun(change).finished()

    def _begun(self, change: Callable[[Journal], T]) -> _Step[T]:
        step = _Step(change)
        self._steps.put(step)
        return step

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what waits, and close the journal."""
        self._steps.put(None)
        self._thread.join()
        with suppress(JournalError), translate_sqlite_errors(self._folder):  # all that matters is committed
            self._journal.close()

    def _work(self) -> None:
        going_on = True
        while going_on:
            group, going_on = self._next_group()
            if group:
                self._commit(group)
                notify_all(group)

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

    def _commit(self, group: list[_Step[Any]]) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            with translate_sqlite_errors(self._folder):
                self._journal.begin()
                for step in group:
                    step.make(self._journal)
                self._journal.commit()
        except BaseException as error:  # noqa: BLE001 - any error is raised in the tasks that wait
            failure = error if isinstance(error, JournalError) else JournalError(f"nothing can be written: {error!r}")
            self._failure = failure
            for step in group:
                step.fail(failure)
            with suppress(Exception), translate_sqlite_errors(self._folder):
                self._journal.rollback()


class _Step(ThreadResult[T]):
    """A change that a task waits for."""

    def __init__(self, change: Callable[[Journal], T]) -> None:
        super().__init__()
        self._change = change

    def make(self, journal: Journal) -> None:
        """Make the change. What is wrong with it concerns its caller alone; what is wrong with the disk, all."""
        try:
            self.set(self._change(journal))
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - raised by the task
            self.fail(error)
