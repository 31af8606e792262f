"""Where the matrix takes place: services, names, certificates, and the ways that lead there."""

from __future__ import annotations

import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import trustme

from stepfun_async._transport import asyncio_socket
from tests.support.faulty import HOST, FaultyService, faulty_service

NAME = "faulty.test"
"""A host that only `Names` knows."""

Way = Literal["plain", "named", "tls", "relay", "tunnel"]
"""By address, by name, under TLS, through a proxy that passes requests on, through one that opens tunnels."""


class Names:
    """A resolver for the whole process that knows one more host, or does not, or takes its time."""

    def __init__(self) -> None:
        self.play: Callable[[], None] = _resolve
        self.reached = threading.Event()
        self._look_up = socket.getaddrinfo

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """What stands in for `socket.getaddrinfo`."""
        named = host in (NAME, NAME.encode())
        if named and not flags & socket.AI_NUMERICHOST:  # otherwise it is only asked whether this is an address
            self.play()
            host = HOST
        return self._look_up(host, port, family, type, proto, flags)

    @contextmanager
    def unknown(self) -> Iterator[None]:
        """Know nothing of the host."""

        def fail() -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        with self._playing(fail):
            yield

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Say nothing while the block lasts."""
        over = threading.Event()

        def hang() -> None:
            self.reached.set()
            over.wait()

        try:
            with self._playing(hang):
                yield
        finally:
            over.set()

    @contextmanager
    def _playing(self, play: Callable[[], None]) -> Iterator[None]:
        self.reached.clear()
        self.play = play
        try:
            yield
        finally:
            self.play = _resolve


def _resolve() -> None:
    """Answer at once."""


@dataclass(frozen=True)
class Certificates:
    """What a service can prove itself by; clients trust `authority`."""

    authority: trustme.CA = field(default_factory=trustme.CA)

    def good(self) -> ssl.SSLContext:
        """A certificate for the host."""
        return _context(self.authority, HOST, NAME)

    def of_another_host(self) -> ssl.SSLContext:
        """A certificate for a host that was not asked for."""
        return _context(self.authority, "other.test")

    def of_a_stranger(self) -> ssl.SSLContext:
        """A certificate for the host that is not trusted."""
        return _context(trustme.CA(), HOST, NAME)


def _context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@dataclass(frozen=True)
class World:
    """Two services, without and with TLS; the first is the proxy too."""

    plain: FaultyService
    secure: FaultyService
    names: Names
    certificates: Certificates

    def service(self, way: Way) -> FaultyService:
        """The one that `way` leads to."""
        return self.secure if way == "tls" else self.plain

    def settings(self, way: Way) -> dict[str, Any]:
        """The settings with which a client takes `way`."""
        here = f"{HOST}:{self.plain.port}"
        ways: dict[Way, dict[str, Any]] = {
            "plain": {"base_url": self.plain.url},
            "named": {"base_url": f"http://{NAME}:{self.plain.port}/v1", "allow_http": True},
            "tls": {"base_url": self.secure.url},
            "relay": {"base_url": f"http://{NAME}/v1", "proxy": f"http://{here}", "allow_http": True},
            "tunnel": {"base_url": f"https://{NAME}/v1", "proxy": f"http://{here}"},
        }
        return ways[way]

    def reached(self, way: Way) -> threading.Event:
        """Set when a fault that lasts has begun."""
        return self.names.reached if way == "named" else self.service(way).reached


@contextmanager
def world() -> Iterator[World]:
    """A world while the block lasts, in which clients find their way and trust the authority."""
    certificates, names = Certificates(), Names()
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(socket, "getaddrinfo", names.getaddrinfo)
        patch.setattr(asyncio_socket, "CLOSING", math.inf)  # who waits for what never comes waits for ever
        trusted = stack.enter_context(certificates.authority.cert_pem.tempfile())
        patch.setenv("SSL_CERT_FILE", trusted)
        plain = stack.enter_context(faulty_service(certificate=certificates.good()))
        secure = stack.enter_context(faulty_service(certificate=certificates.good(), tls=True))
        yield World(plain, secure, names, certificates)
