"""The trace of a connection: when the body is sent, and where the connection leads.

Three promises are kept here: it is known whether a byte of the body left, a name leads nowhere that it
should not lead, and httpcore's own log does not repeat what a server echoes. A connection of our own says
so itself; httpx's does through httpcore's trace hook, since nothing above that sees the socket.
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
    """A connection may not lead to where it would lead, or does."""


def refuse_host(host: str, guard: AddressFilter | None) -> None:
    """Raise `AddressNotAllowedError` where `host`, already as it is written, is none where a call may go."""
    if guard is not None and (why := guard(host)):
        raise AddressNotAllowedError(f"{host} {why}")


class ConnectionTrace:
    """Records when the body is first sent, and closes connections to addresses that are not allowed. Also a trace hook.

    A name is judged by the address that its socket is connected to, before anything is sent. So it does
    not help to answer one address when the name is looked up to be judged, and another one afterwards.

    Args:
        progress: where it is noted that the body leaves.
        host: where the call goes, as it is written in the link.
        guard: where it may not go.
        key: the key, which no log should repeat.
    """

    def __init__(self, progress: SendState, host: str, guard: AddressFilter | None, key: APIKey | None) -> None:
        self.progress = progress
        self.host = host
        self.saw = False
        self.opened: AsyncResource | None = None
        self._guard = guard
        self._key = key
        self._connecting_to: object = None

    def sees(self) -> None:
        """Note that the connection reports what happens."""
        self.saw = True

    async def __call__(self, event: str, info: MutableMapping[str, Any]) -> None:
        self.saw = True
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
    def knows_that_nothing_left(self) -> bool:
        """Whether events came, and none of them was the body's; a mocked transport sends no events."""
        return self.saw and self.progress.sent is False

    async def _judge(self, stream: Any) -> None:
        """Close a connection to a forbidden address. To a proxy it is allowed: that is the user's own choice."""
        if self._guard is None or self._connecting_to != self.host:
            return
        address = _address_of(stream)
        if why := self._guard(address):
            await close_in_time(stream)
            raise AddressNotAllowedError(f"{self.host} is {address}, which {why}")

    def _hide(self, info: MutableMapping[str, Any]) -> None:
        """Take the key out of what httpcore is about to log, where a server repeats it."""
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
