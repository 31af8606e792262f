"""The attempts of one call: its permit, its deadline, when it is retried, and what each attempt may have cost.

**A call** (`Exchanger.within`) acquires a permit, and then one from the backend if limits are shared. Up to here
`queue_timeout` applies. Once it has both, the deadline begins: one cancel scope covers all attempts, the waits
between them, parsing, and fetching images from links. `Window` is this span of time; the permit is released when the
span ends.

**An attempt** ends exactly once (`_Attempt._over`), in success, with an error or by cancellation. That counts it in
the record, closes its entry in the rate window, and emits `AttemptEnded`. Its billing state is one of:

* `executed`: the response was parsed, so it was charged;
* `rejected`, `not_sent` or `unknown`: what the error says, which the table in `_core.outcomes` decides;
* after a cancellation: `unknown` if any of the body was sent, otherwise `not_sent`. `SendState` has that, as the
  transport records it.

**A retry** is made only if every condition holds, in this order: the policy allows one more attempt; the error may be
repeated (`not_sent`, a refusal that asks to come back later, or, with `retry_unknown=True`, `unknown`); the wait ends
before the deadline; the client's quota has tokens left; and, after an `unknown` attempt, the budget covers a second
charge. The first three are a pure function, `_core.retry.wait_before_next`. A 429, and a 503 that says for how long,
start a cooldown for all calls that share the limits, whether or not this call is retried. The next attempt then waits
for its rate entry, ahead of calls that have not begun.

**Money.** The caller reserves the price of the first attempt before the permit is acquired, and settles the
reservation once, when the call has ended. Here, the price is reserved again before each attempt that follows an
`unknown` one, since both may be charged. `record.maybe_billed` counts the attempts that ended as `executed` or
`unknown`; every `APIError` raised here carries that count, the number of attempts and, in its message, what they
mean. Calls that cost nothing (`record.free`) are never `unknown`: after a lost response they are retried like
`not_sent`.

**Cancellation** may arrive at any await: the deadline's, the caller's scope, or `Task.cancel()`. A response that has
arrived is not dropped: a body below `LONG` bytes is parsed at once, and a longer one in a worker thread that
is waited for even if the call is cancelled meanwhile. Only bodies above `VAST` bytes are abandoned. The deadline's
cancellation becomes `APITimeoutError`. A call that is cancelled because its client is closed raises the error made by
`ended_by_closing`, from the windows that the task's `witness` has collected.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

from .._core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    Billing,
    BudgetExceededError,
    MalformedResponseError,
    RateLimitError,
    StepFunError,
)
from .._core.outcomes import billing_of
from .._core.reasons import trace_id_of
from .._core.retry import RetryPolicy, RetryQuota, cost_of_retry, pause_after, wait_before_next
from .._core.wire import HTTPRequest, HTTPResponse, SendState
from .._limits.shared import SharedPermit
from .._runtime.event_loop import VAST, abandonable, deadline_scope, finished_in_thread
from .._runtime.fork import ForkSafeLock
from .record import CallRecord, EventEmitter

if TYPE_CHECKING:
    from .._core.secrets import APIKey
    from .._limits.limiter import Permit
    from .._limits.limits import Limits
    from .._transport import Transport

T = TypeVar("T")


class Aside(Protocol):
    """Where the price of a further attempt is set aside."""

    def set_aside(self) -> None:
        """Set it aside, or raise `BudgetExceededError`."""
        ...


class Exchanger:
    """Carries calls: grants each a slot, holds it to its deadline, tries again where that is safe."""

    def __init__(
        self, transport: Transport, limits: Limits, retry: RetryPolicy, key: APIKey | None, reporter: EventEmitter
    ) -> None:
        self.transport = transport
        self.limits = limits
        self.retry = retry
        self.reporter = reporter
        self.quota = _Quota(retry.quota)
        self._key = key
        self._gate = limits.gate
        self._shared = limits.shared

    async def within(
        self,
        record: CallRecord,
        timeout: float,
        queue_timeout: float | None,
        work: Callable[[Window], Awaitable[T]],
        *,
        counted: bool,
        aside: Aside | None = None,
    ) -> T:
        """What `work` comes to, with a slot, and from its granting on a time in which everything has to happen.

        Args:
            record: the call's.
            timeout: seconds for the work.
            queue_timeout: seconds to wait for the slot; None waits for ever.
            work: what is done then.
            counted: whether the call is one to the API, and so counts for the requests of a minute.
            aside: where the price of a further attempt is set aside; None where it costs nothing.

        Raises:
            QueueTimeoutError: no slot came free in time.
            LimitsUnavailableError: the limits are shared, and cannot be asked.
            APITimeoutError: the time for the work ran out.
        """
        async with self._gate.hold(queue_timeout, place=counted, loop=record.loop) as grant:
            shared: SharedPermit | None = None
            try:
                if self._shared is not None:
                    shared = SharedPermit(self._shared, grant.now, timeout)
                    grant.elsewhere = shared.leave
                    until = math.inf if queue_timeout is None else record.began + queue_timeout
                    await shared.begin(until, place=counted)
                window = Window(self, record, grant, shared, aside, timeout)
                if (seen := witness.get()) is not None:
                    seen.append(window)
                with deadline_scope(window.deadline, record.loop):
                    return await work(window)
                raise window.timed_out()
            finally:
                if shared is not None:
                    shared.leave()

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        """Send once; nothing of the answer repeats the key, should the server do so, and no picture is changed."""
        reply = await self.transport.send(call, progress)
        if self._key is None or not call.path.startswith("/"):  # to a link the key does not go
            return reply
        headers = self._key.redact_headers(reply.headers)
        body = self._key.redact_body(reply.body, paid=reply.status < 300)
        unchanged = headers is reply.headers and body is reply.body
        return reply if unchanged else replace(reply, headers=headers, body=body)


class _Quota:
    """The quota of further attempts, for any thread; None allows any number."""

    def __init__(self, size: int | None) -> None:
        self._lock = ForkSafeLock()
        self._quota = None if size is None else RetryQuota(size)

    def take(self, cost: int) -> bool:
        if self._quota is None:
            return True
        with self._lock:
            return self._quota.take(cost)

    def succeeded(self, cost: int) -> None:
        if self._quota is not None and self._quota.tokens < self._quota.size:
            with self._lock:
                self._quota.succeeded(cost)


witness: ContextVar[list[Window] | None] = ContextVar("witness", default=None)
"""Where the running task's windows are noted, for whoever has to tell how a call stood when it was ended."""


