"""Answers of every packing and length: read, or refused with bounded memory, and nothing paid for is lost."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncClient,
    AuthenticationError,
    InternalServerError,
    MalformedResponseError,
    RetryPolicy,
)
from stepfun_async._call import caller as _caller
from stepfun_async._core.wire import HTTPRequest
from stepfun_async._transport import http as calls
from stepfun_async._transport import response_body as bodies
from stepfun_async._transport.http11 import ResponseHead
from stepfun_async._transport.response_body import MAX_IMAGE, BodyReader, _Decompression
from tests.support.raw import raw_server, say
from tests.support.responses import PIXEL, http_response, image_response

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("way")]

BODY = image_response().partition(b"\r\n\r\n")[2]


def client_for(url: str, transport: httpx.AsyncBaseTransport | None = None) -> AsyncClient:
    return AsyncClient("sk-secret-1234", base_url=url, transport=transport, retry=RetryPolicy(base=0.001))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": gzip.compress,
    " gzip ": gzip.compress,
    "deflate": zlib.compress,
    "DEFLATE": raw_deflate,
    "identity": bytes,
}


def _unpacked(body: bytes, coding: str, longest: int) -> bytes | None:
    decompression = _Decompression(body, coding, longest)
    while not decompression.over:
        decompression.step()
    return decompression.result()


def packed(body: bytes, coding: str, *, status: str = "200 OK") -> bytes:
    return http_response(body, status=status, headers=f"content-encoding: {coding}\r\n")


@pytest.mark.parametrize("coding", PACKERS)
async def test_what_comes_packed_unasked_is_unpacked(coding: str) -> None:
    with raw_server(say(packed(PACKERS[coding](BODY), coding))) as server:
        async with client_for(server.url) as client:
            for _ in range(2):
                assert (await client.images.generate("a lake")).image.data == PIXEL
    assert b"\r\naccept-encoding: identity\r\n" in server.requests[0].lower()
    assert server.connections == 1


@pytest.mark.parametrize("coding", PACKERS)
async def test_mocked_responses_are_unpacked_too(coding: str) -> None:
    headers = {"content-encoding": coding.strip()}
    mocked = httpx.MockTransport(lambda _: httpx.Response(200, content=PACKERS[coding](BODY), headers=headers))
    async with client_for("https://own.test/v1", mocked) as client:
        assert (await client.images.generate("a lake")).image.data == PIXEL


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "none", "x" * 200, "gzip;q=1"])
async def test_what_cannot_be_unpacked_is_kept_as_it_came(coding: str) -> None:
    with raw_server(say(packed(b"\x0b\x02\x80paid for", coding))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(MalformedResponseError, match="cannot be unpacked") as caught:
                await client.images.generate("a lake")
    assert caught.value.body == b"\x0b\x02\x80paid for"
    assert (caught.value.billing, caught.value.attempts, caught.value.maybe_billed) == ("unknown", 1, 1)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "spoilt", [lambda body: b"\xff\xff" + body, lambda body: body + b"more", lambda body: body + body], ids=range(3)
)
async def test_what_is_not_what_it_says_is_kept_as_it_came(coding: str, spoilt: Callable[[bytes], bytes]) -> None:
    body = spoilt(PACKERS[coding](BODY))
    with raw_server(say(packed(body, coding))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(MalformedResponseError) as caught:
                await client.images.generate("a lake")
    assert caught.value.body == body
    assert caught.value.billing == "unknown"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "DEFLATE"])
async def test_a_packed_response_that_has_no_end_is_a_lost_one(coding: str) -> None:
    with raw_server(say(packed(PACKERS[coding](BODY)[:-6], coding))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="the response ended too early") as caught:
                await client.images.generate("a lake")
    assert (caught.value.billing, caught.value.attempts, caught.value.maybe_billed) == ("unknown", 1, 1)


async def test_an_error_is_known_by_its_status_however_its_body_is_packed() -> None:
    said = json.dumps({"error": {"message": "wrong key", "type": "auth"}}).encode()
    scripts = [
        say(packed(said, "br", status="401 Unauthorized")),
        say(packed(gzip.compress(said), "gzip", status="401 Unauthorized")),
        say(packed(b"", "br", status="500 Internal Server Error")),
    ]
    with raw_server(*scripts) as server:
        async with client_for(server.url) as client:
            with pytest.raises(AuthenticationError, match="the server gave no reason") as caught:
                await client.images.generate("a lake")
            assert caught.value.billing == "rejected"
            with pytest.raises(AuthenticationError, match="wrong key"):
                await client.images.generate("a lake")
            with pytest.raises(InternalServerError):
                await client.images.generate("a lake")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_packed_bomb_ends_in_an_error_with_bounded_memory(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = PACKERS[coding](bytes(50_000_000))
    assert len(bomb) < 60_000
    monkeypatch.setattr(calls, "MAX_BODY", 1_000_000)
    with raw_server(say(packed(bomb, coding))) as server:
        async with client_for(server.url) as client:
            tracemalloc.start()
            with pytest.raises(APIConnectionError, match="longer than 1,000,000 bytes") as caught:
                await client.images.generate("a lake")
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert (caught.value.billing, caught.value.attempts, caught.value.maybe_billed) == ("unknown", 1, 1)
    assert peak < 8_000_000


async def test_a_packed_bomb_behind_a_link_ends_in_an_error() -> None:
    bomb = gzip.compress(PIXEL + bytes(MAX_IMAGE), 1)
    with raw_server(say(packed(bomb, "gzip"))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="longer than 167,772,160 bytes") as caught:
                await client.images.download(f"{server.url}/a.png")
    assert caught.value.attempts == len(server.requests) == 1


async def test_a_bomb_in_an_error_ends_in_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_BODY", 1_000_000)
    body = packed(gzip.compress(bytes(5_000_000)), "gzip", status="500 Internal Server Error")
    with raw_server(say(body)) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="longer than 1,000,000 bytes"):
                await client.images.generate("a lake")


class Pieces(httpx.AsyncByteStream):
    """A body of many pieces, and whether it was closed."""

    def __init__(self, piece: bytes, count: int) -> None:
        self._piece = piece
        self._count = count
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._count):
            yield self._piece

    async def aclose(self) -> None:
        self.closed = True


async def test_a_million_tiny_pieces_take_no_more_memory_than_their_bytes() -> None:
    stream = Pieces(b"  ", 300_000)
    mocked = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))
    async with client_for("https://own.test/v1", mocked) as client:
        tracemalloc.start()
        with pytest.raises(MalformedResponseError) as caught:
            await client.images.generate("a lake")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(caught.value.body) == 600_000
    assert peak < 6_000_000
    assert stream.closed


async def test_the_longest_response_is_read_and_one_byte_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_BODY", len(BODY) + 1)
    for more, allowed in ((b" ", True), (b"  ", False)):
        streams = [Pieces(BODY + more, 1), Pieces(b" ", 0)]
        mocked = httpx.MockTransport(lambda _, streams=streams: httpx.Response(200, stream=streams.pop(0)))
        async with client_for("https://own.test/v1", mocked) as client:
            if allowed:
                assert (await client.images.generate("a lake")).image.data == PIXEL
            else:
                with pytest.raises(APIConnectionError, match="longer"):
                    await client.images.generate("a lake")


@pytest.mark.parametrize(
    "endless",
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"y" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nx-more: ", b"y" * 1000),
        (b"HTTP/1.1 200 ", b"y" * 1000),
        (b"", b"y" * 1000),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"y" * 1000),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x-more: " + b"y" * 1000 + b"\r\n"),
    ],
    ids=["headers", "header", "status", "nothing", "chunk", "trailers"],
)
async def test_a_head_without_end_is_not_read_without_end(endless: tuple[bytes, bytes]) -> None:
    sent = 0

    def talk(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(endless[0])
        while sent < 50_000_000:
            connection.sendall(endless[1])
            sent += len(endless[1])

    with raw_server(talk) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.images.generate("a lake")
        assert server.gone.wait(5)
    assert (caught.value.billing, caught.value.attempts, caught.value.maybe_billed) == ("unknown", 1, 1)
    assert sent < 20_000_000, "what fits into the buffers of the two sockets"


CODINGS = ["gzip", "x-gzip", "deflate", "br", ""]


@given(body=st.binary(min_size=1, max_size=300), coding=st.sampled_from(CODINGS), longest=st.integers(1, 400))
def test_any_bytes_are_unpacked_or_left_or_too_long_or_broken_off(body: bytes, coding: str, longest: int) -> None:
    unpacked: bytes | None = None
    with suppress(APIConnectionError):
        unpacked = _unpacked(body, coding, longest)
    assert unpacked is None or len(unpacked) <= longest


@given(cut=st.integers(7, 2000), junk=st.binary(min_size=1, max_size=50))
def test_a_packed_body_that_is_spoilt_in_the_middle_is_kept(cut: int, junk: bytes) -> None:
    """Taken for deflate without a head, such a body could pass for one that was only broken off."""
    whole = zlib.compress(bytes(range(256)) * 8, 0)
    spoilt = whole[:cut] + junk + whole[cut:]
    assert _unpacked(spoilt, "deflate", 10_000) is None


@given(body=st.binary(min_size=1, max_size=3000), coding=st.sampled_from(["gzip", "deflate", "DEFLATE"]))
def test_packing_round_trips(body: bytes, coding: str) -> None:
    whole = PACKERS[coding](body)
    assert _unpacked(whole, coding.lower(), len(body)) == body
    with pytest.raises(APIConnectionError, match="longer"):
        _unpacked(whole, coding.lower(), len(body) - 1)


async def test_what_is_unpacked_of_a_vast_body_is_given_up_when_its_call_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter one, which may be paid for, is unpacked to its end."""
    monkeypatch.setattr(bodies, "VAST", 1_000_000)
    monkeypatch.setattr(bodies, "_STEP", 100_000)
    call = HTTPRequest("POST", "/images/generations", json={})

    async def unpacked(length: int) -> int:
        intake = BodyReader(call, ResponseHead(200, {"content-encoding": "gzip"}), 50_000_000)
        intake.feed(gzip.compress(bytes(length)))
        with anyio.CancelScope() as scope:
            scope.cancel()
            return len((await intake.finish()).body)
        return 0

    assert await unpacked(900_000) == 900_000
    assert await unpacked(40_000_000) == 0


