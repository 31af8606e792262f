"""Serving over stdio, and over streamable HTTP for agents that do not start the server themselves."""

from __future__ import annotations

import hmac
import ipaddress
import signal
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import uvicorn
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepfun_async import ConfigurationError
from stepfun_async._runtime.signals import signals_received
from stepfun_async.embedded.listening import in_url, listen

from .stdin import StdinLines

PATH = "/mcp"
"""The path of the server for HTTP clients."""

TOKEN_VARIABLE = "STEPFUN_MCP_TOKEN"  # noqa: S105 - the name of a variable
"""The token that HTTP clients must send. There is no option, since command lines are visible to others."""

_LARGEST_BODY = 16 * 1024 * 1024
"""Bytes of a request: one with an image of 10 MB as a data URI."""

_LAST_SECONDS = 2
"""Seconds that calls in progress get when the server ends."""


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client over stdin and stdout, until it closes stdin, or until Ctrl-C or SIGTERM."""
    lines: Any = StdinLines()
    scope = anyio.CancelScope()
    try:
        async with _at_signal(scope.cancel):
            with scope:
                async with stdio_server(stdin=lines) as (incoming, outgoing):
                    await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        lines.close()


@asynccontextmanager
async def _at_signal(stop: Callable[[], None]) -> AsyncGenerator[None]:
    """Call `stop` at each Ctrl-C and SIGTERM during the `async with` block, instead of raising `KeyboardInterrupt`."""

    async def watch(signals: AsyncIterable[int]) -> None:
        async for _ in signals:
            stop()

    with signals_received(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as group:
            group.start_soon(watch, signals)
            yield
            group.cancel_scope.cancel()


async def serve_http(
    server: Server[Any], host: str, port: int, token: str | None, on_ready: Callable[[str], None]
) -> None:
    """Serve any number of clients over streamable HTTP, until Ctrl-C or SIGTERM.

    Args:
        server: the server.
        host: the address to listen on.
        port: the port; 0 for a free one.
        token: what clients must send as `Authorization: Bearer TOKEN`; `None` for nothing.
        on_ready: called with the URL once the server accepts connections.

    Raises:
        ConfigurationError: `host` is reachable from other machines and there is no token, or it cannot be listened on.
    """
    if token is None and not is_loopback(host):
        why = f"{host} can be reached from other machines, and those who reach the server spend your money"
        raise ConfigurationError(f"{why}: set {TOKEN_VARIABLE}, or listen on 127.0.0.1")
    with listen(host, port) as listener:
        bound = listener.getsockname()[1]
        app = _app(server, host, bound)
        running = _HTTPServer(_Draining(app if token is None else _TokenRequired(app, token)))
        async with _at_signal(running.stop):
            on_ready(f"http://{in_url(host)}:{bound}{PATH}")
            await running.serve(sockets=[listener])


class _HTTPServer(uvicorn.Server):
    """uvicorn without signal handlers, which ends open streams when it stops.

    Its own handlers raise the signal again at the end, and at a second one leave the application's lifespan open, which
    logs a traceback when the event loop closes.
    """

    def __init__(self, app: _Draining) -> None:
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", ws="none", timeout_graceful_shutdown=2 * _LAST_SECONDS
        )
        super().__init__(config)
        self._app = app

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def stop(self) -> None:
        """Accept no more requests, and finish those that are open."""
        self.should_exit = True
        self._app.drain()


class _Draining:
    """An application whose open requests can be ended: the streams that clients listen to have no end of their own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: dict[anyio.CancelScope, float] = {}

    def drain(self) -> None:
        """End open streams now, and other requests after `_LAST_SECONDS`."""
        for scope, seconds in self._open.items():
            scope.deadline = min(scope.deadline, anyio.current_time() + seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = complete = False

        async def watched(message: Message) -> None:
            nonlocal begun, complete
            await send(message)
            begun = True
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        with anyio.CancelScope() as cancel_scope:
            self._open[cancel_scope] = 0 if scope["method"] == "GET" else _LAST_SECONDS
            try:
                await self._app(scope, receive, watched)
            finally:
                del self._open[cancel_scope]
        if cancel_scope.cancelled_caught and not begun:
            await PlainTextResponse("the server has stopped", 503)(scope, receive, send)
        elif cancel_scope.cancelled_caught and not complete:
            await send({"type": "http.response.body"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _app(server: Server[Any], host: str, port: int) -> ASGIApp:
    # A page in a browser on this machine could reach a server without a token: its Host or Origin is another one.
    names = [f"{in_url(host)}:{port}", f"localhost:{port}"]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=is_loopback(host),
        allowed_hosts=names,
        allowed_origins=[f"http://{name}" for name in names],
    )
    return server.streamable_http_app(
        streamable_http_path=PATH, max_request_body_size=_LARGEST_BODY, transport_security=security, host=host
    )


class _TokenRequired:
    """An application behind a token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_authorized(scope):
            why = f"send the header Authorization: Bearer TOKEN, with the token of {TOKEN_VARIABLE}"
            refusal = PlainTextResponse(why, 401, {"www-authenticate": "Bearer"})
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_authorized(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "")
        return hmac.compare_digest(given.encode(), self._expected)
