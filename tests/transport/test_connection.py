"""Our own connections: when they are used, and what only sockets of our own can do."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest
import trustme
import uvloop

from stepfun_async import AsyncClient, AuthenticationError, Limits
from stepfun_async._call import save
from stepfun_async._transport import connecting
from stepfun_async._transport import pool as connections
from stepfun_async._transport.request import address_of
from tests.support.raw import raw_server, say, stay_silent
from tests.support.responses import PIXEL, http_response, image_response

pytestmark = pytest.mark.anyio

KEY = "sk-secret-1234"


async def test_a_plain_call_loads_no_http_library() -> None:
    code = (
        "import asyncio, sys\n"
        "from stepfun_async import AsyncClient\n"
        "async def main():\n"
        "    async with AsyncClient('sk-test', base_url=sys.argv[1]) as client:\n"
        "        print((await client.images.generate('a lake')).image.width)\n"
        "asyncio.run(main())\n"
        "print([name for name in ('httpx', 'httpcore', 'h11') if name in sys.modules])\n"
    )
    with raw_server(say(image_response())) as server:
        run = [sys.executable, "-c", code, server.url]
        done = await anyio.run_process(run, check=False, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout.decode().split("\n")[:2]) == (0, ["1", "[]"]), done.stderr.decode()


async def test_a_tool_that_stands_in_for_httpx_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As respx, recorders and tracing agents do: by another `handle_async_request`."""
    seen: list[str] = []
    original = httpx.AsyncHTTPTransport.handle_async_request

    async def record(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return await original(self, request)

    with raw_server(say(image_response())) as server:
        async with AsyncClient(KEY, base_url=server.url) as client:
            await client.images.generate("goes straight")
            with monkeypatch.context() as patch:
                patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", record)
                await client.images.generate("is recorded")
            await client.images.generate("goes straight again")
    assert seen == [f"{server.url}/images/generations"]
    assert (len(server.requests), server.connections) == (3, 2)


class Wrapped:
    """A function in a wrapper that stands in for it, its `__code__` and class included, as wrapt's do."""

    def __init__(self, function: Callable[..., object], seen: list[str]) -> None:
        self._function = function
        self._seen = seen

    def __getattr__(self, name: str) -> object:
        return getattr(self._function, name)

    def __get__(self, instance: object, owner: type) -> object:
        return self if instance is None else functools.partial(self._call, instance)

    def _call(self, instance: object, request: httpx.Request) -> object:
        self._seen.append(str(request.url))
        return self._function(instance, request)


async def test_a_tool_that_wraps_httpx_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    wrapped = Wrapped(httpx.AsyncHTTPTransport.handle_async_request, seen)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", wrapped)
    with raw_server(say(image_response())) as server:
        async with AsyncClient(KEY, base_url=server.url) as client:
            await client.images.generate("a lake")
    assert seen == [f"{server.url}/images/generations"]


async def test_a_response_that_comes_before_the_upload_is_over_is_heard() -> None:
    """A wrong key is an error of its own, although the server does not read the image."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(http_response(b'{"error": {"message": "no such key"}}', status="401 Unauthorized"))
        connection.shutdown(socket.SHUT_WR)
        _until_closed(connection)

    big = PIXEL + bytes(8 * 1024 * 1024)
    with raw_server(stay_silent, greet=refuse) as server:
        async with AsyncClient(KEY, base_url=server.url, validation="off") as client:
            with pytest.raises(AuthenticationError, match="no such key") as caught:
                await client.images.edit(big, "a hat")
    assert (caught.value.billing, caught.value.maybe_billed) == ("rejected", 0)


def _until_closed(connection: socket.socket) -> None:
    """Read nothing for a moment, so that the buffers are full, then until the other side has closed."""
    connection.settimeout(5)
    threading.Event().wait(0.05)
    while connection.recv(65536):
        pass


async def test_a_large_image_is_sent_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What TLS itself sends meanwhile, such as session tickets, is not taken for a response."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    monkeypatch.setattr(connections, "_contexts", [trusting])
    big = PIXEL + bytes(4 * 1024 * 1024)
    with raw_server(say(image_response()), tls=context) as server:
        async with AsyncClient(KEY, base_url=server.url, validation="off") as client:
            for _ in range(3):
                await client.images.edit(big, "a hat")
        assert all(big in request for request in server.requests)
        assert (len(server.requests), server.connections) == (3, 1)


@pytest.mark.parametrize("to_disk", [True, False])
async def test_a_large_image_is_received_over_tls(
    to_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is decrypted in many pieces, and what has to wait for the disk in between is neither lost nor taken twice."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    monkeypatch.setattr(connections, "_contexts", [trusting])
    monkeypatch.setattr(save, "GATHERED", 10_000)
    large = PIXEL + os.urandom(4 * 1024 * 1024)
    said = {"data": [{"b64_json": base64.b64encode(large).decode(), "seed": 1, "finish_reason": "success"}]}
    with raw_server(say(http_response(json.dumps(said).encode())), tls=context) as server:
        async with AsyncClient(KEY, base_url=server.url) as client:
            for number in range(3):
                path = tmp_path / f"{number}.png" if to_disk else None
                image = (await client.images.generate("a lake", save_to=path)).image
                assert image.to_bytes() == large
        assert (len(server.requests), server.connections) == (3, 1)


async def test_what_is_not_read_is_not_taken_in() -> None:
    """A reader that is slow makes the server wait, not the memory grow."""
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.settimeout(0.2)
        try:
            while sent < 256 * 1024 * 1024:
                sent += connection.send(bytes(65536))
        except TimeoutError:
            pass

    with raw_server(stay_silent, greet=flood) as server:
        place = address_of(server.url)
        opened = await connecting.connect(place, None, None, lambda stage: None)
        await anyio.to_thread.run_sync(_wait_until_still, lambda: sent)
        assert sent < 32 * 1024 * 1024
        assert len(await opened.receive()) <= 4 * 1024 * 1024
        await opened.aclose()


def _wait_until_still(count: Callable[[], int]) -> None:
    event, last = threading.Event(), -1
    while count() != last or last <= 0:
        last = count()
        event.wait(0.3)


async def test_what_is_sent_leaves_at_once() -> None:
    """Without it, the end of each body waits for the other side's delayed acknowledgement: 40 ms."""
    with raw_server(stay_silent) as server:
        opened = await connecting.connect(address_of(server.url), None, None, lambda stage: None)
        assert opened.raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await opened.aclose()


@pytest.mark.parametrize("tls", [False, True])
def test_it_works_on_uvloop(tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    monkeypatch.setattr(connections, "_contexts", [trusting])

    async def main(url: str) -> int:
        async with AsyncClient(KEY, base_url=url, limits=Limits(3)) as client, anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(client.images.generate, "a lake")
        return client.usage.billed

    with raw_server(say(image_response()), tls=context if tls else None) as server:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(main(server.url)) == 12
        assert server.connections <= 3


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("http://a.test", "a.test", 80, "/"),
        ("HTTPS://A.Test/v1", "a.test", 443, "/v1"),
        ("https://a.test:443/v1", "a.test", 443, "/v1"),
        ("http://[::1]:8000/v1?x=1", "::1", 8000, "/v1?x=1"),
        ("http://a.test/../b", "a.test", 80, "/b"),
        ("http://bücher.test/a b", "xn--bcher-kva.test", 80, "/a%20b"),
        ("http://a.test?x", "a.test", 80, "/?x"),
    ],
)
def test_addresses_mean_what_httpx_says_they_mean(url: str, host: str, port: int, target: str) -> None:
    address = address_of(url)
    assert (address.host, address.port, address.target) == (host, port, target)
    read = httpx.URL(url)
    assert (read.raw_host.decode(), read.raw_path.decode()) == (host, target)