async def test_what_is_read_of_a_vast_body_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_caller, "VAST", 300_000)
    over = threading.Event()

    def read(*args: object, **options: object) -> None:
        assert over.wait(60)

    monkeypatch.setattr(_caller, "parse_images", read)
    body = json.dumps({"data": [{"text": "x" * 400_000}]}).encode()
    with raw_server(say(http_response(body))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APITimeoutError) as caught:
                await client.images.generate("a lake", timeout=0.5)
    assert not over.is_set()
    over.set()
    assert (caught.value.billing, caught.value.maybe_billed) == ("unknown", 1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        *((b'{"data": [' + one * 600_000 + b"1]}", "500,000 values") for one in (b"1,", b'"",', b"{},", b'{"a":1},')),
        (b'{"data": [{"text": "' + b"\\n" * 5_100_000 + b'"}]}', "5,000,000 escapes"),
    ],
    ids=["numbers", "texts", "objects", "fields", "escapes"],
)
async def test_a_response_of_very_many_values_or_escapes_is_refused_unread(body: bytes, why: str) -> None:
    """Reading it would stall the loop: Python runs nothing else meanwhile."""
    with raw_server(say(http_response(body))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(MalformedResponseError, match=f"over {why}") as caught:
                await client.images.generate("a lake")
    assert caught.value.body == body
