"""Sockets: connecting, address checks, TLS, and sending while listening for an early response.

There is one implementation for asyncio and one for trio. asyncio's is a protocol that receives into a buffer which all
sockets of a loop share: nothing else in asyncio costs as little per response. It sends the short requests of one turn
of the loop together: a request sent while the tasks of other calls run has the system switch to the other side and
back, which takes a fifth of a call where that is on the same machine. trio's uses the socket directly. TLS is the
package's own layer (`tls`), so that data which the system still has of a lost connection can be read.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeAlias

import anyio
from anyio.lowlevel import checkpoint, current_token

from .._core.cutting import Buffer
from .._runtime.event_loop import LoopLocal
from .addresses import AddressFilter
from .host_names import SocketAddress, addresses_of
from .http11 import answer_begun
from .tls import Tls
from .trace import CLOSED_AT_ONCE, CLOSING, AddressNotAllowedError

_HIGH_WATER = 64 * 1024
"""Unread bytes from which on receiving pauses while no call waits for them: a slot's image is being written then, and
every slot may hold as many in memory."""

PIECE = 256 * 1024
"""Bytes sent at once, or received by trio. Between two pieces that are sent, the loop notices an early response, a
cancellation, or a lost connection; and asyncio before Python 3.12 copies what the system does not take of a piece."""

_RECEIVED = 128 * 1024
"""Bytes received at once by asyncio: what becomes of them is memory that every slot takes."""

_STAGGER = 0.25
"""Seconds after which a connection to the next address of a name is started, too (RFC 8305)."""


class StaleConnectionError(Exception):
    """The other side has closed an idle connection, or sent something unrequested. Nothing was sent."""


Take: TypeAlias = Callable[[Buffer, int], bool]
"""Takes the bytes before an index of a reused buffer. Returns whether it takes more at once."""


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
    opened: Socket = await AsyncioSocket.open(connected) if on_asyncio else _TrioSocket(connected)
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


class Socket(ABC):
    """A connected socket, and the data received on it but not read yet.

    Attributes:
        arrived: the bytes that have arrived and were not taken yet, in pieces.
        ended: whether nothing more will arrive, since the other side has ended the connection or it is lost.
    """

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self.tls: Tls | None = None
        self.arrived: list[bytes] = []
        self._unread: int = 0
        self.ended = False
        self._error: Exception | None = None
        self._readable = poller_of(raw.fileno())
        self._paused = False

    @property
    def address(self) -> str:
        """The address of its peer.

        Raises:
            ConnectionResetError: nowhere any more.
        """
        try:
            return str(self.raw.getpeername()[0])
        except OSError as error:
            raise ConnectionResetError(CLOSED_AT_ONCE) from error

    async def encrypt(self, context: ssl.SSLContext, host: str | None) -> None:
        """Start TLS, inside of the current TLS if there is one.

        Raises:
            OSError: the other side does not, or is not `host`.
        """
        early, self.arrived = self.arrived, []
        tls = self.tls = Tls(context, host, self.tls)
        for data in early:  # not to be taken for anything that was encrypted
            self._decrypt(tls, data)
        while True:
            await self._write(tls.pending())
            if self._error is not None:
                raise self._error
            if tls.established:
                return
            if self.ended:
                raise ConnectionResetError("the server closed the connection in the TLS handshake")
            await self.arrival()

    @abstractmethod
    async def send(self, data: bytes | memoryview, *, listening: bool = True) -> bool:
        """Send `data`. Return whether all of it was handed to the system before a response or the end arrived.

        What went wrong, `receive` raises, after all that has arrived.

        Args:
            data: a piece that is short enough to be encrypted in one go.
            listening: whether a response ends it.
        """

    @abstractmethod
    async def send_request(self, data: bytes, on_sent: Callable[[], object], *, reused: bool) -> None:
        """Send a whole short request. What goes wrong, `receive` raises, after all that has arrived.

        Args:
            data: the request.
            on_sent: called just before it is sent.
            reused: whether the connection may be stale. Then nothing is sent, and `receive` raises
                `StaleConnectionError`.
        """

    @property
    @abstractmethod
    def has_sent_all(self) -> bool:
        """Whether the system has taken all that was sent."""

    def _end_if_stale(self) -> bool:
        """Have `receive` raise `StaleConnectionError` if the connection is stale. Return whether it is."""
        if not (self.ended or self.arrived or self._readable()):
            return False
        self.arrived = []
        self._error, self.ended = StaleConnectionError(), True
        return True

    def _encrypted(self, tls: Tls, data: bytes | memoryview) -> bytes | None:
        """Return `data` encrypted; `None` if the connection has failed."""
        try:
            return tls.encrypt(data)
        except ssl.SSLError as error:
            self._error, self.ended = self._error or error, True
            return None

    async def receive(self) -> bytes:
        """Return received data, at least one byte; empty at the end.

        Raises:
            OSError: the connection is lost.
        """
        while not (self.arrived or self.ended):
            await self.arrival()
        return self.take()

    def take(self) -> bytes:
        """Return the data received, if any; empty at the end.

        Raises:
            OSError: the connection is lost.
        """
        if not self.arrived:
            if self._error is not None:
                raise self._error
            return b""
        data = b"".join(self.arrived) if self.arrived[1:] else self.arrived[0]
        self.arrived = []
        self._unread = 0
        if self._paused:
            self._resume()
        return data

    async def receive_into(self, take: Take) -> None:
        """Pass data to `take` as it arrives, until that returns `False`; empty at the end.

        Raises:
            OSError: the connection is lost.
        """
        data = await self.receive()
        while take(data, len(data)):
            data = await self.receive()

    @abstractmethod
    def pause(self) -> None:
        """Stop receiving until a caller waits for data."""

    @abstractmethod
    def _resume(self) -> None:
        """Resume receiving after a pause."""

    @property
    def stale(self) -> bool:
        """Whether unrequested data has arrived, such as the end of the connection."""
        return self.ended or bool(self.arrived) or bool(self._readable())

    @property
    def answered(self) -> bool:
        """Whether a response has begun to arrive, or none can arrive any more."""
        return self.ended or (bool(self.arrived) and answer_begun(b"".join(self.arrived)))

    @abstractmethod
    async def aclose(self) -> None:
        """Close it, without waiting for the peer."""

    def _take(self, data: bytes) -> None:
        """Return the data received; empty at the end."""
        if not data:
            self.ended = True
        elif self.tls is None:
            self._keep(data)
        else:
            self._decrypt(self.tls, data)

    def _decrypt(self, tls: Tls, data: bytes) -> None:
        try:
            for text in tls.decrypt(data):
                self._keep(text)
        except ssl.SSLError as error:
            self._error = error
        self.ended = self.ended or tls.ended or self._error is not None

    def _keep(self, text: bytes) -> None:
        self.arrived.append(text)
        self._unread += len(text)

    def _take_at_once(self) -> None:
        """Receive the data that the system has, without waiting."""
        try:
            self._take(self.raw.recv(PIECE))
        except BlockingIOError:
            return
        except OSError as error:
            self._error, self.ended = error, True

    @abstractmethod
    async def _write(self, data: bytes) -> None:
        """Send a few bytes of the TLS layer."""

    @abstractmethod
    def arrival(self) -> Awaitable[None]:
        """Wait until data has arrived, which may belong to the TLS layer only."""


async def send_all(opened: Socket, data: bytes, *, listening: bool = True) -> bool:
    """Send `data`, of any length, as `Socket.send` does."""
    view = memoryview(data)
    for start in range(0, len(data), PIECE):
        if start:
            await checkpoint()
        if listening and opened.answered:  # to a request that is not whole: most likely no
            return False
        if not await opened.send(view[start : start + PIECE], listening=listening):
            return False
    return True


def _new_buffer() -> bytearray:
    return bytearray(_RECEIVED)


_buffers: LoopLocal[bytearray] = LoopLocal(_new_buffer)
"""The buffer that a loop receives into. One serves all of its sockets, since what arrives is taken out of it before
the loop receives anything else; a new one for each receive costs more than a copy."""


class _Outbox:
    """The sockets of one asyncio loop that have a request to send at the end of its turn."""

    def __init__(self) -> None:
        self._sockets: deque[AsyncioSocket] = deque()

    def add(self, opened: AsyncioSocket, loop: asyncio.AbstractEventLoop) -> None:
        if not self._sockets:
            loop.call_soon(self._send, loop)
        self._sockets.append(opened)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._sockets:
                self._sockets.popleft().send_waiting()
        finally:
            if self._sockets:  # interrupted by a signal
                loop.call_soon(self._send, loop)


_outboxes: LoopLocal[_Outbox] = LoopLocal(_Outbox)


class AsyncioSocket(Socket, asyncio.BufferedProtocol):
    """A socket of asyncio."""

    def __init__(self, raw: socket.socket) -> None:
        super().__init__(raw)
        self._loop = asyncio.get_running_loop()
        self._buffer = _buffers.of(self._loop)
        self._view = memoryview(self._buffer)
        self._transport: Any = None
        self._reader: asyncio.Future[None] | None = None
        self._taker: Take | None = None
        self._has_enough = False
        self._writer: asyncio.Future[None] | None = None
        self._full = False
        self._unsent = False
        self._lost = self._loop.create_future()
        self._outbox = _outboxes.of(self._loop)
        self._waiting: tuple[bytes, Callable[[], object], bool] | None = None

    @classmethod
    async def open(cls, connected: socket.socket) -> AsyncioSocket:
        _, opened = await asyncio.get_running_loop().create_connection(lambda: cls(connected), sock=connected)
        return opened

    async def send(self, data: bytes | memoryview, *, listening: bool = True) -> bool:
        encrypted = data if self.tls is None else self._encrypted(self.tls, data)
        if encrypted is None or (self.ended and self._lost.done()):
            return False
        self._unsent = True
        self._transport.write(encrypted)
        while self._full and not (self._lost.done() or (listening and self.answered)):
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None
        self._unsent = self._full or self._transport.is_closing()
        return not self._unsent

    async def send_request(self, data: bytes, on_sent: Callable[[], object], *, reused: bool) -> None:
        self._waiting = data, on_sent, reused
        self._unsent = True
        self._outbox.add(self, self._loop)

    def send_waiting(self) -> None:
        """Send the request that waits, unless its call was cancelled meanwhile."""
        if self._waiting is None:
            return
        (data, on_sent, reused), self._waiting = self._waiting, None
        if reused and self._end_if_stale():
            self._transport.abort()  # or what has arrived could still be taken for a response
            _wake(self._reader)
            return
        encrypted = data if self.tls is None else self._encrypted(self.tls, data)
        if encrypted is None or self._lost.done():
            self.ended = True
            _wake(self._reader)
            return
        on_sent()
        self._transport.write(encrypted)
        self._unsent = self._full or self._transport.is_closing()

    @property
    def has_sent_all(self) -> bool:
        return not self._unsent

    async def receive_into(self, take: Take) -> None:
        """Pass data to `take` in the loop's own callback; the task wakes when that returns `False`."""
        while True:
            while self.arrived:
                data = self._take_first()
                if not take(data, len(data)):
                    return
            if self.ended:
                take(self.take(), 0)
                return
            if self._paused:
                self._resume()
            self._taker, self._has_enough = take, False
            try:
                await self.arrival()
            finally:
                self._taker = self._reader = None
            if self._has_enough:
                return

    def _take_first(self) -> bytes:
        """Return the first piece of the data received."""
        data = self.arrived.pop(0)
        self._unread -= len(data)
        if self._paused and not self.arrived:
            self._resume()
        return data

    def _keep(self, text: bytes) -> None:
        if self._taker is None:
            super()._keep(text)
        else:
            self._hand_over(self._taker, text, len(text))

    def _hand_over(self, take: Take, data: Buffer, stop: int) -> None:
        """Call `take` with data; its error is raised in the task that waits."""
        reader = self._reader
        try:
            if take(data, stop):
                return
            self._taker, self._has_enough = None, True
            _wake(reader)
        except Exception as error:  # noqa: BLE001 - raised where the task waits
            self._taker = None
            if reader is not None and not reader.done():
                reader.set_exception(error)

    async def _write(self, data: bytes) -> None:
        if not self._lost.done():
            self._transport.write(data)

    def arrival(self) -> Awaitable[None]:
        self._reader = self._loop.create_future()
        return self._reader

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()

    async def aclose(self) -> None:
        self._waiting = None
        if not self._lost.done():
            self._transport.abort()
            with anyio.move_on_after(CLOSING, shield=True):
                await asyncio.wait([self._lost])

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=0)  # what it holds has not been sent, and does not count as such

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self.tls is not None:
            self._take(bytes(self._view[:nbytes]))
        elif self._taker is not None:
            self._hand_over(self._taker, self._buffer, nbytes)
        else:
            self.arrived.append(bytes(self._view[:nbytes]))
            self._unread += nbytes
        if self._taker is not None and not self.ended:
            return
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)
        elif self._unread > _HIGH_WATER:
            self.pause()
        if self._writer is not None:
            _wake(self._writer)  # which stops writing when there is a response

    def eof_received(self) -> bool:
        self.ended = True
        _wake(self._reader)
        _wake(self._writer)
        return self.tls is None  # who says no more may still listen; TLS has no such thing

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._take_rest()
        self.ended = True
        if not (self._unsent and self.arrived):  # else it is the response, after which the server closed
            self._error = self._error or exc
        _wake(self._reader)
        _wake(self._writer)
        _wake(self._lost)

    def _take_rest(self) -> None:
        """Receive the data that the system still has: asyncio stops reading once a write has failed."""
        with suppress(OSError):  # that was all
            while data := self.raw.recv(PIECE):
                self._take(data)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._writer is None:
            self._unsent = False
        _wake(self._writer)


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class _TrioSocket(Socket):
    """A socket of trio."""

    has_sent_all = True

    async def send(self, data: bytes | memoryview, *, listening: bool = True) -> bool:
        encrypted = data if self.tls is None else self._encrypted(self.tls, data)
        return encrypted is not None and await self._send(encrypted, listening=listening)

    async def send_request(self, data: bytes, on_sent: Callable[[], object], *, reused: bool) -> None:
        if not (reused and self._end_if_stale()):
            on_sent()
            self.has_sent_all = await self.send(data)

    async def _send(self, data: bytes | memoryview, *, listening: bool) -> bool:
        rest = memoryview(data)
        while True:
            try:
                rest = rest[self.raw.send(rest) :]
            except BlockingIOError:
                pass
            except OSError:  # a response may have arrived nevertheless, with the reason
                return False
            if not rest:
                return True
            if not await self._writable(listening=listening):
                return False

    async def _writable(self, *, listening: bool) -> bool:
        """Wait until more can be sent. Return `False` if a response arrives first."""
        import trio

        async with anyio.create_task_group() as group:
            if listening:
                group.start_soon(self._listen, group.cancel_scope)
            await trio.lowlevel.wait_writable(self.raw)
            group.cancel_scope.cancel()
        return not (listening and self.answered)

    async def _listen(self, sending: anyio.CancelScope) -> None:
        while not self.answered:
            await self.arrival()
        sending.cancel()

    def pause(self) -> None:
        """Do nothing: it receives only while a caller waits."""

    def _resume(self) -> None:
        """Do nothing, for the same reason."""

    async def _write(self, data: bytes) -> None:
        await self._send(data, listening=False)

    async def arrival(self) -> None:
        import trio

        await trio.lowlevel.wait_readable(self.raw)
        self._take_at_once()

    @property
    def answered(self) -> bool:
        if not self.arrived and not self.ended and self._readable():
            self._take_at_once()
        return super().answered

    async def aclose(self) -> None:
        if self.raw.fileno() < 0:
            return
        import trio

        self.ended = True
        trio.lowlevel.notify_closing(self.raw)
        self.raw.close()


# --- connections, which the loops can make by themselves too, but lose when cancelled in the wrong moment


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


def poller_of(number: int) -> Callable[[], object]:
    """Return a function that returns whether the socket with that number is readable, without waiting."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([number], [], [], 0)[0]
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return partial(poll.poll, 0)
