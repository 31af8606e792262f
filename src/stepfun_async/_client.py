"""`AsyncClient`: validate -> slot -> deadline -> attempts -> parse."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar, cast

import anyio
import anyio.to_thread

from ._config import Config, Validation, check_headers, check_seconds, resolve
from ._core.errors import (
    APIError,
    ConfigurationError,
    IneffectiveParameterWarning,
    InvalidRequestError,
    ModelRetiredWarning,
    SaveError,
)
from ._core.pictures import is_link
from ._core.problems import Problem, plain
from ._core.results import Account, Image, ImagesResponse, Model, Usage
from ._core.retry import RetryPolicy
from ._core.wire import (
    Call,
    Reply,
    encode_json,
    parse_account,
    parse_download,
    parse_images,
    parse_model,
    parse_models,
    picture_facts,
)
from ._exchange import Exchanger, Window
from ._images import AsyncImages
from ._limits import Limits, Slots
from ._options import Options
from ._usage import Ledger

if TYPE_CHECKING:
    from types import TracebackType

    from ._core.capabilities import Capability
    from ._core.requests import ImageRequest
    from ._transport import AnyTransport, Transport

T = TypeVar("T")

DEFAULT_LIMITS = Limits()
DEFAULT_RETRY = RetryPolicy()


class AsyncClient:
    """StepFun's image API for asyncio and trio.

    Use it as `async with AsyncClient() as client`, or call `aclose()` at the end. One client serves any
    number of tasks, and several event loops one after another.

    Args:
        api_key: the key; otherwise `STEP_API_KEY` or `STEPFUN_API_KEY`. Not needed for `embedded`.
        base_url: where the API is; otherwise `STEP_BASE_URL`, otherwise `https://api.stepfun.ai/v1`.
            `embedded` answers inside this process, offline, at no cost.
        limits: how much is in flight at once.
        timeout: seconds for everything after a call's slot is granted: all attempts, the waits between
            them, download and decoding; `math.inf` for no bound.
        queue_timeout: seconds to wait for a slot; None waits for ever.
        retry: when an attempt is made again; by default only where it cannot have been billed.
        validation: `strict` refuses what the tables do not allow; `off` sends as given.
        default_headers: headers sent with every call, though never to links of pictures.
        transport: what carries the calls: an `httpx.AsyncBaseTransport`, or an `EmbeddedTransport`.
        proxy: the address of an HTTP or SOCKS proxy; otherwise what `HTTPS_PROXY`, `ALL_PROXY` and
            `NO_PROXY` say.

    Raises:
        ConfigurationError: a setting cannot be right; the message says which and what to do.
    """

    images: AsyncImages
    """`generate`, `edit`, `image_to_image`, `download` and `map`."""
    models: AsyncModels
    """`list` and `retrieve`."""
    account: AsyncAccount
    """`retrieve`."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        timeout: float = 120.0,
        queue_timeout: float | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        validation: Validation = "strict",
        default_headers: Mapping[str, str] | None = None,
        transport: AnyTransport | None = None,
        proxy: str | None = None,
    ) -> None:
        _refuse(check_seconds("timeout", timeout))
        _refuse(None if queue_timeout is None else check_seconds("queue_timeout", queue_timeout, zero=True))
        _refuse(None if default_headers is None else check_headers(default_headers))
        _refuse(None if validation in ("strict", "off") else f"validation is 'strict' or 'off', not {validation!r}")
        self._config = resolve(api_key, base_url)
        self._timeout = timeout
        self._queue_timeout = queue_timeout
        self._strict = validation == "strict"
        carrier = _transport_for(self._config, transport, proxy, default_headers or {})
        self._exchanger = Exchanger(carrier, Slots(limits), retry, self._config.key)
        self._ledger = Ledger()
        self._closed = False
        self.limits = limits
        self.images = AsyncImages(self)
        self.models = AsyncModels(self)
        self.account = AsyncAccount(self)

    @property
    def base_url(self) -> str:
        """Where calls go."""
        return self._config.base_url

    @property
    def usage(self) -> Usage:
        """What this client was used for so far."""
        return self._ledger.snapshot()

    async def __aenter__(self) -> Self:
        self.refuse_if_closed()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Closing again does nothing; any other call afterwards is refused."""
        self.mark_closed()
        await self._exchanger.transport.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}{' closed' if self._closed else ''}>"

    def mark_closed(self) -> None:
        """Refuse every further call."""
        self._closed = True

    def after_fork(self) -> None:
        """Make this client usable in a forked child, where another thread's locks stay locked for ever."""
        self._ledger.after_fork()

    def refuse_if_closed(self) -> None:
        """Raise `ConfigurationError` when this client is closed."""
        _refuse("this client is closed: make a new one" if self._closed else None)

    async def send(self, request: ImageRequest, options: Options) -> ImagesResponse:
        """Send a request value: what `generate`, `edit`, `image_to_image` and `map` come down to.

        Raises:
            InvalidRequestError: the request or an option has problems; nothing was sent.
            StepFunError: anything else that can go wrong; the package's documentation has the tree.
        """
        self.refuse_if_closed()
        call = await self._prepared(request, options)
        response = await self._made(request, call, options)
        if options.save_to is None:
            return response
        return await _saved(response, options)

    async def _made(self, request: ImageRequest, call: Call, options: Options) -> ImagesResponse:
        """The answer to `call`, with its bytes fetched where they are to be saved."""
        response: ImagesResponse | None = None
        try:
            async with self._window(options) as window:
                response = await self._charged(request, call, window)
                return response if options.save_to is None else await self._with_bytes(response, window)
        except APIError as error:
            if response is None:
                raise
            message = f"the picture was made and paid for, but not fetched: {error}; error.response has its link"
            raise SaveError(message, response=response) from error

    async def _charged(self, request: ImageRequest, call: Call, window: Window) -> ImagesResponse:
        """The answer to `call`; whatever comes of it is entered into the usage."""
        billed = 0
        try:
            parse = partial(self._parse_images, model=request.model)
            response = _told(await window.exchange(call, parse), window)
            billed = len(response.data)
        finally:
            price = request.price(self._config.region) if self._config.region else None
            self._ledger.enter(request.model, window.tally, billed=billed, price=price)
        return response

    async def fetch(self, path: str, parse: Callable[[Reply], T], options: Options) -> T:
        """The parsed answer to a GET, which costs nothing and so is tried again whenever that may help.

        Args:
            path: below the base URL, beginning with a slash; or a whole link, which gets no key.
            parse: what makes the answer of a reply.
            options: timeouts and headers.
        """
        self.refuse_if_closed()
        problems = options.problems()
        if problems:
            raise InvalidRequestError.of(f"GET {path}", problems)
        async with self._window(options) as window:
            return await window.exchange(Call("GET", path, headers=options.headers or {}), parse, free=True)

    async def download(self, image: Image | str, options: Options) -> Image:
        """The picture behind a link; see `AsyncImages.download`."""
        self.refuse_if_closed()
        linked = _linked(image)
        if linked.data is None:
            data = await self.fetch(linked.url or "", partial(parse_download, now=time.time()), options)
            linked = replace(linked, **picture_facts(data))
        if options.save_to is None:
            return linked
        return (await _saved(ImagesResponse((linked,), attempts=0, maybe_billed=0), options)).image

    def _window(self, options: Options) -> AbstractAsyncContextManager[Window, None]:
        timeout = self._timeout if options.timeout is None else options.timeout
        queue_timeout = self._queue_timeout if options.queue_timeout is None else options.queue_timeout
        window = self._exchanger.window(timeout, queue_timeout)
        return cast("AbstractAsyncContextManager[Window, None]", window)  # it swallows no exception

    async def _prepared(self, request: ImageRequest, options: Options) -> Call:
        touches_disk = request.operation != "text_to_image" or options.save_to is not None
        check = partial(self._checked, request, options)
        call = await anyio.to_thread.run_sync(check) if touches_disk else check()
        if self._strict:
            self._warn(request)
        return replace(call, headers=options.headers or {})

    def _checked(self, request: ImageRequest, options: Options) -> Call:
        problems = (*(self._problems(request) if self._strict else ()), *options.problems())
        if problems:
            raise InvalidRequestError.of(f"{request.model} {request.operation}", problems)
        call = request.to_call()
        if not self._strict and call.json is not None:
            encode_json(call.json)
        return call

    def _problems(self, request: ImageRequest) -> tuple[Problem, ...]:
        row = request.row
        if self._config.plan and row is not None and not row.step_plan:
            why = "the Step Plan does not have it; use the pay-as-you-go base URL, which ends in /v1"
            return (Problem("model", request.model, "step-image-edit-2", why), *request.problems())
        return request.problems()

    def _warn(self, request: ImageRequest) -> None:
        for notice in request.notices():
            warnings.warn(notice, IneffectiveParameterWarning, stacklevel=2)
        row = request.row
        if self._config.hosted and row is not None:
            _warn_if_retired(row)

    def _parse_images(self, reply: Reply, *, model: str) -> ImagesResponse:
        lifetime = self._config.link_lifetime
        return parse_images(reply, model=model, base_url=self.base_url, now=time.time(), link_lifetime=lifetime)

    async def _with_bytes(self, response: ImagesResponse, window: Window) -> ImagesResponse:
        image = response.image
        if image.data is not None or image.url is None:
            return response
        parse = partial(parse_download, now=time.time())
        data = await window.exchange(Call("GET", image.url), parse, free=True)
        return _told(_with_image(response, replace(image, **picture_facts(data))), window)


