"""The way through httpx: proxies, users' own transports, and tools that stand in for it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import cast

import anyio
import h11
import httpx

from .._core.wire import HTTPResponse
from .._runtime.event_loop import finished
from .errors import CONNECT_TIMEOUT, FailureKind
from .http11 import ResponseHead, announced_idle_time
from .network import listen
from .request import PreparedRequest
from .request_body import RequestBody
from .response_body import BodyReader
from .trace import AsyncResource, ConnectionTrace, close_in_time

_TIMEOUTS = {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}
"""httpx's, in seconds."""


def opened(tls: ssl.SSLContext, proxy: str | None) -> HTTPXConnection:
    """A connection of httpx's, which is kept until the pool closes it."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
    return HTTPXConnection(httpx.AsyncHTTPTransport(verify=tls, limits=limits, proxy=proxy))


class HTTPXConnection:
    """A transport of httpx: one connection, or whatever a user's own is."""

    stale = False
    """It replaces for itself what the other side has closed."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        listen(transport)
        self._transport = transport
        self._opened: AsyncResource | None = None
        self.idle_time: float | None = None

    @property
    def reusable(self) -> bool:
        """Whether it is good for another exchange."""
        return not _says_more(self._transport)

    async def exchange(self, request: PreparedRequest, trace: ConnectionTrace, longest: int) -> HTTPResponse:
        """Send `request`, and receive the response; see `HTTP11Connection.exchange`."""
        stream, headers = _Stream(request.body), dict(request.headers)
        if request.body.length is not None:
            headers["content-length"] = str(request.body.length)
        said = httpx.Request(
            request.call.method, request.address.text, headers=headers, content=stream if request.body.length else None
        )
        said.stream = stream
        said.extensions = {"timeout": _TIMEOUTS, "trace": trace}
        try:
            response = await self._transport.handle_async_request(said)
        finally:
            self._opened = trace.opened or self._opened
        head = ResponseHead(response.status_code, dict(response.headers))
        self.idle_time = announced_idle_time(head.headers)
        intake = BodyReader(request.call, head, longest)
        try:
            take_in = partial(_take_in, cast("httpx.AsyncByteStream", response.stream), intake)
            await intake.whole_of(take_in, _BROKEN)
        except BaseException:
            await intake.abandon()
            await response.aclose()
            raise
        await finished(response.aclose)  # or what has come could be lost by a cancellation in here
        return await intake.finish()

    async def aclose(self) -> None:
        await close_in_time(self._transport)
        if self._opened is not None:  # httpcore forgets it when its TLS handshake is cancelled
            await close_in_time(self._opened)

    def meaning(self, error: Exception) -> FailureKind | None:
        """The kind of failure that `error` is; `None` if it is no failure of a connection."""
        return next((row for row in _MEANINGS if isinstance(error, row.kind)), None)


def _says_more(transport: httpx.AsyncBaseTransport) -> bool:
    """Whether more arrived than the response, which would be taken for the response to the next call.

    Only h11 and the socket know, some layers below httpx, and nothing in between asks them.
    """
    for layer in getattr(getattr(transport, "_pool", None), "connections", ()):
        while (below := getattr(layer, "_connection", None)) is not None:
            layer = below
        http, stream = getattr(layer, "_h11_state", None), getattr(layer, "_network_stream", None)
        more = http is not None and http.trailing_data[0]
        if more or (stream is not None and stream.get_extra_info("is_readable")):
            return True
    return False


async def _take_in(stream: httpx.AsyncByteStream, intake: BodyReader) -> None:
    # A body that is not wanted is left by cancelling: that ends every generator on the way to the socket.
    failure: Exception | None = None
    with anyio.CancelScope() as scope:
        async for piece in stream:
            if failure is not None:
                continue
            try:
                intake.feed(piece)
                if intake.full:
                    await intake.drain()
            except Exception as error:  # noqa: BLE001 - raised below
                failure = error
                scope.cancel()
    if failure is not None:
        raise failure


class _Stream(httpx.AsyncByteStream):
    """A body as httpx sends it."""

    def __init__(self, body: RequestBody) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)


_BROKEN = (httpx.HTTPError, httpx.StreamError, h11.ProtocolError, OSError)
"""The errors of a connection that ended in the middle of a response."""

_MEANINGS = (
    FailureKind(httpx.ConnectTimeout, "connect_timeout", "no connection to {host} within {seconds:g} seconds"),
    FailureKind(httpx.PoolTimeout, "connect_timeout", "no connection to {host} came free in time"),
    FailureKind(httpx.ProxyError, "proxy", "the proxy did not connect to {host}"),
    FailureKind(httpx.ConnectError, "refused", "no connection to {host}"),
    FailureKind(httpx.TimeoutException, "read_timeout", "{host} took too long"),
    FailureKind(
        httpx.RemoteProtocolError, "no_http", "{host} ended the response too early, or sent something that is not HTTP"
    ),
    FailureKind(httpx.LocalProtocolError, "lost", "the request cannot be expressed in HTTP", again=False),
    FailureKind(httpx.InvalidURL, "unsendable", "the address is not one", again=False),
    FailureKind(ConnectionResetError, "refused", "no connection to {host}"),
    FailureKind(
        (httpx.HTTPError, httpx.StreamError, h11.ProtocolError, ssl.SSLError, UnicodeError),
        "lost",
        "the connection to {host} was lost",
    ),
)
"""The kinds of failures of httpx's errors, the most specific first."""
