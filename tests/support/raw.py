"""Connections played by hand: scripts over a plain socket, for the service in `faulty`."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from threading import Event
from typing import TypeAlias

from tests.support import faulty
from tests.support.faulty import FaultyService, Talk, faulty_service

Script: TypeAlias = Callable[[socket.socket], None]
"""What is done with a connection once a request was read from it."""


def say(data: bytes) -> Script:
    """Answer `data`."""
    return lambda connection: connection.sendall(data)


def reset(connection: socket.socket) -> None:
    """End the connection with a reset."""
    faulty.reset_on_close(connection)
    connection.close()


def hang_up(connection: socket.socket) -> None:
    """End the connection without a word."""
    connection.close()


def stay_silent(connection: socket.socket) -> None:
    """Never answer: wait until the client goes."""
    with suppress(OSError):
        connection.recv(1)


def socks_handshake(connection: socket.socket) -> None:
    """Be a SOCKS5 proxy that has connected to wherever it was asked to."""
    connection.recv(262)
    connection.sendall(b"\x05\x00")  # no password needed
    connection.recv(262)
    connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")  # connected


@dataclass
class RawServer:
    """What a running server saw."""

    service: FaultyService
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.service.url

    @property
    def connections(self) -> int:
        """How many there were."""
        return self.service.connections

    @property
    def gone(self) -> Event:
        """Set when some connection ended."""
        return self.service.gone

    def play(self, talk: Talk, script: Script) -> None:
        """Note the request, and do with the connection what `script` does."""
        talk.read_request()
        self.requests.append(talk.head + talk.body)
        script(talk.connection)


@contextmanager
def raw_server(*scripts: Script, tls: ssl.SSLContext | None = None, greet: Script | None = None) -> Iterator[RawServer]:
    """A server on loopback that meets each connection with `greet` and each request with the next script.

    The last script is for all further requests.
    """
    with faulty_service(certificate=tls, tls=tls is not None) as service:
        server = RawServer(service)
        coming = chain(scripts, repeat(scripts[-1]))
        service.next_play = lambda: _playing(server, next(coming))
        service.handshake = faulty.in_order(service.handshake, lambda talk: greet and greet(talk.connection))
        yield server


def _playing(server: RawServer, script: Script) -> faulty.Play:
    return lambda talk: server.play(talk, script)
