"""The connection pool: idle connections on stacks, a user's own transport, proxies and certificates.

A call takes the top connection of the stack of its route or opens a new one, and puts it back if the exchange ended
well. There are never more connections than slots, so there is nothing to search and no queue. A connection on which a
call was cancelled is discarded, in whatever state it is.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .._core.errors import ConfigurationError
from .._core.server import Origin
from .._core.wire import HTTPResponse, SendState
from .._runtime.event_loop import LoopLocal, abandonable, finished, loop_and_clock, running_loop
from .addresses import AddressFilter
from .connection import HTTP11Connection
from .errors import FailureKind
from .proxies import proxy_for

if TYPE_CHECKING:
    from .request import PreparedRequest
    from .trace import ConnectionTrace

UNANNOUNCED = 1.5
"""Seconds for which an idle connection is kept if the server announces no time: less than the 2 after which gunicorn
closes it (`keepalive`, docs of gunicorn 23); uvicorn, hypercorn and Node do so after 5."""

LONGEST = 60.0
"""The maximum seconds for which it is kept: a proxy in between may close it earlier than the server announces."""

_MARGIN = 1.0
"""Seconds before the announced end in which no request is sent, since the server may be closing the connection."""


class Connection(Protocol):
    """A connection, for one exchange after another."""

    @property
    def stale(self) -> bool:
        """Whether it can no longer be used, as far as is known without sending."""
        ...

    @property
    def reusable(self) -> bool:
        """Whether it can be used for another exchange."""
        ...

    @property
    def idle_time(self) -> float | None:
        """Seconds after which the server closes it when it is idle; `None` if not announced."""
        ...

    async def exchange(self, request: PreparedRequest, trace: ConnectionTrace, longest: int) -> HTTPResponse:
        """Send `request` and return the response, whose body has at most `longest` bytes."""
        ...

    async def aclose(self) -> None:
        """Close it, in whatever state it is."""
        ...

    def meaning(self, error: Exception) -> FailureKind | None:
        """Return the kind of failure of an error of `exchange`; `None` if it is not a failure of the connection."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A kind of connection: to one server, with addresses checked by one filter, directly or through httpx."""

    origin: Origin
    guard: AddressFilter | None
    direct: bool = True


ConnectionStack: TypeAlias = deque[tuple[float, Connection]]
"""Idle connections, each with the time until which it is kept; the oldest is at the left."""

_PooledConnection: TypeAlias = tuple[Connection, ConnectionStack]
"""A connection in use, and the stack it is returned to."""


async def _close_expired(stack: ConnectionStack, now: float) -> None:
    """Close expired connections at the bottom of the stack: at most two per call, so that no call pays for all."""
    for _ in range(2):
        if len(stack) > 1 and stack[0][0] <= now:
            await stack.popleft()[1].aclose()


class ConnectionPool:
    """Idle connections on a stack for each route; opens new ones."""

    sent_at_first = False
    """A new attempt has sent nothing: our connections report when they send."""

    def __init__(self, proxy: str | None, keepalive_expiry: float | None) -> None:
        self._proxy = proxy
        self._expiry = LONGEST if keepalive_expiry is None else keepalive_expiry
        self._unannounced = UNANNOUNCED if keepalive_expiry is None else keepalive_expiry
        self._proxies: dict[Origin, str | None] = {}
        self._routes: dict[tuple[Origin, AddressFilter | None], tuple[Route, Route]] = {}
        self._closed = False
        self._idle: LoopLocal[_Idle] = LoopLocal(_Idle)

    def route(self, origin: Origin, guard: AddressFilter | None) -> Route:
        """Return the route for requests to `origin`, which decides whether they use httpx."""
        key = (origin, guard)
        if key not in self._routes:
            proxy = self._proxies[origin] = self._proxy or proxy_for(origin)
            self._routes[key] = Route(origin, guard, proxy is None), Route(origin, guard, direct=False)
        routes = self._routes[key]
        return routes[("httpx" in sys.modules or "httpcore" in sys.modules) and _is_patched()]

    def take_idle(self, route: Route, state: SendState) -> _PooledConnection | None:
        """Return the usable connection that was used last; `None` if a new one, or more time, is needed.

        Args:
            route: the route.
            state: the state of the attempt that begins.
        """
        stacks = self._idle.of(state.loop or running_loop()).stacks
        if route not in stacks:
            return None
        stack = stacks[route]
        if not stack or stack[0][0] <= state.began or stack[-1][1].stale:
            return None
        return stack.pop()[1], stack

    async def take(self, route: Route) -> _PooledConnection:
        """Return a connection for one exchange: an idle one, or a new one. Close those that were idle for too long."""
        loop, clock = loop_and_clock()
        idle = self._idle.of(loop)
        await idle.end_with_loop()
        stack = idle.stacks.get(route)
        if stack is None:
            stack = idle.stacks[route] = deque()
        while stack:
            now = clock()
            if stack[0][0] <= now:
                await _close_expired(stack, now)
                if not stack:  # other calls took the rest meanwhile
                    break
            until, connection = stack.pop()
            if until > now and not connection.stale:
                return connection, stack
            await connection.aclose()
        return await self._open(route), stack

    async def close(self, connection: Connection) -> None:
        """Close a connection after a successful exchange. A cancellation meanwhile does not lose the response."""
        await finished(connection.aclose)

    def keep(self, connection: Connection, stack: ConnectionStack, state: SendState) -> bool:
        """Put a connection back if it can be used again. Return whether it was."""
        if self._closed or not connection.reusable:
            return False
        idle_time = connection.idle_time
        kept = self._unannounced if idle_time is None else self._kept(idle_time)
        clock = state.clock or loop_and_clock()[1]
        stack.append((clock() + kept, connection))
        return True

    def _kept(self, announced: float) -> float:
        """Return the seconds for which to keep a connection that the server keeps for `announced` seconds."""
        return min(self._expiry, max(announced - _MARGIN, announced / 2))

    async def discard(self, connection: Connection) -> None:
        """Close a connection, in whatever state it is."""
        await connection.aclose()

    async def aclose(self) -> None:
        self._closed = True
        idle = self._idle.pop()
        if idle is not None:
            await idle.aclose()

    async def _open(self, route: Route) -> Connection:
        proxy = self._proxies[route.origin]
        encrypted = route.origin[0] == "https" or (proxy or "").startswith("https")
        tls = await _tls() if encrypted else None
        if route.direct:
            return HTTP11Connection(tls, route.guard)
        from .httpx_connection import opened

        return opened(tls or _no_tls(), proxy)


