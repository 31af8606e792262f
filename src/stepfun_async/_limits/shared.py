"""Limits that several processes share: one call's conversation with their backend.

The backend is asked after the gate of this process, so that no more callers ask than have a slot here. It
blocks, so it is asked in threads. A caller waits for an answer as long as it has time, and no longer: what an
answer brings that nobody waits for is given back when it has come. What the backend has to be told is told in
the background, and again for as long as it cannot be told, so that it keeps no picture waiting.
"""

from __future__ import annotations

import atexit
import logging
import math
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
from typing import TYPE_CHECKING
from weakref import WeakSet

import anyio

from .._core.errors import Billing, LimitsUnavailableError, QueueTimeoutError
from .._runtime.event_loop import Clock, Job, clock, deadline_scope, finished_in_thread, process_time
from .._runtime.log import log
from .._runtime.workers import threads
from .limiter import Limiter, Permit

if TYPE_CHECKING:
    from .backend import LimitsBackend


_GRACE = 30.0
"""Seconds beyond a call's deadline for which its slot is kept, should nobody give it back."""

_ANSWER = 0.5
"""Seconds that a backend has for an answer in any case: a free slot is taken even where there is no time to wait."""

_FAREWELL = 1.0
"""Seconds for which a client that is closed, and an interpreter that ends, wait until the backend was told all."""

_PAUSES = (0.1, 0.2, 0.5, 1.0)
"""Seconds between tries to tell a backend something; the last one again and again."""

_MOST_NOTES = 10_000
"""Things that wait to be told at most. What is left out ends with its lease."""

_DOUBTFUL = 100
"""The same for what may not have been granted at all."""


class SharedLimits:
    """Limits that a backend keeps for several processes.

    Args:
        backend: the backend.
        max_concurrency: how many slots there are.
        requests_per_minute: how many places there are in a minute; None for any number.
    """

    def __init__(self, backend: LimitsBackend, max_concurrency: int, requests_per_minute: int | None) -> None:
        self.backend = backend
        self.max_concurrency = max_concurrency
        self.requests_per_minute = requests_per_minute
        self.turns = Limiter(1, None, adaptive=False)
        self.asking: set[_Question] = set()
        self.teller = Teller()

    async def flush(self) -> None:
        """Wait until the backend was told everything, though not for long where it cannot be told."""
        if self.teller.is_behind:
            await finished_in_thread(partial(self.teller.flush, _FAREWELL))

    def give_back(self, slot: str | None, place: str | None, lease: float, *, doubtful: bool = False) -> None:
        """Have the backend told that a slot is free, and a place whose request never left.

        Args:
            slot: the slot's name; None for none.
            place: likewise.
            lease: seconds after which they come free by themselves.
            doubtful: whether it is not known if they were granted.
        """
        if slot or place:
            say = partial(_later, partial(self.backend.give_back, slot=slot, place=place))
            self.teller.tell(Note(say, lease, doubtful=doubtful))

    def sent(self, place: str, ago: float, lease: float) -> None:
        """Have the backend told when the request of `place` left: `ago` seconds before now."""
        self.teller.tell(Note(lambda later: self.backend.sent(place, ago=ago + later), lease))


def _later(say: Callable[[], None], _: float) -> None:
    say()


# --- asking -----------------------------------------------------------------------------------------


