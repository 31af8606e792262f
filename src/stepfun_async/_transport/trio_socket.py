"""trio's sockets, which are used directly."""

from __future__ import annotations

import socket
from collections.abc import Callable

import anyio

from .sockets import Socket


class TrioSocket(Socket):
    """A socket of trio."""

    def __init__(self, raw: socket.socket) -> None:
        super().__init__(raw)
        self._has_sent_all = True

    def cancel_request(self) -> None:
        """Do nothing: none waits."""

    @property
    def has_sent_all(self) -> bool:
        return self._has_sent_all

    async def send(self, data: bytes | memoryview, *, listening: bool = True) -> bool:
        encrypted = data if self.tls is None else self._encrypted(self.tls, data)
        return encrypted is not None and await self._send(encrypted, listening=listening)

    async def send_request(self, data: bytes, on_sent: Callable[[], object], *, reused: bool) -> None:
        if not (reused and self._end_if_stale()):
            on_sent()
            self._has_sent_all = await self.send(data)

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