def _is_patched() -> bool:
    """Whether a tool has patched how httpx sends, as respx, recorders and tracing agents do.

    It compares the code of the methods, so the order of imports does not matter.
    """
    for package, name in _PATCHED:  # noqa: SIM110 - runs at every call, and a generator would double its time
        if package in sys.modules and _is_replaced(package, name):
            return True
    return False


def _is_replaced(package: str, name: str) -> bool:
    """Whether the method with which a class of httpx or httpcore sends belongs to another package."""
    module = sys.modules[package]
    kind: type = getattr(module, name)
    held = vars(kind).get("handle_async_request")
    # A wrapper, such as wrapt's, has all attributes of the function inside: only its type is its own.
    if type(held) is not FunctionType:
        return True
    if _own_code.get((package, name)) is held.__code__:
        return False
    if not held.__code__.co_filename.startswith(os.path.dirname(module.__file__ or "")):
        return True
    _own_code[package, name] = held.__code__
    return False


_PATCHED = (("httpx", "AsyncHTTPTransport"), ("httpcore", "AsyncConnectionPool"), ("httpcore", "AsyncHTTPConnection"))
"""The classes whose `handle_async_request` such tools replace."""

_own_code: dict[tuple[str, str], CodeType] = {}
"""The packages' own code of these methods, once it was checked."""


class UserTransport:
    """A pool for the user's own transport: used for everything, closed with the client, never discarded."""

    sent_at_first = None
    """A user's transport does not report what was sent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stack: ConnectionStack = deque()

    def route(self, origin: Origin, guard: AddressFilter | None) -> Route:
        return Route(origin, guard, direct=False)

    def take_idle(self, route: Route, state: SendState) -> _PooledConnection | None:
        return self._connection, self._stack

    async def take(self, route: Route) -> _PooledConnection:
        return self._connection, self._stack

    def keep(self, connection: Connection, stack: ConnectionStack, state: SendState) -> bool:
        return True

    async def close(self, connection: Connection) -> None:
        pass

    async def discard(self, connection: Connection) -> None:
        pass

    async def aclose(self) -> None:
        await self._connection.aclose()


class _Idle:
    """The idle connections of one event loop, closed with it.

    When a loop ends, asyncio and trio both close the async generators that were started in it. So a suspended
    generator is a place to close sockets in time and in the right loop, without an action of the user.
    """

    def __init__(self) -> None:
        self.stacks: dict[Route, ConnectionStack] = {}
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
            self._lifetime = None  # which refers to the loop, and would keep it alive
            for stack in self.stacks.values():
                while stack:
                    await stack.pop()[1].aclose()


_contexts: list[ssl.SSLContext] = []
"""The context for all connections of this process, created once: that takes tens of milliseconds."""


async def _tls() -> ssl.SSLContext:
    if not _contexts:
        _contexts.append(await abandonable(_tls_context))
    return _contexts[0]


def _tls_context() -> ssl.SSLContext:
    try:
        return _trusting()
    except OSError as error:
        raise ConfigurationError(
            f"no certificates to check servers by (SSL_CERT_FILE, SSL_CERT_DIR): {error}"
        ) from error


def _trusting() -> ssl.SSLContext:
    """Return a context that trusts the same certificates as httpx: those of the environment, else certifi's."""
    import certifi

    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or not folder:
        context = ssl.create_default_context(cafile=file or certifi.where())
    else:
        context = ssl.create_default_context(capath=folder)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # or sending might have to wait for receiving
    return context


@cache
def _no_tls() -> ssl.SSLContext:
    """Return a context that trusts no server, for plain http, where loading certificates would be wasted."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
