"""What every public method comes down to: a request value sent, or something fetched."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakSet

from .._core.answers import parse_download, parse_images, picture_facts
from .._core.data_uris import decode_text, is_data_uri
from .._core.errors import (
    APIConnectionError,
    ConfigurationError,
    ContentFilteredError,
    IneffectiveParameterWarning,
    InvalidRequestError,
    ModelRetiredWarning,
    OrientationWarning,
    SaveError,
)
from .._core.pictures import as_link, is_link
from .._core.problems import Problem, plain
from .._core.results import Image, ImagesResponse
from .._core.retry import RetryPolicy
from .._core.server import Settings
from .._core.text import shown
from .._core.wire import HTTPRequest, HTTPResponse, encode_json
from .._limits.budget import Budget, Reservation
from .._limits.limits import Limits
from .._runtime.event_loop import ended, finished_in_thread
from .attempts import Exchanger, Window
from .options import Options
from .record import CallRecord, EventEmitter
from .save import SaveTarget, with_image
from .settings import Validation, check_headers, check_seconds, resolve
from .usage import UsageCounter

if TYPE_CHECKING:
    from .._core.capabilities import Capability, Money
    from .._core.cutting import Sink
    from .._core.events import OnEvent
    from .._core.requests import ImageRequest, Purchase, Reading
    from .._transport import AnyTransport, Transport

T = TypeVar("T")

DEFAULT_LIMITS = Limits()
"""What stands for a `Limits()` of each client's own: clients that were told nothing share nothing."""

DEFAULT_RETRY = RetryPolicy()


def caller_for(
    api_key: str | None,
    *,
    base_url: str | None,
    limits: Limits,
    timeout: float,
    queue_timeout: float | None,
    retry: RetryPolicy,
    budget: Budget | None,
    validation: Validation,
    default_headers: Mapping[str, str] | None,
    transport: AnyTransport | None,
    proxy: str | None,
    allow_http: bool,
    on_event: OnEvent | None,
    keepalive_expiry: float | None = None,
) -> Caller:
    """The service for a client's settings, which `AsyncClient` describes.

    Raises:
        ConfigurationError: a setting cannot be right.
    """
    _refuse(check_seconds("timeout", timeout))
    _refuse(None if queue_timeout is None else check_seconds("queue_timeout", queue_timeout, zero=True))
    _refuse(None if keepalive_expiry is None else check_seconds("keepalive_expiry", keepalive_expiry, zero=True))
    _refuse(None if default_headers is None else check_headers(default_headers))
    known = _is_word(validation, "strict", "off")
    _refuse(None if known else f"validation is 'strict' or 'off', not {shown(validation)}")
    _refuse(None if _is(limits, Limits) else f"limits is a Limits(...), not {shown(limits)}")
    _refuse(None if _is(retry, RetryPolicy) else f"retry is a RetryPolicy(...), not {shown(retry)}")
    _refuse(None if budget is None or _is(budget, Budget) else f"budget is a Budget(...) or None, not {shown(budget)}")
    _refuse(_why_never_free(limits, timeout))
    config = resolve(api_key, base_url, allow_http=allow_http)
    reporter = EventEmitter(on_event, config.base_url)
    carrier = _transport_for(config, transport, proxy, default_headers or {}, keepalive_expiry)
    own = Limits() if limits is DEFAULT_LIMITS else limits
    exchanger = Exchanger(carrier, own, retry, config.key, reporter)
    defaults = Options(timeout=timeout, queue_timeout=queue_timeout)
    return Caller(config, exchanger, defaults, budget, strict=validation == "strict")


def _why_never_free(limits: Limits, timeout: float) -> str | None:
    if limits.backend is None or timeout < math.inf:
        return None
    return "shared limits need a finite timeout: it is how long a slot is kept should this process die"


class WorkerPool(Protocol):
    """Whoever works in the background for a fan-out."""

    async def dismiss(self, failure: Exception | None = None) -> None:
        """End what is in flight in the running loop; whoever waits for more of it gets `failure`."""
        ...


