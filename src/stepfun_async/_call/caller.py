"""The path of one call, from a request value to its result, in the order in which things happen.

1. **Prepare** (`Caller.send`): the request is validated and encoded; all problems are raised at once.
2. **Reserve**: its price is reserved in the budget, and `CallStarted` is emitted.
3. **Admit** (`Caller._run`): the call acquires a permit, and a second one from the backend if limits are shared. Up to
   here `queue_timeout` applies. Then the deadline begins: one cancel scope covers all attempts, the waits between
   them, parsing, fetching the image from a link, and saving it.
4. **Attempt** (`Caller._send_with_retries`): the transport sends the request, and the response is parsed. `attempts`
   decides whether a failed attempt is retried.
5. **Finish** (`Caller._finish`): the permit is released, the reservation settled, the usage counted, and `CallEnded`
   emitted, whatever the outcome.

All that a call holds is in its `CallRecord`. So code that cancels a call, and passed in its record, can read
from it what may have been billed.

**Cancellation** may arrive at any await: the deadline's, the caller's scope, or `Task.cancel()`. A response that has
arrived is not dropped: a body below `LONG` bytes is parsed at once, and a longer one in a worker thread that
is waited for even if the call is cancelled meanwhile. Only bodies above `VAST` bytes are abandoned. An image that has
arrived is saved in the same way. A cancellation that came during such a step takes effect at the end of the call. The
deadline's cancellation becomes `APITimeoutError`; that by a portal which ends, because its client is closed, becomes
an `APIConnectionError`.
"""

from __future__ import annotations

import math
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import WeakSet

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from .._core.capabilities import SOURCES
from .._core.data_uris import decode_text, is_data_uri
from .._core.errors import (
    APIConnectionError,
    APIError,
    Billing,
    ConfigurationError,
    IneffectiveParameterWarning,
    InvalidRequestError,
    MalformedResponseError,
    ModelRetiredWarning,
    OrientationWarning,
    StepFunError,
)
from .._core.input_images import as_link, is_link
from .._core.outcomes import billing_of
from .._core.parameters import Parameters, Purchase
from .._core.problems import Problem, plain
from .._core.reasons import trace_id_of
from .._core.responses import image_facts, parse_download, parse_images
from .._core.results import ContentFilteredError, Image, ImagesResponse, SaveError
from .._core.retry import cost_of_retry
from .._core.rules import Integer
from .._core.server import Settings
from .._core.wire import HTTPRequest, HTTPResponse, SendState
from .._limits.budget import Budget
from .._limits.limiter import Permit
from .._limits.shared import SharedPermit
from .._runtime.deadlines import deadline_scope
from .._runtime.event_loop import VAST, abandonable, delayed_cancellations, deliver_cancellation, finished_in_thread
from .attempts import Retries
from .options import NO_OPTIONS, Options
from .record import CallRecord, EventEmitter
from .save import SaveTarget, with_image
from .usage import UsageCounter

if TYPE_CHECKING:
    from .._core.capabilities import Capability
    from .._core.money import Money
    from .._core.requests import ImageRequest
    from .._core.retry import RetryPolicy
    from .._core.secrets import APIKey
    from .._limits.limits import Limits
    from .._runtime.portal import Portal
    from .._transport import Transport

T = TypeVar("T")

LONG = 256 * 1024
"""Bytes from which on a body is parsed in a worker thread: JSON of that length takes milliseconds."""


class WorkerPool(Protocol):
    """The workers of a fan-out, which run in the background."""

    async def aclose(self, failure: Exception | None = None) -> None:
        """Cancel the calls in flight in the running loop, and raise `failure` to the reader of their outcomes."""
        ...


