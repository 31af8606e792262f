"""Deadlines of calls: cancel scopes that end at a given time, cheap where thousands are open at once.

A cancel scope of anyio's with a deadline has a timer of its own, which is set, sorted among all others of the loop and
cancelled again, although hardly any ever fires. Here the scopes of an asyncio loop share one timer. Calls with the
same timeout reach their deadlines in the order in which they began, so each timeout has a queue, and the timer is set
to the nearest of the deadlines at the fronts. It is never cancelled: when it fires and finds that its scope is gone,
it is set anew. trio keeps deadlines in a heap itself and needs none of this.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeAlias

import anyio

from .event_loop import LoopLocal

_Queue: TypeAlias = dict[anyio.CancelScope, float]
"""Scopes with the same timeout, oldest first, and their deadlines."""


class _Queues:
    """The open scopes of one asyncio loop, by timeout, and when their timer fires."""

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
        for queue in self.by_timeout.values():
            for scope, deadline in tuple(queue.items()):
                if deadline > now:
                    break
                del queue[scope]
                scope.cancel()
        nearest = min((next(iter(queue.values()), math.inf) for queue in self.by_timeout.values()), default=math.inf)
        if nearest < math.inf:
            self.set_alarm(nearest, loop)


_queues: LoopLocal[_Queues] = LoopLocal(_Queues)


class _SharedTimerScope:
    """A cancel scope of an asyncio loop whose deadline is watched by the loop's shared timer."""

    __slots__ = ("_deadline", "_loop", "_queues", "_scope", "_timeout")

    def __init__(self, scope: anyio.CancelScope, timeout: float, deadline: float, loop: object) -> None:
        self._scope = scope
        self._timeout = timeout
        self._deadline = deadline
        self._loop = loop
        self._queues = _queues.of(loop)

    def __enter__(self) -> None:
        self._scope.__enter__()
        queues, deadline = self._queues, self._deadline
        if self._timeout in queues.by_timeout:
            queues.by_timeout[self._timeout][self._scope] = deadline
        else:
            queues.by_timeout[self._timeout] = {self._scope: deadline}
        if deadline < queues.alarm:
            queues.set_alarm(deadline, self._loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        by_timeout, timeout = self._queues.by_timeout, self._timeout
        if timeout in by_timeout:
            queue = by_timeout[timeout]
            if self._scope in queue:
                del queue[self._scope]
            if not queue:
                del by_timeout[timeout]
        return self._scope.__exit__(kind, error, traceback)


_scopes: dict[type, tuple[type[anyio.CancelScope], bool]] = {}
"""By the type of a loop: anyio's cancel scopes, which anyio looks up each time, and whether it is asyncio's."""


def deadline_scope(timeout: float, deadline: float, loop: object) -> AbstractContextManager[object, bool | None]:
    """Return a cancel scope that ends at `deadline`.

    Args:
        timeout: seconds from the beginning of the call to its deadline; infinity for no deadline.
        deadline: by the clock of `loop`.
        loop: the running loop.
    """
    kind = type(loop)
    if kind not in _scopes:
        _scopes[kind] = type(anyio.CancelScope()), issubclass(kind, asyncio.AbstractEventLoop)
    scope, is_asyncio = _scopes[kind]
    if timeout == math.inf or not is_asyncio:
        return scope(deadline=deadline)
    return _SharedTimerScope(scope(), timeout, deadline, loop)
