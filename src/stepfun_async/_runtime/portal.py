"""A portal from threads into an event loop: `anyio.from_thread`'s, started by the first call and safe to drop anywhere.

anyio owns the thread, the loop and their shutdown. This module adds what a client that lives as long as its process
needs besides: a start on demand, an end by garbage collection and at exit, forks, interrupts, real time under a frozen
clock. Calls cross over in one queue, whose wake-up brings all that wait in it; `BlockingPortal.call` crosses twice.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from contextvars import Context, copy_context
from typing import Any, Generic, NoReturn, Self, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

from .event_loop import process_time

CLEANUP_SECONDS = 2.0
"""Seconds for which an interrupted caller waits for the cleanup of its cancelled call."""

EXIT_SECONDS = 10.0
"""Seconds for which the end of the interpreter waits for the loops, which cancel the calls in flight."""

WAKEUP_SECONDS = 1.0
"""Seconds after which a queued call wakes the loop itself: the thread that was to do so may have been interrupted."""

loop_options: dict[str, Any] = {}
"""anyio's options for the loops that start from now on; `testing.virtual_time` sets them."""

T = TypeVar("T")


class Portal:
    """Runs async functions in one background event loop, from any thread but the loop's own.

    The loop starts with the first call. It ends with `close`, when the portal is garbage-collected, or with the
    interpreter; each cancels the calls in flight and waits in the loop for their cleanup. A forked child starts its
    own.

    Args:
        owner: what messages call the object whose portal this is.
        refusal: the exception type for calls that cannot be made.
    """

    _loop: BackgroundLoop | None
    _finalizer: weakref.finalize[Any, Any] | None

    def __init__(self, owner: str, refusal: type[Exception]) -> None:
        self._owner = owner
        self._refusal = refusal
        self._is_closed = False
        self._renew()
        _portals.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, function: Callable[[], Awaitable[T]], cut_off: Callable[[], Exception] | None = None) -> T:
        """Run `function` in the loop, in a copy of the caller's context. An interrupt of the caller cancels it.

        Args:
            function: the async function, or any that returns an awaitable.
            cut_off: makes the error for a call that the end of the loop cancels; by default a `refusal`.
        """
        return self.open().run(function, cut_off or self._cut_off)

    def open(self) -> BackgroundLoop:
        """Return the running loop; start one if there is none."""
        if sys.is_finalizing():  # all other threads have stopped
            self._refuse(f"the interpreter is ending, so {self._owner} cannot be used any more; nothing was sent")
        loop = self._loop
        if loop is not None and loop.is_alive and not self._is_closed:
            return loop
        with self._lock:
            if self._is_closed:
                self._refuse(f"{self._owner} is closed: make a new one")
            if self._loop is None or not self._loop.is_alive:
                self._loop = self._start()
                self._finalizer = weakref.finalize(self, self._loop.end_soon)
                self._finalizer.atexit = False  # `_at_exit` waits, too
            return self._loop

    @property
    def is_ending(self) -> bool:
        """Whether the loop has been asked to end, and cancels the calls in it."""
        return self._loop is not None and not self._loop.is_alive

    def reaches(self, loop: BackgroundLoop) -> bool:
        """Return whether `loop` still runs for this portal, and this thread may wait for it."""
        return self._loop is loop and loop.is_alive and not loop.is_own_thread() and not sys.is_finalizing()

    def close(self, last: Callable[[], Awaitable[object]] | None = None) -> None:
        """End loop and thread. Any thread may close, several at once, and again.

        Args:
            last: an async function that runs in the loop, if there is one, before the other calls are cancelled.
        """
        with self._lock:
            loop, finalizer = self._loop, self._finalizer
            if loop is not None:
                loop.refuse_own_thread()
            self._is_closed = True
            self._finalizer = None
        if finalizer is not None:
            finalizer.detach()
        if loop is not None and loop.is_alive and not sys.is_finalizing():
            loop.end(last)

    def after_fork(self) -> None:
        """Discard the loop in a forked child, where the parent's thread does not exist."""
        if self._finalizer is not None:
            self._finalizer.detach()
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.RLock()  # a signal handler, or a finalizer, may run while it is held
        self._loop = None
        self._finalizer = None

    def _start(self) -> BackgroundLoop:
        try:
            return _started(self._owner, self._refusal)
        except RuntimeError as error:
            if "new thread" in str(error):  # Python's own words for a thread that the system does not give
                self._refuse(f"{self._owner} needs a thread, and none can be started: {error}", error)
            self._refuse(
                f"{self._owner} cannot start its event loop: gevent or eventlet has put all threads of this process "
                f"in one, which can run one event loop only; use the same {self._owner.split()[-1]} everywhere",
                error,
            )

    def _cut_off(self) -> Exception:
        return self._refusal(f"the event loop of {self._owner} has ended, and cancelled what was running in it")

    def _refuse(self, why: str, cause: BaseException | None = None) -> NoReturn:
        raise self._refusal(why) from cause


