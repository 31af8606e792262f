"""Serving over stdio, and over streamable HTTP for agents that do not start the server themselves."""

from __future__ import annotations

import hmac
import ipaddress
import signal
import socket
from collections.abc import AsyncIterable, Callable
from typing import Any

import anyio
import uvicorn
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from stepfun_async import ConfigurationError
from stepfun_async._runtime.signals import signals_received

from .stdin import StdinLines

PATH = "/mcp"
"""The path of the server for HTTP clients."""

TOKEN_VARIABLE = "STEPFUN_MCP_TOKEN"  # noqa: S105 - the name of a variable
"""The token that HTTP clients must send. There is no option, since command lines are visible to others."""

_LARGEST_BODY = 16 * 1024 * 1024
"""Bytes of a request: one with an image of 10 MB as a data URI."""

_LAST_SECONDS = 2
"""Seconds that open streams get when the server ends."""


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client over stdin and stdout, until it closes stdin, or until Ctrl-C or SIGTERM."""
    lines: Any = StdinLines()

    async def cancel_at_signal(signals: AsyncIterable[int], scope: anyio.CancelScope) -> None:
        async for _ in signals:
            scope.cancel()

    try:
        with signals_received(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_at_signal, signals, group.cancel_scope)
                async with stdio_server(stdin=lines) as (incoming, outgoing):
                    await server.run(incoming, outgoing, server.create_initialization_options())
                group.cancel_scope.cancel()
    finally:
        lines.close()


async def serve_http(
    server: Server[Any], host: str, port: int, token: str | None, on_ready: Callable[[str], None]
) -> None:
    """Serve any number of clients over streamable HTTP, until Ctrl-C.

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
    with _listen(host, port) as listener:
        bound = listener.getsockname()[1]
        app = _app(server, host, bound)
        config = uvicorn.Config(
            app if token is None else _TokenRequired(app, token),
            log_config=None,
            log_level="warning",
            ws="none",
            timeout_graceful_shutdown=_LAST_SECONDS,
        )
        on_ready(f"http://{_in_url(host)}:{bound}{PATH}")
        await uvicorn.Server(config).serve(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _app(server: Server[Any], host: str, port: int) -> ASGIApp:
    # A page in a browser on this machine could reach a server without a token: its Host or Origin is another one.
    names = [f"{_in_url(host)}:{port}", f"localhost:{port}"]
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


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error}; choose another host or port") from error
