"""Resolves host names in threads that can be abandoned, once for all callers that ask at the same time.

A look-up sleeps in the C library until a name server answers, and nothing can wake it. In a thread of an executor it
would hold up the end of the loop; a daemon thread does not.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, TypeAlias

import anyio

from .._runtime.event_loop import Job, LoopLocal, loop_time, running_loop

SocketAddress: TypeAlias = tuple[int, Any]
"""The address family, and the address for `connect`."""

_SHARED = 5.0
"""Seconds for which a running look-up is shared. One that takes longer was sent to a name server that does not respond,
and a new one may be sent to another."""


class _LookUp:
    """A look-up in a separate thread, for which any number of tasks of the loop may wait."""

    def __init__(self, host: str, port: int) -> None:
        self.began = loop_time()
        self.over = anyio.Event()
        self._host = host
        self._port = port
        self._loop: Any = running_loop()
        self._found: list[SocketAddress] = []
        self._error: Exception | None = None
        # A cancelled caller does not end the thread: callers wait for what the job does at its end, not for the job.
        Job(self._ask, self._end_soon, apart=True).abandon()

    async def outcome(self) -> list[SocketAddress]:
        """Return the addresses. The wait can be cancelled."""
        await self.over.wait()
        if self._error is not None:
            raise self._error
        return self._found

    def _ask(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        else:
            self._found = [(family, address) for family, _, _, _, address in found]

    def _end_soon(self) -> None:
        is_asyncio = isinstance(self._loop, asyncio.AbstractEventLoop)
        soon = self._loop.call_soon_threadsafe if is_asyncio else self._loop.run_sync_soon
        with suppress(RuntimeError):  # the loop has ended, and no call waits any more
            soon(self.over.set)


_running: LoopLocal[dict[tuple[str, int], _LookUp]] = LoopLocal(dict)


async def addresses_of(host: str, port: int) -> list[SocketAddress]:
    """Return the addresses of `host`, at least one, in the order that the system prefers.

    Raises:
        OSError: the name is not known, or no name server answers.
        UnicodeError: it cannot be a name.
    """
    try:
        kind = ip_address(host)
    except ValueError:
        return await _looked_up(host, port)
    return [(socket.AF_INET if kind.version == 4 else socket.AF_INET6, (host, port))]


async def _looked_up(host: str, port: int) -> list[SocketAddress]:
    running = _running.get()
    shared = running.get((host, port))
    if shared is None or shared.over.is_set() or loop_time() - shared.began > _SHARED:
        shared = running[host, port] = _LookUp(host, port)
    try:
        return await shared.outcome()
    finally:
        if shared.over.is_set() and running.get((host, port)) is shared:
            del running[host, port]
