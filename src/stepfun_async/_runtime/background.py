"""Work that a thread does while its task continues, and that the task waits for only when it needs the result."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .event_loop import ThreadResult
from .workers import writers


class BackgroundWrite:
    """A write to disk, in a thread.

    Nothing wakes the event loop when it is over, unless a task waits for it. It is done in the task's own thread if
    the system cannot start another.

    Args:
        write: what the thread runs; it raises nothing.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        self.is_over = False
        self._write = write
        self._waiting: deque[ThreadResult[None]] = deque()
        try:
            writers().start(self._do)
        except RuntimeError:
            self._do()

    async def wait(self) -> None:
        """Wait until it is over, unless the caller is cancelled before."""
        if not self.is_over:
            await self._result().wait()

    async def finished(self) -> None:
        """Wait until it is over, even when the caller is cancelled."""
        if not self.is_over:
            await self._result().finished()

    def _result(self) -> ThreadResult[None]:
        result: ThreadResult[None] = ThreadResult()
        self._waiting.append(result)
        if self.is_over:  # the thread may have looked before it was in there
            self._notify()
        return result

    def _do(self) -> None:
        self._write()
        self.is_over = True
        self._notify()

    def _notify(self) -> None:
        while self._waiting:
            try:
                result = self._waiting.popleft()
            except IndexError:  # the other thread took it
                return
            result.set(None)
            result.notify()
