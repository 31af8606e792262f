"""Sockets: connected, judged, encrypted, written to, read from. One kind for asyncio, one for all else.

asyncio's is a protocol of our own, which takes whatever has arrived in one piece: no other way of asyncio
costs as little for an answer. Everything else, trio that is, goes through anyio's streams.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.abc import SocketAttribute
from anyio.lowlevel import current_token

from .._core.addresses import Guard
from .watching import CLOSED_AT_ONCE, CLOSING, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ByteStream, SocketStream

_HIGH_WATER = 256 * 1024
"""Bytes that may lie unread before the other side is made to wait."""

_PIECE = 256 * 1024
"""Bytes read at once where the reader says how many."""

_STAGGER = 0.25
"""Seconds after which the next address of a name is tried beside the first (RFC 8305)."""


class Socket(Protocol):
    """A connected socket."""

    async def send(self, data: bytes) -> None:
        """Write `data`, as fast as the other side takes it, or until an answer comes."""
        ...

    async def receive(self) -> bytes:
        """What has arrived, at least a byte; nothing at the end."""
        ...

    @property
    def stale(self) -> bool:
        """Whether something has arrived that nobody asked for, such as the other side's end."""
        ...

    @property
    def answered(self) -> bool:
        """Whether an answer has begun to arrive, as far as can be told without reading."""
        ...

    async def aclose(self) -> None:
        """Close it, without waiting for the other side."""
        ...


class Place(Protocol):
    """Where to connect to."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


async def connect(
    place: Place, tls: ssl.SSLContext | None, guard: Guard | None, stage: Callable[[str], None]
) -> Socket:
    """A socket that is connected to `place`.

    Args:
        place: host and port.
        tls: how to encrypt; None for not at all.
        guard: where it may not lead; it is asked of the address reached, before anything is sent.
        stage: is told what is done now: `connect`, then `tls`.

    Raises:
        RefusedError: `guard` says no.
        OSError: there is no connection, or no encryption.
    """
    stage("connect")
    asyncio_s = isinstance(current_token().native_token, asyncio.AbstractEventLoop)
    opened = await (_AsyncioSocket.open(place) if asyncio_s else _AnyioSocket.open(place))
    try:
        if guard is not None and (why := guard(opened.address)):
            raise RefusedError(f"{place.host} is {opened.address}, which {why}")
        if tls is not None:
            stage("tls")
            await opened.encrypt(tls, place.host)
    except BaseException:
        await opened.aclose()
        raise
    return opened


class _AsyncioSocket(asyncio.Protocol):
    """A socket of asyncio."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._encrypted = False
        self._arrived: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._full = False
        self._lost = self._loop.create_future()
        self._polled: Any = None

    @classmethod
    async def open(cls, place: Place) -> _AsyncioSocket:
        connected = await _connected(place.host, place.port)
        _, opened = await asyncio.get_running_loop().create_connection(cls, sock=connected)
        return opened

    @property
    def address(self) -> str:
        where = self._transport.get_extra_info("peername")
        if not where:
            raise ConnectionResetError(CLOSED_AT_ONCE)
        return str(where[0])

    async def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        self._encrypted = True
        self._transport = await self._loop.start_tls(self._transport, self, context, server_hostname=host)

    async def send(self, data: bytes) -> None:
        if self._lost.done():
            raise self._error or ConnectionResetError("the connection is closed")
        self._transport.write(data)
        if self._full and not self._lost.done():
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    async def receive(self) -> bytes:
        while not self._arrived:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._arrived[0] if len(self._arrived) == 1 else b"".join(self._arrived)
        self._arrived.clear()
        self._unread = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def answered(self) -> bool:
        return bool(self._arrived)

    @property
    def stale(self) -> bool:
        return self._ended or bool(self._arrived) or self._readable()

    def _readable(self) -> bool:
        """What the system knows and the loop has not said yet."""
        if self._polled is None:
            self._polled = poller_of(self._transport.get_extra_info("socket").fileno())
        return bool(self._polled())

    async def aclose(self) -> None:
        if self._transport is not None and not self._lost.done():
            self._transport.abort()
            with anyio.move_on_after(CLOSING, shield=True):
                await asyncio.wait([self._lost])

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._arrived.append(data)
        self._unread += len(data)
        if self._unread > _HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        _wake(self._reader)
        _wake(self._writer)  # which stops writing when there is an answer

    def eof_received(self) -> bool:
        self._ended = True
        _wake(self._reader)
        return not self._encrypted  # who says no more may still listen; TLS has no such thing

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = exc
        _wake(self._reader)
        _wake(self._writer)
        _wake(self._lost)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        _wake(self._writer)


