"""The thread that writes the journal. Changes that arrive during a commit are committed together in the next one."""

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
        journal: the journal, open for writing; from now on only this writer uses it, and closes it.
        folder: the folder of the journal, for messages.
    """

    def __init__(self, journal: Journal, folder: Path) -> None:
        self._journal = journal
        self._folder = folder
        self._changes: queue.SimpleQueue[_Change[Any] | None] = queue.SimpleQueue()
        self._failure: JournalError | None = None
        self._thread = threading.Thread(target=self._work, name="stepfun-journal", daemon=True)
        self._thread.start()

    async def do(self, change: Callable[[Journal], T]) -> T:
        """Make a change. When this returns, it is durable. It is made even if the caller is cancelled.

        Args:
            change: called with the journal, in the thread of the writer.

        Raises:
            JournalError: the journal can no longer be written; or what `change` raised.
        """
        return await self._enqueue(change).wait()

    async def finish(self, change: Callable[[Journal], T]) -> T:
        """Make a change as `do` does, and wait for it even if the caller is cancelled."""
        return await self._enqueue(change).finished()

    def _enqueue(self, change: Callable[[Journal], T]) -> _Change[T]:
        queued = _Change(change)
        self._changes.put(queued)
        return queued

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit the changes that are waiting, and close the journal."""
        self._changes.put(None)
        self._thread.join()
        with suppress(JournalError), translate_sqlite_errors(self._folder):  # everything that matters is committed
            self._journal.close()

    def _work(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                self._commit(group)
                notify_all(group)

    def _next_group(self) -> tuple[list[_Change[Any]], bool]:
        """Wait for a change. Return all changes that are waiting, and whether more may come."""
        change = self._changes.get()
        group: list[_Change[Any]] = []
        while change is not None:
            group.append(change)
            try:
                change = self._changes.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit(self, group: list[_Change[Any]]) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            with translate_sqlite_errors(self._folder):
                self._journal.begin()
                for change in group:
                    change.apply(self._journal)
                self._journal.commit()
        except BaseException as error:  # noqa: BLE001 - any error is raised in the tasks that wait
            failure = error if isinstance(error, JournalError) else JournalError(f"nothing can be written: {error!r}")
            self._failure = failure
            for change in group:
                change.fail(failure)
            with suppress(Exception), translate_sqlite_errors(self._folder):
                self._journal.rollback()


class _Change(ThreadResult[T]):
    """A change that a task waits for."""

    def __init__(self, change: Callable[[Journal], T]) -> None:
        super().__init__()
        self._change = change

    def apply(self, journal: Journal) -> None:
        """Make the change. Its own error is raised in its caller; an error of SQLite, in all callers of the group."""
        try:
            self.set(self._change(journal))
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - raised by the task
            self.fail(error)
