"""Work that may take longer than anybody waits for it: in threads of the package's own, which can be abandoned.

A look-up of a name sleeps in the C library until the name server answers, and nothing can wake it. In the threads of
an executor it would hold up whoever closes the loop or ends the interpreter; a daemon thread holds up nobody.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar, cast

import anyio

from ._loops import running_loop

T = TypeVar("T")


class Daemon(Generic[T]):
    """`work` in a daemon thread, begun at once; in the caller's own where the system gives no other.

    Any number of the running loop's tasks may wait for it. One that is cancelled leaves it to the others.
    """

    _value: T

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._loop = running_loop()
        self._over = anyio.Event()
        # Virtual time waits for threads that it is notified of.
        self._note: Callable[[int], object] = getattr(self._loop, "note_work", _note_nothing)
        self._note(1)
        try:
            threading.Thread(target=self._run, name="stepfun-async daemon", daemon=True).start()
        except RuntimeError:  # no thread can be started, or the interpreter is about to end
            self._do()
            self._end()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._over.is_set()

    async def outcome(self) -> T:
        """What it returns or raises; the wait for it can be cancelled."""
        await self._over.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        self._do()
        with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            if isinstance(self._loop, asyncio.AbstractEventLoop):
                self._loop.call_soon_threadsafe(self._end)
            else:
                _soon_in_trio(self._loop, self._end)

    def _do(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error

    def _end(self) -> None:
        self._note(-1)
        self._over.set()


VAST = 32 * 1024 * 1024
"""Bytes of a body from which on its decoding is given up when its call ends. Shorter ones are decoded to their end even
then: what has come is paid for, and that takes a fraction of a second."""


async def abandonable(work: Callable[[], T]) -> T:
    """What `work` returns in a daemon thread. When the caller is cancelled, the thread is left to itself."""
    return await Daemon(work).outcome()


def _soon_in_trio(token: object, function: Callable[[], object]) -> None:
    import trio

    cast("trio.lowlevel.TrioToken", token).run_sync_soon(function)


def _note_nothing(_: int) -> None:
    """Take no note: the loop's time is the real one."""