class Caller:
    """Sends the calls of one client: its settings, limits, budget and usage, and the path of each call.

    Args:
        config: where calls go.
        transport: sends requests.
        limits: the limits.
        retry: when to retry.
        budget: the budget, if there is one.
        events: emits the calls' events.
        defaults: the timeouts of calls that set none.
        strict: whether requests that the model tables do not allow are rejected.

    Attributes:
        closed: whether further calls are refused.
        pools: the worker pools of the maps in progress.
        portal: the portal that runs the calls, of a client that blocks. Its end cancels them.
    """

    def __init__(
        self,
        config: Settings,
        transport: Transport,
        limits: Limits,
        retry: RetryPolicy,
        budget: Budget | None,
        events: EventEmitter,
        defaults: Options,
        *,
        strict: bool,
    ) -> None:
        self.config = config
        self.limits = limits
        self.budget = budget
        self.ledger = UsageCounter()
        self.closed = False
        self.pools: WeakSet[WorkerPool] = WeakSet()
        self.portal: Portal | None = None
        self._transport = transport
        self._limiter = limits.limiter
        self._shared = limits.shared
        self._retries = Retries(retry)
        self._events = events
        self._defaults = defaults
        self._strict = strict
        self._is_native = config.server.native
        self._has_prices = config.region is not None or budget is not None

    def __repr__(self) -> str:
        config = getattr(self, "config", None)  # missing in a copy that is only partly made
        return f"{config.base_url}{' closed' if self.closed else ''}" if config else "<Caller>"

    async def aclose(self) -> None:
        """Close the worker pools and the connections, and refuse every further call."""
        self.closed = True
        for pool in tuple(self.pools):
            message = "the client was closed while a map was running; client.usage has what may have been billed"
            await pool.aclose(APIConnectionError(message, billing="unknown", again=False))
        await self._transport.aclose()
        if self._shared is not None:
            await self._shared.flush()

    def refuse_if_closed(self) -> None:
        """Raise `ConfigurationError` if the client is closed."""
        if self.closed:
            raise ConfigurationError("this client is closed: make a new one")

    def price(self, request: ImageRequest) -> Money | None:
        """Return the price of one image here; `None` if unknown."""
        return price_at(self.config, self.budget, request)

    # --- the ways in

    async def send(
        self,
        parameters: Parameters,
        options: Options,
        *,
        request: ImageRequest | None = None,
        record: CallRecord | None = None,
    ) -> ImagesResponse:
        """Send a request: the call behind `generate`, `edit`, `image_to_image` and `map`.

        Args:
            parameters: what is asked for.
            options: how to make the call.
            request: the request value that they are of, for events; by default it is made if one needs it.
            record: the record to keep, for code that may cancel the call.

        Raises:
            InvalidRequestError: the request or an option has problems; nothing was sent.
            StepFunError: any other failure; `_core.errors` has the tree.
        """
        if self.closed:
            self.refuse_if_closed()
        row = parameters.row
        if row is not None and row.draws_seed and parameters.lacks_seed:
            seed = parameters.given["seed"] = _drawn_seed(row)
            request = request and request.model_copy(update={"seed": seed})
        if options.save_to is not None or (parameters.has_images and parameters.may_block):  # which may need a disk
            call, target = await finished_in_thread(partial(self._prepare, parameters, options))
        else:
            call, target = self._prepare(parameters, options)
        if self._strict:
            self._warn(parameters)
        record = record or CallRecord()
        purchase = parameters.bought_by(call)
        record.begin(parameters.operation, purchase.model, request or parameters)
        try:
            if target is not None:
                call = self._into(target, record, call)
            self._reserve(record, purchase)
            has_seed = "seed" in parameters.given or parameters.extra_body is not None
            sent = parameters.seed_sent if has_seed and not self._is_native else None  # StepFun returns it
            return await self._run(record, call, self._parser_for(purchase, sent), options)
        finally:
            if target is not None:
                await target.aclose()
            if delayed_cancellations:
                await deliver_cancellation()

    async def fetch(self, operation: str, path: str, parse: Callable[..., T], options: Options) -> T:
        """Return the parsed response to a GET, which costs nothing and so is retried whenever that may help.

        Args:
            operation: the operation, as events name it.
            path: below the base URL, beginning with a slash; or a whole link, which gets no key.
            parse: parses a response, given the time as `now`.
            options: timeouts and headers.

        Raises:
            StepFunError: any failure.
        """
        self.refuse_if_closed()
        _refuse_problems(f"GET {path}", replace(options, save_to=None))
        record = CallRecord()
        record.begin(operation)
        try:
            return await self._run(record, HTTPRequest("GET", path, headers=options.headers or {}), parse, options)
        finally:
            if delayed_cancellations:
                await deliver_cancellation()

    async def download(self, image: Image | str, options: Options) -> Image:
        """Download the image behind a link; see `AsyncImages.download`."""
        self.refuse_if_closed()
        target = await finished_in_thread(partial(_target_for, "download", options))
        linked = _linked(image)
        record = CallRecord()
        record.begin("download")
        try:
            call = HTTPRequest("GET", linked.url or "")
            if target is not None:
                call = self._into(target, record, call)
            if linked.data is None and linked.path is None:
                return (await self._run(record, call, partial(_parse_image, image=linked), options)).image
            response = ImagesResponse((linked,), attempts=0, maybe_billed=0)
            return (response if target is None else await target.keep(response)).image
        finally:
            if target is not None:
                await target.aclose()
            if delayed_cancellations:
                await deliver_cancellation()

    # --- prepare

    def _prepare(self, parameters: Parameters, options: Options) -> tuple[HTTPRequest, SaveTarget | None]:
        """Check and convert everything. Raise all problems at once."""
        call, problems = parameters.prepare() if self._strict else parameters.prepare_unchecked()
        if self.config.plan and self._strict and (row := parameters.row) and not row.step_plan:
            why = "the Step Plan does not have it; use the pay-as-you-go base URL, which ends in /v1"
            problems = (Problem("model", parameters.model, "step-image-edit-2", why), *problems)
        if options is not NO_OPTIONS:
            problems = (*problems, *options.problems())
        if problems or call is None:
            raise InvalidRequestError.of(parameters.subject, problems)
        target = None if options.save_to is None else _target_of(options)
        return replace(call, headers=options.headers) if options.headers else call, target

    def _warn(self, parameters: Parameters) -> None:
        for notice in parameters.ineffective():
            warnings.warn(notice, IneffectiveParameterWarning, stacklevel=2)
        if parameters.has_images or "size" in parameters.given:
            for notice in parameters.turned():
                warnings.warn(notice, OrientationWarning, stacklevel=2)
        if self.config.hosted and (row := parameters.row):
            _warn_if_retired(row)

    @staticmethod
    def _into(target: SaveTarget, record: CallRecord, call: HTTPRequest) -> HTTPRequest:
        """Return `call` with its image written to `target`, which no other call may write to."""
        target.claim(record.loop)
        record.target = target
        return replace(call, into=target.begin)

    def _parser_for(self, purchase: Purchase, seed: int | None) -> Callable[..., ImagesResponse]:
        """Return the parser of the response to a request for `purchase` that was sent with `seed`."""
        config = self.config

        def parse(response: HTTPResponse, *, now: float) -> ImagesResponse:
            is_success = 200 <= response.status < 300
            return parse_images(
                response,
                model=purchase.model,
                base_url=config.base_url,
                now=now,
                link_lifetime=config.link_lifetime,
                seed=seed,
                hint_of=None if is_success else partial(config.hint, purchase.operation),
            )

        return parse

    # --- reserve

    def _reserve(self, record: CallRecord, purchase: Purchase) -> None:
        """Reserve the price of the call.

        Raises:
            ConfigurationError: there is a budget, and the price is unknown.
            InvalidRequestError: there is a budget, and the number of images is not known before sending.
            BudgetExceededError: the price does not fit into what is left of the budget.
        """
        if self._has_prices:
            record.price = _price_of(purchase, self.config, self.budget)
        if self.budget is not None:
            record.reservation = self.budget.reserve(purchase.model, record.price, _countable(purchase))

    # --- admit

    async def _run(self, record: CallRecord, call: HTTPRequest, parse: Callable[..., T], options: Options) -> T:
        """Run a call that is prepared: acquire its permit, send it before its deadline, and finish it."""
        try:
            self._events.call_started(record)
            if record.interruption is not None:
                _raise_interruption(record)
            if record.headers:
                call = _with_headers(call, record.headers)
            await self._admit(record, options, counted=call.path[:1] == "/")
            with deadline_scope(record.timeout, record.deadline, record.loop):
                result: Any = await self._send_with_retries(record, call, parse)
                if options.fetch or record.target is not None:
                    result = await self._with_image(record, result)
                return result  # type: ignore[no-any-return]
            await checkpoint_if_cancelled()
            raise record.timed_out()
        except Exception as error:
            record.error = error
            if record.response is None or isinstance(error, ContentFilteredError | SaveError):
                raise
            record.error = await _unfetched(record.response, record.target, error)  # it is paid for, and not lost
            raise record.error from error
        except BaseException as error:
            record.error = error
            if self.portal is not None and self.portal.is_ending:
                record.error = record.closed()
                raise record.error from None
            raise
        finally:
            self._finish(record)

    async def _admit(self, record: CallRecord, options: Options, *, counted: bool) -> None:
        """Acquire the call's permit, and start its deadline.

        Raises:
            QueueTimeoutError: no slot became free in time.
            LimitsUnavailableError: the limits are shared, and their backend cannot be reached.
        """
        timeout = (self._defaults.timeout if options.timeout is None else options.timeout) or math.inf
        queue_timeout = self._defaults.queue_timeout if options.queue_timeout is None else options.queue_timeout
        if self._shared is not None and (why := why_never_free(self.limits, timeout)):
            raise ConfigurationError(why)
        permit = record.permit = Permit(self._limiter, queue_timeout, entry=counted, loop=record.loop)
        at_once = permit.acquire_nowait()
        if not at_once:
            await permit.acquire()
        if self._shared is not None:
            permit.shared = shared = SharedPermit(self._shared, permit.now, timeout)
            until = math.inf if queue_timeout is None else record.began + queue_timeout
            await shared.acquire(until, entry=counted)
            at_once = False
        record.admitted = True
        record.timeout = timeout
        record.started = started = record.began if at_once else record.clock()
        record.deadline = started + timeout
        if self.closed:  # while the call waited
            self.refuse_if_closed()

    # --- attempt

    async def _send_with_retries(  # noqa: C901 - the one loop of attempts, in the order in which things happen
        self, record: CallRecord, call: HTTPRequest, parse: Callable[..., T]
    ) -> T:
        """Return the parsed response to `call`, after as many attempts as the retry policy allows.

        Raises:
            APIError: that of the last attempt.
        """
        permit = record.permit
        assert permit is not None  # noqa: S101 - the call is admitted
        counted, key, quota = call.path[:1] == "/", self.config.key, self._retries.quota
        result: Any
        cost = 0
        while True:
            if counted and (permit.shared is not None or not permit.has_entry):
                await permit.acquire_entry()
            attempt = record.begin_attempt(permit.now if self.limits.requests_per_minute else None)
            try:
                response = await self._transport.send(call, attempt)
                if counted and key is not None and key.is_in(response.headers, response.body):
                    response = _redacted(response, key)
                if response.images or len(response.body) >= LONG:
                    result = await _parsed_in_thread(response, parse)
                else:
                    result = parse(response, now=time.time())
            except APIError as error:
                wait = self._failed(record, permit, attempt, error)
                if wait is None:
                    raise
                cost = cost_of_retry(error)
            except BaseException as error:
                self._end_attempt(record, permit, attempt, _billing_of(error, record, attempt), error=error)
                raise
            else:
                self._end_attempt(record, permit, attempt, "executed", response=response)
                if not record.free:  # it is paid for, and must not be lost from here on
                    record.response = record.complete(result)
                if quota is not None and quota.tokens < quota.size:
                    self._retries.succeeded(cost)
                return result  # type: ignore[no-any-return]
            await anyio.sleep(wait)

    def _failed(self, record: CallRecord, permit: Permit, attempt: SendState, error: APIError) -> float | None:
        """End an attempt that failed. Return the seconds to wait before the next one; `None` to raise `error`."""
        wait = self._retries.wait_after(record, permit, error)
        self._end_attempt(record, permit, attempt, error.billing, error=error, wait=wait)
        record.count(error)
        if wait is not None and record.interruption is None:
            return wait
        if not record.free:
            record.add_cost(error)
        if isinstance(error, APIConnectionError) and error.billing == "not_sent":
            hint = self.config.hint_without_connection(record.operation)
            if hint is not None:
                error.extend_message(hint)
        return None

    def _end_attempt(
        self,
        record: CallRecord,
        permit: Permit,
        attempt: SendState,
        billing: Billing,
        *,
        response: HTTPResponse | None = None,
        error: BaseException | None = None,
        wait: float | None = None,
    ) -> None:
        record.end_attempt(billing)
        permit.attempt_ended(billing, attempt.sent_at)
        if record.watched or wait is not None:
            trace_id = None if response is None else trace_id_of(response.headers)
            self._events.attempt_ended(record, attempt.began, error=error, wait=wait, trace_id=trace_id)

    # --- parse and save

    async def _with_image(self, record: CallRecord, response: ImagesResponse) -> ImagesResponse:
        """Return `response` with its image fetched, if it is a link, and saved, if the call has a target.

        Raises:
            ContentFilteredError: there is no image.
            SaveError: it cannot be saved.
        """
        image = response.image
        if image.data is None and image.path is None and image.url is not None:
            response = await self._with_linked(record, response, image)
        if record.target is not None:
            response = await record.target.keep(response)
        if not record.free:
            record.response = response
        return response

    async def _with_linked(self, record: CallRecord, response: ImagesResponse, image: Image) -> ImagesResponse:
        """Return `response` with the bytes behind the link of `image`."""
        part = record.part("download")
        call = HTTPRequest("GET", image.url or "", into=record.target.begin if record.target else None)
        try:
            self._events.call_started(part)
            fetched = await self._send_with_retries(part, call, partial(_parse_image, image=image))
        except BaseException as error:
            part.error = error
            raise
        finally:
            self._events.call_ended(part)
            part.error = None
            record.interruption = record.interruption or part.interruption
        return record.complete(with_image(response, fetched.image))

    # --- finish

    def _finish(self, record: CallRecord) -> None:
        """Release the permit, settle the reservation, count the usage, and emit `CallEnded`."""
        if record.permit is not None:
            record.permit.release()
        if record.reservation is not None:
            record.reservation.settle(billed=record.billed, unknown=record.unknown)
        if record.admitted and not record.free:
            self.ledger.enter(record, record.price)
        self._events.call_ended(record)
        try:
            if record.interruption is not None:
                _raise_interruption(record)
        finally:
            record.error = None  # its traceback has a frame that has the record


