"""Calls over HTTP. The only module that knows httpx.

A slot owns its connection: idle connections lie on a stack, a call takes the top one or makes a new
one, and puts it back when the exchange ended well. There are never more of them than slots, so there
is no pool to search and none to queue in; and a connection that a call was cancelled on is thrown
away with whatever state it was in, so there is nothing to poison.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Protocol, Self, TypeAlias, cast
from urllib.parse import urljoin, urlsplit

import anyio
import anyio.to_thread
import h11
import httpx

from ._config import Config, Origin, proxy_of
from ._core.errors import APIConnectionError, APIError, APITimeoutError, ConfigurationError, StepFunError
from ._core.wire import Call, Progress, Reply, encode_json
from ._loops import PerLoop

MAX_BODY = 256 * 1024 * 1024
"""Bytes of the longest answer that is read; a 4096x4096 picture in base64 takes a third."""

CONNECT_TIMEOUT = 5.0
"""Seconds a connection may take to open; the deadline of the call bounds everything else."""

KEEPALIVE = 4.0
"""Seconds an idle connection is kept: under the 5 after which common servers close theirs."""

MAX_REDIRECTS = 5
"""Hops that the link to a picture may take."""

_CLOSING = 1.0
"""Seconds that closing a connection may take after its call was cancelled."""


class Transport(Protocol):
    """What carries calls: this module's over HTTP, or the embedded engine's."""

    async def send(self, call: Call, progress: Progress) -> Reply:
        """Send `call`, noting in `progress` how far it got.

        Raises:
            APIConnectionError: no whole answer came.
        """
        ...

    async def aclose(self) -> None:
        """Close what the running loop has open."""
        ...


AnyTransport: TypeAlias = Transport | httpx.AsyncBaseTransport


def make_transport(
    config: Config, *, transport: AnyTransport | None, proxy: str | None, headers: Mapping[str, str]
) -> Transport:
    """The transport for a client's settings. The one place where this is decided."""
    if isinstance(transport, httpx.AsyncBaseTransport):
        return HttpTransport(config, headers, _Borrowed(transport))
    if transport is None:
        return HttpTransport(config, headers, _Connections(_checked_proxy(proxy)))
    if not callable(getattr(transport, "send", None)):
        kind = type(transport).__name__
        raise ConfigurationError(f"a {kind} is no transport: give an httpx.AsyncBaseTransport or an EmbeddedTransport")
    return transport


class HttpTransport:
    """Calls to a base URL over HTTP."""

    def __init__(self, config: Config, headers: Mapping[str, str], connections: _Connections | _Borrowed) -> None:
        self._config = config
        self._connections = connections
        plain = {"accept": "*/*", "accept-encoding": "identity", "user-agent": f"stepfun-async/{_version()}"}
        key = {"authorization": config.key.authorization()} if config.key else {}
        self._link_headers = plain
        self._headers = {**plain, **key, **{name.lower(): value for name, value in headers.items()}}

    async def send(self, call: Call, progress: Progress) -> Reply:
        """Send `call` to the base URL; or, when its path is a whole link, there, without the key."""
        if not call.path.startswith("/"):
            return await self._follow(call, progress)
        return await self._exchange(call, self._config.base_url + call.path, self._headers, progress)

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def _follow(self, call: Call, progress: Progress) -> Reply:
        url = call.path
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._exchange(call, url, self._link_headers, progress)
            location = reply.headers.get("location")
            if reply.status not in (301, 302, 303, 307, 308) or not location:
                return reply
            url = _joined(url, location)
        raise APIConnectionError(f"the link was redirected more than {MAX_REDIRECTS} times", billing="not_sent")

    async def _exchange(self, call: Call, url: str, headers: Mapping[str, str], progress: Progress) -> Reply:
        request = _request(call, url, headers)
        origin = (request.url.scheme, request.url.host, request.url.port)
        progress.sent = self._connections.sent_at_first
        connection = await self._connections.take(origin)
        watch = _Watch(progress)
        request.extensions = {"timeout": _TIMEOUTS, "trace": watch}
        try:
            reply = await _read(await connection.handle_async_request(request))
        except BaseException as error:
            await self._connections.discard(connection)
            if isinstance(error, _FOREIGN):
                raise _translated(error, watch, request.url.host) from error
            raise
        await self._connections.give_back(origin, connection)
        return reply


