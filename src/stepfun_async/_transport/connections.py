"""Connections: idle ones on stacks, a user's own transport, proxies and certificates.

A slot owns its connection: idle connections lie on a stack, a call takes the top one or makes a new
one, and puts it back when the exchange ended well. There are never more of them than slots, so there
is no pool to search and none to queue in; and a connection that a call was cancelled on is thrown
away with whatever state it was in, so there is nothing to poison.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncGenerator
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple, TypeAlias

import anyio
import anyio.to_thread
import httpx

from .._config import Origin, hidden, proxy_of
from .._core.addresses import Guard
from .._core.errors import ConfigurationError
from .._loops import PerLoop
from .watching import Closable, close_in_time

CONNECT_TIMEOUT = 5.0
"""Seconds a connection may take to open; the deadline of the call bounds everything else."""

KEEPALIVE = 4.0
"""Seconds an idle connection is kept: under the 5 after which common servers close theirs."""

TIMEOUTS = {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}
"""httpx's, in seconds."""


class Lane(NamedTuple):
    """What a connection may be used for: calls to one server, whose address was judged by the same guard."""

    origin: Origin
    guard: Guard | None


_Stack: TypeAlias = deque[tuple[float, httpx.AsyncBaseTransport]]
"""Idle connections with the time since when, the longest at the left."""


class Connections:
    """Idle connections, one httpx transport with one connection each, on a stack for each lane."""

    sent_at_first = False
    """Nothing has left before a connection of ours says so."""

    def __init__(self, proxy: str | None) -> None:
        self._proxy = proxy
        self._proxies: dict[Origin, str | None] = {}
        self._closed = False
        self._idle: PerLoop[_Idle] = PerLoop(_Idle)

    async def take(self, lane: Lane) -> httpx.AsyncBaseTransport:
        idle = self._idle.get()
        await idle.end_with_loop()
        stack = idle.stacks.setdefault(lane, deque())
        await self._thin_out(stack)
        return stack.pop()[1] if stack else await self._open(lane.origin)

    async def give_back(self, lane: Lane, connection: httpx.AsyncBaseTransport) -> None:
        if self._closed or _says_more(connection):
            await self.discard(connection)
        else:
            self._idle.get().stacks[lane].append((anyio.current_time(), connection))

    async def _thin_out(self, stack: _Stack) -> None:
        """Close what lies at the bottom for too long: two a call, so that none pays for all."""
        for _ in range(2):
            if stack and stack[0][0] < anyio.current_time() - KEEPALIVE:
                await self.discard(stack.popleft()[1])

    async def discard(self, connection: httpx.AsyncBaseTransport, opened: Closable | None = None) -> None:
        """Close `connection`, and what was `opened` for it: it forgets that when its TLS handshake is cancelled."""
        await close_in_time(connection)
        if opened is not None:
            await close_in_time(opened)

    async def aclose(self) -> None:
        self._closed = True
        idle = self._idle.pop()
        if idle is not None:
            await idle.aclose()

    async def _open(self, origin: Origin) -> httpx.AsyncBaseTransport:
        if origin not in self._proxies:
            self._proxies[origin] = self._proxy or checked_proxy(proxy_of(origin))
        proxy = self._proxies[origin]
        tls = origin[0] == "https" or (proxy or "").startswith("https")
        context = await anyio.to_thread.run_sync(_tls_context) if tls else _no_tls()
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE)
        return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)


def _says_more(connection: httpx.AsyncBaseTransport) -> bool:
    """Whether more came than the answer, which would be taken for the answer of the next call.

    Only h11 and TLS know, some layers below httpx, and nobody in between asks them.
    """
    for layer in getattr(getattr(connection, "_pool", None), "connections", ()):
        while (below := getattr(layer, "_connection", None)) is not None:
            layer = below
        http, stream = getattr(layer, "_h11_state", None), getattr(layer, "_network_stream", None)
        tls = None if stream is None else stream.get_extra_info("ssl_object")
        if (http is not None and http.trailing_data[0]) or (tls is not None and _has_more(tls)):
            return True
    return False


def _has_more(tls: ssl.SSLObject) -> bool:
    """Whether there is something to read already, be it the end; what is read by asking is lost."""
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:  # it is broken
        return True
    return True


class Borrowed:
    """A transport that the user handed in: used for everything, closed with the client, never discarded."""

    sent_at_first = None
    """Nobody watches what leaves."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def take(self, lane: Lane) -> httpx.AsyncBaseTransport:
        return self._transport

    async def give_back(self, lane: Lane, connection: httpx.AsyncBaseTransport) -> None:
        pass

    async def discard(self, connection: httpx.AsyncBaseTransport, opened: Closable | None = None) -> None:
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
        self.stacks: dict[Lane, _Stack] = {}
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


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def checked_proxy(proxy: str | None) -> str | None:
    """`proxy`, known to be the address of one.

    Raises:
        ConfigurationError: it cannot be one, or needs a package that is not installed.
    """
    if proxy is None:
        return None
    if not _is_text(proxy):
        raise ConfigurationError(f"the proxy's address is text, not a {type(proxy).__name__}")
    if why := _why_no_proxy(proxy):
        raise ConfigurationError(f"the proxy's address cannot be used: {why}")
    if proxy.lower().startswith("socks") and find_spec("socksio") is None:
        raise ConfigurationError('a SOCKS proxy needs one more package: pip install "stepfun-async[socks]"')
    return hidden(proxy)


def _why_no_proxy(proxy: str) -> str | None:
    try:
        httpx.Proxy(proxy)
    except (ValueError, httpx.InvalidURL) as error:
        return "what stands around its password is no address" if "@" in proxy else str(error)
    return None
