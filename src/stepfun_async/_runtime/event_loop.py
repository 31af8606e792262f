"""The event loop: its clock, loop-local state of clients that outlive loops, and steps that must finish."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from functools import partial
from types import BuiltinFunctionType
from typing import Any, Generic, TypeVar
from weakref import ref

import anyio
from anyio.lowlevel import current_token

from .workers import threads

T = TypeVar("T")


Clock = Callable[[], float]
"""Returns the time in seconds."""


def running_loop() -> object:
    """Return the running event loop: asyncio's own, or trio's token.

    anyio's way takes several times as long, which matters, since every call asks.

    Raises:
        RuntimeError: none runs here.
    """
    return loop_and_clock()[0]


def loop_and_clock() -> tuple[object, Clock]:
    """Return the running event loop, as `running_loop` does, and its clock.

    Raises:
        RuntimeError: none runs here.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return current_token().native_token, _trio_time
    # Without a task, trio may be running as a guest inside an asyncio loop.
    if "trio" in sys.modules and asyncio.current_task(loop) is None:
        return current_token().native_token, _trio_time
    return loop, loop.time


def is_closed(loop: object) -> bool:
    """Whether a loop was closed, possibly with unfinished tasks, which asyncio does not prevent."""
    return isinstance(loop, asyncio.AbstractEventLoop) and loop.is_closed()


class LoopLocal(Generic[T]):
    """One `T` for each event loop, made when it is first asked for and forgotten with the loop.

    Sockets, locks and limiters belong to the loop they were made in. A client that is used from
    several `asyncio.run` calls one after another meets a new loop each time.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._by_loop: dict[ref[object], T] = {}

    def get(self) -> T:
        """The running loop's `T`."""
        return self.of(running_loop())

    def of(self, loop: object) -> T:
        """The `T` of `loop`, which is the running one."""
        try:
            return self._by_loop[ref(loop)]
        except KeyError:
            return self._by_loop.setdefault(ref(loop, self._forget), self._make())

    def pop(self) -> T | None:
        """Remove and return the running loop's `T`; `None` if there is none."""
        return self._by_loop.pop(ref(running_loop()), None)

    def _forget(self, loop: ref[object]) -> None:
        self._by_loop.pop(loop, None)


def _clock_of_system() -> Clock:
    """The clock behind `time.monotonic`, where that was replaced before this module was loaded."""
    if hasattr(time, "clock_gettime"):
        return partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    return time.monotonic


def clock() -> Clock:
    """Return the running loop's clock. It can be called any number of times, also after the loop has ended.

    Raises:
        RuntimeError: no loop runs here.
    """
    return loop_and_clock()[1]


# --- steps that cancellation does not interrupt -----------------------------------------------------
#
# A shielded scope of anyio's delays cancelled scopes, but not `Task.cancel()`, which is how `asyncio.timeout`,
# `asyncio.wait_for`, web frameworks and Ctrl-C end a call. Only the functions below delay both: the step runs to
# its end and returns its result, and the cancellation takes effect where the task waits next.


async def finished_in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of the package's own and wait until it has finished, even if the caller is cancelled.

    What has arrived is paid for, and a thread that is still writing while its file is removed would leave one behind.
    """
    job = Job(work)
    if job.is_trio:
        await job.over()
    else:
        with anyio.CancelScope(shield=True):
            await _wait_shielded(job.over)
    return job.outcome()


async def finished(step: Callable[[], Awaitable[T]]) -> T:
    """Run `step` to its end, even if the caller is cancelled, and return its result."""
    loop = running_loop()
    results: list[T] = []
    with anyio.CancelScope(shield=True):
        if isinstance(loop, asyncio.AbstractEventLoop):
            task = loop.create_task(_awaited(step))
            await _wait_shielded(partial(asyncio.wait, [task]))
            results.append(task.result())
        else:
            results.append(await step())
    return results[0]


async def ended(call: Awaitable[T]) -> T:
    """Return the result of `call`. A cancellation that was delayed by one of its steps takes effect here.

    Otherwise it would take effect where the caller waits next, which may be long after the call.
    """
    try:
        result = await call
    except Exception:
        if delayed_cancellations:
            await deliver_cancellation()
        raise
    if delayed_cancellations:
        await deliver_cancellation()
    return result


async def deliver_cancellation() -> None:
    """Raise a cancellation that was requested during a step that had to finish."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # trio has nothing but scopes
        return
    if task is not None and task in delayed_cancellations:
        delayed_cancellations.discard(task)
        await asyncio.sleep(0)