def _drawn_seed(row: Capability) -> int:
    """A seed for a server that would use the same one each time."""
    rule = row.rules["seed"]
    return secrets.randbelow(rule.maximum + 1) if isinstance(rule, Integer) else 0


def _raise_interruption(record: CallRecord) -> None:
    """Raise what the log or `on_event` raised, now that no image can be lost by it."""
    interruption, record.interruption = record.interruption, None
    if interruption is None:
        return
    error = record.error
    if error is None and record.response is not None:
        message = "the image was made and paid for, and then the log or on_event raised; error.response has it"
        error = SaveError(message, response=record.response)
    try:
        raise interruption from error
    finally:
        del interruption, error  # or its traceback and this frame would hold each other


def _with_headers(call: HTTPRequest, headers: Mapping[str, str]) -> HTTPRequest:
    """`call` with `headers` besides its own, which prevail; a link gets none."""
    if not call.path.startswith("/"):
        return call
    return replace(call, headers={**headers, **{name.lower(): value for name, value in call.headers.items()}})


def _redacted(response: HTTPResponse, key: APIKey) -> HTTPResponse:
    """`response` without the key, which the server has repeated; no image is changed."""
    body = key.redact_body(response.body, paid=response.status < 300)
    return replace(response, headers=key.redact_headers(response.headers), body=body)


