"""The limiter: which calls may send, in which order, and which of them wakes which.

**State.** A `Limiter` belongs to one `Limits` object and serves every client, thread and event loop that shares it.
One lock guards all of its state: the number of slots in use, the permits that hold them, by event loop (`_held`); the
rules of `rate` (rate window, adaptive limit, cooldown), which are pure and are passed the time; and two queues,
`_retry_queue` for further attempts of calls that have their slot, and `_queue` for calls that have none yet.

**What a call holds.** A `Permit` is one slot, for the length of the call, and at most one entry in the rate window,
for the attempt that is due. The first attempt's entry is granted together with the slot, both or neither; every
further attempt waits for an entry of its own and keeps the slot meanwhile. When an attempt ends, its entry is closed:
it counts from the moment at which the request was sent, or is released if nothing was sent. The slot is released
when the call ends. Both are idempotent: a permit counts only as long as it is in `_held`.

**Order.** First come, first served, in each queue; `_retry_queue` goes before `_queue`, so that calls which hold a
slot end soon. A call takes a free slot at once only if both queues are empty, so no call overtakes another. A call
that releases a permit or closes an entry runs `_advance` under the lock: it grants to the waiters at the front what
they want, and then wakes them. So a woken waiter already has its permit, and no newcomer can take it first. One that
is cancelled at that moment releases it.

**Time.** Only the waiter at the front has a timeout: it checks again when the rate window or a cooldown may let it
pass. All others wait until they are granted a permit or are at the front. No
clock is read to grant a permit while time cannot matter: without `requests_per_minute`, until a server asks for the
first cooldown. The time is the same in all loops of the process: each loop's own clock, which may be virtual, plus a
constant offset.

**Threads and loops.** A waiter is woken in its own loop: directly in the thread it waits in, otherwise by the loop's
thread-safe scheduling. Granting and waiting take the lock; releasing never blocks on it (`ForkSafeLock.soon`),
because garbage collection can end a call in any thread, also in one that holds this lock. A loop that is closed with
calls in flight releases nothing, so its permits are reclaimed when another call needs a slot or the state is read,
and their entries count as sent. While other loops hold slots, the waiter at the front checks every `_POLL_INTERVAL`
seconds, since no event would wake it.

**Fork.** A child starts with all slots free, empty queues and no open rate entries: the calls in flight are the
parent's. Permits copied from the parent are no longer in `_held`, so releasing them changes nothing. Entries of
requests that were sent still count in both, and so does a cooldown.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from weakref import WeakSet

import anyio

from .._core.errors import Billing, QueueTimeoutError
from .._runtime.event_loop import LoopLocal, is_closed, loop_and_clock, loop_time, process_time, running_loop
from .._runtime.fork import ForkSafeLock
from .rate import AdaptiveLimit, Cooldown, SlidingWindow


@dataclass(frozen=True, slots=True)
class LimitsState:
    """How much of a `Limits` is in use in this process.

    Attributes:
        in_flight: slots in use.
        waiting: calls that wait for a slot, and retries that wait for a rate entry.
        max_concurrency: the number of slots now; with `adaptive`, as learned from the server.
    """

    in_flight: int
    waiting: int
    max_concurrency: int


@dataclass(slots=True, eq=False)
class _Waiter:
    """A call that waits for a slot, a rate entry, or both.

    Attributes:
        permit: the permit of the call.
        slot: whether it needs a slot.
        entry: whether it needs a rate entry.
        granted: whether it has been granted what it needs.
        wake_at: when its timeout ends, by `Limiter.now`; infinity without one.
        event: the event that wakes it; `None` before its first check.
    """

    permit: Permit
    slot: bool
    entry: bool
    granted: bool = False
    wake_at: float = math.inf
    event: anyio.Event | None = None
    thread: int = field(default_factory=threading.get_ident)

    def wake(self) -> None:
        """Make it check again. Any thread may call this."""
        if self.event is None:
            return
        if self.thread == threading.get_ident():
            self.event.set()
            return
        loop: Any = self.permit.loop
        soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
        with suppress(RuntimeError):  # the loop is being closed
            soon(self.event.set)


_WAKE_TOLERANCE = 1e-3
"""Seconds by which a timeout must be too long for its waiter to be woken early and set a shorter one."""

_POLL_INTERVAL = 5.0
"""Seconds after which the first waiter checks whether the loops of calls in flight have been closed."""

_Queue = OrderedDict[_Waiter, None]
"""Waiters in the order in which they came; removing one from the middle takes constant time."""


class Limiter:
    """Grants permits as the limits allow. Any thread and any loop may use it."""

    def __init__(self, max_concurrency: int, requests_per_minute: int | None, *, adaptive: bool) -> None:
        self.max_concurrency = max_concurrency
        self._lock = ForkSafeLock()
        self._held: dict[object, set[Permit]] = {}
        self._in_flight = 0
        self._adaptive = AdaptiveLimit(max_concurrency) if adaptive else None
        self._window = SlidingWindow(requests_per_minute) if requests_per_minute else None
        self.is_adaptive = adaptive
        self.has_window = self._window is not None
        self._cooldown = Cooldown()
        self._timed = self._window is not None  # whether a grant can depend on the time, so far
        self._retry_queue: _Queue = OrderedDict()
        self._queue: _Queue = OrderedDict()
        self._clock_offset: LoopLocal[float] = LoopLocal(_offset_of_this_loop)
        _limiters.add(self)

    def state(self) -> LimitsState:
        """Return how much of it is in use."""
        with self._lock:
            self._reclaim_abandoned()
            return LimitsState(self._in_flight, len(self._retry_queue) + len(self._queue), self._capacity)

    def now(self) -> float:
        """Return the time in seconds, the same in all loops of this process and outside of them."""
        try:
            loop, clock = loop_and_clock()
        except RuntimeError:
            return process_time()
        return clock() + self._clock_offset.of(loop)

    def permit(self, queue_timeout: float | None, *, entry: bool, loop: object = None) -> Permit:
        """Return a permit, not yet acquired. An `async with` block acquires it and releases it at its end.

        Args:
            queue_timeout: the maximum seconds to wait for it; `None` for no maximum.
            entry: whether the call is one to the API, so that its first attempt acquires a rate entry together with
                the slot.
            loop: the running loop, if the caller has it.

        Raises:
            QueueTimeoutError: on entering the block, if no slot became free in time.
        """
        return Permit(self, queue_timeout, entry=entry, loop=loop)

    async def acquire(self, permit: Permit, queue_timeout: float | None) -> None:
        """Wait in the queue for a slot; see `permit`."""
        waiter = _Waiter(permit, slot=True, entry=permit.has_entry)
        if queue_timeout is None:
            await self._wait(waiter, self._queue)
            return
        with anyio.move_on_after(queue_timeout) as scope:
            await self._wait(waiter, self._queue)
        if scope.cancelled_caught:
            raise self._timed_out(queue_timeout)

    async def acquire_entry(self, permit: Permit) -> None:
        """Acquire a rate entry for one more attempt of a call that has its slot."""
        if not self.acquire_nowait(permit, slot=False, entry=True):
            await self._wait(_Waiter(permit, slot=False, entry=True), self._retry_queue)

    def cooldown_left(self) -> float:
        """Return the remaining seconds of the cooldown that the server asked for; 0 without one."""
        with self._lock:
            return self._cooldown.wait(self.now())

    @property
    def decreases(self) -> int:
        """The number of times that the concurrency has been decreased."""
        return self._adaptive.decreases if self._adaptive else 0

    def throttled(self, decreases: int | None, seconds: float) -> None:
        """Begin a cooldown, since the server asked an attempt to wait.

        Args:
            decreases: `decreases` when the attempt began, if the status was 429, which decreases an adaptive limit;
                `None` otherwise.
            seconds: the length of the cooldown.
        """
        with self._lock:
            self._timed = True
            self._cooldown.begin(self.now(), seconds, expected=self._capacity)
            if self._adaptive and decreases is not None:
                self._adaptive.throttled(decreases)

    def succeeded(self) -> None:
        """Let an adaptive limit grow after a successful attempt."""
        if self._adaptive:
            with self._lock:
                self._adaptive.succeeded(self._in_flight)

    def close_entry(self, permit: Permit, billing: Billing, sent_at: float | None) -> None:
        """Close the rate entry of an attempt that has ended.

        Args:
            permit: the permit of its call.
            billing: how it ended.
            sent_at: when its request was sent, by `now`; `None` if unknown.
        """
        if self._window is None:
            return
        if billing != "not_sent" and sent_at is None:
            sent_at = self.now()
        self._lock.soon(self._close_entry, permit, sent_at)

    def release(self, permit: Permit) -> None:
        """Release a slot, and a rate entry that no attempt has used; again, it does nothing."""
        self._lock.soon(self._release, permit)

    def after_fork(self) -> None:
        """Remove the calls of the parent, in a forked child."""
        self._held.clear()
        self._in_flight = 0
        self._retry_queue.clear()
        self._queue.clear()
        if self._window:
            self._window.discard_open()

    # --- granting; the lock is held

    @property
    def _capacity(self) -> int:
        return self._adaptive.limit if self._adaptive else self.max_concurrency

    def _delay(self, now: float, *, slot: bool, entry: bool) -> float:
        """Return the seconds until the rules of time allow a grant; infinity if a release has to come first."""
        if slot and self._in_flight >= self._capacity and not self._reclaim_abandoned():
            return math.inf
        if not (entry and self._timed):
            return 0.0
        return max(self._cooldown.wait(now), self._window.wait(now) if self._window else 0.0)

    def _grant(self, now: float, permit: Permit, *, slot: bool, entry: bool) -> None:
        if slot:
            self._in_flight += 1
            self._held.setdefault(permit.loop, set()).add(permit)
        permit.has_entry = entry
        if entry and self._timed:
            self._cooldown.mark_sent(now)
            if self._window:
                self._window.acquire()

    def _is_held(self, permit: Permit) -> bool:
        """Whether `permit` still has its slot; see `_release`."""
        return permit in self._held.get(permit.loop, ())

    def _release(self, permit: Permit) -> None:
        held = self._held[permit.loop] if permit.loop in self._held else ()
        if not held or permit not in held:  # released or reclaimed before, or held by the parent of this process
            return
        held.remove(permit)
        if not held:
            del self._held[permit.loop]
        self._in_flight -= 1
        if permit.has_entry:
            self._release_entry(permit)
        if self._retry_queue or self._queue:
            self._advance()

    def _release_entry(self, permit: Permit) -> None:
        """Release an entry whose request was not sent."""
        permit.has_entry = False
        if self._window:
            self._window.release()

    def _close_entry(self, permit: Permit, sent_at: float | None) -> None:
        if self._window is None or not self._is_held(permit):
            return
        if sent_at is None:
            self._window.release()
        else:
            self._window.mark_sent(sent_at)
        self._advance()

    def _reclaim_abandoned(self) -> bool:
        """Reclaim the permits of calls whose loop has been closed. Return whether that freed a slot."""
        closed = [loop for loop in self._held if is_closed(loop)]
        for loop in closed:
            for permit in self._held.pop(loop):
                self._in_flight -= 1
                if permit.has_entry and self._window:  # it may have been sent
                    self._window.mark_sent(self.now())
                permit.has_entry = False
                permit.release_shared()
        return bool(closed) and self._in_flight < self._capacity

    def _advance(self, awake: _Waiter | None = None) -> None:
        """Grant permits to the waiters at the front, in order, and set the timeout of the first that has to wait.

        Args:
            awake: the waiter that is checking now, and so does not need to be woken.
        """
        if not self._retry_queue and not self._queue:
            return
        now = self.now() if self._timed else 0.0
        while (waiter := next(iter(self._retry_queue or self._queue), None)) is not None:
            if is_closed(waiter.permit.loop):
                self._remove(waiter)
                continue
            wait = self._delay(now, slot=waiter.slot, entry=waiter.entry)
            if wait == math.inf and self._may_be_abandoned(waiter):
                now, wait = self.now(), _POLL_INTERVAL
            if wait:
                self._set_wake_time(waiter, now + wait, awake)
                return
            self._remove(waiter)
            self._grant(now, waiter.permit, slot=waiter.slot, entry=waiter.entry)
            waiter.granted = True
            waiter.wake()

    def _may_be_abandoned(self, waiter: _Waiter) -> bool:
        """Whether calls of other loops are in flight. If such a loop is closed, no event says so."""
        return any(loop is not waiter.permit.loop for loop in self._held)

    @staticmethod
    def _set_wake_time(waiter: _Waiter, when: float, awake: _Waiter | None) -> None:
        if waiter is awake:
            waiter.wake_at = when
        elif when < waiter.wake_at - _WAKE_TOLERANCE:
            waiter.wake()

    def _remove(self, waiter: _Waiter) -> None:
        self._retry_queue.pop(waiter, None)
        self._queue.pop(waiter, None)

    # --- waiting

    def acquire_nowait(self, permit: Permit, *, slot: bool, entry: bool) -> bool:
        """Acquire a slot, a rate entry, or both, if they are free and no call waits for them. Return whether it did."""
        lock = self._lock
        if slot and not (self._timed or self.is_adaptive):  # only the number of slots in use decides, as nearly always
            granted = False
            with lock.raw:
                if self._in_flight < self.max_concurrency and not (self._retry_queue or self._queue):
                    self._in_flight += 1
                    if permit.loop in self._held:
                        self._held[permit.loop].add(permit)
                    else:
                        self._held[permit.loop] = {permit}
                    granted = True
            if lock.due:
                lock.do_due()
            if granted:
                return True
        with lock:
            if self._retry_queue or (slot and self._queue):
                return False
            now = self.now() if entry and self._timed else 0.0
            if self._delay(now, slot=slot, entry=entry):
                return False
            self._grant(now, permit, slot=slot, entry=entry)
            return True

    async def _wait(self, waiter: _Waiter, queue: _Queue) -> None:
        with self._lock:
            queue[waiter] = None
        try:
            while (event := self._check(waiter)) is not None:
                if waiter.wake_at == math.inf:
                    await event.wait()
                else:
                    with anyio.move_on_after(waiter.wake_at - self.now()):
                        await event.wait()
        except BaseException:
            self._stop_waiting(waiter)
            raise

    def _check(self, waiter: _Waiter) -> anyio.Event | None:
        """Return the event to wait for, or `None` if `waiter` has been granted what it needs.

        The timeout of the first waiter is set.
        """
        with self._lock:
            waiter.wake_at = math.inf
            self._advance(awake=waiter)
            waiter.event = None if waiter.granted else anyio.Event()
            return waiter.event

    def _stop_waiting(self, waiter: _Waiter) -> None:
        """Leave the queue, and release what was granted at the same moment."""
        self._lock.soon(self._remove_waiter, waiter)

    def _remove_waiter(self, waiter: _Waiter) -> None:
        self._remove(waiter)
        if waiter.granted and waiter.slot:
            self._release(waiter.permit)
        elif waiter.granted and self._is_held(waiter.permit):
            self._release_entry(waiter.permit)
        self._advance()

    def _timed_out(self, queue_timeout: float) -> QueueTimeoutError:
        with self._lock:
            cooldown, capacity = self._cooldown.wait(self.now()), self._capacity
            full = self._in_flight >= capacity
        if full:
            why = f"all {capacity} are in use (Limits(max_concurrency=...))"
        elif cooldown:
            why = f"the server asked for a pause, which lasts {cooldown:.3g} more seconds"
        else:
            why = "the requests of this minute are used up (Limits(requests_per_minute=...))"
        return QueueTimeoutError(
            f"no slot came free within queue_timeout={queue_timeout:g} seconds: {why}; nothing was sent"
        )


class BackendPermit(Protocol):
    """The permit of one call at the backend of shared limits."""

    def attempt_ended(self, billing: Billing, sent_at: float | None) -> None:
        """Close the rate entry of an attempt."""
        ...

    def release(self) -> None:
        """Release everything; again, it does nothing."""
        ...

    async def acquire_entry(self) -> None:
        """Acquire the rate entry of the attempt that is due."""
        ...


class Permit:
    """The permit of one call: a slot, and a rate entry for the attempt that is due.

    Attributes:
        has_entry: whether it has the entry; before it is acquired, whether it needs one.
        loop: the loop of its call.
        shared: the permit at the backend of shared limits; `None` without one.
    """

    __slots__ = ("_decreases", "_limiter", "_queue_timeout", "has_entry", "loop", "shared")

    def __init__(self, limiter: Limiter, queue_timeout: float | None, *, entry: bool, loop: object) -> None:
        self._limiter = limiter
        self._queue_timeout = queue_timeout
        self._decreases = 0
        self.has_entry = entry
        self.loop = loop
        self.shared: BackendPermit | None = None

    def acquire_nowait(self) -> bool:
        """Acquire it if a slot is free and no call waits for one. Return whether it was acquired."""
        limiter = self._limiter
        if not limiter.acquire_nowait(self, slot=True, entry=self.has_entry):
            return False
        if limiter.is_adaptive:
            self._decreases = limiter.decreases
        return True

    async def acquire(self) -> None:
        """Wait for a slot.

        Raises:
            QueueTimeoutError: none became free in time.
        """
        await self._limiter.acquire(self, self._queue_timeout)
        self._decreases = self._limiter.decreases

    async def __aenter__(self) -> Self:
        if self.loop is None:
            self.loop = running_loop()
        if not self.acquire_nowait():  # a free slot needs no time to wait
            await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release it, here and at the backend. Any thread may do so, and again."""
        self._limiter.release(self)
        if self.shared is not None:
            self.shared.release()

    def release_shared(self) -> None:
        """Release it at the backend only, after its loop was closed."""
        if self.shared is not None:
            self.shared.release()

    def now(self) -> float:
        """Return the time in seconds, the same in all loops of this process."""
        return self._limiter.now()

    def cooldown_left(self) -> float:
        """Return the remaining seconds of the cooldown that the server asked for; 0 without one."""
        return self._limiter.cooldown_left()

    async def acquire_entry(self) -> None:
        """Acquire the rate entry of the attempt that is due, here and at the backend.

        The first attempt's was granted with the slot.
        """
        if not self.has_entry:
            await self._limiter.acquire_entry(self)
            self._decreases = self._limiter.decreases
        if self.shared is not None:
            await self.shared.acquire_entry()

    def attempt_ended(self, billing: Billing, sent_at: float | None) -> None:
        """Close the rate entries of an attempt.

        Args:
            billing: how it ended; `executed` lets an adaptive limit grow.
            sent_at: when its request was sent, by `now`; `None` if unknown.
        """
        if self.has_entry:
            self.has_entry = False
            if self._limiter.has_window:
                self._limiter.close_entry(self, billing, sent_at)
        if self.shared is not None:
            self.shared.attempt_ended(billing, sent_at)
        if billing == "executed" and self._limiter.is_adaptive:
            self._limiter.succeeded()

    def throttled(self, seconds: float, *, decrease: bool) -> None:
        """Begin a cooldown of `seconds`, since the server asked for it; `decrease` an adaptive limit too."""
        self._limiter.throttled(self._decreases if decrease else None, seconds)


def _offset_of_this_loop() -> float:
    """Return the seconds by which the process's clock is ahead of the running loop's, which may begin anywhere."""
    return process_time() - loop_time()


_limiters: WeakSet[Limiter] = WeakSet()


def _after_fork() -> None:
    for limiter in tuple(_limiters):
        limiter.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
