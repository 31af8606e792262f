"""One call as it goes: what is known of it so far, and who is told.

The log and `on_event` are told of the same values. Nothing is made for them while nobody listens. The
log never holds a prompt, a picture, a header or a message of the server: only the fields listed here.
"""

from __future__ import annotations

import inspect
import itertools
import logging
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._core.errors import APIStatusError, Billing, ConfigurationError, StepFunError
from .._core.events import AttemptEnded, CallEnded, CallStarted
from .._core.text import escaped, shown
from .._runtime.event_loop import clock_of, running_loop
from .._runtime.log import is_logged, log
from .settings import check_headers

if TYPE_CHECKING:
    from .._core.events import Event, OnEvent
    from .._core.requests import ImageRequest
    from .._core.results import ImagesResponse

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
"""What a log record may hold of an event, each as `stepfun_...`."""

_numbers = itertools.count(1)


class CallRecord:
    """What is known of one call so far.

    Attributes:
        number: what its events share.
        operation: what it asks for.
        model: the model that is asked, as it is sent; None for calls without one.
        request: the request value; None for calls without one.
        free: whether it costs nothing, so that trying again is always safe.
        attempts: how many were begun.
        maybe_billed: how many of them may have been charged.
        billing: what is known about money after the last one.
        headers: what `on_event` has each attempt sent with.
        granted: whether it has got its slot.
        queued: seconds it waited for it.
        loop: the loop that it is made in.
        clock: tells that loop's time.
        response: the answer, once there is one.
        watched: whether somebody listens to what happens to it as a rule; asked once, when it begins.
        interruption: what the log or `on_event` raised that must not be held up for good, such as
            `KeyboardInterrupt`; raised as soon as nothing that is paid for can be lost by it.
    """

    __slots__ = (
        "attempts",
        "began",
        "billing",
        "clock",
        "free",
        "granted",
        "headers",
        "interruption",
        "loop",
        "maybe_billed",
        "model",
        "number",
        "operation",
        "queued",
        "request",
        "response",
        "watched",
    )

    def __init__(self, operation: str, request: ImageRequest | None = None, model: str | None = None) -> None:
        self.number = next(_numbers)
        self.operation = operation
        self.model = model
        self.request = request
        self.free = request is None
        self.attempts = 0
        self.maybe_billed = 0
        self.billing: Billing = "not_sent"
        self.headers: dict[str, str] = {}
        self.granted = False
        self.loop = running_loop()
        self.clock = clock_of(self.loop)
        self.began = self.clock()
        self.queued = 0.0
        self.response: ImagesResponse | None = None
        self.watched = True
        self.interruption: BaseException | None = None

    def grant(self) -> float:
        """Note that the slot is there, and tell since when."""
        now = self.clock()
        self.granted = True
        self.queued = now - self.began
        return now

    def ended(self, billing: Billing) -> None:
        """Note how an attempt ended."""
        self.billing = billing
        if billing in ("executed", "unknown"):
            self.maybe_billed += 1

    @property
    def billed(self) -> int:
        """How many pictures were answered."""
        return len(self.response.data) if self.response else 0

    @property
    def unknown(self) -> int:
        """How many attempts may have been billed without bringing anything."""
        return self.maybe_billed - bool(self.response)


class EventEmitter:
    """Tells the log and a user's function what happens.

    Args:
        on_event: the function; None for none.
        base_url: where calls go.

    Raises:
        ConfigurationError: `on_event` is no plain function.
    """

    def __init__(self, on_event: OnEvent | None, base_url: str) -> None:
        _check_plain_function(on_event)
        parts = urlsplit(base_url)
        self._server = parts.hostname or base_url
        self._port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        self._on_event = on_event

    def began(self, record: CallRecord) -> None:
        """A call was accepted."""
        record.watched = self._on_event is not None or is_logged(logging.DEBUG)
        if not record.watched:
            return
        event = CallStarted(
            call=record.number,
            operation=record.operation,
            model=record.model,
            server=self._server,
            port=self._port,
            request=record.request,
        )
        self._tell(record, event, logging.DEBUG, "started")
        record.headers = _fit_headers(event)

    def attempted(
        self,
        record: CallRecord,
        began: float,
        *,
        error: BaseException | None,
        wait: float | None,
        trace_id: str | None,
    ) -> None:
        """An attempt that `began` then ended; `record` knows already how."""
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
        told = _name(error)
        if wait is not None:
            told += f", tried again in {wait:.2f} s"
        self._tell(record, event, level, f"attempt {record.attempts} {told}")

    def ended(self, record: CallRecord, error: BaseException | None) -> None:
        """A call ended."""
        level = logging.WARNING if record.unknown else logging.DEBUG
        if not record.watched and (level == logging.DEBUG or not is_logged(level)):
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
            error=error,
        )
        lost = f", {record.unknown} of {record.attempts} attempts may have been billed for nothing"
        self._tell(record, event, level, f"{_name(error)}{lost if record.unknown else ''}")

    def _tell(self, record: CallRecord, event: Event, level: int, what: str) -> None:
        """Tell both, whatever they raise: it must not cost a picture, nor keep the next one from being told."""
        for tell in (partial(_write, event, level, what), partial(self._hand_over, event)):
            try:
                tell()
            except BaseException as interruption:  # noqa: BLE001 - raised when the call is settled
                record.interruption = record.interruption or interruption

    def _hand_over(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - a user's function must not cost a picture
            log(logging.ERROR, "on_event failed for %s; the call goes on", type(event).__name__, exc_info=True)


def _write(event: Event, level: int, what: str) -> None:
    if not is_logged(level):
        return
    fields = {f"stepfun_{name}": getattr(event, name, None) for name in _FIELDS}
    subject = escaped(f"{event.operation} {event.model}" if event.model else event.operation)
    log(level, "call %d, %s: %s", event.call, subject, what, extra=fields)


def _fit_headers(event: CallStarted) -> dict[str, str]:
    """The headers that `on_event` has put into `event`, lower-case; none where HTTP cannot carry one of them."""
    if why := check_headers(event.headers):
        log(logging.ERROR, "on_event gave headers that cannot be sent, so none are; the call goes on: %s", why)
        return {}
    return {name.lower(): value for name, value in event.headers.items()}


def _check_plain_function(given: object) -> None:
    if given is None:
        return
    call = getattr(type(given), "__call__", None)  # noqa: B004 - that of the class, for objects that are called
    if not callable(given) or inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(call):
        raise ConfigurationError(f"on_event is a plain function of one event, not {shown(given)}")


def _name(error: BaseException | None) -> str:
    if error is None:
        return "succeeded"
    status = f" {error.status}" if isinstance(error, APIStatusError) else ""
    return f"ended with {type(error).__name__}{status}"