_Stack: TypeAlias = deque[tuple[float, httpx.AsyncBaseTransport]]
"""Idle connections with the time since when, the longest at the left."""


class _Connections:
    """Idle connections, one httpx transport with one connection each, on a stack for each origin."""

    sent_at_first = False
    """Nothing has left before a connection of ours says so."""

    def __init__(self, proxy: str | None) -> None:
        self._proxy = proxy
        self._proxies: dict[Origin, str | None] = {}
        self._closed = False
        self._idle: PerLoop[_Idle] = PerLoop(_Idle)

    async def take(self, origin: Origin) -> httpx.AsyncBaseTransport:
        idle = self._idle.get()
        await idle.end_with_loop()
        stack = idle.stacks.setdefault(origin, deque())
        await self._thin_out(stack)
        return stack.pop()[1] if stack else await self._open(origin)

    async def give_back(self, origin: Origin, connection: httpx.AsyncBaseTransport) -> None:
        if self._closed:
            await self.discard(connection)
        else:
            self._idle.get().stacks[origin].append((anyio.current_time(), connection))

    async def _thin_out(self, stack: _Stack) -> None:
        """Close what lies at the bottom for too long: two a call, so that none pays for all."""
        for _ in range(2):
            if stack and stack[0][0] < anyio.current_time() - KEEPALIVE:
                await self.discard(stack.popleft()[1])

    async def discard(self, connection: httpx.AsyncBaseTransport) -> None:
        with anyio.move_on_after(_CLOSING, shield=True):
            await connection.aclose()

    async def aclose(self) -> None:
        self._closed = True
        idle = self._idle.pop()
        if idle is not None:
            await idle.aclose()

    async def _open(self, origin: Origin) -> httpx.AsyncBaseTransport:
        if origin not in self._proxies:
            self._proxies[origin] = self._proxy or _checked_proxy(proxy_of(origin))
        proxy = self._proxies[origin]
        tls = origin[0] == "https" or (proxy or "").startswith("https")
        context = await anyio.to_thread.run_sync(_tls_context) if tls else _no_tls()
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE)
        return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)


class _Borrowed:
    """A transport that the user handed in: used for everything, closed with the client, never discarded."""

    sent_at_first = None
    """Nobody watches what leaves."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def take(self, origin: Origin) -> httpx.AsyncBaseTransport:
        return self._transport

    async def give_back(self, origin: Origin, connection: httpx.AsyncBaseTransport) -> None:
        pass

    async def discard(self, connection: httpx.AsyncBaseTransport) -> None:
        pass

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Idle:
    """One loop's idle connections, closed with the loop.

    asyncio and trio both finish the async generators that were begun in a loop when it ends. So a
    generator that waits for its end is a place to close sockets in time, in the right loop, without
    the user having to say anything.
    """

    def __init__(self) -> None:
        self.stacks: dict[Origin, _Stack] = {}
        self._lifetime: AsyncGenerator[None] | None = None

    async def end_with_loop(self) -> None:
        if self._lifetime is None:
            self._lifetime = self._closing_at_end()
            await anext(self._lifetime)

    async def aclose(self) -> None:
        if self._lifetime is not None:
            await self._lifetime.aclose()

    async def _closing_at_end(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._lifetime = None  # which knows the loop, and would keep it
            for stack in self.stacks.values():
                while stack:
                    await stack.pop()[1].aclose()


_TIMEOUTS = {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}


def _joined(url: str, location: str) -> str:
    try:
        joined = urljoin(url, location)
        if urlsplit(joined).scheme in ("http", "https"):
            return joined
    except ValueError:
        pass
    raise APIConnectionError("the link leads to something that is not http(s)", billing="not_sent")


def _request(call: Call, url: str, headers: Mapping[str, str]) -> httpx.Request:
    try:
        request = _encoded(call, url, headers)
    except (httpx.InvalidURL, ValueError) as error:
        if isinstance(error, StepFunError):
            raise
        raise APIConnectionError(f"the address cannot be used: {error}", billing="not_sent") from error
    request.stream = _Body(request.read())
    return request


class _Body(httpx.AsyncByteStream):
    """A body in one piece.

    httpx's own is an async generator, and one that is left half-way, because its call was cancelled, is
    left to the garbage collector, of which trio complains.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._data)


class _Once:
    """An async iterator over one item, or none when it is empty."""

    def __init__(self, item: bytes) -> None:
        self._item = item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._item:
            raise StopAsyncIteration
        item, self._item = self._item, b""
        return item


