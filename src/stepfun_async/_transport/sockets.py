"""Connected sockets: sending while listening for an early response, receiving, and TLS.

There is one implementation for asyncio (`asyncio_socket`) and one for trio (`trio_socket`); `connecting` makes both.
TLS is the package's own layer (`tls`), so that data which the system still has of a lost connection can be read.
"""

from __future__ import annotations

import select
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from anyio.lowlevel import checkpoint

from .._core.cutting import Buffer
from .http11 import answer_begun
from .tls import Tls
from .trace import CLOSED_AT_ONCE

PIECE = 256 * 1024
"""Bytes sent at once, or received by trio. Between two pieces that are sent, the loop notices an early response, a
cancellation, or a lost connection; and asyncio before Python 3.12 copies what the system does not take of a piece."""


class StaleConnectionError(Exception):
    """The other side has closed an idle connection, or sent something unrequested. Nothing was sent."""


Take: TypeAlias = Callable[[Buffer, int], bool]
"""Takes the bytes before an index of a reused buffer. Returns whether it takes more at once."""


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

    @abstractmethod
    def cancel_request(self) -> None:
        """Do not send the request that still waits to be sent, if there is one."""

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


def poller_of(number: int) -> Callable[[], object]:
    """Return a function that returns whether the socket with that number is readable, without waiting."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([number], [], [], 0)[0]
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return partial(poll.poll, 0)
