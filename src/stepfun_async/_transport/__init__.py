"""Calls over HTTP. The only package that knows httpx.

`calls` sends a `Call` and follows links, on the connections that `connections` keeps. `watching` hears
from below what leaves and where to, and `failures` says what went wrong. What is sent and what comes is no
business of httpx: `uploads` has the bodies of requests, `bodies` takes answers in, `messages` hands both over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import httpx

from .._config import Config
from .._core.errors import ConfigurationError
from .._core.wire import Call, Progress, Reply
from .calls import HttpTransport
from .connections import Borrowed, Connections, checked_proxy


class Transport(Protocol):
    """What carries calls: this package's over HTTP, or the embedded engine's."""

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
        return HttpTransport(config, headers, Borrowed(transport))
    if transport is None:
        return HttpTransport(config, headers, Connections(checked_proxy(proxy)))
    if not callable(getattr(transport, "send", None)):
        kind = type(transport).__name__
        raise ConfigurationError(f"a {kind} is no transport: give an httpx.AsyncBaseTransport or an EmbeddedTransport")
    return transport