class AsyncModels:
    """The server's models."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """The models the server lists.

        Args:
            timeout: seconds for the whole call; the client's when absent.

        Raises:
            APIError: there was no usable answer.
        """
        return await self._client.fetch("/models", partial(parse_models, now=time.time()), Options(timeout=timeout))

    async def retrieve(self, model: str, *, timeout: float | None = None) -> Model:
        """One model.

        Args:
            model: its name.
            timeout: seconds for the whole call; the client's when absent.

        Raises:
            InvalidRequestError: `model` cannot be a name.
            NotFoundError: the server has no such model.
            APIError: there was no usable answer.
        """
        path = f"/models/{_name(model)}"
        return await self._client.fetch(path, partial(parse_model, now=time.time()), Options(timeout=timeout))


class AsyncAccount:
    """The account behind the key."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def retrieve(self, *, timeout: float | None = None) -> Account:
        """The account and its balance.

        Args:
            timeout: seconds for the whole call; the client's when absent.

        Raises:
            APIError: there was no usable answer.
        """
        return await self._client.fetch("/accounts", partial(parse_account, now=time.time()), Options(timeout=timeout))


def _transport_for(
    config: Config, transport: AnyTransport | None, proxy: str | None, headers: Mapping[str, str]
) -> Transport:
    if config.embedded and transport is None:
        from .embedded import EmbeddedTransport, Engine, check_available

        check_available()
        return EmbeddedTransport(Engine())
    from ._transport import make_transport

    return make_transport(config, transport=transport, proxy=proxy, headers=headers)


