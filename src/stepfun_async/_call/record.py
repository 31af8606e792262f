"""The state of a call in progress, and the events and log records emitted for it.

The log and `on_event` receive the same values, and nothing is computed unless one of them is enabled. The
log never holds a prompt, an image, a header or a message of the server: only the fields listed here.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import math
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._core.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    Billing,
    ConfigurationError,
    StepFunError,
)
from .._core.events import AttemptEnded, CallEnded, CallStarted
from .._core.parameters import Parameters
from .._core.text import escaped, shown
from .._core.wire import SendState
from .._runtime.event_loop import Clock, loop_and_clock
from .._runtime.log import is_logged, log
from .settings import check_headers

if TYPE_CHECKING:
    from .._core.events import Event, OnEvent
    from .._core.money import Money
    from .._core.requests import ImageRequest
    from .._core.results import ImagesResponse
    from .._limits.budget import Reservation
    from .._limits.limiter import Permit
    from .save import SaveTarget

_FIELDS = (
    "call",
    "operation",
    "model",
    "attempt",
    "attempts",
    "status",
    "billing",
    "billed",
    "maybe_billed",
    "queued",
    "elapsed",
    "wait",
    "trace_id",
)
"""The fields of an event that a log record may hold, each as `stepfun_...`."""

_numbers = itertools.count(1)


class CallRecord:
    """The state of one call: what it holds, how far it got, and what it may have cost.

    A caller that may be cancelled passes in a record of its own, and reads from it what the call had done by then.

    Attributes:
        number: the number that its events share.
        operation: the operation, as events name it.
        model: the model's name, as sent; `None` for calls without one.
        request: the request value, or the parameters to make it of, if there is one.
        free: whether the call costs nothing, so that a retry is always safe.
        price: the price of one image; `None` if unknown.
        reservation: the money reserved for it; `None` without a budget.
        permit: its permit; `None` before it waits for one.
        target: the file that its image is saved to; `None` to keep it in memory.
        attempts: the number of attempts started.
        maybe_billed: how many of them may have been billed.
        billing: the billing state after the last attempt.
        headers: the headers that `on_event` added to every attempt.
        loop: the event loop it runs in.
        clock: returns that loop's time.
        began: when it started to wait for its permit, by `clock`.
        started: when the permit was granted, by `clock`.
        admitted: whether it has got its permit.
        timeout: seconds for everything from `started` on.
        deadline: `started` plus `timeout`.
        response: the response, once it has been parsed.
        error: the error it ended with, while `CallEnded` is emitted.
        watched: whether `on_event` is set or debug messages are logged; determined once, when the call starts.
        interruption: an exception of the log or of `on_event` that has to be raised, such as `KeyboardInterrupt`.
            It is raised as soon as no image that is paid for can be lost by it.
    """

    number = 0
    operation = ""
    model: str | None = None
    request: ImageRequest | Parameters | None = None
    free = True
    price: Money | None = None
    reservation: Reservation | None = None
    permit: Permit | None = None
    target: SaveTarget | None = None
    attempts = 0
    maybe_billed = 0
    billing: Billing = "not_sent"
    headers: dict[str, str] | None = None
    loop: object = None
    clock: Clock
    began = 0.0
    started = 0.0
    admitted = False
    timeout = math.inf
    deadline = math.inf
    response: ImagesResponse | None = None
    error: BaseException | None = None
    watched = True
    interruption: BaseException | None = None

    def begin(self, operation: str, model: str | None = None, request: ImageRequest | Parameters | None = None) -> None:
        """Start the call in the running event loop."""
        self.number = next(_numbers)
        self.operation = operation
        self.loop, self.clock = loop_and_clock()
        self.began = self.clock()
        if model is not None:
            self.model = model
            self.request = request
            self.free = False

    def part(self, operation: str) -> CallRecord:
        """Return the record of a free call that belongs to this one: it shares permit and deadline."""
        part = CallRecord()
        part.number = next(_numbers)
        part.operation = operation
        part.loop, part.clock, part.permit = self.loop, self.clock, self.permit
        part.timeout, part.deadline, part.admitted = self.timeout, self.deadline, True
        part.began = part.started = self.clock()
        return part

    @property
    def queued(self) -> float:
        """Seconds it waited for its permit."""
        return self.started - self.began if self.admitted else 0.0

    @property
    def billed(self) -> int:
        """The number of images in the response."""
        return len(self.response.data) if self.response else 0

    @property
    def unknown(self) -> int:
        """The number of attempts that may have been billed without a response."""
        return self.maybe_billed - (self.response is not None)

    def begin_attempt(self, clock: Clock | None) -> SendState:
        """Count the start of an attempt.

        Args:
            clock: the clock for the time at which its request is sent; `None` if that is not needed.
        """
        self.attempts += 1
        return SendState(self.started if self.attempts == 1 else self.clock(), self.loop, self.clock, sent_clock=clock)

    def end_attempt(self, billing: Billing) -> None:
        """Count the end of an attempt."""
        if self.free and billing == "executed":
            billing = "not_sent"
        self.billing = billing
        if billing in ("executed", "unknown"):
            self.maybe_billed += 1

    def complete(self, response: ImagesResponse) -> ImagesResponse:
        """Enter the attempts and the time so far into `response`, which no caller has seen yet."""
        object.__setattr__(response, "attempts", self.attempts)
        object.__setattr__(response, "maybe_billed", self.maybe_billed)
        object.__setattr__(response, "elapsed", self.clock() - self.started)
        return response

    def timed_out(self) -> APITimeoutError:
        """Return the error for a deadline that has passed."""
        error = APITimeoutError(f"no complete response within timeout={self.timeout:g} seconds")
        self._conclude(error)
        return error

    def closed(self) -> APIConnectionError:
        """Return the error for a call that was cancelled because its client was closed."""
        error = APIConnectionError("the client was closed while the call was in flight", billing="not_sent")
        self._conclude(error)
        return error

    def count(self, error: APIError) -> None:
        """Enter the attempts so far into `error`."""
        error.attempts = self.attempts
        error.maybe_billed = self.maybe_billed

    def _conclude(self, error: APIError) -> None:
        error.billing = self.billing
        self.count(error)
        if self.attempts and not self.free:
            self.add_cost(error)

    def add_cost(self, error: APIError) -> None:
        """Add to the message of `error` what the attempts may have cost."""
        if self.maybe_billed:
            error.extend_message("it may have been billed; asking again may pay twice")
        elif error.billing == "not_sent":
            error.extend_message("nothing was sent")
        if error.resent_by:
            gateway = f"{error.resent_by}, which responded, resends requests by itself"
            error.extend_message(f"{gateway}: more may have been billed")


class EventEmitter:
    """Emits the events of calls to a user's callback and to the log.

    Args:
        on_event: the callback; `None` for none.
        base_url: the base URL of the calls.

    Raises:
        ConfigurationError: `on_event` is not a synchronous function.
    """

    def __init__(self, on_event: OnEvent | None, base_url: str) -> None:
        _check_synchronous(on_event)
        parts = urlsplit(base_url)
        self._server = parts.hostname or base_url
        self._port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        self._on_event = on_event

    def call_started(self, record: CallRecord) -> None:
        """Emit `CallStarted`, and keep the headers that `on_event` added."""
        record.watched = self._on_event is not None or is_logged(logging.DEBUG)
        if not record.watched:
            return
        event = CallStarted(
            call=record.number,
            operation=record.operation,
            model=record.model,
            server=self._server,
            port=self._port,
            request=_request_of(record),
        )
        self._emit(record, event, logging.DEBUG, "started")
        record.headers = _valid_headers(event)

    def attempt_ended(
        self,
        record: CallRecord,
        began: float,
        *,
        error: BaseException | None,
        wait: float | None = None,
        trace_id: str | None = None,
    ) -> None:
        """Emit `AttemptEnded` for the attempt that began at `began` and that `record` has counted."""
        level = logging.DEBUG if wait is None else logging.INFO
        if not record.watched and (wait is None or not is_logged(level)):
            return
        event = AttemptEnded(
            call=record.number,
            operation=record.operation,
            model=record.model,
            attempt=record.attempts,
            billing=record.billing,
            elapsed=record.clock() - began,
            status=error.status if isinstance(error, APIStatusError) else (200 if error is None else None),
            error=error,
            wait=wait,
            trace_id=error.trace_id if isinstance(error, StepFunError) else trace_id,
        )
        outcome = _outcome(error)
        if wait is not None:
            outcome += f", retried in {wait:.2f} s"
        self._emit(record, event, level, f"attempt {record.attempts} {outcome}")

    def call_ended(self, record: CallRecord) -> None:
        """Emit `CallEnded`."""
        if not record.watched and record.maybe_billed == (record.response is not None):
            return
        level = logging.WARNING if record.unknown else logging.DEBUG
        if not record.watched and not is_logged(level):
            return
        event = CallEnded(
            call=record.number,
            operation=record.operation,
            model=record.model,
            attempts=record.attempts,
            billing=record.billing,
            billed=record.billed,
            maybe_billed=record.maybe_billed,
            queued=record.queued,
            elapsed=record.clock() - record.began,
            response=record.response,
            error=record.error,
        )
        lost = f", {record.unknown} of {record.attempts} attempts may have been billed for nothing"
        self._emit(record, event, level, f"{_outcome(record.error)}{lost if record.unknown else ''}")

    def _emit(self, record: CallRecord, event: Event, level: int, what: str) -> None:
        """Pass `event` to both. What one of them raises costs no image, and does not keep it from the other."""
        for emit in (partial(_write, event, level, what), partial(self._call_back, event)):
            try:
                emit()
            except BaseException as interruption:  # noqa: BLE001 - raised when the call is settled
                record.interruption = record.interruption or interruption

    def _call_back(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - a user's function must not cost an image
            log(logging.ERROR, "on_event failed for %s; the call continues", type(event).__name__, exc_info=True)


def _request_of(record: CallRecord) -> ImageRequest | None:
    """The request value, which is made of its parameters only if an event needs it."""
    if not isinstance(record.request, Parameters):
        return record.request
    from .._core.requests import request_of

    record.request = request_of(record.request)
    return record.request


def _write(event: Event, level: int, what: str) -> None:
    if not is_logged(level):
        return
    fields: dict[str, Any] = {f"stepfun_{name}": getattr(event, name, None) for name in _FIELDS}
    subject = escaped(f"{event.operation} {event.model}" if event.model else event.operation)
    log(level, "call %d, %s: %s", event.call, subject, what, extra=fields)


def _valid_headers(event: CallStarted) -> dict[str, str]:
    """The headers that `on_event` added to `event`, names in lower case; none if one of them is invalid."""
    if why := check_headers(event.headers):
        log(logging.ERROR, "on_event added invalid headers, so none of them are sent; the call continues: %s", why)
        return {}
    return {name.lower(): value for name, value in event.headers.items()}


def _check_synchronous(given: object) -> None:
    if given is None:
        return
    call = getattr(type(given), "__call__", None)  # noqa: B004 - that of the class, for objects that are called
    if not callable(given) or inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(call):
        raise ConfigurationError(f"on_event is a plain function of one event, not {shown(given)}")


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "succeeded"
    status = f" {error.status}" if isinstance(error, APIStatusError) else ""
    return f"ended with {type(error).__name__}{status}"
