"""`AsyncClient`: the settings, checked, and the methods by subject."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, NoReturn, Self
from urllib.parse import quote

from ._call.options import Options
from ._call.service import DEFAULT_LIMITS, DEFAULT_RETRY, Caller, caller_for
from ._call.settings import Validation, hidden_headers, hidden_url
from ._core.answers import parse_account, parse_model, parse_models
from ._core.errors import InvalidRequestError
from ._core.problems import Problem
from ._core.results import Account, Model, Usage
from ._core.retry import RetryPolicy
from ._core.secrets import as_secret
from ._images import AsyncImages
from ._limits.budget import Budget
from ._limits.limits import Limits

if TYPE_CHECKING:
    from types import TracebackType

    from ._core.events import OnEvent
    from ._transport import AnyTransport


class AsyncClient:
    """StepFun's image API for asyncio and trio.

    Use it as `async with AsyncClient() as client`, or call `aclose()` at the end. One client serves any
    number of tasks, and several event loops one after another.

    Args:
        api_key: the key; otherwise `STEP_API_KEY` or `STEPFUN_API_KEY`. Not needed for `embedded`.
        base_url: where the API is; otherwise `STEP_BASE_URL`, otherwise `https://api.stepfun.ai/v1`.
            `embedded` answers inside this process, offline, at no cost.
        limits: how much is in flight at once, and sent in a minute. Clients that are given the same
            `Limits` object share it; clients that are given none share nothing.
        timeout: seconds for everything after a call's slot is granted: all attempts, the waits between
            them, download and decoding; `math.inf` for no bound.
        queue_timeout: seconds to wait for a slot; None waits for ever.
        retry: when an attempt is made again; by default only where it cannot have been billed.
        budget: what may be spent, shared by all clients that are given the same `Budget`; None for any
            sum. The price is set aside before a request is sent.
        validation: `strict` refuses what the tables do not allow; `off` sends as given.
        default_headers: headers sent with every call, though never to links of pictures.
        transport: what carries the calls: an `httpx.AsyncBaseTransport`, or an `EmbeddedTransport`.
        proxy: the address of an HTTP or SOCKS proxy; otherwise what `HTTPS_PROXY`, `ALL_PROXY` and
            `NO_PROXY` say, though never for this machine itself.
        allow_http: let the key go to another machine over plain http, where everybody on the way can read it.
        keepalive_expiry: seconds for which an idle connection is kept at most; 0 for a new one each time. None keeps
            it until a second before the server closes it, by its `Keep-Alive: timeout=`, and for 1.5 seconds where it
            does not say, since some servers close theirs after 2. No value keeps it longer than the server announces.
        on_event: a plain function that is told of each `CallStarted`, `AttemptEnded` and `CallEnded`.

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
        budget: Budget | None = None,
        validation: Validation = "strict",
        default_headers: Mapping[str, str] | None = None,
        transport: AnyTransport | None = None,
        proxy: str | None = None,
        allow_http: bool = False,
        keepalive_expiry: float | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        # From what shows the variables of a traceback's frames:
        api_key, base_url, proxy = as_secret(api_key), hidden_url(base_url), as_secret(proxy)
        default_headers = hidden_headers(default_headers)
        self._service = caller_for(
            api_key,
            base_url=base_url,
            limits=limits,
            timeout=timeout,
            queue_timeout=queue_timeout,
            retry=retry,
            budget=budget,
            validation=validation,
            default_headers=default_headers,
            transport=transport,
            proxy=proxy,
            allow_http=allow_http,
            keepalive_expiry=keepalive_expiry,
            on_event=on_event,
        )
        self.images = AsyncImages(self._service)
        self.models = AsyncModels(self._service)
        self.account = AsyncAccount(self._service)

    @property
    def base_url(self) -> str:
        """Where calls go."""
        return self._service.config.base_url

    @property
    def limits(self) -> Limits:
        """How much is in flight at once, and sent in a minute."""
        return self._service.limits

    @property
    def budget(self) -> Budget | None:
        """What may be spent; None for any sum."""
        return self._service.budget

    @property
    def usage(self) -> Usage:
        """What this client was used for so far."""
        return self._service.ledger.snapshot()

    async def __aenter__(self) -> Self:
        self._service.refuse_if_closed()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Closing again does nothing; any other call afterwards is refused."""
        await self._service.aclose()

    def __reduce__(self) -> NoReturn:
        raise unpicklable(self)

    def __repr__(self) -> str:
        service = getattr(self, "_service", None)  # not there yet where a refused setting's traceback is shown
        return f"<{type(self).__name__} {service!r}>"


def unpicklable(client: object) -> TypeError:
    """The error for a client that is to be pickled, which says what to do instead."""
    name = type(client).__name__
    what = f"a {name} is not pickled, since it has connections, limits and a key of its own"
    return TypeError(f"{what}: make one in each process, or have forked processes inherit it")


class AsyncModels:
    """The server's models."""

    def __init__(self, service: Caller) -> None:
        self._service = service

    async def list(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """The models the server lists.

        Args:
            timeout: seconds for the whole call; the client's when absent.

        Raises:
            APIError: there was no usable answer.
        """
        return await self._service.fetch(
            "models", "/models", partial(parse_models, now=time.time()), Options(timeout=timeout)
        )

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
        return await self._service.fetch(
            "models", path, partial(parse_model, now=time.time()), Options(timeout=timeout)
        )


class AsyncAccount:
    """The account behind the key."""

    def __init__(self, service: Caller) -> None:
        self._service = service

    async def retrieve(self, *, timeout: float | None = None) -> Account:
        """The account and its balance.

        Args:
            timeout: seconds for the whole call; the client's when absent.

        Raises:
            APIError: there was no usable answer.
        """
        return await self._service.fetch(
            "account", "/accounts", partial(parse_account, now=time.time()), Options(timeout=timeout)
        )


def _name(model: object) -> str:
    if not isinstance(model, str) or not model.strip("./") or not model.isprintable():
        raise InvalidRequestError.of("models.retrieve", (Problem("model", model, "the name of a model"),))
    return quote(model, safe="")
