"""HTTP/1.1 on a socket of our own, without a library in between.

It is used for direct connections to a server. Proxies, users' own transports, and tools that patch httpx (respx,
recorders, tracing agents) go through `httpx_connection`; `pool` decides which.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from functools import partial

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from .._core.cutting import Buffer
from .._core.wire import HTTPResponse
from .addresses import AddressFilter
from .connecting import connect
from .errors import CONNECT_TIMEOUT, FailureKind
from .http11 import RemoteProtocolError, ResponseParser, announced_idle_time, request_head
from .request import Address, PreparedRequest
from .response_body import BodyReader, whole_response
from .sockets import Socket, StaleConnectionError, send_all
from .trace import ConnectionTrace

_ONE_WRITE = 64 * 1024
"""The maximum bytes of the head and parts of the body that are joined and sent together."""


class HTTP11Connection:
    """One connection to one server, opened by its first exchange."""

    def __init__(self, tls: ssl.SSLContext | None, guard: AddressFilter | None) -> None:
        self._tls = tls
        self._guard = guard
        self._socket: Socket | None = None
        self._stage = "connect"
        self._head_of_last: tuple[str, Address, Mapping[str, str]] | None = None
        self._head = b""
        self.reusable = False
        self.idle_time: float | None = None

    @property
    def stale(self) -> bool:
        """Whether the server is known to have closed it, or to have sent something unrequested."""
        opened = self._socket
        return opened is None or opened.ended or bool(opened.arrived)

    async def exchange(self, request: PreparedRequest, trace: ConnectionTrace, longest: int) -> HTTPResponse:
        """Send `request` and return the response.

        Args:
            request: the request.
            trace: records when the body is first sent.
            longest: the maximum bytes of the response's body.

        Raises:
            StaleConnectionError: the server has closed this idle connection; nothing was sent.
        """
        opened, reused = self._socket, True
        if opened is None:
            opened, reused = await self._open(request.address, trace), False
            self._socket = opened
        self._stage = "talk"
        head = self._head_of(request)
        trace.has_reported = True
        whole, length = request.body.whole, request.body.length or 0
        has_sent_all = True
        if whole is not None and length <= _ONE_WRITE:
            await opened.send_request(head + whole, trace.progress.mark_sent, reused=reused)
        elif reused and opened.stale:
            raise StaleConnectionError
        else:
            trace.progress.mark_sent()
            has_sent_all = await _send_in_pieces(opened, head, request)
        parser = ResponseParser()
        body = b""
        while parser.head is None:
            while not (opened.arrived or opened.ended):
                await opened.arrival()
            body = parser.receive(opened.take())
        if not opened.has_sent_all:  # a server that speaks first has said all there is to say
            opened.cancel_request()
        headers = parser.head.headers
        self.idle_time = announced_idle_time(headers) if "keep-alive" in headers else None
        if parser.over and (response := whole_response(request.call, parser.head, body)) is not None:
            self.reusable = parser.reusable and has_sent_all and opened.has_sent_all
            return response
        reader = await _read_body(opened, parser, BodyReader(request.call, parser.head, longest), body)
        self.reusable = parser.reusable and has_sent_all and opened.has_sent_all
        return await reader.finish()

    async def _open(self, address: Address, trace: ConnectionTrace) -> Socket:
        trace.has_reported = True
        with anyio.fail_after(CONNECT_TIMEOUT):
            return await connect(address, self._tls, self._guard, self._enter)

    def _enter(self, stage: str) -> None:
        self._stage = stage

    def _head_of(self, request: PreparedRequest) -> bytes:
        """Return the head of `request`, which mostly is that of the request before, except for the body's length."""
        parts = (request.call.method, request.address, request.headers)
        if parts != self._head_of_last:
            host = {"host": request.address.host_header, **request.headers}
            self._head_of_last, self._head = parts, request_head(request.call.method, request.address.target, host)
        length = request.body.length
        return self._head + (b"\r\n" if length is None else b"content-length: %d\r\n\r\n" % length)

    async def aclose(self) -> None:
        if self._socket is not None:
            await self._socket.aclose()

    def meaning(self, error: Exception) -> FailureKind | None:
        """Return the kind of failure of `error` at this stage; `None` if it is not a failure of the connection."""
        return next((row for stage, row in _MEANINGS if stage == self._stage and isinstance(error, row.kind)), None)


async def _send_in_pieces(opened: Socket, head: bytes, request: PreparedRequest) -> bool:
    """Send a request with a long body. Return whether all of it was sent before a response arrived."""
    short = head
    async for piece in request.body:
        if len(short) + len(piece) <= _ONE_WRITE:
            short += piece
        elif (short and not await opened.send(short)) or not await send_all(opened, piece):
            return False
        else:
            short = b""
    return not short or await opened.send(short)


async def _read_body(opened: Socket, parser: ResponseParser, reader: BodyReader, begun: bytes) -> BodyReader:
    """Receive the rest of a body of which `begun` has arrived."""
    try:
        reader.feed(begun)
        await reader.whole_of(partial(_read_rest, opened, parser, reader), _BROKEN)
    except BaseException:
        await reader.abandon()
        raise
    return reader


async def _read_rest(opened: Socket, parser: ResponseParser, reader: BodyReader) -> None:
    take = partial(_take_counted if parser.counts else _take_parsed, parser, reader)
    while not parser.over:
        if reader.full:
            opened.pause()
            await reader.drain()
            await checkpoint_if_cancelled()  # more may have arrived already, so that nothing below waits
        await opened.receive_into(take)


def _take_counted(parser: ResponseParser, reader: BodyReader, data: Buffer, stop: int) -> bool:
    """Feed what arrived, the bytes of `data` before `stop`, to `reader`. Return whether it takes more at once."""
    reader.feed(data, parser.count(stop))
    return not (parser.over or reader.full)


def _take_parsed(parser: ResponseParser, reader: BodyReader, data: Buffer, stop: int) -> bool:
    """Do the same for a body with framing, such as chunks."""
    reader.feed(parser.receive(bytes(memoryview(data)[:stop])))
    return not (parser.over or reader.full)


_BROKEN = (OSError, RemoteProtocolError)
"""The errors of a connection that ended in the middle of a response."""

_MEANINGS: tuple[tuple[str, FailureKind], ...] = (
    ("connect", FailureKind(TimeoutError, "connect_timeout", "no connection to {host} within {seconds:g} seconds")),
    ("connect", FailureKind(socket.gaierror, "name", "no connection to {host}")),
    ("connect", FailureKind(UnicodeError, "name", "no connection to {host}")),
    ("connect", FailureKind(OSError, "refused", "no connection to {host}")),
    ("tls", FailureKind(TimeoutError, "connect_timeout", "no connection to {host} within {seconds:g} seconds")),
    ("tls", FailureKind(OSError, "tls", "no connection to {host}")),
    (
        "talk",
        FailureKind(
            RemoteProtocolError, "no_http", "{host} ended the response too early, or sent something that is not HTTP"
        ),
    ),
    ("talk", FailureKind(OSError, "lost", "the connection to {host} was lost")),
)
"""The kinds of failures at each stage, the most specific first."""
