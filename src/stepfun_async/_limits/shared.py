"""Limits that several processes share: the permit of one call at their backend.

A call asks the backend after it has a permit of this process's limiter, so no more calls ask than have a slot here.
Backends block, so they are called in threads. A caller waits for the response until its timeout and no longer; what
is granted after that is released at once. Updates, such as a release, are sent in the background: see `updates`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio

from .._core.errors import Billing, QueueTimeoutError
from .._runtime.event_loop import Clock, Job, clock, finished_in_thread
from .limiter import Limiter, Permit
from .updates import FLUSH_TIMEOUT, Update, UpdateSender

if TYPE_CHECKING:
    from .backend import LimitsBackend


_GRACE = 30.0
"""Seconds by which a slot's lease is longer than its call's timeout."""

_MIN_WAIT = 0.5
"""The minimum seconds that a caller waits for the backend: even `queue_timeout=0` can acquire a free slot."""


class SharedLimits:
    """Limits that a backend enforces for several processes.

    Args:
        backend: the backend.
        max_concurrency: the number of slots.
        requests_per_minute: the number of rate entries; `None` for no limit.
    """

    def __init__(self, backend: LimitsBackend, max_concurrency: int, requests_per_minute: int | None) -> None:
        self.backend = backend
        self.max_concurrency = max_concurrency
        self.requests_per_minute = requests_per_minute
        self.lock = Limiter(1, None, adaptive=False)  # first in, first out
        self.running: set[_Acquisition] = set()
        self.updates = UpdateSender()

    async def flush(self) -> None:
        """Wait until all updates are sent, for a second at most."""
        if self.updates.has_unsent:
            await finished_in_thread(partial(self.updates.flush, FLUSH_TIMEOUT))

    def release(self, slot: str | None, entry: str | None, lease: float, *, uncertain: bool = False) -> None:
        """Release a slot, and an entry whose request was not sent, in the background.

        Args:
            slot: the slot's name; `None` for no slot.
            entry: the entry's name; `None` for no entry.
            lease: seconds after which they end by themselves.
            uncertain: whether they may not have been granted.
        """
        if slot or entry:
            send = partial(_ignoring_age, partial(self.backend.release, slot=slot, entry=entry))
            self.updates.put(Update(send, lease, uncertain=uncertain))

    def mark_sent(self, entry: str, ago: float, lease: float) -> None:
        """Record in the background that the request of `entry` was sent `ago` seconds before now."""
        self.updates.put(Update(lambda age: self.backend.mark_sent(entry, ago=ago + age), lease))


def _ignoring_age(send: Callable[[], None], _: float) -> None:
    send()


class SharedPermit:
    """The permit of one call at a backend.

    Args:
        shared: the limits.
        now: returns the time of this process's limiter.
        timeout: the call's timeout in seconds, which begins when it has its slot.
    """

    def __init__(self, shared: SharedLimits, now: Clock, timeout: float) -> None:
        self._shared = shared
        self._now = now
        self._clock = clock()
        self._lease = timeout + _GRACE
        self._slot: str | None = None
        self._entry: str | None = None
        self._acquisition: _Acquisition | None = None

    async def acquire(self, until: float, *, entry: bool) -> None:
        """Acquire a slot, and a rate entry together with it.

        Args:
            until: when to give up, by the loop's clock; a backend in which both are free is asked in any case.
            entry: whether an entry is needed.

        Raises:
            LimitsUnavailableError: the backend is unavailable.
            QueueTimeoutError: they would not be free in time.
        """
        await self._acquire(_name(), _name() if entry and self._shared.requests_per_minute else None, until)

    async def acquire_entry(self) -> None:
        """Acquire a rate entry for the attempt that is due, unless it has one; see `acquire`."""
        if self._entry is None and self._shared.requests_per_minute:
            await self._acquire(None, _name(), math.inf)

    def attempt_ended(self, billing: Billing, sent_at: float | None) -> None:
        """Close the rate entry of an attempt.

        Args:
            billing: how it ended. An entry whose request was not sent is released.
            sent_at: when its request was sent, by the limiter's clock; `None` if unknown, which counts as now.
        """
        entry, self._entry = self._entry, None
        if entry is None:
            return
        if billing == "not_sent":
            self._shared.release(None, entry, self._lease)
        else:
            now = self._now()
            self._shared.mark_sent(entry, now - (now if sent_at is None else sent_at), self._lease)

    def release(self) -> None:
        """Release everything, also what is still being acquired; again, it does nothing."""
        if self._acquisition is not None:
            self._acquisition.job.abandon()
        slot, self._slot = self._slot, None
        entry, self._entry = self._entry, None
        self._shared.release(slot, entry, self._lease)

    async def _acquire(self, slot: str | None, entry: str | None, until: float) -> None:
        lock = await self._lock(until)  # in the order in which the limiter granted the permits
        try:
            while wait := await self._result(_Acquisition(self._shared, slot, entry, self._lease, lock), until):
                if self._clock() + wait > until:
                    why = "no slot comes free in time at the backend that shares them; nothing was sent"
                    raise QueueTimeoutError(why)
                await anyio.sleep(wait)
        finally:
            if self._acquisition is None:
                lock.release()
        self._slot = slot or self._slot
        self._entry = entry

    async def _lock(self, until: float) -> Permit:
        """Acquire the lock, so that one call after another asks the backend."""
        lock = self._shared.lock.permit(None, entry=False)
        is_released_soon = self._shared.running  # even if its caller has given up
        with anyio.CancelScope(deadline=max(until, self._clock() + _MIN_WAIT) if is_released_soon else until):
            await lock.__aenter__()
            return lock
        raise QueueTimeoutError("no slot came free in time at the backend that shares them; nothing was sent")

    async def _result(self, acquisition: _Acquisition, until: float) -> float:
        """Return the backend's response if it arrives in time. If not, the acquisition releases what is granted."""
        self._acquisition = acquisition
        with anyio.CancelScope(deadline=max(until, self._clock() + _MIN_WAIT)):
            try:
                wait = await acquisition.job.result()
            except Exception:
                self._acquisition = None
                acquisition.remove()
                self._shared.release(acquisition.slot, acquisition.entry, self._lease, uncertain=True)
                raise
            self._acquisition = None
            acquisition.remove()
            return wait
        raise QueueTimeoutError("the backend that shares the slots did not respond in time; nothing was sent")


