"""Answers that come while the request is still being sent: they are the result, whatever becomes of the connection."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

import anyio
import httpx
import pytest
import trustme

from stepfun_async import APIConnectionError, APIStatusError, AsyncClient, RateLimitError, RetryPolicy
from stepfun_async._transport import pool as connections
from stepfun_async._transport import response_body
from tests.support.faulty import reset_on_close
from tests.support.raw import RawServer, Script, raw_server, say, stay_silent
from tests.support.responses import PIXEL, http_response, image_response

pytestmark = pytest.mark.anyio

BIG = PIXEL + bytes(6 * 1024 * 1024)
"""More than the kernels on the way take in while nothing is read."""

REFUSAL = http_response(b'{"error": {"message": "too large"}}', status="413 Content Too Large")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["plain", "tls", "httpx", "httpx and tls"])
def way(request: pytest.FixtureRequest, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Way:
    return Way(request.param, authority, monkeypatch)


class Way:
    """How a client reaches its server."""

    def __init__(self, name: str, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
        self._through_httpx = name.startswith("httpx")
        self.certificate: ssl.SSLContext | None = None
        if name.endswith("tls"):
            self.certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(self.certificate)
        self._trusting = ssl.create_default_context()
        authority.configure_trust(self._trusting)
        monkeypatch.setattr(connections, "_contexts", [self._trusting])

    def client(self, server: RawServer, **settings: Any) -> AsyncClient:
        if self._through_httpx:
            settings["transport"] = httpx.AsyncHTTPTransport(verify=self._trusting)
        return AsyncClient("sk-test", base_url=server.url, validation="off", **settings)

    def server(self, greet: Script) -> Any:
        return raw_server(stay_silent, tls=self.certificate, greet=greet)


async def test_a_response_is_the_result_although_the_connection_is_reset_at_once(way: Way) -> None:
    """Once more and again: whether reading or writing meets the reset first is a matter of moments."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(REFUSAL)
        reset_on_close(connection)
        connection.close()

    with way.server(refuse) as server:
        for _ in range(25):
            async with way.client(server) as client:
                with pytest.raises(APIStatusError, match="too large") as caught:
                    await client.images.edit(BIG, "a hat")
            assert (caught.value.billing, caught.value.attempts) == ("rejected", 1)
        assert server.connections == 25


async def test_a_server_that_answers_and_reads_no_more_is_not_waited_for(way: Way) -> None:
    over = threading.Event()

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(REFUSAL)
        over.wait(30)

    with way.server(refuse) as server:
        async with way.client(server, timeout=600) as client:
            with pytest.raises(APIStatusError, match="too large"):
                await client.images.edit(BIG, "a hat")
            over.set()


TORN = {
    "a length that is not reached": b"HTTP/1.1 413 No\r\ncontent-length: 99\r\n\r\ntoo large",
    "no length": b"HTTP/1.1 413 No\r\nconnection: close\r\n\r\ntoo large",
    "HTTP/1.0": b"HTTP/1.0 413 No\r\n\r\ntoo large",
    "a chunk that is not whole": b"HTTP/1.1 413 No\r\ntransfer-encoding: chunked\r\n\r\n63\r\ntoo large",
    "packed": b"HTTP/1.1 413 No\r\ncontent-encoding: gzip\r\ncontent-length: 99\r\n\r\n\x1f\x8b\x08",
}
"""Refusals without the end of their body."""


@pytest.mark.parametrize("torn", TORN.values(), ids=TORN)
async def test_a_refusal_is_the_result_although_the_connection_is_lost_before_the_end_of_its_body(
    torn: bytes, way: Way
) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(torn)
        reset_on_close(connection)
        connection.close()

    with way.server(refuse) as server:
        async with way.client(server) as client:
            with pytest.raises(APIStatusError, match="413: ") as caught:
                await client.images.edit(BIG, "a hat")
        assert (caught.value.status, caught.value.billing, caught.value.attempts) == (413, "rejected", 1)
        assert ("too large" in str(caught.value)) == (b"too large" in torn)


@pytest.mark.parametrize("torn", TORN.values(), ids=TORN)
async def test_the_end_of_a_refusals_body_is_not_waited_for(
    torn: bytes, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_body, "ERROR_BODY_TIMEOUT", 0.2)
    over = threading.Event()

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(torn)
        over.wait(30)

    with way.server(refuse) as server:
        async with way.client(server, timeout=600) as client:
            with pytest.raises(APIStatusError, match="413: ") as caught:
                await client.images.edit(BIG, "a hat")
            over.set()
        assert caught.value.billing == "rejected"


async def test_half_of_a_refusal_that_needs_its_words_refuses_nothing(way: Way) -> None:
    words = b'{"error": {"message": "overloaded"}}'

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 503 No\r\ncontent-length: %d\r\n\r\n%b" % (len(words), words[:-1]))
        reset_on_close(connection)
        connection.close()

    with way.server(refuse) as server:
        async with way.client(server) as client:
            with pytest.raises(APIStatusError, match="overloaded") as caught:
                await client.images.edit(BIG, "a hat")
        assert (caught.value.status, caught.value.billing, caught.value.maybe_billed) == (503, "unknown", 1)


async def test_a_connection_whose_request_did_not_leave_whole_is_not_used_again(way: Way) -> None:
    """Although the server reads on, and would take the next request."""
    too_fast = http_response(b'{"error": {"message": "slowly"}}', status="429 Too Many Requests")

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(too_fast)
        while connection.recv(65536):
            pass

    with way.server(refuse) as server:
        async with way.client(server, retry=RetryPolicy(base=0.001, cap=0.001)) as client:
            with pytest.raises(RateLimitError) as caught:
                await client.images.edit(BIG, "a hat")
        assert server.connections == caught.value.attempts == 3


async def test_interim_responses_end_no_request(way: Way) -> None:
    def encourage(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")

    with raw_server(say(image_response()), tls=way.certificate, greet=encourage) as server:
        async with way.client(server) as client:
            assert (await client.images.edit(BIG, "a hat")).image.data == PIXEL
        assert BIG in server.requests[0]


async def test_a_server_that_only_closes_has_said_nothing(way: Way) -> None:
    def close(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.close()

    with way.server(close) as server:
        async with way.client(server) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.images.edit(BIG, "a hat")
    assert (caught.value.billing, caught.value.maybe_billed) == ("unknown", 1)


async def test_a_call_that_is_cancelled_while_it_sends_leaves_no_connection(way: Way) -> None:
    reading, over = threading.Event(), threading.Event()

    def read_a_little(connection: socket.socket) -> None:
        connection.recv(1000)
        reading.set()
        over.wait(30)

    with way.server(read_a_little) as server:
        async with way.client(server, timeout=600) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.images.edit, BIG, "a hat")
                await anyio.to_thread.run_sync(reading.wait)
                group.cancel_scope.cancel()
            over.set()
            await anyio.to_thread.run_sync(server.service.await_none)
            assert (client.usage.maybe_billed, client.limits.state.in_flight) == (1, 0)