class Cancellation(ABC):
    """The message of a `Task.cancel()` that is not to take effect after the end of what it belongs to."""

    __slots__ = ()

    @abstractmethod
    def postpone(self) -> bool:
        """Withdraw it, and request it again where the task waits next. Return whether it was the only request."""


async def _wait_shielded(over: Callable[[], Awaitable[object]], *cancelled: asyncio.CancelledError) -> None:
    """Wait until `over` returns, in an asyncio task that was `cancelled`, or may be, even repeatedly."""
    while True:
        try:
            await over()
        except asyncio.CancelledError as error:
            cancelled = (*cancelled, error)
        else:
            break
    messages: list[object] = []
    for request in cancelled:
        message = next(iter(request.args), None)
        if not isinstance(message, Cancellation):
            messages.append(message)
        elif not message.postpone():  # requests of one turn of the loop become one error
            messages.append(None)
    task = asyncio.current_task()
    if messages and task is not None:
        delayed_cancellations.difference_update([other for other in tuple(delayed_cancellations) if other.done()])
        delayed_cancellations.add(task)
        task.uncancel()  # so that `asyncio.timeout` counts no cancellation twice
        task.cancel(messages[-1])


delayed_cancellations: set[asyncio.Task[Any]] = set()
"""Tasks cancelled during a step that had to finish: a plain set, since checking whether it is empty costs nothing."""


async def _awaited(step: Callable[[], Awaitable[T]]) -> T:
    return await step()


async def abandonable(work: Callable[[], T]) -> T:
    """Run `work` in a thread of the package's own, which is abandoned when the caller is cancelled."""
    return await Job(work, _forget, apart=True).result()


def _forget() -> None:
    """Ignore an abandoned result."""


VAST = 32 * 1024 * 1024
"""Bytes of a body from which its decoding is abandoned when its call ends. Shorter ones are decoded to the end even
then: they are paid for, and it takes a fraction of a second."""


