"""The limiter: who may send, in which order, and who wakes whom.

**State.** A `Limiter` belongs to one `Limits` object and serves every client, thread and event loop that shares it.
One lock guards all of its state: the number of slots in use, the permits that hold them, by event loop (`_held`); the
rules of `rate` (rate window, adaptive limit, cooldown), which are pure and are passed the time; and two queues,
`_again` for further attempts of calls that have their slot, and `_queue` for calls that have none yet.

**What a call holds.** A `Permit` is one slot, for the length of the call, and at most one entry in the rate window,
for the attempt that is due. The first attempt's entry is granted together with the slot, both or neither; every
further attempt waits for an entry of its own and keeps the slot meanwhile. When an attempt ends, its entry is closed:
it counts from the moment at which the request was sent, or is given back if nothing was sent. The slot is given back
when the call ends. Both are idempotent: a permit counts only as long as it is in `_held`.

**Order.** First come, first served, in each queue; `_again` goes before `_queue`, so that calls which hold a slot end
soon. A call takes a free slot at once only if both queues are empty; nobody overtakes. Whoever gives something back,
or closes an entry, runs `_advance` under the lock: it grants to the waiters at the front what they want, and then
wakes them. So a woken waiter already has its permit, and no newcomer can take it first. One that is cancelled in that
moment gives it back.

**Time.** Only the waiter at the front watches the clock: `_advance` has it look again when the rate window or a
cooldown may let it pass; all others wait without a timeout until they are granted a permit or are at the front. No
clock is read to grant a permit while time cannot matter: without `requests_per_minute`, until a server asks for the
first cooldown. The time is the same in all loops of the process: each loop's own clock, which may be virtual, plus a
constant offset.

**Threads and loops.** A waiter is woken in its own loop: directly in the thread it waits in, otherwise by the loop's
thread-safe scheduling. Granting and waiting take the lock; giving back never blocks on it (`ForkSafeLock.soon`),
because garbage collection can end a call in any thread, also in one that holds this lock. A loop that is closed with
calls in flight gives nothing back, so its permits are reclaimed when another call needs a slot or the state is read,
and their entries count as sent. While other loops hold slots, the waiter at the front looks every `_LOOK` seconds,
since no event would wake it.

**Fork.** A child starts with all slots free, empty queues and no open rate entries: the calls in flight are the
parent's. Permits copied from the parent are no longer in `_held`, so giving them back changes nothing. Entries of
requests that were sent still count in both, and so does a cooldown.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Self
from weakref import WeakSet

import anyio

from .._core.errors import Billing, QueueTimeoutError
from .._runtime.event_loop import LoopLocal, clock_of, is_closed, loop_time, process_time, running_loop
from .._runtime.fork import ForkSafeLock
from .rate import AdaptiveLimit, Cooldown, SlidingWindow


@dataclass(frozen=True, slots=True)
class LimitsState:
    """How a `Limits` is used at this moment, by everybody who shares it in this process.

    Attributes:
        in_flight: slots in use.
        waiting: calls that wait for a slot, and attempts that wait to be made again.
        max_concurrency: slots there are now; with `adaptive`, what was learned from the server.
    """

    in_flight: int
    waiting: int
    max_concurrency: int


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who waits for a slot, a place in the minute, or both.

    Attributes:
        grant: what it is wanted for.
        slot: whether a slot is wanted.
        place: whether a place is wanted.
        granted: whether they have it.
        alarm: when it will look again by itself; infinity where it waits to be woken.
        event: what wakes it; None before it has looked for the first time.
    """

    grant: Permit
    slot: bool
    place: bool
    granted: bool = False
    alarm: float = math.inf
    event: anyio.Event | None = None
    thread: int = field(default_factory=threading.get_ident)

    def wake(self) -> None:
        """Make it look again, from whichever thread."""
        if self.event is None:
            return
        if self.thread == threading.get_ident():
            self.event.set()
            return
        loop: Any = self.grant.loop
        soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
        with suppress(RuntimeError):  # the loop ends in this very moment
            soon(self.event.set)


_EARLIER = 1e-3
"""Seconds by which an alarm has to be too late for its waiter to be woken to set another."""

_LOOK = 5.0
"""Seconds after which the first in line looks whether the loops of calls in flight were closed over their heads."""

_Line = OrderedDict[_Waiter, None]
"""Waiters in the order in which they came; anyone can leave it at once."""