def _billing_of(error: BaseException, record: CallRecord, attempt: SendState) -> Billing:
    """The billing state of an attempt that ended with an `error` other than an `APIError`: cancelled, most often."""
    if isinstance(error, StepFunError):
        return error.billing
    return "not_sent" if record.free else billing_of("cancelled", sent=attempt.sent)


async def _parsed_in_thread(response: HTTPResponse, parse: Callable[..., T]) -> T:
    """Parse a `response` that is long, or that images were extracted from; the whole one if its rest is malformed."""
    if len(response.body) < LONG:
        with suppress(MalformedResponseError):
            return parse(response, now=time.time())
    begin = abandonable if len(response.body) > VAST else finished_in_thread
    return await begin(lambda: parse(response.whole(), now=time.time()))


def _parse_image(response: HTTPResponse, *, now: float, image: Image) -> ImagesResponse:
    """`image` with the bytes behind its link, which cost nothing."""
    return ImagesResponse((replace(image, **parse_download(response, now=now)),), attempts=0, maybe_billed=0)


def price_at(config: Settings, budget: Budget | None, request: ImageRequest) -> Money | None:
    """The price of one image of a request whose `extra_body` names no other model; `None` if unknown."""
    return _price_of(Purchase(request.model, request.operation, 1), config, budget)


