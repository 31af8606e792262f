"""`AsyncClient`: its settings, and its methods grouped by subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, Self, Unpack

from .._call.service import DEFAULT_LIMITS, DEFAULT_RETRY, caller_for
from .._call.settings import Validation, hidden_headers, hidden_url
from .._core.keywords import CLIENT_KEYWORDS, unknown_keywords
from .._core.results import Usage
from .._core.retry import RetryPolicy
from .._core.secrets import as_secret
from .._limits.budget import Budget
from .._limits.limits import Limits
from .images import AsyncImages
from .models import AsyncAccount, AsyncModels
from .server import AsyncServer
from .signatures import parameters_of, shown

if TYPE_CHECKING:
    from types import TracebackType

    from .._core.events import OnEvent
    from .._core.params import Nothing
    from .._core.profiles import Server
    from .._transport import AnyTransport


class AsyncClient:
    """StepFun's image API for asyncio and trio.

    Use it as `async with AsyncClient() as client`, or call `aclose()` at the end. One client serves any
    number of tasks, and several event loops one after another.

    Args:
        api_key: the API key; by default `STEP_API_KEY` or `STEPFUN_API_KEY`. Not needed for `embedded`.
        base_url: the URL of the API; by default `STEP_BASE_URL`, or else `https://api.stepfun.ai/v1`.
            `embedded` answers inside this process, offline, at no cost.
        server: the kind of server at `base_url`, one of `servers()`, such as `vllm-omni`; by default `STEP_SERVER`,
            or else derived from the URL. Requests are checked for this server, and sent in its form.
        limits: the maximum number of calls in flight, 5 by default, and of requests per minute.
            Clients with the same `Limits` object share it; clients without one share nothing.
        timeout: seconds for everything after a call has its slot; `math.inf` for no limit.
            It covers all attempts, the waits between them, download and decoding.
        queue_timeout: seconds to wait for a slot; `None` for no limit.
        retry: when to retry an attempt; by default up to 3 attempts, and only where none can have been billed.
        budget: the most that may be spent by all clients with the same `Budget`; `None` for no limit.
            The price is reserved before a request is sent.
        validation: `strict` rejects what the model tables do not allow; `off` sends requests as given.
        default_headers: headers sent with every request to the API, but never to the URLs of images.
        transport: the transport to send requests with: an `httpx.AsyncBaseTransport`, or an `EmbeddedTransport`.
        proxy: the URL of an HTTP or SOCKS proxy; by default as the environment says.
            It says so in `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; this machine itself is reached without a proxy.
        allow_http: allow sending the API key to another machine over unencrypted HTTP.
        keepalive_expiry: the maximum seconds to keep an idle connection; 0 for a new one each time.
            `None` keeps it until a second before the server closes it, by its `Keep-Alive: timeout=`, and for
            1.5 seconds without that header, since some servers close theirs after 2. No value keeps it longer than
            the server announces.
        on_event: a synchronous callback, called with every `CallStarted`, `AttemptEnded` and `CallEnded` event.

    Raises:
        ConfigurationError: a setting is invalid; the message says which one and what to do.
    """

    images: AsyncImages
    """`generate`, `edit`, `image_to_image`, `download` and `map`."""
    models: AsyncModels
    """`list` and `retrieve`."""
    account: AsyncAccount
    """`retrieve`."""
    server: AsyncServer
    """`profile`, `name` and `inspect`."""

    @shown
    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        server: str | Server | None = None,
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
        **unknown: Unpack[Nothing],
    ) -> None:
        if unknown:
            raise unknown_keywords("AsyncClient()", unknown, parameters_of(AsyncClient.__init__), CLIENT_KEYWORDS)
        # Hide them from tools that show the variables of a traceback's frames:
        api_key, base_url, proxy = as_secret(api_key), hidden_url(base_url), as_secret(proxy)
        default_headers = hidden_headers(default_headers)
        self._service = caller_for(
            api_key,
            base_url=base_url,
            server=server,
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
        self.server = AsyncServer(self._service)

    @property
    def base_url(self) -> str:
        """The URL of the API."""
        return self._service.config.base_url

    @property
    def limits(self) -> Limits:
        """The maximum number of calls in flight, and of requests per minute."""
        return self._service.limits

    @property
    def budget(self) -> Budget | None:
        """The most that may be spent; `None` for no limit."""
        return self._service.budget

    @property
    def usage(self) -> Usage:
        """Totals of this client's calls so far."""
        return self._service.ledger.snapshot()

    async def __aenter__(self) -> Self:
        self._service.refuse_if_closed()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Closing again does nothing; every other call then raises an error."""
        await self._service.aclose()

    def __reduce__(self) -> NoReturn:
        raise unpicklable(self)

    def __repr__(self) -> str:
        service = getattr(self, "_service", None)  # missing while `__init__` raises
        return f"<{type(self).__name__} {service!r}>"


def unpicklable(client: object) -> TypeError:
    """Return the error to raise when a client is pickled."""
    name = type(client).__name__
    what = f"cannot pickle a {name}, since it has connections, limits and a key of its own"
    return TypeError(f"{what}: make one in each process, or let forked processes inherit it")
