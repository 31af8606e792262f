"""Deadlines of calls: scopes that end at a given time, cheap where thousands are open at once.

On asyncio, a scope of anyio's takes a tenth of a call, and one with a deadline sets a timer of its own, which is sorted
among all others of the loop and cancelled again, although hardly any ever fires. Here the deadlines of an asyncio loop
share one timer. Calls with the same timeout reach their deadlines in the order in which they began, so each timeout
has a queue, and the timer is set to the nearest of the deadlines at the fronts. It is never cancelled: when it fires
and finds that its deadline is gone, it is set to the nearest one left.

**When a deadline passes**, its task is cancelled once, as by `asyncio.timeout`: the scope counts what it requested, and
leaves a `CancelledError` alone if someone else has requested one meanwhile. If a step that has to finish (`event_loop`)
delays it, the task is cancelled again where it waits next, unless the call has ended by then.

trio keeps deadlines in a heap itself and needs none of this.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import AbstractContextManager
from itertools import takewhile
from types import TracebackType
from typing import Any, TypeAlias

import anyio

from .event_loop import Cancellation, LoopLocal

_Queue: TypeAlias = dict["TaskDeadline", float]
"""Deadlines of calls with the same timeout, oldest first, and when they are."""


class _Queues:
    """The deadlines of one asyncio loop, by timeout, and when their timer fires."""

    __slots__ = ("__weakref__", "alarm", "by_timeout")

    def __init__(self) -> None:
        self.by_timeout: dict[float, _Queue] = {}
        self.alarm = math.inf

    def set_alarm(self, when: float, loop: Any) -> None:
        """Have the timer fire at `when`. The loop is passed on, since a reference to it would keep it alive."""
        self.alarm = when
        loop.call_at(when, self._fire, when, loop)

    def _fire(self, when: float, loop: Any) -> None:
        if when != self.alarm:  # a nearer deadline has set the timer since
            return
        self.alarm = math.inf
        now = max(when, loop.time())
        try:
            for queue in tuple(self.by_timeout.values()):
                for deadline, _ in tuple(takewhile(lambda item: item[1] <= now, queue.items())):
                    deadline.expire()
                    queue.pop(deadline, None)
        finally:  # also if a signal interrupts it, or a future that cannot be cancelled
            fronts = (next(iter(queue.values()), math.inf) for queue in self.by_timeout.values())
            nearest = min(fronts, default=math.inf)
            if nearest < math.inf:
                self.set_alarm(nearest, loop)


_queues: LoopLocal[_Queues] = LoopLocal(_Queues)


class TaskDeadline(Cancellation):
    """A scope of one task of asyncio that ends at a deadline, which the loop's shared timer watches."""

    __slots__ = ("_at", "_cancelling", "_has_cancelled", "_is_open", "_loop", "_queues", "_task", "_timeout")

    _task: asyncio.Task[Any]

    def __init__(self, timeout: float, at: float, loop: Any) -> None:
        self._timeout = timeout
        self._at = at
        self._loop = loop
        self._queues = _queues.of(loop)
        self._is_open = True
        self._has_cancelled = False

    def __str__(self) -> str:
        return "the call reached its deadline"

    def __enter__(self) -> None:
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - every coroutine of asyncio runs in one
        self._task = task
        self._cancelling = task.cancelling()
        queues, timeout, at = self._queues, self._timeout, self._at
        if timeout in queues.by_timeout:
            queues.by_timeout[timeout][self] = at
        else:
            queues.by_timeout[timeout] = {self: at}
        if at < queues.alarm:
            queues.set_alarm(at, self._loop)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self._is_open = False
        by_timeout, timeout = self._queues.by_timeout, self._timeout
        if timeout in by_timeout:
            queue = by_timeout[timeout]
            if self in queue:
                del queue[self]
            if not queue:
                del by_timeout[timeout]
        if not self._has_cancelled:
            return False
        is_alone = self._task.uncancel() <= self._cancelling
        if not isinstance(error, asyncio.CancelledError):
            return False
        # Of two requests before the task runs again, the later one's message counts: ours may hide that of a scope of
        # anyio's, which then would not know the error for its own. It cancels again where the task waits next.
        return is_alone or (error.args[:1] == (self,) and anyio.current_effective_deadline() == -math.inf)

    def expire(self) -> None:
        """Cancel the task, if the scope is still open."""
        if self._is_open:
            self._has_cancelled = True
            self._task.cancel(self)

    def postpone(self) -> bool:
        self._has_cancelled = False
        self._loop.call_soon(self.expire)
        return self._task.uncancel() <= self._cancelling


def deadline_scope(timeout: float, at: float, loop: object) -> AbstractContextManager[object, bool]:
    """Return a scope that ends at a deadline. A call that it ended also has to end with a scope around it, if there is
    one that was cancelled at the same time: it awaits `anyio.lowlevel.checkpoint_if_cancelled()` next.

    Args:
        timeout: seconds from the beginning of the call to its deadline; infinity for no deadline.
        at: the deadline, by the clock of `loop`.
        loop: the running loop.
    """
    if isinstance(loop, asyncio.AbstractEventLoop):
        return TaskDeadline(timeout, at, loop)
    import trio

    return trio.CancelScope(deadline=at)
