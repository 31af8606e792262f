"""The lines of stdin, read so that a signal ends the server at once."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable

import anyio
from anyio.from_thread import run_sync
from anyio.lowlevel import EventLoopToken, current_token

_CHUNK = 64 * 1024


class StdinLines:
    """An async iterator over the lines of a file descriptor, in UTF-8, until its end.

    A thread of its own reads them, and nothing waits for it: a worker thread of anyio would delay the end of the
    program until the next line arrives. It reads from the descriptor, since the interpreter fails at exit if a thread
    holds the lock of `sys.stdin`.

    Args:
        descriptor: the file descriptor; 0 for stdin.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._send, self._receive = anyio.create_memory_object_stream[str](math.inf)
        self._started = False

    def __aiter__(self) -> StdinLines:
        return self

    async def __anext__(self) -> str:
        if not self._started:
            self._started = True
            threading.Thread(target=self._read, args=(current_token(),), name="stepfun-mcp-stdin", daemon=True).start()
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Discard lines that were read and not consumed."""
        self._send.close()
        self._receive.close()

    def _read(self, token: EventLoopToken) -> None:
        def send_to_loop(function: Callable[..., object], *arguments: object) -> bool:
            try:
                run_sync(function, *arguments, token=token)
            except (RuntimeError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return False  # the server has ended
            return True

        rest = b""
        while chunk := self._next_chunk():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if not send_to_loop(self._send.send_nowait, line.decode("utf-8", "replace")):
                    return
        send_to_loop(self._send.close)

    def _next_chunk(self) -> bytes:
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:  # it is closed
            return b""