def _encoded(call: Call, url: str, headers: Mapping[str, str]) -> httpx.Request:
    said = {**headers, **{name.lower(): value for name, value in call.headers.items()}}
    if call.json is not None:
        said["content-type"] = "application/json"
        return httpx.Request(call.method, url, headers=said, content=encode_json(call.json))
    if call.files or call.form:
        files = {name: (upload.filename, upload.data, upload.content_type) for name, upload in call.files.items()}
        fields = {name: (None, text.encode("utf-8", "surrogatepass")) for name, text in call.form.items()}
        return httpx.Request(call.method, url, headers=said, files=cast("Any", {**fields, **files}))
    return httpx.Request(call.method, url, headers=said)


async def _read(response: httpx.Response) -> Reply:
    pieces: list[bytes] = []
    length = 0
    try:
        # An answer that is too long is left by cancelling: that ends every generator on the way to the socket.
        with anyio.CancelScope() as scope:
            async for piece in response.aiter_bytes():
                pieces.append(piece)
                length += len(piece)
                if length > MAX_BODY:
                    pieces.clear()
                    scope.cancel()
    finally:
        await response.aclose()
    if length > MAX_BODY:
        raise APIConnectionError(f"the answer is longer than {MAX_BODY:,} bytes")
    return Reply(response.status_code, dict(response.headers), b"".join(pieces))


class _Watch:
    """A trace hook of httpcore that notes when the body begins to leave."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.saw = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self.saw = True
        if event.endswith("send_request_body.started") and info["request"].method != b"CONNECT":
            self.progress.leaves()  # a CONNECT is for the proxy

    @property
    def knows_that_nothing_left(self) -> bool:
        """Whether events came, and none of them was the body's; a mocked transport sends no events."""
        return self.saw and self.progress.sent is False


_FOREIGN = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, h11.ProtocolError, UnicodeError)
"""What libraries raise below us; names that cannot be encoded are a `UnicodeError`."""

_BEFORE_SENDING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.InvalidURL)

_TEXTS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, f"no connection to {{host}} within {CONNECT_TIMEOUT:g} seconds"),
    (httpx.ProxyError, "the proxy did not connect to {host}"),
    (httpx.ConnectError, "no connection to {host}"),
    (httpx.TimeoutException, "{host} took too long"),
    (httpx.RemoteProtocolError, "{host} broke the answer off, or sent something that is not HTTP"),
    (httpx.LocalProtocolError, "the request cannot be said in HTTP"),
    (httpx.DecodingError, "the answer of {host} cannot be decompressed"),
    (httpx.InvalidURL, "the address is not one"),
    (Exception, "the connection to {host} was lost"),
)
"""What each of httpx's errors means, the most specific first."""


def _translated(error: Exception, watch: _Watch, host: str) -> APIError:
    never_left = isinstance(error, _BEFORE_SENDING) or watch.knows_that_nothing_left
    text = next(text for kind, text in _TEXTS if isinstance(error, kind)).format(host=host)
    reason = f" ({cause})" if (cause := _reason(error)) else ""
    kind = APITimeoutError if isinstance(error, httpx.TimeoutException) else APIConnectionError
    return kind(f"{text}{reason}", billing="not_sent" if never_left else "unknown")


def _reason(error: BaseException | None) -> str:
    """What the error says, or else the one behind it."""
    while error is not None and not str(error):
        error = error.__cause__ or error.__context__
    return str(error or "")


@cache
def _tls_context() -> ssl.SSLContext:
    """One context for all connections of this process: building one costs tens of milliseconds."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise ConfigurationError(
            f"no certificates to check servers by (SSL_CERT_FILE, SSL_CERT_DIR): {error}"
        ) from error


@cache
def _no_tls() -> ssl.SSLContext:
    """A context that trusts nobody, for plain http, where loading certificates would be wasted."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@cache
def _version() -> str:
    return version("stepfun-async")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _checked_proxy(proxy: str | None) -> str | None:
    if proxy is None:
        return None
    if not _is_text(proxy):
        raise ConfigurationError(f"the proxy's address is text, not a {type(proxy).__name__}")
    try:
        scheme = httpx.Proxy(proxy).url.scheme
    except (ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(f"the proxy's address cannot be used: {error}") from error
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigurationError('a SOCKS proxy needs one more package: pip install "stepfun-async[socks]"')
    return proxy