def _price_of(purchase: Purchase, config: Settings, budget: Budget | None) -> Money | None:
    """The price of one image at a server; `None` if unknown. The Step Plan is paid by the month."""
    region = None if config.plan else config.region
    listed = purchase.price(region) if region else None
    return budget.price_of(purchase.model, listed) if budget else listed


def _countable(purchase: Purchase) -> int:
    """The number of images ordered, for a budget."""
    if purchase.images is not None:
        return purchase.images
    why = "what is sent does not say how many images will be charged, so the budget cannot be enforced"
    problem = Problem("n", None, "a whole number, also in extra_body", why)
    raise InvalidRequestError.of(f"{purchase.model} {purchase.operation}", (problem,))


def why_never_free(limits: Limits, timeout: float) -> str | None:
    """Why calls without an end cannot have shared limits; `None` for limits and a timeout that go together."""
    if limits.backend is None or timeout < math.inf:
        return None
    return "shared limits need a finite timeout: it is how long a slot is kept should this process die"


def _refuse_problems(subject: str, options: Options) -> None:
    problems = options.problems()
    if problems:
        raise InvalidRequestError.of(subject, problems)


def _target_for(subject: str, options: Options) -> SaveTarget | None:
    _refuse_problems(subject, options)
    return _target_of(options)