class Caller:
    """A server as one client sees it: its settings, slots and ledger, and the way of each call."""

    def __init__(
        self, config: Settings, exchanger: Exchanger, defaults: Options, budget: Budget | None, *, strict: bool
    ) -> None:
        self.config = config
        self.limits = exchanger.limits
        self.budget = budget
        self.ledger = UsageCounter()
        self.closed = False
        self.crews: WeakSet[WorkerPool] = WeakSet()
        self._exchanger = exchanger
        self._reporter = exchanger.reporter
        self._defaults = defaults
        self._strict = strict

    def __repr__(self) -> str:
        config = getattr(self, "config", None)  # not there in a copy that is half made
        return f"{config.base_url}{' closed' if self.closed else ''}" if config else "<Service>"

    async def aclose(self) -> None:
        """End the fan-outs, close the connections, and refuse every further call."""
        self.closed = True
        for crew in tuple(self.crews):
            message = "the client was closed while a map was going on; client.usage has what may have been billed"
            await crew.dismiss(APIConnectionError(message, billing="unknown", again=False))
        await self._exchanger.transport.aclose()
        if self.limits.shared is not None:
            await self.limits.shared.flush()

    def refuse_if_closed(self) -> None:
        """Raise `ConfigurationError` when the client is closed."""
        if self.closed:
            raise ConfigurationError("this client is closed: make a new one")

    async def send(self, request: ImageRequest, options: Options) -> ImagesResponse:
        """Send a request value: what `generate`, `edit`, `image_to_image` and `map` come down to.

        Raises:
            InvalidRequestError: the request or an option has problems; nothing was sent.
            StepFunError: anything else that can go wrong; the package's documentation has the tree.
        """
        return await ended(self._send(request, options))

    async def _send(self, request: ImageRequest, options: Options) -> ImagesResponse:
        self.refuse_if_closed()
        reading = request.read()
        if reading.has_pictures or options.save_to is not None:  # which may be a matter of disks
            call, place = await finished_in_thread(partial(self._prepared, reading, options))
        else:
            call, place = self._prepared(reading, options)
        if self._strict:
            self._warn(reading)
        purchase = reading.bought_by(call)
        if place is None:
            return await self._made(request, purchase, call, options, None)
        async with place:
            return await self._made(request, purchase, replace(call, into=place.begin), options, place)

    async def _made(
        self, request: ImageRequest, purchase: Purchase, call: HTTPRequest, options: Options, place: SaveTarget | None
    ) -> ImagesResponse:
        """The answer to `call`, with its picture fetched and saved where it has a place.

        The price is set aside for as long as it takes; then what came of it is entered, whatever that is.

        Raises:
            ConfigurationError: there is a budget, and the price is not known.
            InvalidRequestError: there is a budget, and nobody can tell how many pictures are asked for.
            BudgetExceededError: it does not fit into what is left of the budget.
        """
        record = CallRecord(request.operation, request, purchase.model)
        price = _price_of(purchase, self.config, self.budget)
        hold = self.budget.reserve(purchase.model, price, _countable(purchase)) if self.budget else None

        async def make(window: Window) -> ImagesResponse:
            self.refuse_if_closed()  # while this call was waiting for its slot
            answer = await window.exchange(call, partial(self._parse_images, model=purchase.model))
            record.response = _told(answer, window)
            wanted = options.fetch or place is not None
            return await self._with_bytes(window, place) if wanted else record.response

        async def work() -> ImagesResponse:
            record.response = await _kept(await self._within(record, options, make, hold), place)
            return record.response

        try:
            return await self._reported(record, work)
        except (ContentFilteredError, SaveError):
            raise
        except Exception as error:
            if record.response is None:  # otherwise it is paid for, and must not be lost whatever went wrong
                raise
            raise await _unfetched(record.response, place, error) from error
        finally:
            if hold:
                hold.settle(billed=record.billed, unknown=record.unknown)
            if record.granted:
                self.ledger.enter(record, price)

    async def _reported(
        self, record: CallRecord, work: Callable[[], Awaitable[T]], outer: CallRecord | None = None
    ) -> T:
        """What `work` comes to; the log and `on_event` are told of the call that it is.

        Where one of them raises what is no `Exception`, that is raised here: before anything was sent, or else when
        what came is settled and kept. In a call within another one it is the other's to raise.

        Args:
            record: the call's.
            work: the call.
            outer: that of the call around it; None where there is none.
        """
        self._reporter.began(record)
        try:
            if outer is None and record.interruption is not None:
                _pass_on(record, outer)
            result = await work()
        except BaseException as error:
            self._reporter.ended(record, error)
            _pass_on(record, outer, error)
            raise
        self._reporter.ended(record, None)
        if record.interruption is not None:
            _pass_on(record, outer)
        return result

    def price(self, request: ImageRequest) -> Money | None:
        """What one picture costs here; None where it is not known."""
        return price_at(self.config, self.budget, request)

    async def fetch(
        self,
        operation: str,
        path: str,
        parse: Callable[[HTTPResponse], T],
        options: Options,
    ) -> T:
        """The parsed answer to a GET, which costs nothing and so is tried again whenever that may help.

        Args:
            operation: what it is for, as events name it.
            path: below the base URL, beginning with a slash; or a whole link, which gets no key.
            parse: what makes the answer of a reply.
            options: timeouts and headers.
        """
        return await ended(self._fetch(operation, path, parse, options))

    async def _fetch(
        self,
        operation: str,
        path: str,
        parse: Callable[[HTTPResponse], T],
        options: Options,
        into: Callable[[int], Sink] | None = None,
    ) -> T:
        self.refuse_if_closed()
        _refuse_problems(f"GET {path}", replace(options, save_to=None))
        record = CallRecord(operation)

        async def ask(window: Window) -> T:
            return await window.exchange(HTTPRequest("GET", path, headers=options.headers or {}, into=into), parse)

        counted = path.startswith("/")
        return await self._reported(record, lambda: self._within(record, options, ask, counted=counted))

    async def download(self, image: Image | str, options: Options) -> Image:
        """The picture behind a link; see `AsyncImages.download`."""
        return await ended(self._download(image, options))

    async def _download(self, image: Image | str, options: Options) -> Image:
        self.refuse_if_closed()
        place = await finished_in_thread(partial(_place_for, "download", options))
        linked = _linked(image)
        if place is None:
            return await self._fetched(linked, options)
        async with place:
            fetched = await self._fetched(linked, options, place.begin)
            return (await place.keep(ImagesResponse((fetched,), attempts=0, maybe_billed=0))).image

    async def _fetched(self, image: Image, options: Options, into: Callable[[int], Sink] | None = None) -> Image:
        """`image` with its bytes, fetched where it has none."""
        if image.data is not None or image.path is not None:
            return image
        parse = partial(parse_download, now=time.time())
        return replace(image, **await self._fetch("download", image.url or "", parse, options, into))

    def _within(
        self,
        record: CallRecord,
        options: Options,
        work: Callable[[Window], Awaitable[T]],
        hold: Reservation | None = None,
        *,
        counted: bool = True,
    ) -> Awaitable[T]:
        """What `work` comes to within a slot and the time that the options, or else the client's, leave it."""
        timeout = (self._defaults.timeout if options.timeout is None else options.timeout) or math.inf
        queue_timeout = self._defaults.queue_timeout if options.queue_timeout is None else options.queue_timeout
        if self.limits.backend is not None:
            _refuse(_why_never_free(self.limits, timeout))
        return self._exchanger.within(record, timeout, queue_timeout, work, counted=counted, aside=hold)

    def _prepared(self, reading: Reading, options: Options) -> tuple[HTTPRequest, SaveTarget | None]:
        return self._checked(reading, options), _place_of(options)

    def _checked(self, reading: Reading, options: Options) -> HTTPRequest:
        problems = (*(self._problems(reading) if self._strict else reading.unencodable()), *options.problems())
        if problems:
            raise InvalidRequestError.of(reading.subject, problems)
        call = reading.to_call()
        if not self._strict:
            encode_json(call.json or dict(call.form))  # or what cannot be said would be found out too late
        return replace(call, headers=options.headers) if options.headers else call

    def _problems(self, reading: Reading) -> tuple[Problem, ...]:
        problems = reading.problems()
        if self.config.plan and (row := reading.row) and not row.step_plan:
            why = "the Step Plan does not have it; use the pay-as-you-go base URL, which ends in /v1"
            return (Problem("model", reading.model, "step-image-edit-2", why), *problems)
        return problems

    def _warn(self, reading: Reading) -> None:
        for notice in reading.ineffective():
            warnings.warn(notice, IneffectiveParameterWarning, stacklevel=2)
        for notice in reading.turned():
            warnings.warn(notice, OrientationWarning, stacklevel=2)
        if self.config.hosted and (row := reading.row):
            _warn_if_retired(row)

    def _parse_images(self, reply: HTTPResponse, *, model: str) -> ImagesResponse:
        lifetime = self.config.link_lifetime
        return parse_images(reply, model=model, base_url=self.config.base_url, now=time.time(), link_lifetime=lifetime)

    async def _with_bytes(self, window: Window, place: SaveTarget | None) -> ImagesResponse:
        """The window's answer with the bytes behind its link."""
        response = window.record.response or ImagesResponse(())
        image = response.image
        if image.data is not None or image.path is not None or image.url is None:
            return response
        parse = partial(parse_download, now=time.time())
        record = CallRecord("download")
        call = HTTPRequest("GET", image.url, into=place.begin if place else None)
        facts = await self._reported(record, lambda: window.exchange(call, parse, record), window.record)
        return _told(with_image(response, replace(image, **facts)), window)