# asyncio can do the following by itself, but loses a socket when it is cancelled in the wrong moment.


async def _connected(host: str, port: int) -> socket.socket:
    """A socket connected to the first address of `host` that answers."""
    addresses = await _addresses(host, port)
    if len(addresses) == 1:
        return await _connected_to(*addresses[0])
    return await _Race().run(addresses)


_Address = tuple[int, Any]
"""Family, and what `connect` takes."""


async def _addresses(host: str, port: int) -> list[_Address]:
    try:
        kind = ip_address(host)
    except ValueError:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]
    return [(socket.AF_INET if kind.version == 4 else socket.AF_INET6, (host, port))]


async def _connected_to(family: int, address: Any) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)  # noqa: FBT003 - as the method wants it
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except BaseException:
        connecting.close()
        raise
    return connecting


class _Race:
    """Addresses tried side by side, each a moment after the one before (RFC 8305)."""

    def __init__(self) -> None:
        self._winner: socket.socket | None = None
        self._errors: list[OSError] = []

    async def run(self, addresses: list[_Address]) -> socket.socket:
        """The first socket that is connected.

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

    async def _try(self, address: _Address, over: anyio.Event, race: anyio.CancelScope) -> None:
        try:
            connected = await _connected_to(*address)
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


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class _AnyioSocket:
    """A socket behind anyio's streams."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream: ByteStream = stream
        self._tls: ssl.SSLObject | None = None
        self._raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's, not Django's
        self._polled = poller_of(self._raw.fileno())
        try:
            self.address = str(self._raw.getpeername()[0])
        except OSError as error:
            raise ConnectionResetError(CLOSED_AT_ONCE) from error

    @classmethod
    async def open(cls, place: Place) -> _AnyioSocket:
        stream = await anyio.connect_tcp(place.host, place.port, happy_eyeballs_delay=_STAGGER)
        try:
            return cls(stream)
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise

    async def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        from anyio.streams.tls import TLSAttribute, TLSStream

        stream = await TLSStream.wrap(self._stream, hostname=host, ssl_context=context, standard_compatible=False)
        self._stream = stream
        self._tls = stream.extra(TLSAttribute.ssl_object)  # noqa: S610 - anyio's, not Django's

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def receive(self) -> bytes:
        try:
            return await self._stream.receive(_PIECE)
        except anyio.EndOfStream:
            return b""

    @property
    def stale(self) -> bool:
        return bool(self._polled()) or (self._tls is not None and has_more(self._tls))

    @property
    def answered(self) -> bool:
        if self._tls is not None or not self.stale:  # what arrives in TLS may be something of TLS's own
            return False
        try:
            return bool(self._raw.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True), suppress(anyio.BrokenResourceError, OSError):
            await anyio.aclose_forcefully(self._stream)


def has_more(tls: ssl.SSLObject) -> bool:
    """Whether there is something to read already, be it the end; what is read by asking is lost."""
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:  # it is broken
        return True
    return True


def poller_of(number: int) -> Callable[[], object]:
    """What tells whether something can be read from the socket with that number, without waiting."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([number], [], [], 0)[0]
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return lambda: poll.poll(0)