class Limiter:
    """Lets requests pass as the limits allow. Any thread and any loop may use it."""

    def __init__(self, max_concurrency: int, requests_per_minute: int | None, *, adaptive: bool) -> None:
        self.max_concurrency = max_concurrency
        self._lock = ForkSafeLock()
        self._held: dict[object, set[Permit]] = {}
        self._in_flight = 0
        self._adaptive = AdaptiveLimit(max_concurrency) if adaptive else None
        self._window = SlidingWindow(requests_per_minute) if requests_per_minute else None
        self.is_adaptive = adaptive
        self.has_window = self._window is not None
        self._pause = Cooldown()
        self._timed = self._window is not None  # whether time can matter to who may pass, so far
        self._again: _Line = OrderedDict()
        self._queue: _Line = OrderedDict()
        self._ahead: LoopLocal[float] = LoopLocal(_ahead_of_this_loop)
        _limiters.add(self)

    def state(self) -> LimitsState:
        """How it is used at this moment."""
        with self._lock:
            self._take_back_abandoned()
            return LimitsState(self._in_flight, len(self._again) + len(self._queue), self._capacity)

    def now(self) -> float:
        """The time, the same in all loops of this process, and outside of them."""
        try:
            loop = running_loop()
        except RuntimeError:
            return process_time()
        return clock_of(loop)() + self._ahead.of(loop)

    def hold(self, queue_timeout: float | None, *, place: bool, loop: object = None) -> Permit:
        """What holds a slot for the length of an `async with` block.

        Args:
            queue_timeout: seconds to wait for it; None waits for ever.
            place: whether the call is one to the API, so that its first attempt takes a place in the minute
                together with the slot.
            loop: the running loop, where the caller knows it.

        Raises:
            QueueTimeoutError: on entering the block, where it did not come free in time.
        """
        return Permit(self, queue_timeout, place=place, loop=loop)

    async def queue(self, grant: Permit, queue_timeout: float | None) -> None:
        """Wait for a slot, where none is free; see `hold`."""
        waiter = _Waiter(grant, slot=True, place=grant.placed)
        if queue_timeout is None:
            await self._wait(waiter, self._queue)
            return
        with anyio.move_on_after(queue_timeout) as scope:
            await self._wait(waiter, self._queue)
        if scope.cancelled_caught:
            raise self._timed_out(queue_timeout)

    async def place(self, grant: Permit) -> None:
        """Take a place in the minute for one more attempt of a call that has its slot."""
        if not self.acquire_nowait(grant, slot=False, place=True):
            await self._wait(_Waiter(grant, slot=False, place=True), self._again)

    def paused_for(self) -> float:
        """Seconds for which nothing is sent, because the server said so."""
        with self._lock:
            return self._pause.wait(self.now())

    @property
    def cuts(self) -> int:
        """How often the concurrency was lowered so far."""
        return self._adaptive.cuts if self._adaptive else 0

    def throttled(self, cuts: int | None, pause: float) -> None:
        """An attempt was told to wait: nothing is sent for `pause` seconds.

        Args:
            cuts: after how many cuts it began, where it met a 429, which lowers an adaptive limit; None otherwise.
            pause: seconds.
        """
        with self._lock:
            self._timed = True
            self._pause.begin(self.now(), pause, expected=self._capacity)
            if self._adaptive and cuts is not None:
                self._adaptive.throttled(cuts)

    def answered(self) -> None:
        """An attempt was answered."""
        if self._adaptive:
            with self._lock:
                self._adaptive.succeeded(self._in_flight)

    def close_place(self, grant: Permit, billing: Billing, left: float | None) -> None:
        """An attempt is over.

        Args:
            grant: what its call holds.
            billing: how it ended.
            left: when its request left; None where nobody saw it.
        """
        if self._window is None:
            return
        if billing != "not_sent" and left is None:
            left = self.now()
        self._lock.soon(partial(self._close_place, grant, left))

    def leave(self, grant: Permit) -> None:
        """Release a slot, and a rate entry that no attempt used; again, it does nothing."""
        self._lock.soon(partial(self._leave, grant))

    def after_fork(self) -> None:
        """Forget, in a forked child, the calls of the parent."""
        self._held.clear()
        self._in_flight = 0
        self._again.clear()
        self._queue.clear()
        if self._window:
            self._window.forget_open()

    # --- deciding; the lock is held

    @property
    def _capacity(self) -> int:
        return self._adaptive.limit if self._adaptive else self.max_concurrency

    def _obstacle(self, now: float, *, slot: bool, place: bool) -> float:
        """Seconds until somebody may pass as far as time can tell; infinity where only a give-back can help."""
        if slot and self._in_flight >= self._capacity and not self._take_back_abandoned():
            return math.inf
        if not (place and self._timed):
            return 0.0
        return max(self._pause.wait(now), self._window.wait(now) if self._window else 0.0)

    def _pass(self, now: float, grant: Permit, *, slot: bool, place: bool) -> None:
        if slot:
            self._in_flight += 1
            self._held.setdefault(grant.loop, set()).add(grant)
        grant.placed = place
        if place and self._timed:
            self._pause.went(now)
            if self._window:
                self._window.take()

    def _holds(self, grant: Permit) -> bool:
        """Whether it has its slot still; see `_leave`."""
        return grant in self._held.get(grant.loop, ())

    def _leave(self, grant: Permit) -> None:
        held = self._held.get(grant.loop)
        if held is None or grant not in held:  # given back, taken back, or left to the parent of this process
            return
        held.discard(grant)
        if not held:
            del self._held[grant.loop]
        self._in_flight -= 1
        if grant.placed:
            self._drop_place(grant)
        if self._again or self._queue:
            self._advance()

    def _drop_place(self, grant: Permit) -> None:
        """Give back a place that no request left on."""
        grant.placed = False
        if self._window:
            self._window.give_back()

    def _close_place(self, grant: Permit, left: float | None) -> None:
        if self._window is None or not self._holds(grant):
            return
        if left is None:
            self._window.give_back()
        else:
            self._window.left(left)
        self._advance()

    def _take_back_abandoned(self) -> bool:
        """Take back what is held by calls whose loop was closed over their heads; whether that made room."""
        closed = [loop for loop in self._held if is_closed(loop)]
        for loop in closed:
            for grant in self._held.pop(loop):
                self._in_flight -= 1
                if grant.placed and self._window:  # it may have been sent
                    self._window.left(self.now())
                grant.placed = False
                grant.abandon()
        return bool(closed) and self._in_flight < self._capacity

    def _advance(self, looking: _Waiter | None = None) -> None:
        """Let everybody pass who may, in order; have the first of those who may not watch the clock.

        Args:
            looking: who looks by itself at this moment, and so needs not be woken.
        """
        if not self._again and not self._queue:
            return
        now = self.now() if self._timed else 0.0
        while (waiter := next(iter(self._again or self._queue), None)) is not None:
            if is_closed(waiter.grant.loop):
                self._drop(waiter)
                continue
            wait = self._obstacle(now, slot=waiter.slot, place=waiter.place)
            if wait == math.inf and self._may_be_abandoned(waiter):
                now, wait = self.now(), _LOOK
            if wait:
                self._set_alarm(waiter, now + wait, looking)
                return
            self._drop(waiter)
            self._pass(now, waiter.grant, slot=waiter.slot, place=waiter.place)
            waiter.granted = True
            waiter.wake()

    def _may_be_abandoned(self, waiter: _Waiter) -> bool:
        """Whether calls of other loops are in flight: when such a loop is closed over their heads, nobody says so."""
        return any(loop is not waiter.grant.loop for loop in self._held)

    @staticmethod
    def _set_alarm(waiter: _Waiter, when: float, looking: _Waiter | None) -> None:
        if waiter is looking:
            waiter.alarm = when
        elif when < waiter.alarm - _EARLIER:
            waiter.wake()

    def _drop(self, waiter: _Waiter) -> None:
        self._again.pop(waiter, None)
        self._queue.pop(waiter, None)

    # --- waiting

    def acquire_nowait(self, grant: Permit, *, slot: bool, place: bool) -> bool:
        """Whether what is wanted was free, and nobody waits for it; then it is taken."""
        with self._lock:
            if self._again or (slot and self._queue):
                return False
            if slot and not self._timed and self._adaptive is None and self._in_flight < self.max_concurrency:
                self._in_flight += 1
                self._held.setdefault(grant.loop, set()).add(grant)
                return True
            now = self.now() if place and self._timed else 0.0
            if self._obstacle(now, slot=slot, place=place):
                return False
            self._pass(now, grant, slot=slot, place=place)
            return True

    async def _wait(self, waiter: _Waiter, line: _Line) -> None:
        with self._lock:
            line[waiter] = None
        try:
            while (event := self._look(waiter)) is not None:
                if waiter.alarm == math.inf:
                    await event.wait()
                else:
                    with anyio.move_on_after(waiter.alarm - self.now()):
                        await event.wait()
        except BaseException:
            self._withdraw(waiter)
            raise

    def _look(self, waiter: _Waiter) -> anyio.Event | None:
        """None where `waiter` may go, otherwise what wakes it; its alarm is set if it is the first in line."""
        with self._lock:
            waiter.alarm = math.inf
            self._advance(looking=waiter)
            waiter.event = None if waiter.granted else anyio.Event()
            return waiter.event

    def _withdraw(self, waiter: _Waiter) -> None:
        """Give up a place in the line, or what was granted in the very moment."""
        self._lock.soon(partial(self._give_up, waiter))

    def _give_up(self, waiter: _Waiter) -> None:
        self._drop(waiter)
        if waiter.granted and waiter.slot:
            self._leave(waiter.grant)
        elif waiter.granted and self._holds(waiter.grant):
            self._drop_place(waiter.grant)
        self._advance()

    def _timed_out(self, queue_timeout: float) -> QueueTimeoutError:
        with self._lock:
            paused, capacity = self._pause.wait(self.now()), self._capacity
            full = self._in_flight >= capacity
        if full:
            why = f"all {capacity} are in use (Limits(max_concurrency=...))"
        elif paused:
            why = f"the server asked for a pause, which lasts {paused:.3g} more seconds"
        else:
            why = "the requests of this minute are used up (Limits(requests_per_minute=...))"
        return QueueTimeoutError(
            f"no slot came free within queue_timeout={queue_timeout:g} seconds: {why}; nothing was sent"
        )


