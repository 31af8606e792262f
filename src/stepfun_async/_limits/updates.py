"""Updates to the backend of shared limits, sent in the background: what is released, and when requests were sent.

They are retried while the backend is unavailable and their leases last. No response waits for them.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from weakref import WeakSet

from .._core.errors import LimitsUnavailableError
from .._runtime.event_loop import process_time
from .._runtime.log import log
from .._runtime.workers import threads

FLUSH_TIMEOUT = 1.0
"""The maximum seconds that closing a client, and the end of the interpreter, wait for updates."""

_CATCH_UP_TIMEOUT = 0.2
"""The maximum seconds that an acquisition waits for earlier updates."""

_RETRY_DELAYS = (0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to send an update; the last one repeats."""

_MAX_UPDATES = 10_000
"""The maximum number of waiting updates. What further ones would have released ends with its lease."""

_MAX_UNCERTAIN = 100
"""The number of waiting updates from which on uncertain ones are dropped."""


@dataclass(slots=True, eq=False)
class Update:
    """An update to be sent to a backend.

    Attributes:
        send: sends it, given the seconds since it was created.
        lease: seconds after which it has no effect any more.
        uncertain: whether it releases what may not have been granted. If the backend stalled, the acquisition may
            even reach it after this update, so the update is sent once more, a moment after the backend has responded.
        created: when it was created.
    """

    send: Callable[[float], None]
    lease: float
    uncertain: bool = False
    created: float = 0.0


class UpdateSender:
    """Sends updates to a backend in the background, in order, and retries while the backend is unavailable.

    A thread runs while there are updates. Adding one waits for no lock, so garbage collection may do it anywhere.
    """

    def __init__(self) -> None:
        self._reset()
        _senders.add(self)

    def _reset(self) -> None:
        self._updates: deque[Update] = deque()
        self._sent_uncertain: deque[Update] = deque()
        self._flushing: deque[SimpleQueue[None]] = deque()
        self._sending = threading.Lock()
        self._is_failing = False

    @property
    def has_unsent(self) -> bool:
        """Whether updates are waiting or being sent."""
        return bool(self._updates) or self._sending.locked()

    def put(self, update: Update) -> None:
        """Add an update, to be sent soon; returns at once."""
        if len(self._updates) >= (_MAX_UNCERTAIN if update.uncertain else _MAX_UPDATES):
            return
        update.created = process_time()
        self._updates.append(update)
        self._send_soon()

    def catch_up(self) -> None:
        """Send the waiting updates before more is acquired, since they may release something.

        They are sent in this thread, unless another is sending them; then this waits for it. While the backend is
        unavailable, it does neither.
        """
        if self._updates and self._sending.acquire(blocking=False):
            self._send_pending()
        elif self.has_unsent and not self._is_failing:
            self.flush(_CATCH_UP_TIMEOUT)

    def flush(self, seconds: float) -> None:
        """Wait until all updates are sent, for `seconds` at most."""
        until = process_time() + seconds
        while (left := until - process_time()) > 0:
            flushed: SimpleQueue[None] = SimpleQueue()
            self._flushing.append(flushed)
            if not self.has_unsent:
                return
            with suppress(Empty):
                flushed.get(timeout=left)

    def after_fork(self) -> None:
        """Discard the updates in a forked child: the parent sends them."""
        self._reset()

    def _send_soon(self) -> None:
        if self._sending.acquire(blocking=False):
            _flush_at_exit()
            self._start(self._send_pending)

    def _start(self, work: Callable[[], None], *, apart: bool = False) -> None:
        try:
            threads().start(work, apart=apart)
        except RuntimeError:  # no thread can be started; the next update or the end of the client retries
            self._sending.release()

    def _send_pending(self) -> None:
        if self._send_all():
            self._finish()
        else:
            self._start(self._retry, apart=True)

    def _retry(self) -> None:
        """Retry until all updates are sent."""
        number = 0
        is_sent = False
        while not is_sent:
            time.sleep(_RETRY_DELAYS[min(number, len(_RETRY_DELAYS) - 1)])
            number += 1
            is_sent = self._send_all()
        self._finish()

    def _finish(self) -> None:
        uncertain = [self._sent_uncertain.popleft() for _ in range(len(self._sent_uncertain))]
        self._sending.release()
        for _ in range(len(self._flushing)):
            self._flushing.popleft().put(None)
        if self._updates:  # added at the same moment
            self._send_soon()
        if uncertain:
            try:
                threads().start(partial(self._repeat, uncertain), apart=True)
            except RuntimeError:  # no thread can be started; what may be held ends with its lease
                return

    def _repeat(self, uncertain: list[Update]) -> None:
        time.sleep(_RETRY_DELAYS[-1])
        for update in uncertain:
            self.put(Update(update.send, update.lease))

    def _send_all(self) -> bool:
        """Send all updates. Return `False` if the backend is unavailable."""
        while self._updates:
            update = self._updates.popleft()
            try:
                self._send(update)
            except LimitsUnavailableError as error:
                self._updates.appendleft(update)
                self._warn(error)
                return False
            except Exception:  # noqa: BLE001 - of a backend that is not ours
                message = "the backend of the shared limits failed; what it should have released ends with its lease"
                log(logging.ERROR, message, exc_info=True)
        if self._is_failing:
            self._is_failing = False
            log(logging.INFO, "the shared limits are available again and up to date")
        return True

    def _send(self, update: Update) -> None:
        age = process_time() - update.created
        if age >= update.lease:
            return
        update.send(age)
        if update.uncertain:
            self._sent_uncertain.append(update)

    def _warn(self, error: LimitsUnavailableError) -> None:
        if not self._is_failing:
            self._is_failing = True
            log(
                logging.WARNING,
                "the shared limits are unavailable, so requests that have ended still count; updates are retried until "
                "their leases end: %s",
                error,
            )


_senders: WeakSet[UpdateSender] = WeakSet()
_processes: set[int] = set()
"""The ids of the processes that flush at exit."""


def _flush_at_exit() -> None:
    """Have this process flush at exit if it is a child of multiprocessing, where `atexit` does not run."""
    process = os.getpid()
    if process in _processes:
        return
    _processes.add(process)
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None and sys.modules["multiprocessing"].parent_process() is not None:
        multiprocessing.Finalize(None, _flush_all, exitpriority=0)


def _flush_all() -> None:
    until = process_time() + FLUSH_TIMEOUT
    for sender in tuple(_senders):
        sender.flush(until - process_time())


def _after_fork() -> None:
    for sender in tuple(_senders):
        sender.after_fork()


atexit.register(_flush_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