class ThreadResult(Generic[T]):
    """A result that a thread sets, and that one task of the running loop waits for.

    Attributes:
        is_trio: whether the task is one of trio's.
    """

    _value: T

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._is_over = False
        self._loop: Any = running_loop()
        self.is_trio = not isinstance(self._loop, asyncio.AbstractEventLoop)
        self._wake_up: Callable[[], object] | None = None
        self._note = _noting_work(self._loop, is_trio=self.is_trio)
        if self._note is not None:
            self._note(1)

    def set(self, value: T) -> None:
        """Set the result. `notify` wakes the task."""
        self._value = value
        self._is_over = True

    def fail(self, error: BaseException) -> None:
        """Set the error that the task raises. `notify` wakes it."""
        self._error = error
        self._is_over = True

    async def wait(self) -> T:
        """Return the result, or raise the error, unless the caller is cancelled before."""
        await self._wait(cancellable=True)
        return self.outcome()

    async def finished(self) -> T:
        """Return the result, or raise the error, and wait for it even when the caller is cancelled."""
        try:
            await self._wait(cancellable=False)
        except asyncio.CancelledError as error:
            # anyio raises its own cancellation again by itself, as soon as the shield is gone.
            is_of_a_scope = anyio.current_effective_deadline() == -math.inf
            with anyio.CancelScope(shield=True):
                await _wait_shielded(partial(self._wait, cancellable=False), *(() if is_of_a_scope else (error,)))
        return self.outcome()

    def outcome(self) -> T:
        """Return the result that was set, or raise the error."""
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            self._error = None  # break the reference cycle between error, traceback and frame

    async def _wait(self, *, cancellable: bool) -> None:
        while not self._is_over:
            if self.is_trio:
                await self._wait_on_trio(cancellable=cancellable)
                continue
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._wake_up = partial(_set, waiter)
            await waiter

    async def _wait_on_trio(self, *, cancellable: bool) -> None:
        import trio

        def abort(_: object) -> trio.lowlevel.Abort:
            if not cancellable:
                return trio.lowlevel.Abort.FAILED
            self._wake_up = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._wake_up = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self) -> None:
        """Wake the task that waits, in its loop."""
        if self._note is not None:
            self._note(-1)
        wake_up, self._wake_up = self._wake_up, None
        if wake_up is not None:
            wake_up()

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Call `function` in the loop, and return whether the loop still exists."""
        soon = self._loop.run_sync_soon if self.is_trio else self._loop.call_soon_threadsafe
        try:
            soon(function, *arguments)
        except RuntimeError:
            return False
        return True

    def notify(self) -> bool:
        """Wake the task, and return whether its loop still exists."""
        return self.call_soon(self.wake)


def notify_all(results: Sequence[ThreadResult[Any]]) -> None:
    """Wake the tasks of results, all of one loop, by one call from this thread, since each call costs the loop a turn.

    Some wake at once, and the others after their turn, so that the loop has time for anything else.
    """
    if results:
        results[0].call_soon(_wake_some, results)


def _wake_some(results: Sequence[ThreadResult[Any]]) -> None:
    for result in results[:_WOKEN_AT_ONCE]:
        result.wake()
    if len(results) > _WOKEN_AT_ONCE:
        results[0].call_soon(_wake_some, results[_WOKEN_AT_ONCE:])


_WOKEN_AT_ONCE = 8
"""Tasks, each of which then works for some tenths of a millisecond: to check and to send a request, for example."""


class Job(ThreadResult[T]):
    """Work in a thread of the package's own, which a task of the running loop waits for.

    It runs in that task's thread if the system cannot start another.

    Args:
        work: what the thread runs; it continues when the caller is cancelled.
        on_abandoned: called once the work is over and its caller has left, in either thread; `None` for work whose
            caller always waits.
        apart: whether to run it in a separate thread, for work that may wait long.
    """

    def __init__(
        self, work: Callable[[], T], on_abandoned: Callable[[], object] | None = None, *, apart: bool = False
    ) -> None:
        super().__init__()
        self._work = work
        self._on_abandoned = on_abandoned
        self._once = threading.Lock()
        self._context = copy_context()
        self._is_abandoned = False
        try:
            threads().start(self._do, apart=apart)
        except RuntimeError:  # no thread can be started, or the interpreter is about to end
            self._do()

    async def result(self) -> T:
        """Return its result or raise its error. A cancelled caller abandons it."""
        try:
            await self.over()
        except BaseException:
            self.abandon()
            raise
        return self.outcome()

    async def over(self) -> None:
        """Wait until it is over; on trio, even if the caller is cancelled, unless `on_abandoned` is set."""
        await self._wait(cancellable=self._on_abandoned is not None)

    def abandon(self) -> None:
        """Stop waiting for it."""
        self._is_abandoned = True
        self._call_if_abandoned()

    def _do(self) -> None:
        try:
            self.set(self._context.run(self._work))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.fail(error)
        if not self.notify():  # the loop is gone
            self._is_abandoned = True
        self._call_if_abandoned()

    def _call_if_abandoned(self) -> None:
        """Call `on_abandoned` once the work is over and its caller has left, which two threads may see at once."""
        both = self._is_over and self._is_abandoned
        if both and self._on_abandoned is not None and self._once.acquire(blocking=False):
            self._on_abandoned()


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _noting_work(loop: object, *, is_trio: bool) -> Callable[[int], object] | None:
    """Return the callback that reports working threads to virtual time; `None` if time is real."""
    timekeeper = loop
    if is_trio:
        import trio

        timekeeper = trio.lowlevel.current_clock()
    note: Callable[[int], object] | None = getattr(timekeeper, "note_work", None)
    return note


# --- clocks -----------------------------------------------------------------------------------------

_REAL: tuple[Clock] = (time.monotonic if isinstance(time.monotonic, BuiltinFunctionType) else _clock_of_system(),)
"""In a tuple, since tools that freeze the time for tests replace what they find in modules."""


def process_time() -> float:
    """The time in seconds, the same in all threads of this process, whatever a test has done to `time.monotonic`."""
    return _REAL[0]()


def loop_time() -> float:
    """The running loop's time, in seconds; the process's outside of any loop."""
    try:
        return clock()()
    except RuntimeError:
        return process_time()


def _trio_time() -> float:
    """trio's time; the process's for a call that is cleaned up after its loop has ended."""
    import trio

    try:
        return trio.current_time()
    except RuntimeError:
        return process_time()
