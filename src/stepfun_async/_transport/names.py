"""Names of hosts: looked up in threads that can be abandoned, and once for all who ask at the same time."""

from __future__ import annotations

import socket
from functools import partial
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeAlias

from .._daemons import Daemon
from .._loops import PerLoop, loop_time

SocketAddress: TypeAlias = tuple[int, Any]
"""Family, and what `connect` takes."""

_SHARED = 5.0
"""Seconds for which a look-up that has not ended is shared. One that hangs is not worth joining: it was sent to a
name server that did not answer, and the next one may be sent to another."""


class _LookUp(NamedTuple):
    """A look-up that runs."""

    began: float
    daemon: Daemon[list[SocketAddress]]


_running: PerLoop[dict[tuple[str, int], _LookUp]] = PerLoop(dict)


async def addresses_of(host: str, port: int) -> list[SocketAddress]:
    """The addresses of `host`, at least one, in the order in which the system prefers them.

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
    running, now = _running.get(), loop_time()
    shared = running.get((host, port))
    if shared is None or shared.daemon.over or now - shared.began > _SHARED:
        shared = running[host, port] = _LookUp(now, Daemon(partial(_ask, host, port)))
    try:
        return await shared.daemon.outcome()
    finally:
        if shared.daemon.over and running.get((host, port)) is shared:
            del running[host, port]


def _ask(host: str, port: int) -> list[SocketAddress]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]