async def _kept(response: ImagesResponse, place: SaveTarget | None) -> ImagesResponse:
    return response if place is None else await place.keep(response)


def _pass_on(record: CallRecord, outer: CallRecord | None, error: BaseException | None = None) -> None:
    """Raise what interrupted the call of `record`, or leave that to the call around it."""
    interruption, record.interruption = record.interruption, None
    if interruption is None:
        return
    if outer is not None:
        outer.interruption = outer.interruption or interruption
        return
    if error is None and record.response is not None:
        message = "the picture was made and paid for, and then the log or on_event raised; error.response has it"
        error = SaveError(message, response=record.response)
    try:
        raise interruption from error
    finally:
        del interruption  # or its traceback and this frame would hold each other


def price_at(config: Settings, budget: Budget | None, request: ImageRequest) -> Money | None:
    """What one picture costs at a server; None where it is not known. The Step Plan is paid by the month."""
    return _price_of(request.read().purchase, config, budget)


def _price_of(purchase: Purchase, config: Settings, budget: Budget | None) -> Money | None:
    region = None if config.plan else config.region
    listed = purchase.price(region) if region else None
    return budget.price_of(purchase.model, listed) if budget else listed


def _transport_for(
    config: Settings,
    transport: AnyTransport | None,
    proxy: str | None,
    headers: Mapping[str, str],
    keepalive_expiry: float | None,
) -> Transport:
    if config.embedded and transport is None:
        from ..embedded import transport_to

        return transport_to(config.base_url)
    from .._transport import make_transport

    return make_transport(config, transport=transport, proxy=proxy, headers=headers, keepalive_expiry=keepalive_expiry)