def ended_by_closing(windows: list[Window]) -> APIConnectionError:
    """The error for a call that got as far as `windows` when its client was closed."""
    error = APIConnectionError("the client was closed while the call was in flight", billing="not_sent")
    for window in windows:
        window.conclude(error)
    return error


class Window:
    """The time in which one call has to happen, from now on.

    Attributes:
        exchanger: what carries the call.
        record: the call's.
        grant: its slot.
        shared: its slot at the backend of limits that are shared; None where they are not.
        deadline: when the time is over, by the loop's clock.
    """

    __slots__ = ("_aside", "_started", "_timeout", "deadline", "exchanger", "grant", "record", "shared")

    def __init__(
        self,
        exchanger: Exchanger,
        record: CallRecord,
        grant: Permit,
        shared: SharedPermit | None,
        aside: Aside | None,
        timeout: float,
    ) -> None:
        self.exchanger = exchanger
        self.record = record
        self.grant = grant
        self.shared = shared
        self._aside = aside
        self._timeout = timeout
        self._started = record.grant()
        self.deadline = self._started + timeout

    @property
    def elapsed(self) -> float:
        """Seconds since the slot was granted."""
        return self.record.clock() - self._started

    async def exchange(
        self, call: HTTPRequest, parse: Callable[[HTTPResponse], T], record: CallRecord | None = None
    ) -> T:
        """`call`'s parsed answer, after as many attempts as the retry policy allows.

        Args:
            call: what to send.
            parse: what makes the answer of a reply, or raises an `APIError`.
            record: of what is sent, where that is not the window's own call but one that belongs to it.

        Raises:
            APIError: the last attempt's.
        """
        record = record or self.record
        call = _with_headers(call, record.headers)
        cost = 0
        while True:
            if call.path.startswith("/"):
                if not self.grant.placed:
                    await self.grant.place()
                if self.shared:
                    await self.shared.ready()
            attempt = _Attempt(self, record, cost)
            try:
                return await attempt.make(call, parse)
            except APIError as error:
                wait = attempt.failed(error, self._wait_after(error, record))
                if wait is None or record.interruption is not None:
                    if not record.free:
                        _tell_money(error, record)
                    raise
                cost = cost_of_retry(error)
            await anyio.sleep(wait)

    def timed_out(self) -> APITimeoutError:
        """The error for a deadline that passed."""
        error = APITimeoutError(f"no whole answer within timeout={self._timeout:g} seconds")
        self.conclude(error)
        return error

    def conclude(self, error: APIError) -> None:
        """Let an error that ends the call say what is known of its attempts and of money."""
        error.billing = self.record.billing
        _count(error, self.record)
        if self.record.attempts and not self.record.free:
            _tell_money(error, self.record)

    def _wait_after(self, error: APIError, record: CallRecord) -> float | None:
        """Seconds to wait before the next attempt; None for no further one."""
        retry = self.exchanger.retry
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        pause = pause_after(retry, record.attempts, error, jitter=jitter)
        if pause is not None:
            self.grant.throttled(pause, cut=isinstance(error, RateLimitError))
        if record.free and error.billing == "unknown":  # a lost answer may be asked for again, one that came stays
            error.billing = "not_sent" if isinstance(error, APIConnectionError) else "rejected"
        remaining = self.deadline - record.clock()
        wait = wait_before_next(
            retry, record.attempts, error, jitter=jitter, remaining=remaining, paused=self.grant.paused_for()
        )
        if wait is None or not self._affords(error):
            return None
        return wait

    def _affords(self, error: APIError) -> bool:
        """Whether quota and budget allow a further attempt after `error`."""
        if not self.exchanger.quota.take(cost_of_retry(error)):
            error.tell("not tried again: too many attempts of this client failed (RetryPolicy(quota=...))")
            return False
        if error.billing != "unknown" or self._aside is None:
            return True
        try:
            self._aside.set_aside()
        except BudgetExceededError:
            error.tell("not tried again: the budget has no room for paying twice")
            return False
        return True


