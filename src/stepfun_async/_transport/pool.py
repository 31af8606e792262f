"""Connections: idle ones on stacks, a user's own transport, proxies and certificates.

A slot owns its connection: idle connections lie on a stack, a call takes the top one or makes a new
one, and puts it back when the exchange ended well. There are never more of them than slots, so there
is no pool to search and none to queue in; and a connection that a call was cancelled on is thrown
away with whatever state it was in, so there is nothing to poison.
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
"""Seconds for which an idle connection is kept where the server does not say for how long it keeps it: under the 2
after which gunicorn closes its own (`keepalive`, docs of gunicorn 23); uvicorn, hypercorn and Node do so after 5."""

LONGEST = 60.0
"""Seconds for which it is kept at most where the server says more: something between it and here may know better."""

_MARGIN = 1.0
"""Seconds before the end that the server announces in which no request is sent any more: it would cross with it."""


class Connection(Protocol):
    """What carries one exchange after another."""

    @property
    def stale(self) -> bool:
        """Whether it is no good any more, as far as can be told without sending."""
        ...

    @property
    def reusable(self) -> bool:
        """Whether it is good for another exchange."""
        ...

    @property
    def idle_time(self) -> float | None:
        """Seconds after which the server closes it when it is idle; `None` if it has not said so."""
        ...

    async def exchange(self, request: PreparedRequest, trace: ConnectionTrace, longest: int) -> HTTPResponse:
        """Send `request`, and receive the response, whose body has `longest` bytes at most."""
        ...

    async def aclose(self) -> None:
        """Close it, in whatever state it is."""
        ...

    def meaning(self, error: Exception) -> FailureKind | None:
        """The kind of failure that an error of `exchange` is; `None` if it is no failure of a connection."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What a connection may be used for: calls to one server, whose address was judged by the same guard."""

    origin: Origin
    guard: AddressFilter | None
    direct: bool = True


ConnectionStack: TypeAlias = deque[tuple[float, Connection]]
"""Idle connections with the time until when they are kept, the one that lies there longest at the left."""

_PooledConnection: TypeAlias = tuple[Connection, ConnectionStack]
"""A connection that a call has, and the stack it came from."""


async def _thin_out(stack: ConnectionStack, now: float) -> None:
    """Close what lies at the bottom for too long: two a call, so that none pays for all."""
    for _ in range(2):
        if len(stack) > 1 and stack[0][0] <= now:
            await stack.popleft()[1].aclose()


class ConnectionPool:
    """Idle connections on a stack for each lane, and how new ones are made."""

    sent_at_first = False
    """Nothing has left before a connection of ours says so."""

    def __init__(self, proxy: str | None, keepalive_expiry: float | None) -> None:
        self._proxy = proxy
        self._expiry = LONGEST if keepalive_expiry is None else keepalive_expiry
        self._unannounced = UNANNOUNCED if keepalive_expiry is None else keepalive_expiry
        self._proxies: dict[Origin, str | None] = {}
        self._routes: dict[tuple[Origin, AddressFilter | None], tuple[Route, Route]] = {}
        self._closed = False
        self._idle: LoopLocal[_Idle] = LoopLocal(_Idle)

    def route(self, origin: Origin, guard: AddressFilter | None) -> Route:
        """Return the route for requests to `origin`. Here it is decided which use httpx."""
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
                await _thin_out(stack, now)
                if not stack:  # others took theirs meanwhile
                    break
            until, connection = stack.pop()
            if until > now and not connection.stale:
                return connection, stack
            await connection.aclose()
        return await self._open(route), stack

    async def close(self, connection: Connection) -> None:
        """Close a connection whose exchange ended well. A cancellation in here does not lose the response."""
        await finished(connection.aclose)

    def keep(self, connection: Connection, stack: ConnectionStack, state: SendState) -> bool:
        """Put a connection back that can be used again. Return whether that is so."""
        if self._closed or not connection.reusable:
            return False
        idle_time = connection.idle_time
        kept = self._unannounced if idle_time is None else self._kept(idle_time)
        clock = state.clock or loop_and_clock()[1]
        stack.append((clock() + kept, connection))
        return True

    def _kept(self, announced: float) -> float:
        """Seconds for which a connection is kept that the server keeps for `announced` seconds."""
        return min(self._expiry, max(announced - _MARGIN, announced / 2))

    async def discard(self, connection: Connection) -> None:
        """Throw a connection away, in whatever state it is."""
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
    """Whether some tool has patched httpx's way of sending, as respx, recorders and tracing agents do.

    Known by the code that is run there, so it does not matter which was imported first.
    """
    for package, name in _WAYS:  # noqa: SIM110 - every call asks, and a generator takes as long as the answer
        if package in sys.modules and _is_replaced(package, name):
            return True
    return False


def _is_replaced(package: str, name: str) -> bool:
    """Whether the method by which a class of httpx or httpcore sends is some other package's."""
    module = sys.modules[package]
    kind: type = getattr(module, name)
    held = vars(kind).get("handle_async_request")
    # A wrapper, such as wrapt's, says of itself whatever the function inside says: its type alone is its own.
    if type(held) is not FunctionType:
        return True
    if _own_code.get((package, name)) is held.__code__:
        return False
    if not held.__code__.co_filename.startswith(os.path.dirname(module.__file__ or "")):
        return True
    _own_code[package, name] = held.__code__
    return False


_WAYS = (("httpx", "AsyncHTTPTransport"), ("httpcore", "AsyncConnectionPool"), ("httpcore", "AsyncHTTPConnection"))
"""The classes whose `handle_async_request` such tools replace."""

_own_code: dict[tuple[str, str], CodeType] = {}
"""What those packages themselves run there, once it was looked at."""


class UserTransport:
    """A transport that the user handed in: used for everything, closed with the client, never discarded."""

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
    """One loop's idle connections, closed with the loop.

    asyncio and trio both finish the async generators that were begun in a loop when it ends. So a
    generator that waits for its end is a place to close sockets in time, in the right loop, without
    the user having to say anything.
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
"""The context for all connections of this process, once it is there: making one takes tens of milliseconds."""


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
    """What trusts the certificates that httpx trusts: those that the environment names, else certifi's."""
    import certifi

    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or not folder:
        context = ssl.create_default_context(cafile=file or certifi.where())
    else:
        context = ssl.create_default_context(capath=folder)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # or what is to be sent might have to wait for what is to be read
    return context


@cache
def _no_tls() -> ssl.SSLContext:
    """A context that trusts no server, for plain http, where loading certificates would be wasted."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