class Lease(Protocol):
    """What a call holds at the backend of shared limits."""

    def attempted(self, billing: Billing, left: float | None) -> None:
        """Close the rate entry of an attempt."""
        ...

    def leave(self) -> None:
        """Release everything; again, it does nothing."""
        ...

    async def ready(self) -> None:
        """Wait for the rate entry of the attempt that is due."""
        ...


class Permit:
    """What one call holds: a slot, and a rate entry for the attempt that is due.

    Attributes:
        placed: whether it has the entry; before it has anything, whether it wants one.
        loop: the loop of its call.
        shared: what the call holds at the backend of shared limits; `None` without one.
    """

    __slots__ = ("_cuts", "_gate", "_queue_timeout", "loop", "placed", "shared")

    def __init__(self, gate: Limiter, queue_timeout: float | None, *, place: bool, loop: object) -> None:
        self._gate = gate
        self._queue_timeout = queue_timeout
        self._cuts = 0
        self.placed = place
        self.loop = loop
        self.shared: Lease | None = None

    def acquire_nowait(self) -> bool:
        """Acquire it if a slot is free and no call waits for one. Return whether it was acquired."""
        gate = self._gate
        if not gate.acquire_nowait(self, slot=True, place=self.placed):
            return False
        if gate.is_adaptive:
            self._cuts = gate.cuts
        return True

    async def acquire(self) -> None:
        """Wait for a slot.

        Raises:
            QueueTimeoutError: none became free in time.
        """
        await self._gate.queue(self, self._queue_timeout)
        self._cuts = self._gate.cuts

    async def __aenter__(self) -> Self:
        if self.loop is None:
            self.loop = running_loop()
        if not self.acquire_nowait():  # a free slot needs no time to wait
            await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Release it, here and at the backend. Any thread may do so, and again."""
        self._gate.leave(self)
        if self.shared is not None:
            self.shared.leave()

    def abandon(self) -> None:
        """Release at the backend what a call held whose loop was closed."""
        if self.shared is not None:
            self.shared.leave()

    def now(self) -> float:
        """The time, the same in all loops of this process."""
        return self._gate.now()

    def paused_for(self) -> float:
        """Seconds for which nothing is sent, because the server said so."""
        return self._gate.paused_for()

    async def place(self) -> None:
        """Wait for the rate entry of the attempt that is due; that of the first one came with the slot."""
        await self._gate.place(self)
        self._cuts = self._gate.cuts

    async def ready(self) -> None:
        """Wait for the rate entries of the attempt that is due, here and at the backend."""
        if not self.placed:
            await self.place()
        if self.shared is not None:
            await self.shared.ready()

    def attempt_ended(self, billing: Billing, left: float | None) -> None:
        """Close the rate entries of an attempt.

        Args:
            billing: how it ended; `executed` lets an adaptive limit grow.
            left: when its request was sent; `None` if unknown.
        """
        if self.placed:
            self.placed = False
            if self._gate.has_window:
                self._gate.close_place(self, billing, left)
        if self.shared is not None:
            self.shared.attempted(billing, left)
        if billing == "executed" and self._gate.is_adaptive:
            self._gate.answered()

    def throttled(self, pause: float, *, cut: bool) -> None:
        """The attempt was told to wait: nothing is sent for `pause` seconds; `cut` lowers an adaptive limit too."""
        self._gate.throttled(self._cuts if cut else None, pause)


def _ahead_of_this_loop() -> float:
    """Seconds by which the process's clock is ahead of the running loop's, whose zero may lie anywhere."""
    return process_time() - loop_time()


_limiters: WeakSet[Limiter] = WeakSet()


def _after_fork() -> None:
    for gate in tuple(_limiters):
        gate.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