class SharedPermit:
    """What one call holds at a backend.

    Args:
        shared: the limits.
        now: tells the time of this process's gate.
        timeout: seconds that the call has once it has its slot.
    """

    def __init__(self, shared: SharedLimits, now: Clock, timeout: float) -> None:
        self._shared = shared
        self._now = now
        self._clock = clock()
        self._lease = timeout + _GRACE
        self._slot: str | None = None
        self._place: str | None = None
        self._question: _Question | None = None

    async def begin(self, until: float, *, place: bool) -> None:
        """Take a slot, and a place in the minute with it.

        Args:
            until: when to give up, by the loop's clock; a backend that has both is asked in any case.
            place: whether a place is wanted.

        Raises:
            LimitsUnavailableError: the backend cannot be asked.
            QueueTimeoutError: they would not come free in time.
        """
        await self._take(_name(), _name() if place and self._shared.requests_per_minute else None, until)

    async def ready(self) -> None:
        """Have a place for the attempt that is due; see `begin`."""
        if self._place is None and self._shared.requests_per_minute:
            await self._take(None, _name(), math.inf)

    def attempted(self, billing: Billing, left: float | None) -> None:
        """The attempt is over.

        Args:
            billing: how it ended. A place whose request never left is given back.
            left: when its request left, by the gate's clock; None where nobody saw it, which counts as now.
        """
        place, self._place = self._place, None
        if place is None:
            return
        if billing == "not_sent":
            self._shared.give_back(None, place, self._lease)
        else:
            now = self._now()
            self._shared.sent(place, now - (now if left is None else left), self._lease)

    def leave(self) -> None:
        """Give everything back, now and what is still asked for; again, it does nothing."""
        if self._question is not None:
            self._question.job.leave()
        slot, self._slot = self._slot, None
        place, self._place = self._place, None
        self._shared.give_back(slot, place, self._lease)

    async def _take(self, slot: str | None, place: str | None, until: float) -> None:
        turn = await self._turn(until)  # in the order in which the gate let them pass
        try:
            while wait := await self._answer(_Question(self._shared, slot, place, self._lease, turn), until):
                if self._clock() + wait > until:
                    why = "no slot comes free in time at the backend that shares them; nothing was sent"
                    raise QueueTimeoutError(why)
                await anyio.sleep(wait)
        finally:
            if self._question is None:
                turn.leave()
        self._slot = slot or self._slot
        self._place = place

    async def _turn(self, until: float) -> Permit:
        """The right to ask, which one call has after another."""
        turn = self._shared.turns.hold(None, place=False)
        on_its_way = self._shared.asking  # it has its turn back in a moment, be it a question that nobody waits for
        with deadline_scope(max(until, self._clock() + _ANSWER) if on_its_way else until):
            await turn.__aenter__()
            return turn
        raise QueueTimeoutError("no slot came free in time at the backend that shares them; nothing was sent")

    async def _answer(self, question: _Question, until: float) -> float:
        """What the backend answers in time. Otherwise the question, which goes on, sees to its answer itself."""
        self._question = question
        with deadline_scope(max(until, self._clock() + _ANSWER)):
            try:
                wait = await question.job.result()
            except Exception:
                self._question = None
                question.is_over()
                self._shared.give_back(question.slot, question.place, self._lease, doubtful=True)
                raise
            self._question = None
            question.is_over()
            return wait
        raise QueueTimeoutError("the backend that shares the slots did not answer in time; nothing was sent")


class _Question:
    """One question for a slot, a place, or both, on its way in a thread.

    Attributes:
        slot: the name of the slot that is asked for; None for none.
        place: likewise.
        job: the thread.
    """

    def __init__(self, shared: SharedLimits, slot: str | None, place: str | None, lease: float, turn: Permit) -> None:
        self._shared = shared
        self.slot = slot
        self.place = place
        self._lease = lease
        self._turn = turn
        self._wait: float | None = None
        self._thread = 0
        shared.asking.add(self)
        self.job: Job[float] = Job(self._ask, self._see_to_answer)

    def is_over(self) -> None:
        """Have it no longer count as on its way."""
        self._shared.asking.discard(self)

    def _ask(self) -> float:
        self._thread = threading.get_ident()
        self._shared.teller.catch_up()
        self._wait = self._shared.backend.take(
            slot=self.slot,
            place=self.place,
            max_concurrency=self._shared.max_concurrency,
            requests_per_minute=self._shared.requests_per_minute,
            lease=self._lease,
        )
        return self._wait

    def _see_to_answer(self) -> None:
        """Give back what was granted to nobody, or may have been, and then the turn."""
        if not self._wait and not self._is_given_back_here():
            self._shared.give_back(self.slot, self.place, self._lease, doubtful=self._wait is None)
        self.is_over()
        self._turn.leave()

    def _is_given_back_here(self) -> bool:
        """Whether it could be given back in the thread that has asked, so before anybody asks again."""
        if self._wait is None or threading.get_ident() != self._thread:
            return False
        try:
            self._shared.backend.give_back(slot=self.slot, place=self.place)
        except Exception:  # noqa: BLE001 - told in the background, which knows what to do
            return False
        return True


def _name() -> str:
    import secrets

    return secrets.token_hex(12)


# --- telling ----------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Note:
    """Something that a backend has to be told.

    Attributes:
        say: tells it, given the seconds that have passed since the note was made.
        lease: seconds after which it is of no use any more.
        doubtful: whether what it gives back may not have been granted. The question may even reach the backend
            after this note, if that stalled; so it is told once more, a moment after the backend has answered.
        since: when it was made.
    """

    say: Callable[[float], None]
    lease: float
    doubtful: bool = False
    since: float = 0.0


