"""The straight way: HTTP/1.1 on a socket of our own, without a library in between.

It is taken for plain connections to a server. Proxies, users' own transports, and tools that stand in
for httpx (respx, recorders, tracing agents) are served by `through_httpx`; `connections` decides.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from .._core.wire import HTTPResponse
from .addresses import AddressFilter
from .errors import CONNECT_TIMEOUT, FailureKind
from .http11 import RemoteProtocolError, ResponseHead, ResponseParser, announced_idle_time, end_of_head, request_head
from .request import Address, PreparedRequest
from .response_body import BodyReader
from .sockets import Socket, connect, send_all
from .trace import ConnectionTrace

_ONE_WRITE = 64 * 1024
"""Bytes of the longest body that is sent together with its head."""


class HTTP11Connection:
    """One connection to one server, opened by its first exchange."""

    def __init__(self, tls: ssl.SSLContext | None, guard: AddressFilter | None) -> None:
        self._tls = tls
        self._guard = guard
        self._socket: Socket | None = None
        self._stage = "connect"
        self._told: tuple[str, Address, Mapping[str, str]] | None = None
        self._head = b""
        self.reusable = False
        self.idle_time: float | None = None

    @property
    def stale(self) -> bool:
        """Whether the other side has closed it, or said something unasked."""
        return self._socket is None or self._socket.stale

    async def exchange(
        self, request: PreparedRequest, watch: ConnectionTrace, begin: Callable[[ResponseHead], BodyReader]
    ) -> HTTPResponse:
        """Send `request`, and take in the answer to it.

        Args:
            request: the request.
            watch: is told when the body begins to leave.
            begin: makes what takes the body in, once the head is there.
        """
        if self._socket is None:
            self._socket = await self._open(request.address, watch)
        self._stage = "talk"
        answer = ResponseParser()
        whole = await self._send(self._socket, request, watch)
        intake = await _receive(self._socket, answer, begin)
        self.reusable = answer.reusable and whole
        self.idle_time = None if answer.head is None else announced_idle_time(answer.head.headers)
        return await intake.finish()

    async def _open(self, address: Address, watch: ConnectionTrace) -> Socket:
        watch.sees()
        with anyio.fail_after(CONNECT_TIMEOUT):
            return await connect(address, self._tls, self._guard, self._enter)

    def _enter(self, stage: str) -> None:
        self._stage = stage

    async def _send(self, opened: Socket, request: PreparedRequest, watch: ConnectionTrace) -> bool:
        """Send head and body; whether all of it went out before an answer came."""
        head = self._head_of(request) + end_of_head(request.length)
        watch.leaves()
        whole = request.body.whole
        if whole is not None and len(whole) <= _ONE_WRITE:
            return await opened.send(head + whole)
        if not await opened.send(head):
            return False
        async for part in request.body:
            if not await send_all(opened, part):
                return False
        return True

    def _head_of(self, request: PreparedRequest) -> bytes:
        """The head of `request`, which mostly is that of the one before."""
        told = (request.call.method, request.address, request.headers)
        if told != self._told:
            host = {"host": request.address.host_header, **request.headers}
            self._told, self._head = told, request_head(request.call.method, request.address.target, host)
        return self._head

    async def aclose(self) -> None:
        if self._socket is not None:
            await self._socket.aclose()

    def meaning(self, error: Exception) -> FailureKind | None:
        """What `error` means at the stage that was reached; None for what is no failure of a connection."""
        return next((row for stage, row in _MEANINGS if stage == self._stage and isinstance(error, row.kind)), None)


async def _receive(opened: Socket, answer: ResponseParser, begin: Callable[[ResponseHead], BodyReader]) -> BodyReader:
    body = b""
    while answer.head is None:
        body = answer.receive(await opened.receive())
    intake = begin(answer.head)
    try:
        intake.feed(body)
        await intake.whole_of(partial(_take_in, opened, answer, intake), _BROKEN)
    except BaseException:
        await intake.abandon()
        raise
    return intake


async def _take_in(opened: Socket, answer: ResponseParser, intake: BodyReader) -> None:
    while not answer.over:
        if intake.full:
            await intake.drain()
            await checkpoint_if_cancelled()  # what follows may have arrived already, and nothing wait
        intake.feed(answer.receive(await opened.receive()))


_BROKEN = (OSError, RemoteProtocolError)
"""What says that a connection ended in the middle of an answer."""

_MEANINGS: tuple[tuple[str, FailureKind], ...] = (
    ("connect", FailureKind(TimeoutError, "connect_timeout", "no connection to {host} within {seconds:g} seconds")),
    ("connect", FailureKind(socket.gaierror, "name", "no connection to {host}")),
    ("connect", FailureKind(UnicodeError, "name", "no connection to {host}")),
    ("connect", FailureKind(OSError, "refused", "no connection to {host}")),
    ("tls", FailureKind(TimeoutError, "connect_timeout", "no connection to {host} within {seconds:g} seconds")),
    ("tls", FailureKind(OSError, "tls", "no connection to {host}")),
    (
        "talk",
        FailureKind(RemoteProtocolError, "no_http", "{host} broke the answer off, or sent something that is not HTTP"),
    ),
    ("talk", FailureKind(OSError, "lost", "the connection to {host} was lost")),
)
"""What an error means at each stage, the most specific first."""
