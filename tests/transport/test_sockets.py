"""Short requests on sockets: sent at the end of the loop's turn, never on a connection that the server has closed."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from stepfun_async import AsyncClient, Limits
from stepfun_async._transport.asyncio_socket import AsyncioSocket
from stepfun_async._transport.sockets import Socket, StaleConnectionError
from stepfun_async._transport.trio_socket import TrioSocket
from tests.support.raw import raw_server, say
from tests.support.responses import image_response

pytestmark = pytest.mark.anyio

REQUEST = b"POST / HTTP/1.1\r\n\r\n"


@asynccontextmanager
async def connected(loop: str) -> AsyncIterator[tuple[Socket, socket.socket]]:
    """A socket, and the server's end of its connection, which does not block."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - as the method wants it
    theirs.setblocking(False)  # noqa: FBT003 - likewise
    opened: Socket = await AsyncioSocket.open(ours) if loop == "asyncio" else TrioSocket(ours)
    try:
        yield opened, theirs
    finally:
        await opened.aclose()
        theirs.close()


async def received(theirs: socket.socket) -> bytes:
    """What the server has received after a few turns of the loop."""
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
    try:
        return theirs.recv(1000)
    except (BlockingIOError, ConnectionResetError):
        return b""


class Sent:
    """Counts how often a request was sent."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


async def test_a_request_is_sent_and_reported(anyio_backend_name: str) -> None:
    sent = Sent()
    async with connected(anyio_backend_name) as (opened, theirs):
        await opened.send_request(REQUEST, sent, reused=True)
        assert (await received(theirs), sent.times, opened.has_sent_all) == (REQUEST, 1, True)


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"])
async def test_nothing_is_sent_on_a_connection_that_was_closed_meanwhile(
    last_words: bytes, anyio_backend_name: str
) -> None:
    sent = Sent()
    async with connected(anyio_backend_name) as (opened, theirs):
        if anyio_backend_name == "trio":  # which sends at once
            theirs.sendall(last_words)
            theirs.shutdown(socket.SHUT_WR)
        await opened.send_request(REQUEST, sent, reused=True)
        if anyio_backend_name == "asyncio":
            theirs.sendall(last_words)
            theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(StaleConnectionError):
            await opened.receive()
        assert (await received(theirs), sent.times) == (b"", 0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_request_whose_call_was_cancelled_in_the_same_turn_is_not_sent() -> None:
    sent = Sent()
    async with connected("asyncio") as (opened, theirs):
        await opened.send_request(REQUEST, sent, reused=True)
        await opened.aclose()
        assert (await received(theirs), sent.times) == (b"", 0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_requests_of_one_turn_are_sent_after_it() -> None:
    async with connected("asyncio") as (one, ones), connected("asyncio") as (two, twos):
        await one.send_request(REQUEST, Sent(), reused=True)
        await two.send_request(REQUEST, Sent(), reused=False)
        with pytest.raises(BlockingIOError):
            ones.recv(1000)
        assert [await received(ones), await received(twos)] == [REQUEST, REQUEST]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_request_that_was_answered_before_it_was_sent_is_not_sent() -> None:
    """As by a server that speaks first: it would be carried out for nobody."""
    sent = Sent()
    async with connected("asyncio") as (opened, theirs):
        await opened.send_request(REQUEST, sent, reused=False)
        opened.cancel_request()
        assert (await received(theirs), sent.times, opened.has_sent_all) == (b"", 0, False)


async def test_hundreds_of_connections_that_the_server_has_closed_are_replaced() -> None:
    """Each is found to be closed where a request is about to be sent on it."""
    count = 300
    with raw_server(say(image_response())) as server:
        async with AsyncClient("sk-test", base_url=server.url, limits=Limits(count)) as client:

            async def call() -> None:
                await client.images.generate("a lake")

            for _ in range(2):
                async with anyio.create_task_group() as tasks:
                    for _ in range(count):
                        tasks.start_soon(call)
                server.service.drop_idle()
            assert (client.usage.attempts, client.usage.billed) == (2 * count, 2 * count)