class Teller:
    """Tells a backend in the background, one note after another, and again for as long as it cannot be told.

    A thread works on it while there are notes. No lock in here is waited for, so a call that garbage collection
    ends may leave a note wherever it is collected.
    """

    def __init__(self) -> None:
        self._renew()
        _tellers.add(self)

    def _renew(self) -> None:
        self._notes: deque[Note] = deque()
        self._told_in_doubt: deque[Note] = deque()
        self._waiting: deque[SimpleQueue[None]] = deque()
        self._at_work = threading.Lock()
        self._is_in_trouble = False

    @property
    def is_behind(self) -> bool:
        """Whether there is something that was not told yet."""
        return bool(self._notes) or self._at_work.locked()

    def tell(self, note: Note) -> None:
        """Have something told soon; returns at once."""
        if len(self._notes) >= (_DOUBTFUL if note.doubtful else _MOST_NOTES):
            return
        note.since = process_time()
        self._notes.append(note)
        self._begin()

    def catch_up(self) -> None:
        """Have told what is not yet, as what comes free is better known before more is asked for.

        It is done in this thread, or waited for where another one is at it. Where the backend cannot be told, it
        is left alone.
        """
        if self._notes and self._at_work.acquire(blocking=False):
            self._work()
        elif self.is_behind and not self._is_in_trouble:
            self.flush(_CATCHING_UP)

    def flush(self, seconds: float) -> None:
        """Wait until everything was told, for so many seconds at most."""
        until = process_time() + seconds
        while (left := until - process_time()) > 0:
            told: SimpleQueue[None] = SimpleQueue()
            self._waiting.append(told)
            if not self.is_behind:
                return
            with suppress(Empty):
                told.get(timeout=left)

    def after_fork(self) -> None:
        """Leave, in a forked child, what the parent has to tell to the parent."""
        self._renew()

    def _begin(self) -> None:
        if self._at_work.acquire(blocking=False):
            _say_goodbye_in_this_process()
            self._go_on(self._work)

    def _go_on(self, work: Callable[[], None], *, apart: bool = False) -> None:
        try:
            threads().start(work, apart=apart)
        except RuntimeError:  # there is no thread; the next note, or the end of the client, tries again
            self._at_work.release()

    def _work(self) -> None:
        if self._tell_all():
            self._finish()
        else:
            self._go_on(self._persist, apart=True)

    def _persist(self) -> None:
        """Try again until the backend can be told."""
        number = 0
        told = False
        while not told:
            time.sleep(_PAUSES[min(number, len(_PAUSES) - 1)])
            number += 1
            told = self._tell_all()
        self._finish()

    def _finish(self) -> None:
        in_doubt = [self._told_in_doubt.popleft() for _ in range(len(self._told_in_doubt))]
        self._at_work.release()
        for _ in range(len(self._waiting)):
            self._waiting.popleft().put(None)
        if self._notes:  # somebody left one in this very moment
            self._begin()
        if in_doubt:
            try:
                threads().start(partial(self._tell_again, in_doubt), apart=True)
            except RuntimeError:  # no thread: what may be held ends with its lease
                return

    def _tell_again(self, in_doubt: list[Note]) -> None:
        time.sleep(_PAUSES[-1])
        for note in in_doubt:
            self.tell(Note(note.say, note.lease))

    def _tell_all(self) -> bool:
        """Tell everything; whether that was possible."""
        while self._notes:
            note = self._notes.popleft()
            try:
                self._tell(note)
            except LimitsUnavailableError as error:
                self._notes.appendleft(note)
                self._trouble(error)
                return False
            except Exception:  # noqa: BLE001 - of a backend that somebody else wrote
                message = "the backend of the shared limits failed; what it was to be told ends with its lease"
                log(logging.ERROR, message, exc_info=True)
        if self._is_in_trouble:
            self._is_in_trouble = False
            log(logging.INFO, "the shared limits were told of all requests")
        return True

    def _tell(self, note: Note) -> None:
        passed = process_time() - note.since
        if passed >= note.lease:
            return
        note.say(passed)
        if note.doubtful:
            self._told_in_doubt.append(note)

    def _trouble(self, error: LimitsUnavailableError) -> None:
        if not self._is_in_trouble:
            self._is_in_trouble = True
            log(
                logging.WARNING,
                "the shared limits cannot be told of requests that are over; this is tried again until their leases "
                "end, and they count as long: %s",
                error,
            )


_CATCHING_UP = 0.2
"""Seconds for which a question waits for what is still to be told."""

_tellers: WeakSet[Teller] = WeakSet()
_processes: set[int] = set()
"""Those that say goodbye."""


def _say_goodbye_in_this_process() -> None:
    """See to it that the last things are told when this process ends: a child of multiprocessing ends its own way."""
    process = os.getpid()
    if process in _processes:
        return
    _processes.add(process)
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None and sys.modules["multiprocessing"].parent_process() is not None:
        multiprocessing.Finalize(None, _say_goodbye, exitpriority=0)


def _say_goodbye() -> None:
    until = process_time() + _FAREWELL
    for teller in tuple(_tellers):
        teller.flush(until - process_time())


def _after_fork() -> None:
    for teller in tuple(_tellers):
        teller.after_fork()


atexit.register(_say_goodbye)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
