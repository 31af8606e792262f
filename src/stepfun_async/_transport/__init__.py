"""HTTP: an `HTTPRequest` goes in, an `HTTPResponse` comes out. The only room that imports httpx.

`http` sends a request and follows links, over connections from `pool`. Plain connections are our own HTTP/1.1:
`connection` and `http11` on `sockets` (`asyncio_socket`, `trio_socket`), which `connecting` makes, with `tls` and
`host_names`. Proxies (`proxies`), users' own transports and tools
that patch httpx use `httpx_connection`, on the same sockets (`network`). `request` and `request_body` write requests,
`response_body` reads responses, `trace` records what was sent, `addresses` refuses hosts, `errors` maps exceptions.
May import `_core` and `_runtime`.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from .._core.errors import ConfigurationError
from .._core.server import Settings
from .._core.wire import HTTPRequest, HTTPResponse, SendState
from .http import HTTPTransport
from .pool import ConnectionPool, UserTransport
from .proxies import checked_proxy


class Transport(Protocol):
    """A transport: this package's over HTTP, or that of the embedded engine."""

    def send(self, call: HTTPRequest, progress: SendState) -> Awaitable[HTTPResponse]:
        """Send `call`, and record in `progress` when its body is sent.

        Raises:
            APIConnectionError: no complete response arrived.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        ...


if TYPE_CHECKING:
    import httpx

    AnyTransport: TypeAlias = Transport | httpx.AsyncBaseTransport


def make_transport(
    config: Settings,
    *,
    transport: AnyTransport | None,
    proxy: str | None,
    headers: Mapping[str, str],
    keepalive_expiry: float | None = None,
) -> Transport:
    """Return the transport for a client's settings. This is the only place that decides it."""
    if transport is None:
        return HTTPTransport(config, headers, ConnectionPool(checked_proxy(proxy), keepalive_expiry))
    if (borrowed := _borrowed(transport)) is not None:
        return HTTPTransport(config, headers, borrowed)
    if not callable(getattr(transport, "send", None)):
        kind = type(transport).__name__
        raise ConfigurationError(f"a {kind} is no transport: give an httpx.AsyncBaseTransport or an EmbeddedTransport")
    return cast("Transport", transport)


def _borrowed(transport: object) -> UserTransport | None:
    """Return the pool for an httpx transport; `None` if `transport` is not one."""
    if "httpx" not in sys.modules:  # then there can be none
        return None
    import httpx

    from .httpx_connection import HTTPXConnection

    return UserTransport(HTTPXConnection(transport)) if isinstance(transport, httpx.AsyncBaseTransport) else None