def _started(owner: str, refusal: type[Exception]) -> BackgroundLoop:
    """Start a loop from an intermediate thread, which no interrupt can reach.

    `start_blocking_portal` joins its thread when its wait for the loop is interrupted, while nothing ends the loop.
    """
    begun: Future[BackgroundLoop] = Future()

    def begin() -> None:
        try:
            begun.set_result(BackgroundLoop(owner, refusal))
        except BaseException as error:  # noqa: BLE001 - raised where the loop is needed
            begun.set_exception(error)

    for loop in tuple(_loops):
        loop.leave()
    threading.Thread(target=begin, name="stepfun-async start", daemon=True).start()
    try:
        return begun.result()
    except BaseException:
        begun.add_done_callback(_end_unused)
        raise


def _end_unused(begun: Future[BackgroundLoop]) -> None:
    if begun.exception() is None:
        begun.result().end_soon()


class _Call(Generic[T]):
    """A call into the loop, whose result one thread waits for.

    Args:
        function: runs in the loop, in a copy of this thread's context.
        cut_off: makes the error for a call that the end of the loop cancels.
    """

    __slots__ = (
        "_cancelled",
        "_cut_off",
        "_ended",
        "_ends",
        "_error",
        "_function",
        "_scope",
        "_value",
        "context",
        "task",
    )

    _value: T

    def __init__(self, function: Callable[[], Awaitable[T]], cut_off: Callable[[], Exception]) -> None:
        self.context = _asyncio_context()
        self.task: asyncio.Task[None] | None = None
        self._function = function
        self._cut_off = cut_off
        self._scope: anyio.CancelScope | None = None
        self._cancelled = False
        self._ended = False
        self._error: BaseException | None = None
        self._ends = threading.Lock()
        self._ends.acquire()

    async def run(self) -> None:
        """Run the function in the loop, and keep its result or error."""
        try:
            with anyio.CancelScope() as self._scope:
                if self._cancelled:
                    self._scope.cancel()
                self._value = await self._function()
                return
            self._error = self._cut_off()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error
        finally:
            self._end()

    def cancel(self) -> None:
        """Cancel the call, in the loop, even before its first step."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def refuse(self) -> None:
        """End a call that never started, as the loop has ended."""
        self._error = self._cut_off()
        self._end()

    def wait(self, seconds: float = -1.0) -> bool:
        """Return whether the call ends within `seconds`; -1 waits forever."""
        return self._ended or self._ends.acquire(timeout=seconds)

    def result(self) -> T:
        """Return the function's result, or raise its error."""
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            self._error = None  # break the reference cycle between error, traceback and frame

    def _end(self) -> None:
        self._ended = True
        self._ends.release()


def _asyncio_context() -> Context:
    """Copy the caller's context for a task of asyncio; in that of a trio caller, sniffio's variable says trio."""
    context = copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context


class _CutOffError(Exception):
    """The last call of a portal was cancelled by another thread that closed it, or by the end of the interpreter."""