def _target_of(options: Options) -> SaveTarget | None:
    return None if options.save_to is None else SaveTarget(options.save_to, overwrite=options.overwrite)


def _linked(image: object) -> Image:
    """`image` as one that has a link, or its bytes already."""
    linked = Image(url=as_link(image)) if isinstance(image, str) else image
    why = f"a {type(image).__name__} is neither"
    if isinstance(linked, Image):
        if linked.data is not None or linked.path is not None or is_link(linked.url or ""):
            return linked
        if is_data_uri(linked.url or ""):
            return _decoded(linked)
        why = "it was withheld by the content filter" if linked.filtered else "there is no http(s) link in it"
    raise InvalidRequestError.of("download", (Problem("image", plain(image), "an Image with a link, or a link", why),))


def _decoded(image: Image) -> Image:
    """`image`, whose link is a data URI, with the bytes in it."""
    try:
        return replace(image, url=None, **image_facts(decode_text(image.url or "")))
    except ValueError as error:
        allowed = "an Image with a link, or a link"
        raise InvalidRequestError.of("download", (Problem("image", plain(image), allowed, str(error)),)) from error


_warned: set[str] = set()
"""Models whose end this process has warned about."""


def _warn_if_retired(row: Capability) -> None:
    end = row.lifecycle
    if end is None or row.model in _warned or not end.over(datetime.now(UTC).date()):
        return
    when = f"on {end.ends}" if end.ends else "on a day not known"
    then = f"; StepFun names {end.successor} as its successor" if end.successor else ""
    then = f", only for now ({SOURCES[end.paused]})" if end.paused else then
    message = (
        f"StepFun's hosts were to stop serving {row.model} {when}{then}; the request is sent all the same. "
        "The page 'Which server?' lists others"
    )
    warnings.warn(message, ModelRetiredWarning, stacklevel=2)
    _warned.add(row.model)


async def _unfetched(response: ImagesResponse, target: SaveTarget | None, error: Exception) -> SaveError:
    """The error for an image that was made and not fetched, with all of it that there is."""
    message = f"the image was made and paid for, but not fetched: {error}; error.response has its link"
    return SaveError(message, response=response if target is None else await target.in_memory(response))