def _refuse(why: str | None) -> None:
    if why:
        raise ConfigurationError(why)


def _linked(image: object) -> Image:
    """`image` as one that has a link, or its bytes already."""
    linked = Image(url=image) if isinstance(image, str) else image
    why = f"a {type(image).__name__} is neither"
    if isinstance(linked, Image):
        if linked.data is not None or is_link(linked.url or ""):
            return linked
        why = "it was withheld by the content filter" if linked.filtered else "there is no http(s) link in it"
    raise InvalidRequestError.of("download", (Problem("image", plain(image), "an Image with a link, or a link", why),))


def _name(model: object) -> str:
    from urllib.parse import quote

    if not isinstance(model, str) or not model.strip("./"):
        raise InvalidRequestError.of("models.retrieve", (Problem("model", model, "the name of a model"),))
    return quote(model, safe="")


_warned: set[str] = set()
"""Models whose end was warned about in this process."""


def _warn_if_retired(row: Capability) -> None:
    end = row.lifecycle
    if end is None or row.model in _warned or not end.over(datetime.now(UTC).date()):
        return
    _warned.add(row.model)
    when = f"on {end.ends}" if end.ends else "on a day not known"
    then = f"; StepFun names {end.successor} as its successor" if end.successor else ""
    message = f"StepFun's hosts were to stop serving {row.model} {when}{then}; the request is sent all the same"
    warnings.warn(message, ModelRetiredWarning, stacklevel=2)


def _told(response: ImagesResponse, window: Window) -> ImagesResponse:
    """`response` with what the call took so far."""
    tally = window.tally
    return replace(response, attempts=tally.attempts, maybe_billed=tally.maybe_billed, elapsed=window.elapsed)


def _with_image(response: ImagesResponse, image: Image) -> ImagesResponse:
    """`response` with `image` in the place of its usable picture."""
    return replace(response, data=tuple(image if old is response.image else old for old in response.data))


async def _saved(response: ImagesResponse, options: Options) -> ImagesResponse:
    """`response` with its picture written, even when the call is cancelled by now: it is paid for."""
    image = response.image
    write = partial(image.save, options.save_to or "", overwrite=options.overwrite)
    path: Path | None = None
    with anyio.CancelScope(shield=True):
        try:
            path = await anyio.to_thread.run_sync(write)
        except (OSError, InvalidRequestError) as error:
            message = f"the picture was made and paid for, but not written: {error}; error.response has it"
            raise SaveError(message, response=response) from error
    return _with_image(response, replace(image, path=path))
