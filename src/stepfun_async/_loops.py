"""What belongs to one event loop: its clock, and the state of clients that outlive loops."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

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
        return self.of(running_loop())

    def of(self, loop: object) -> T:
        """The `T` of `loop`, which is the running one."""
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
    return clock_of(running_loop())


def clock_of(loop: object) -> Clock:
    """The clock of `loop`, which is the running one."""
    return loop.time if isinstance(loop, asyncio.AbstractEventLoop) else _trio_time


async def finished_in_thread(work: Callable[[], T]) -> T:
    """What `work` gives in a worker thread, which is waited for even when the call is cancelled by now or meanwhile.

    What has come is paid for, and a thread that writes on while its file is being taken away would leave one. A
    scope of anyio's keeps cancelled scopes off, but not `Task.cancel()`, which is how `asyncio.timeout` ends a
    call: that one takes effect when the thread is done. On asyncio this also costs half of anyio's way to a thread.
    The threads are the package's own: the loop's may all be waiting for calls that need one.
    """
    loop = running_loop()
    with anyio.CancelScope(shield=True):
        if isinstance(loop, asyncio.AbstractEventLoop):
            return await _Work(work, loop).outcome()
        return await anyio.to_thread.run_sync(work)
    raise AssertionError("a shielded scope ends by itself only")


class _Work(Generic[T]):
    """Work in a thread, for a task of asyncio; in that task's own where the system gives no other.

    It is what `asyncio.to_thread` makes of four futures, in a fraction of the time.
    """

    _value: T

    def __init__(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self._turn = threading.Lock()
        self._error: BaseException | None = None
        self._over = False
        self._waiter: asyncio.Future[None] = loop.create_future()
        # Virtual time waits for threads that it knows of.
        self._note: Callable[[int], object] | None = getattr(loop, "note_work", None)
        if self._note is not None:
            self._note(1)
        try:
            _pool().submit(self._do)
        except RuntimeError:  # no thread can be started, or the interpreter is about to end
            self._do()

    async def outcome(self) -> T:
        """What it gives or raises, when it is over. That the task was cancelled meanwhile takes effect only then."""
        cancelled: asyncio.CancelledError | None = None
        while not self._over:
            try:
                await self._waiter
            except asyncio.CancelledError as error:
                cancelled = error
                self._waiter = self._loop.create_future()
        if cancelled is not None:
            raise cancelled
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            self._error = None  # or traceback, frame and error would hold each other

    def _do(self) -> None:
        if not self._turn.acquire(blocking=False):  # a pool that can start no thread keeps what it refused
            return
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        self._over = True
        with suppress(RuntimeError):  # the loop is gone, and nobody waits any more
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._note is not None:
            self._note(-1)
        if not self._waiter.done():
            self._waiter.set_result(None)


_pools: dict[int, ThreadPoolExecutor] = {}
"""By process: a fork has none of its threads."""


def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # which most calls do without

    process = os.getpid()
    pool = _pools.get(process)
    return pool or _pools.setdefault(process, ThreadPoolExecutor(thread_name_prefix="stepfun-async"))


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
