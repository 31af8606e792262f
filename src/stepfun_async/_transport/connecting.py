"""Connecting a socket to the first address of a host that responds, and checking where it leads.

The loops can do so by themselves too, but lose the connection if they are cancelled at the wrong moment.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import anyio
from anyio.lowlevel import current_token

from .addresses import AddressFilter
from .asyncio_socket import AsyncioSocket
from .host_names import SocketAddress, addresses_of
from .sockets import Socket
from .trace import AddressNotAllowedError
from .trio_socket import TrioSocket

_STAGGER = 0.25
"""Seconds after which a connection to the next address of a name is started, too (RFC 8305)."""


class HostPort(Protocol):
    """The host and port to connect to."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


async def connect(
    place: HostPort, tls: ssl.SSLContext | None, guard: AddressFilter | None, stage: Callable[[str], None]
) -> Socket:
    """Connect a socket to `place`.

    Args:
        place: host and port.
        tls: how to encrypt; `None` to not encrypt.
        guard: the filter of addresses, which checks the connected address before anything is sent.
        stage: called with what is done now: `connect`, then `tls`.

    Raises:
        AddressNotAllowedError: `guard` forbids the address.
        OSError: there is no connection, or no encryption.
    """
    stage("connect")
    on_asyncio = isinstance(current_token().native_token, asyncio.AbstractEventLoop)
    connected = await _connected(place, _connect_in_asyncio if on_asyncio else _connect_in_trio)
    opened: Socket = await AsyncioSocket.open(connected) if on_asyncio else TrioSocket(connected)
    try:
        if guard is not None and (why := guard(opened.address)):
            raise AddressNotAllowedError(f"{place.host} is {opened.address}, which {why}")
        if tls is not None:
            stage("tls")
            await opened.encrypt(tls, place.host)
    except BaseException:
        await opened.aclose()
        raise
    return opened


_Connect: TypeAlias = Callable[[socket.socket, Any], Awaitable[None]]


async def _connect_in_asyncio(connecting: socket.socket, address: Any) -> None:
    await asyncio.get_running_loop().sock_connect(connecting, address)


async def _connect_in_trio(connecting: socket.socket, address: Any) -> None:
    import trio

    await trio.socket.from_stdlib_socket(connecting).connect(address)


async def _connected(place: HostPort, connect: _Connect) -> socket.socket:
    """Connect a socket to the first address of `place` that responds."""
    addresses = await addresses_of(place.host, place.port)
    if len(addresses) == 1:
        return await _connected_to(addresses[0], connect)
    return await _Race(connect).run(addresses)


async def _connected_to(where: SocketAddress, connect: _Connect) -> socket.socket:
    family, address = where
    connecting = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        connecting.setblocking(False)  # noqa: FBT003 - as the method wants it
        # Without it, the end of a body waits for the other side's delayed acknowledgement.
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await connect(connecting, address)
    except BaseException:
        connecting.close()
        raise
    return connecting


class _Race:
    """Connection attempts to several addresses, each started a moment after the one before (RFC 8305)."""

    def __init__(self, connect: _Connect) -> None:
        self._connect = connect
        self._winner: socket.socket | None = None
        self._errors: list[OSError] = []

    async def run(self, addresses: list[SocketAddress]) -> socket.socket:
        """Return the first socket that is connected.

        Raises:
            OSError: none was.
        """
        try:
            async with anyio.create_task_group() as group:
                for address in addresses:
                    over = anyio.Event()
                    group.start_soon(self._try, address, over, group.cancel_scope)
                    with anyio.move_on_after(_STAGGER):
                        await over.wait()
        except BaseException:
            if self._winner is not None:
                self._winner.close()
            raise
        if self._winner is None:
            raise self._errors[0]
        return self._winner

    async def _try(self, address: SocketAddress, over: anyio.Event, race: anyio.CancelScope) -> None:
        try:
            connected = await _connected_to(address, self._connect)
        except OSError as error:
            self._errors.append(error)
        else:
            if self._winner is None:
                self._winner = connected
                race.cancel()
            else:
                connected.close()
        finally:
            over.set()
