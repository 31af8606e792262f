"""One call's way through slot, deadline and attempts."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import anyio

from ._core.errors import APIConnectionError, APIError, APITimeoutError, Billing, StepFunError
from ._core.retry import RetryPolicy, wait_before_next
from ._core.wire import Call, Progress, Reply
from ._usage import Tally

if TYPE_CHECKING:
    from ._config import Key
    from ._limits import Slots
    from ._transport import Transport

T = TypeVar("T")


class Exchanger:
    """Carries calls: grants each a slot, holds it to its deadline, tries again where that is safe."""

    def __init__(self, transport: Transport, slots: Slots, retry: RetryPolicy, key: Key | None) -> None:
        self.transport = transport
        self.slots = slots
        self.retry = retry
        self._key = key

    @asynccontextmanager
    async def window(self, timeout: float, queue_timeout: float | None) -> AsyncGenerator[Window]:
        """A slot, and from its granting on the time in which everything has to happen.

        Args:
            timeout: seconds for everything inside.
            queue_timeout: seconds to wait for the slot; None waits for ever.

        Raises:
            QueueTimeoutError: no slot came free in time.
            APITimeoutError: the time inside ran out.
        """
        async with self.slots.hold(queue_timeout):
            window = Window(self, anyio.current_time() + timeout)
            if (seen := witness.get()) is not None:
                seen.append(window)
            with anyio.move_on_after(timeout) as scope:
                yield window
            if scope.cancelled_caught:
                raise window.timed_out(timeout)

    async def send(self, call: Call, progress: Progress) -> Reply:
        """Send once; neither an error answer nor a header repeats the key, should the server do so.

        The body of a success stays as it came: it is what was paid for.
        """
        reply = await self.transport.send(call, progress)
        if self._key is None:
            return reply
        headers = {name: self._key.hide_in(value) for name, value in reply.headers.items()}
        body = reply.body if reply.status < 300 else self._key.hide_in(reply.body.decode("latin-1")).encode("latin-1")
        return replace(reply, headers=headers, body=body)


witness: ContextVar[list[Window] | None] = ContextVar("witness", default=None)
"""Where the running task's windows are noted, for whoever has to tell how a call stood when it was ended."""


def ended_by_closing(windows: list[Window]) -> APIConnectionError:
    """The error for a call that got as far as `windows` when its client was closed."""
    error = APIConnectionError("the client was closed while the call was in flight", billing="not_sent")
    for window in windows:
        window.conclude(error)
    return error


class Window:
    """The time in which one call has to happen, and what happened so far."""

    def __init__(self, exchanger: Exchanger, deadline: float) -> None:
        self._exchanger = exchanger
        self._deadline = deadline
        self._started = anyio.current_time()
        self._last: Billing = "not_sent"
        self.tally = Tally()

    @property
    def elapsed(self) -> float:
        """Seconds since the slot was granted."""
        return anyio.current_time() - self._started

    async def exchange(self, call: Call, parse: Callable[[Reply], T], *, free: bool = False) -> T:
        """`call`'s parsed answer, after as many attempts as the retry policy allows.

        Args:
            call: what to send.
            parse: what makes the answer of a reply, or raises an `APIError`.
            free: whether the call costs nothing, so that trying again is always safe. Its attempts
                are not counted.

        Raises:
            APIError: the last attempt's.
        """
        tally = Tally() if free else self.tally
        while True:
            progress = Progress()
            tally.attempts += 1
            try:
                result = parse(await self._exchanger.send(call, progress))
            except APIError as error:
                wait = self._wait_after(error, tally, free=free)
                if wait is None:
                    if not free:
                        _tell_money(error, tally)
                    raise
            except StepFunError as error:
                self._note(error.billing, tally)
                raise
            except BaseException:
                self._note("not_sent" if free or progress.sent is False else "unknown", tally)
                raise
            else:
                self._note("not_sent" if free else "executed", tally)
                return result
            await anyio.sleep(wait)

    def timed_out(self, timeout: float) -> APITimeoutError:
        """The error for a deadline that passed."""
        error = APITimeoutError(f"no whole answer within timeout={timeout:g} seconds")
        self.conclude(error)
        return error

    def conclude(self, error: APIError) -> None:
        """Let an error that ends the call say what is known of its attempts and of money."""
        error.billing = self._last
        self._count(error, self.tally)
        if self.tally.attempts:
            _tell_money(error, self.tally)

    def _wait_after(self, error: APIError, tally: Tally, *, free: bool) -> float | None:
        if free and error.billing == "unknown":  # a lost answer may be asked for again, one that came will not change
            error.billing = "not_sent" if isinstance(error, APIConnectionError) else "rejected"
        self._note(error.billing, tally)
        self._count(error, tally)
        remaining = self._deadline - anyio.current_time()
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        return wait_before_next(self._exchanger.retry, tally.attempts, error, jitter=jitter, remaining=remaining)

    def _note(self, billing: Billing, tally: Tally) -> None:
        self._last = billing
        tally.ended(billing)

    @staticmethod
    def _count(error: APIError, tally: Tally) -> None:
        error.attempts = tally.attempts
        error.maybe_billed = tally.maybe_billed


def _tell_money(error: APIError, tally: Tally) -> None:
    """Say in words what is known of money, over all attempts."""
    if tally.maybe_billed:
        error.tell("it may have been billed; asking again may pay twice")
    elif error.billing == "not_sent":
        error.tell("nothing was sent")
