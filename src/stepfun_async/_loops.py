"""What belongs to one event loop: its clock, and the state of clients that outlive loops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread
from anyio.lowlevel import current_token

T = TypeVar("T")


def running_loop() -> object:
    """The event loop that runs here: asyncio's own, or trio's token.

    anyio finds it too, in several times the time, which counts where every call asks.

    Raises:
        RuntimeError: none runs here.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    # Without a task, trio may be running as a guest inside an asyncio loop.
    return current_token().native_token if task is None else asyncio.get_running_loop()


class PerLoop(Generic[T]):
    """One `T` for each event loop, made when it is first asked for and forgotten with the loop.

    Sockets, locks and limiters belong to the loop they were made in. A client that is used from
    several `asyncio.run` calls one after another meets a new loop each time.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._by_loop: WeakKeyDictionary[object, T] = WeakKeyDictionary()

    def get(self) -> T:
        """The running loop's `T`."""
        loop = running_loop()
        try:
            return self._by_loop[loop]
        except KeyError:
            return self._by_loop.setdefault(loop, self._make())

    def pop(self) -> T | None:
        """The running loop's `T`, forgotten here; None where there is none."""
        return self._by_loop.pop(running_loop(), None)


Clock = Callable[[], float]
"""Tells the time in seconds."""


def clock() -> Clock:
    """The running loop's clock, to be asked as often as one likes, also when the loop has ended.

    Raises:
        RuntimeError: no loop runs here.
    """
    loop = running_loop()
    return loop.time if isinstance(loop, asyncio.AbstractEventLoop) else _trio_time


async def finished_in_thread(work: Callable[[], T]) -> T:
    """What `work` gives in a worker thread, even when the call is cancelled by now: what has come is paid for."""
    done: list[T] = []
    with anyio.CancelScope(shield=True):
        done.append(await anyio.to_thread.run_sync(work))
    return done[0]


def loop_time() -> float:
    """The running loop's time, in seconds; the process's outside of any loop."""
    try:
        return clock()()
    except RuntimeError:
        return time.monotonic()


_scopes: dict[type, type[anyio.CancelScope]] = {}
"""anyio's cancel scopes, by the type of the loop that they are for."""


def scope_until(deadline: float) -> anyio.CancelScope:
    """A cancel scope for the running loop that ends at `deadline`, made without anyio's look for the right one."""
    kind = type(running_loop())
    scope = _scopes.get(kind)
    if scope is None:
        scope = _scopes[kind] = type(anyio.CancelScope())
    return scope(deadline=deadline)


def _trio_time() -> float:
    """trio's time; the process's for a call that is put in order when its loop has ended over its head."""
    import trio

    try:
        return trio.current_time()
    except RuntimeError:
        return time.monotonic()
