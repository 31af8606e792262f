"""The trace of a connection: when the body is sent, and where the connection leads.

It keeps three promises: whether a byte of the body was sent is known; no connection is made to an address that is not
allowed; and httpcore's own log does not repeat a key that a server echoes. Our own connections report directly; httpx's
do so through httpcore's trace hook, since nothing above it has access to the socket.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Protocol

import anyio

from .._core.secrets import APIKey
from .._core.wire import SendState
from .addresses import AddressFilter

CLOSING = 1.0
"""Seconds that closing a connection may take after its call was cancelled."""

CLOSED_AT_ONCE = "it was closed as soon as it was open"


class AsyncResource(Protocol):
    """A resource that can be closed, also twice."""

    async def aclose(self) -> None: ...


async def close_in_time(opened: AsyncResource) -> None:
    """Close `opened`, even when the call was cancelled, in `CLOSING` seconds."""
    with anyio.move_on_after(CLOSING, shield=True):
        await opened.aclose()


class AddressNotAllowedError(Exception):
    """A connection to an address that is not allowed."""


def refuse_host(host: str, guard: AddressFilter | None) -> None:
    """Raise `AddressNotAllowedError` if `host`, as it is written, is already known not to be allowed."""
    if guard is not None and (why := guard(host)):
        raise AddressNotAllowedError(f"{host} {why}")


class ConnectionTrace:
    """Records when the body is first sent, and closes connections to addresses that are not allowed. Also a trace hook.

    A name is judged by the address that its socket is connected to, before anything is sent. So a name server cannot
    return one address for the check, and another one for the connection.

    Args:
        progress: records that the body is sent.
        host: the host of the request, as written in the link.
        guard: the filter of addresses; `None` for no filter.
        key: the key, which must not appear in a log.

    Attributes:
        progress: likewise.
        host: likewise.
        has_reported: whether the connection reports its events.
        opened: the connection, for closing it.
    """

    has_reported = False
    opened: AsyncResource | None = None
    _connecting_to: object = None

    def __init__(self, progress: SendState, host: str, guard: AddressFilter | None, key: APIKey | None) -> None:
        self.progress = progress
        self.host = host
        self._guard = guard
        self._key = key

    async def __call__(self, event: str, info: MutableMapping[str, Any]) -> None:
        self.has_reported = True
        name = event.partition(".")[2]
        if name == "connect_tcp.started":
            self._connecting_to = info["host"]
        elif name == "connect_tcp.complete":
            self.opened = info["return_value"]
            await self._judge(info["return_value"])
        elif name == "send_request_body.started" and info["request"].method != b"CONNECT":
            self.progress.mark_sent()  # a CONNECT is for the proxy
        elif name.endswith((".complete", ".failed")):
            self._hide(info)

    @property
    def is_unsent(self) -> bool:
        """Whether events arrived, and none of them was the body's; a mocked transport sends no events."""
        return self.has_reported and self.progress.sent is False

    async def _judge(self, stream: Any) -> None:
        """Close a connection to an address that is not allowed. A proxy always is: the user has chosen it."""
        if self._guard is None or self._connecting_to != self.host:
            return
        address = _address_of(stream)
        if why := self._guard(address):
            await close_in_time(stream)
            raise AddressNotAllowedError(f"{self.host} is {address}, which {why}")

    def _hide(self, info: MutableMapping[str, Any]) -> None:
        """Remove the key from what httpcore is about to log, in case the server repeats it."""
        if self._key is None:
            return
        for name, value in info.items():
            shown = repr(value)
            if (clean := self._key.redact(shown)) != shown:
                info[name] = clean


def _address_of(stream: Any) -> str:
    """Where `stream` leads.

    Raises:
        ConnectionResetError: nowhere any more, so that there is nothing to judge.
    """
    try:
        where = stream.get_extra_info("server_addr")
    except OSError:
        where = None
    if not where:
        raise ConnectionResetError(CLOSED_AT_ONCE)
    return str(where[0])
