"""asyncio's sockets: a protocol that receives into a buffer which all sockets of a loop share.

Nothing else in asyncio costs as little per response. The short requests of one turn of the loop are sent together at
its end: a request sent while the tasks of other calls run has the system switch to the other side and back, which takes
a fifth of a call where that is on the same machine.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio

from .._core.cutting import Buffer
from .._runtime.event_loop import LoopLocal
from .sockets import PIECE, Socket, StaleConnectionError, Take
from .trace import CLOSING

_HIGH_WATER = 64 * 1024
"""Unread bytes from which on receiving pauses while no call waits for them: a slot's image is being written then, and
every slot may hold as many in memory."""

_RECEIVED = 128 * 1024
"""Bytes received at once by asyncio: what becomes of them is memory that every slot takes."""


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

    def cancel_request(self) -> None:
        self._waiting = None

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
        if exc is not None and not isinstance(self._error, StaleConnectionError):
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
