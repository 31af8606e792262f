"""State that belongs to one event loop, for clients that outlive loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread
from anyio.lowlevel import current_token

T = TypeVar("T")


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
        loop = current_token().native_token
        try:
            return self._by_loop[loop]
        except KeyError:
            return self._by_loop.setdefault(loop, self._make())

    def pop(self) -> T | None:
        """The running loop's `T`, forgotten here; None where there is none."""
        return self._by_loop.pop(current_token().native_token, None)


async def finished_in_thread(work: Callable[[], T]) -> T:
    """What `work` gives in a worker thread, even when the call is cancelled by now: what has come is paid for."""
    done: list[T] = []
    with anyio.CancelScope(shield=True):
        done.append(await anyio.to_thread.run_sync(work))
    return done[0]


def loop_time() -> float:
    """The running loop's time, in seconds.

    A call whose loop ended over its head is put in order when it is collected, outside of any loop. The
    process's time has to do there.
    """
    try:
        return anyio.current_time()
    except RuntimeError:
        return time.monotonic()