class _Acquisition:
    """One call of the backend's `acquire`, in a thread.

    Attributes:
        slot: the name of the slot; `None` for no slot.
        entry: the name of the rate entry; `None` for no entry.
        job: the thread.
    """

    def __init__(self, shared: SharedLimits, slot: str | None, entry: str | None, lease: float, lock: Permit) -> None:
        self._shared = shared
        self.slot = slot
        self.entry = entry
        self._lease = lease
        self._lock = lock
        self._wait: float | None = None
        self._thread = 0
        shared.running.add(self)
        self.job: Job[float] = Job(self._run, self._release_abandoned)

    def remove(self) -> None:
        """Remove it from the running ones."""
        self._shared.running.discard(self)

    def _run(self) -> float:
        self._thread = threading.get_ident()
        self._shared.updates.catch_up()
        self._wait = self._shared.backend.acquire(
            slot=self.slot,
            entry=self.entry,
            max_concurrency=self._shared.max_concurrency,
            requests_per_minute=self._shared.requests_per_minute,
            lease=self._lease,
        )
        return self._wait

    def _release_abandoned(self) -> None:
        """Release what was or may have been granted after the caller gave up, and then the lock."""
        if not self._wait and not self._is_released_here():
            self._shared.release(self.slot, self.entry, self._lease, uncertain=self._wait is None)
        self.remove()
        self._lock.release()

    def _is_released_here(self) -> bool:
        """Release it in the thread that acquired it, and so before the next acquisition. Return whether it did."""
        if self._wait is None or threading.get_ident() != self._thread:
            return False
        try:
            self._shared.backend.release(slot=self.slot, entry=self.entry)
        except Exception:  # noqa: BLE001 - reported by the update that is sent instead
            return False
        return True


def _name() -> str:
    import secrets

    return secrets.token_hex(12)
