"""Calls over HTTP. The only package that knows httpx.

`calls` sends a `HTTPRequest` and follows links, on the connections that `connections` keeps. Plain connections go
straight (`direct`: `http1` on `sockets`, with `tls` and `names` below them); proxies (`proxies`), users' own
transports and tools that stand in for httpx go through it (`through_httpx`, imported when it is needed), on the
same sockets (`network`). `outgoing` has the requests, `uploads` their bodies, `bodies` takes answers in, `watching`
notes what leaves and where to, `failures` says what went wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from .._core.errors import ConfigurationError
from .._core.server import Settings
from .._core.wire import HTTPRequest, HTTPResponse, SendState
from .http import HTTPTransport
from .pool import ConnectionPool, UserTransport
from .proxies import checked_proxy


class Transport(Protocol):
    """What carries calls: this package's over HTTP, or the embedded engine's."""

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        """Send `call`, noting in `progress` how far it got.

        Raises:
            APIConnectionError: no whole answer came.
        """
        ...

    async def aclose(self) -> None:
        """Close what the running loop has open."""
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
    """The transport for a client's settings. The one place where this is decided."""
    if transport is None:
        return HTTPTransport(config, headers, ConnectionPool(checked_proxy(proxy), keepalive_expiry))
    if (borrowed := _borrowed(transport)) is not None:
        return HTTPTransport(config, headers, borrowed)
    if not callable(getattr(transport, "send", None)):
        kind = type(transport).__name__
        raise ConfigurationError(f"a {kind} is no transport: give an httpx.AsyncBaseTransport or an EmbeddedTransport")
    return cast("Transport", transport)


def _borrowed(transport: object) -> UserTransport | None:
    """What carries calls on an httpx transport; None where `transport` is none."""
    if "httpx" not in sys.modules:  # then nobody can have made one
        return None
    import httpx

    from .httpx_connection import HTTPXConnection

    return UserTransport(HTTPXConnection(transport)) if isinstance(transport, httpx.AsyncBaseTransport) else None