def _with_headers(call: HTTPRequest, headers: Mapping[str, str]) -> HTTPRequest:
    """`call` with `headers` besides its own, which prevail; a link gets none."""
    if not headers or not call.path.startswith("/"):
        return call
    return replace(call, headers={**headers, **{name.lower(): value for name, value in call.headers.items()}})


class _Attempt:
    """One attempt of a call."""

    __slots__ = ("_began", "_cost", "_progress", "_record", "_window")

    def __init__(self, window: Window, record: CallRecord, cost: int) -> None:
        self._window = window
        self._record = record
        self._cost = cost
        self._began = record.clock()
        self._progress = SendState(window.grant.now if window.exchanger.limits.requests_per_minute else None)
        record.attempts += 1

    async def make(self, call: HTTPRequest, parse: Callable[[HTTPResponse], T]) -> T:
        """The parsed answer. Every way to end is noted; what an `APIError` leads to, `failed` notes."""
        exchanger = self._window.exchanger
        trace_id: str | None = None
        try:
            reply = await exchanger.send(call, self._progress)
            trace_id = trace_id_of(reply.headers) if self._record.watched else None
            result = await _read(reply, parse)
        except APIError:
            raise
        except BaseException as error:
            known = error.billing if isinstance(error, StepFunError) else self._cut_off()
            self._over(known, error=error)
            raise
        self._over("executed", trace_id=trace_id)
        if exchanger.limits.adaptive:
            self._window.grant.answered()
        exchanger.quota.succeeded(self._cost)
        return result

    def failed(self, error: APIError, wait: float | None) -> float | None:
        """Note that the attempt ended with `error`, and what comes of it."""
        self._over(error.billing, error=error, wait=wait)
        _count(error, self._record)
        return wait

    def _cut_off(self) -> Billing:
        return "not_sent" if self._record.free else billing_of("cancelled", sent=self._progress.sent)

    def _over(
        self,
        billing: Billing,
        *,
        error: BaseException | None = None,
        wait: float | None = None,
        trace_id: str | None = None,
    ) -> None:
        record, window = self._record, self._window
        record.ended("not_sent" if record.free and billing == "executed" else billing)
        window.grant.attempted(billing, self._progress.left)
        if window.shared:
            window.shared.attempted(billing, self._progress.left)
        window.exchanger.reporter.attempted(record, self._began, error=error, wait=wait, trace_id=trace_id)


LONG = 256 * 1024
"""Bytes of a body from which on it is read in a thread: JSON of that length takes milliseconds."""


async def _read(reply: HTTPResponse, parse: Callable[[HTTPResponse], T]) -> T:
    """What `parse` makes of `reply`; of the whole one, where what is left of it without its pictures will not do."""
    if len(reply.body) < LONG:
        try:
            return parse(reply)
        except MalformedResponseError:
            if not reply.pictures:
                raise
    begin = abandonable if len(reply.body) > VAST else finished_in_thread
    return await begin(lambda: parse(reply.whole()))


def _count(error: APIError, record: CallRecord) -> None:
    error.attempts = record.attempts
    error.maybe_billed = record.maybe_billed


def _tell_money(error: APIError, record: CallRecord) -> None:
    """Say in words what is known of money, over all attempts."""
    if record.maybe_billed:
        error.tell("it may have been billed; asking again may pay twice")
    elif error.billing == "not_sent":
        error.tell("nothing was sent")
    if error.resent_by:
        error.tell(f"{error.resent_by}, which answered, sends requests again by itself: more may have been billed")