class BackgroundLoop:
    """A running event loop of anyio's portal, and the queue of calls into it.

    Args:
        owner: what messages call the object that it runs for.
        refusal: the exception type for calls that cannot be made.

    Attributes:
        is_alive: whether it takes calls, as nothing has asked it to end.
        thread: the loop's.
    """

    def __init__(self, owner: str, refusal: type[Exception]) -> None:
        self.is_alive = True
        self._owner = owner
        self._refusal = refusal
        self._process = os.getpid()
        self._queue: deque[_Call[Any]] = deque()
        self._calls: set[_Call[Any]] = set()
        self._woken = False
        self._over = asyncio.Event()
        self._stack = ExitStack()
        options = {**loop_options, "loop_factory": self._new_loop}
        self._portal = self._stack.enter_context(start_blocking_portal("asyncio", options, name="stepfun-async portal"))
        self._loop = self._portal.call(asyncio.get_running_loop)
        self.thread = self._portal.call(threading.current_thread)
        self._portal.start_task_soon(self._serve)
        _loops.add(self)

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        """Return a loop in real time, also where a test has frozen `time.monotonic`: its timers would never be due."""
        try:
            loop: asyncio.AbstractEventLoop = loop_options.get("loop_factory", asyncio.new_event_loop)()
        except Exception as error:
            raise self._refusal(
                f"{self._owner} cannot start its event loop, which needs two sockets inside the process "
                f"(under pytest-socket: --allow-unix-socket): {error}"
            ) from error
        if type(loop).time is asyncio.BaseEventLoop.time:
            loop.time = process_time  # type: ignore[method-assign]
        return loop

    def run(self, function: Callable[[], Awaitable[T]], cut_off: Callable[[], Exception]) -> T:
        """Run `function` in the loop and wait for it. An interrupt here cancels it there; see `Portal.run`."""
        self.refuse_own_thread()
        call = _Call(function, cut_off)
        try:
            self._queue.append(call)
            if not self._woken:
                self._woken = True
                self._soon(self._start_queued)
            while not call.wait(WAKEUP_SECONDS) and call.task is None:
                self._soon(self._start_queued)
            call.wait()
        except BaseException:
            self._soon(self._start_queued)
            self._soon(call.cancel)
            call.wait(CLEANUP_SECONDS)  # so that usage and connections are as after the call
            raise
        return call.result()

    def refuse_own_thread(self) -> None:
        """Raise `refusal` in the loop's own thread, where waiting for the loop would never end."""
        if self.is_own_thread():
            why = f"{self._owner} cannot be used from its own background loop: it would wait for itself"
            raise self._refusal(why)

    def is_own_thread(self) -> bool:
        """Return whether the caller runs in the loop's thread."""
        return threading.current_thread() is self.thread

    def is_inherited(self) -> bool:
        """Return whether it ran in the parent process, before a fork."""
        return os.getpid() != self._process

    def end_soon(self) -> None:
        """Cancel the calls in flight, and end loop and thread after their cleanup. Return at once.

        A portal may be collected as garbage in any thread, under any lock, and the loop needs some locks to end, such
        as those of logging's handlers.
        """
        self.is_alive = False
        self._soon(self._over.set)

    def end(self, last: Callable[[], Awaitable[object]] | None) -> None:
        """Run `last`, cancel the other calls, and wait until loop and thread have ended."""
        if last is not None:
            with suppress(_CutOffError):
                self.run(last, _CutOffError)
        self.end_soon()
        self.thread.join()
        self.leave()

    def leave(self) -> None:
        """Leave anyio's portal, if the thread has ended. Earlier, anyio would stop the loop amid the calls' cleanup."""
        if not self.thread.is_alive():
            _loops.discard(self)
            self._stack.close()
            self._refuse_queued()

    def _soon(self, function: Callable[[], object]) -> None:
        """Call `function` in the loop. If the loop has ended, refuse the calls that it never started."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            self._refuse_queued()

    def _start_queued(self) -> None:
        if self._over.is_set():
            self._refuse_queued()
            return
        self._woken = False  # before the queue is emptied, so that no call is left in it without a wake-up
        while self._queue:
            call = self._queue.popleft()
            self._calls.add(call)
            call.task = self._loop.create_task(self._run(call), context=call.context)

    async def _run(self, call: _Call[Any]) -> None:
        try:
            await call.run()
        finally:
            self._calls.discard(call)

    def _refuse_queued(self) -> None:
        self._woken = False
        with suppress(IndexError):  # other threads may do the same
            while True:
                self._queue.popleft().refuse()

    async def _serve(self) -> None:
        """Wait for the end, and settle the calls before anyio's portal stops."""
        await self._over.wait()
        while self._calls:
            for call in self._calls:
                call.cancel()
            await asyncio.wait([call.task for call in self._calls if call.task is not None])
        await self._portal.stop()


_portals: weakref.WeakSet[Portal] = weakref.WeakSet()
_loops: set[BackgroundLoop] = set()
"""Loops whose anyio portal is still open. Closing it joins the thread, so garbage collection must not do it."""
_inherited: list[BackgroundLoop] = []
"""Loops of a parent process: kept, as their exit would join a thread that does not exist, and close shared sockets."""


def _after_fork() -> None:
    _inherited.extend(_loops)
    _loops.clear()
    for portal in tuple(_portals):
        portal.after_fork()


def _at_exit() -> None:
    """End all loops, and wait for them: calls in flight are cancelled and settled, and connections are closed."""
    for loop in tuple(_loops):
        loop.end_soon()
    until = process_time() + EXIT_SECONDS
    for loop in tuple(_loops):
        loop.thread.join(max(0.0, until - process_time()))
        loop.leave()


atexit.register(_at_exit)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