def _countable(purchase: Purchase) -> int:
    """How many pictures are asked for, where there is a budget."""
    if purchase.pictures is not None:
        return purchase.pictures
    why = "what is sent does not say how many pictures will be charged, so a budget cannot hold their price"
    problem = Problem("n", None, "a whole number, also in extra_body", why)
    raise InvalidRequestError.of(f"{purchase.model} {purchase.operation}", (problem,))


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind)


def _is_word(value: object, *words: str) -> bool:
    return type(value) is str and value in words


def _refuse(why: str | None) -> None:
    if why:
        raise ConfigurationError(why)


def _refuse_problems(subject: str, options: Options) -> None:
    problems = options.problems()
    if problems:
        raise InvalidRequestError.of(subject, problems)


def _place_for(subject: str, options: Options) -> SaveTarget | None:
    _refuse_problems(subject, options)
    return _place_of(options)


def _place_of(options: Options) -> SaveTarget | None:
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
    """`image`, whose link is a data URI, with the bytes that it says."""
    try:
        return replace(image, url=None, **picture_facts(decode_text(image.url or "")))
    except ValueError as error:
        allowed = "an Image with a link, or a link"
        raise InvalidRequestError.of("download", (Problem("image", plain(image), allowed, str(error)),)) from error


_warned: set[str] = set()
"""Models whose end was warned about in this process."""


def _warn_if_retired(row: Capability) -> None:
    end = row.lifecycle
    if end is None or row.model in _warned or not end.over(datetime.now(UTC).date()):
        return
    when = f"on {end.ends}" if end.ends else "on a day not known"
    then = f"; StepFun names {end.successor} as its successor" if end.successor else ""
    message = f"StepFun's hosts were to stop serving {row.model} {when}{then}; the request is sent all the same"
    warnings.warn(message, ModelRetiredWarning, stacklevel=2)
    _warned.add(row.model)


async def _unfetched(response: ImagesResponse, place: SaveTarget | None, error: Exception) -> SaveError:
    """The error for a picture that was made and not fetched, with all of it that there is."""
    message = f"the picture was made and paid for, but not fetched: {error}; error.response has its link"
    return SaveError(message, response=response if place is None else await place.in_memory(response))


def _told(response: ImagesResponse, window: Window) -> ImagesResponse:
    """`response`, which nobody else has seen yet, with what the call took so far."""
    record = window.record
    for name, value in (
        ("attempts", record.attempts),
        ("maybe_billed", record.maybe_billed),
        ("elapsed", window.elapsed),
    ):
        object.__setattr__(response, name, value)
    return response
