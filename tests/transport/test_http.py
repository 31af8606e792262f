"""The HTTP transport over real sockets: what left, what came, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import socket
import ssl
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest
import trio.testing
import trustme

from stepfun_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncClient,
    AuthenticationError,
    ConfigurationError,
    Limits,
    MalformedResponseError,
    QueueTimeoutError,
    RetryPolicy,
    SaveError,
)
from stepfun_async._call import record
from stepfun_async._core.wire import HTTPRequest
from stepfun_async._runtime.event_loop import running_loop
from stepfun_async._transport import http as calls
from stepfun_async._transport import http11, proxies, response_body
from stepfun_async._transport import pool as connections
from stepfun_async._transport.http11 import ResponseHead
from tests.support.raw import hang_up, raw_server, reset, say, socks_handshake, stay_silent
from tests.support.responses import PIXEL, http_response, image_response

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("way")]

KEY = "sk-secret-1234"
QUICK = RetryPolicy(base=0.001, connect_base=0.001)
LARGE: Final = "step-2x-large"


def client_for(url: str, **more: object) -> AsyncClient:
    return AsyncClient(KEY, base_url=url, **{"retry": QUICK, "allow_http": True, **more})  # type: ignore[arg-type]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_base_url_that_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="cannot be called"):
        client_for("https://☃.test/v1")


async def test_a_refused_connection_was_not_billed_and_is_tried_three_times() -> None:
    async with client_for(f"http://127.0.0.1:{closed_port()}/v1") as client:
        with pytest.raises(APIConnectionError, match="nothing was sent") as caught:
            await client.images.generate("a lake")
        assert client.usage.maybe_billed == 0
    assert (caught.value.billing, caught.value.attempts, caught.value.maybe_billed) == ("not_sent", 3, 0)


async def test_an_unknown_host_was_not_billed() -> None:
    async with client_for("http://no-such-host.invalid/v1") as client:
        with pytest.raises(APIConnectionError, match="no-such-host") as caught:
            await client.images.generate("a lake")
    assert caught.value.billing == "not_sent"


@pytest.mark.parametrize("script", [reset, hang_up, say(b"HTTP/1.1 200 OK\r\ncontent-le"), say(b"SMTP ready\r\n\r\n")])
async def test_a_connection_lost_after_sending_may_have_been_billed(script: Callable[[socket.socket], None]) -> None:
    def lose(connection: socket.socket) -> None:
        script(connection)
        hang_up(connection)

    with raw_server(lose) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.images.generate("a lake")
    assert (caught.value.billing, caught.value.attempts, caught.value.maybe_billed) == ("unknown", 1, 1)
    assert len(server.requests) == 1


async def test_a_response_cut_off_in_the_middle_may_have_been_billed() -> None:
    whole = image_response()

    def cut(connection: socket.socket) -> None:
        connection.sendall(whole[:-20])
        hang_up(connection)

    with raw_server(cut) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.images.generate("a lake")
    assert caught.value.billing == "unknown"


async def test_the_deadline_holds_over_silence() -> None:
    with raw_server(stay_silent) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APITimeoutError, match=r"timeout=2 seconds; it may have been billed") as caught:
                await client.images.generate("a lake", timeout=2)
            assert client.usage.maybe_billed == 1
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.billing, caught.value.attempts) == ("unknown", 1)
        assert server.gone.wait(5), "the connection stayed open"


async def test_the_deadline_holds_over_a_body_that_drips() -> None:
    """Every byte that comes would restart a read timeout; the deadline does not care."""
    whole = image_response()

    def drip(connection: socket.socket) -> None:
        connection.settimeout(0.01)
        for byte in whole:
            connection.sendall(bytes([byte]))
            try:
                connection.recv(1)
                return
            except TimeoutError:
                continue

    with raw_server(drip) as server:
        async with client_for(server.url, timeout=0.1) as client:
            with pytest.raises(APITimeoutError):
                await client.images.generate("a lake")


async def test_one_connection_serves_calls_one_after_another() -> None:
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            for _ in range(3):
                await client.images.generate("a lake")
        assert server.connections == 1
        assert server.gone.wait(5)


async def test_a_connection_that_the_server_closed_is_replaced_without_a_second_bill() -> None:
    closed = threading.Semaphore(0)

    def last(connection: socket.socket) -> None:
        connection.sendall(image_response())
        connection.shutdown(socket.SHUT_RDWR)
        closed.release()

    with raw_server(last) as server:
        async with client_for(server.url) as client:
            for _ in range(3):
                response = await client.images.generate("a lake")
                assert response.attempts == 1
                assert closed.acquire(timeout=5)
    assert server.connections == 3


class Clock:
    """The clock of calls and connections, which stands still until it is put forward, far ahead of all loops."""

    now = 1e9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (connections, record):
        monkeypatch.setattr(module, "loop_and_clock", lambda: (running_loop(), lambda: clock.now))
    return clock


def keeping(keep_alive: str) -> bytes:
    return image_response().replace(b"\r\n", b"\r\n" + keep_alive.encode(), 1)


@pytest.mark.parametrize(
    ("keep_alive", "setting", "kept"),
    [
        ("", None, 1.5),
        ("", 30.0, 30.0),
        ("", 0.2, 0.2),
        ("keep-alive: timeout=5\r\n", None, 4),
        ("keep-alive: timeout=2, max=100\r\n", None, 1),
        ("Keep-Alive: max=100, Timeout=1\r\n", None, 0.5),
        ("keep-alive: timeout=75\r\n", None, 60),
        ("keep-alive: timeout=5\r\n", 30.0, 4),
        ("keep-alive: timeout=5\r\n", 2.0, 2),
        ("keep-alive: yes\r\n", None, 1.5),
    ],
)
async def test_an_idle_connection_is_used_for_as_long_as_the_server_keeps_it(
    keep_alive: str, setting: float | None, kept: float, clock: Clock
) -> None:
    with raw_server(say(keeping(keep_alive))) as server:
        async with client_for(server.url, keepalive_expiry=setting) as client:
            await client.images.generate("a lake")
            clock.now += kept - 0.01
            await client.images.generate("a lake")
            assert server.connections == 1
            clock.now += kept
            await client.images.generate("a lake")
            assert server.connections == 2


async def test_a_connection_idle_for_too_long_is_closed_and_not_used_again(clock: Clock) -> None:
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            await client.images.generate("a lake")
            clock.now += 2
            await client.images.generate("a lake")
            assert server.connections == 2
            assert server.gone.wait(5)


async def test_no_idle_connection_is_used_where_none_is_to_be_kept() -> None:
    with raw_server(say(keeping("keep-alive: timeout=5\r\n"))) as server:
        async with client_for(server.url, keepalive_expiry=0) as client:
            for _ in range(3):
                await client.images.generate("a lake")
        assert server.connections == 3


@pytest.mark.parametrize("wrong", [-1, math.nan, "5", True])
def test_a_time_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="keepalive_expiry"):
        client_for("http://far.test/v1", keepalive_expiry=wrong)


async def test_many_connections_that_are_idle_for_too_long_are_no_hindrance_to_many_calls(clock: Clock) -> None:
    """Each call closes some of them, and while it waits for that, others take what is left."""
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            for _ in range(2):
                async with anyio.create_task_group() as group:
                    for _ in range(8):
                        group.start_soon(client.images.generate, "a lake")
                clock.now += 2
            assert client.usage.billed == 16


async def test_a_call_in_flight_when_the_client_is_closed_leaves_no_connection_open() -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def late(connection: socket.socket) -> None:
        arrived.set()
        go_on.wait(5)
        connection.sendall(image_response())

    with raw_server(late) as server:
        client = client_for(server.url)
        async with anyio.create_task_group() as group:
            group.start_soon(client.images.generate, "a lake")
            await anyio.to_thread.run_sync(arrived.wait)
            await client.aclose()
            go_on.set()
        assert client.usage.billed == 1
        assert server.gone.wait(5)


async def test_calls_never_exceed_the_slots_and_all_are_served() -> None:
    with raw_server(say(image_response())) as server:
        async with (
            client_for(server.url, limits=Limits(max_concurrency=3)) as client,
            anyio.create_task_group() as group,
        ):
            for _ in range(30):
                group.start_soon(client.images.generate, "a lake")
    assert len(server.requests) == 30
    assert server.connections <= 3


async def test_a_cancelled_call_leaves_its_slot_free_and_its_connection_closed() -> None:
    with raw_server(stay_silent, say(image_response())) as server:
        async with client_for(server.url, limits=Limits(max_concurrency=1)) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.images.generate, "a lake")
                while not server.requests:  # noqa: ASYNC110 - it is a thread that notes them
                    await anyio.sleep(0.001)
                group.cancel_scope.cancel()
            assert server.gone.wait(5)
            response = await client.images.generate("a lake", queue_timeout=1)
        assert response.attempts == 1
        assert (client.usage.requests, client.usage.maybe_billed) == (2, 1)


async def test_waiting_for_a_slot_has_its_own_timeout() -> None:
    with raw_server(stay_silent) as server:
        async with (
            client_for(server.url, limits=Limits(max_concurrency=1)) as client,
            anyio.create_task_group() as group,
        ):
            group.start_soon(client.images.generate, "a lake")
            while not server.requests:
                await anyio.lowlevel.checkpoint()
            for wait in (0, 0.01):
                with pytest.raises(QueueTimeoutError, match="max_concurrency") as caught:
                    await client.images.generate("a lake", queue_timeout=wait)
                assert isinstance(caught.value, TimeoutError)
                assert (caught.value.billing, caught.value.attempts) == ("not_sent", 0)
            group.cancel_scope.cancel()
        assert len(server.requests) == 1


def test_the_deadline_begins_when_the_slot_is_granted() -> None:
    """A call that waits in the queue far longer than its own timeout is still served."""

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await anyio.sleep(3)
            return httpx.Response(200, content=image_response().partition(b"\r\n\r\n")[2])

    async def main() -> None:
        start = anyio.current_time()
        async with client_for("http://slow.test/v1", transport=Slow(), limits=Limits(1), timeout=4) as client:
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(client.images.generate, "a lake")
            assert client.usage.billed == 5
            assert anyio.current_time() - start == pytest.approx(15)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))  # virtual time: nobody waits


async def test_the_multipart_body_names_the_real_type_of_the_image() -> None:
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            await client.images.edit(PIXEL, "grüße, 世界", text_mode=True, seed=5)
    body = server.requests[0]
    assert b'name="image"; filename="image.png"\r\nContent-Type: image/png\r\n\r\n' + PIXEL in body
    for name, value in {
        "prompt": "grüße, 世界",
        "text_mode": "true",
        "seed": "5",
        "model": "step-image-edit-2",
    }.items():
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in body


async def test_the_json_body_and_headers_are_as_documented() -> None:
    with raw_server(say(image_response())) as server:
        async with client_for(server.url, default_headers={"x-team": "blue"}) as client:
            await client.images.generate(
                "山", size="16:9", extra_body={"beta": 1}, extra_headers={"X-Request-Id": "r-1"}
            )
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = [line.lower() for line in head.decode().split("\r\n")]
    assert lines[0] == "post /v1/images/generations http/1.1"
    for line in ("x-team: blue", "x-request-id: r-1", "content-type: application/json", "accept-encoding: identity"):
        assert line in lines
    assert f"authorization: bearer {KEY}" in lines
    assert json.loads(body) == {
        "model": "step-image-edit-2",
        "prompt": "山",
        "size": "768x1360",
        "response_format": "b64_json",
        "beta": 1,
    }


async def test_the_key_is_not_sent_to_links_nor_shown_in_errors() -> None:
    said = json.dumps({"error": {"message": f"wrong key {KEY}", "type": "auth"}}).encode()
    with raw_server(say(http_response(PIXEL, content_type="image/png"))) as images:
        linked = json.dumps({"data": [{"url": f"{images.url}/a.png?sign=1"}]}).encode()
        with raw_server(say(http_response(linked)), say(http_response(said, status="401 Unauthorized"))) as server:
            async with client_for(server.url, default_headers={"x-team": "blue"}) as client:
                image = (await client.images.generate("a lake", response_format="url")).image
                fetched = await client.images.download(image)
                with pytest.raises(AuthenticationError) as caught:
                    await client.images.generate("a lake")
                shown = f"{client!r} {client.__dict__!r} {caught.value} {caught.value.body!r} {caught.value!r}"
    assert fetched.data == PIXEL
    assert KEY.encode() in server.requests[0]
    assert KEY.encode() not in images.requests[0]
    assert b"x-team" not in images.requests[0].lower()
    assert KEY not in shown


async def test_the_key_is_not_shown_by_tracebacks_with_variables() -> None:
    async with client_for(f"http://127.0.0.1:{closed_port()}/v1") as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.images.generate("a lake")
    whole = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    headers = vars(client._service._transport)["_headers"]
    shown = "".join(whole.format()) + repr(headers)
    assert "authorization" in shown
    assert KEY not in shown


async def test_a_link_is_followed_through_redirects_but_not_for_ever() -> None:
    def onward(connection: socket.socket) -> None:
        connection.sendall(http_response(b"", status="302 Found", headers="location: /v1/next\r\n"))

    with raw_server(onward, onward, say(http_response(PIXEL, content_type="image/png"))) as server:
        async with client_for(server.url) as client:
            image = await client.images.download(f"{server.url}/start")
    assert (image.format, image.width) == ("png", 1)
    with raw_server(onward) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="redirected"):
                await client.images.download(f"{server.url}/start")


async def test_a_link_that_leads_off_the_web_is_not_followed() -> None:
    away = say(http_response(b"", status="302 Found", headers="location: file:///etc/passwd\r\n"))
    with raw_server(away) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match=r"not http\(s\)"):
                await client.images.download(f"{server.url}/start")


async def test_a_response_without_end_is_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")

    monkeypatch.setattr(calls, "MAX_BODY", 100_000)
    with raw_server(endless) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="longer than 100,000 bytes") as caught:
                await client.images.generate("a lake")
        assert server.gone.wait(5)
    assert caught.value.billing == "unknown"


async def test_an_image_is_the_same_however_its_chunks_are_cut() -> None:
    """Also where something arrives that has nothing of it, such as a part of the line between two chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (PIXEL[:40], PIXEL[40:])) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    whole = head + body
    for at in range(len(head), len(whole)):
        arriving = http11.ResponseParser()
        intake = response_body.BodyReader(
            HTTPRequest("GET", "https://stepfun.test/a.png"), ResponseHead(200, {}), len(whole)
        )
        for part in (whole[:at], whole[at : at + 1], whole[at + 1 :]):
            if part:
                intake.feed(arriving.receive(part))
        assert arriving.over
        assert (await intake.finish()).body == PIXEL


async def test_a_link_to_something_else_is_no_image() -> None:
    with raw_server(say(http_response(b"<html>gone</html>", content_type="text/html"))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(MalformedResponseError, match="not an image") as caught:
                await client.images.download(f"{server.url}/a.png")
    assert caught.value.maybe_billed == 0


async def test_an_image_whose_link_cannot_be_fetched_is_not_lost(tmp_path: Path) -> None:
    linked = json.dumps({"data": [{"url": f"http://127.0.0.1:{closed_port()}/a.png", "seed": 3}]}).encode()
    with raw_server(say(http_response(linked))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(SaveError, match="its link") as caught:
                await client.images.generate("a lake", response_format="url", save_to=tmp_path / "a.png")
    assert caught.value.billing == "executed"
    assert caught.value.response.image.seed == 3
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "link", ["http://a:bc/x.png", "http://xn--a.test/x.png", "http://[bad/x.png", "http://h/\u0000"]
)
async def test_a_paid_link_that_is_none_is_not_lost(link: str, tmp_path: Path) -> None:
    linked = http_response(json.dumps({"data": [{"url": link, "seed": 3}]}).encode())
    moved = http_response(b"", status="302 Found", headers="location: http://[bad\r\n")
    with raw_server(say(linked)) as server:
        async with client_for(server.url) as client:
            with pytest.raises((SaveError, MalformedResponseError)) as caught:
                await client.images.generate("a lake", response_format="url", save_to=tmp_path / "a.png")
    assert link.replace("\0", "")[:12] in repr(vars(caught.value))
    with raw_server(say(moved)) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="not http"):
                await client.images.download(f"{server.url}/start")


async def test_what_ends_before_a_connection_is_open_was_not_billed() -> None:
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            for _ in range(20):
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await client.images.generate("a lake")
            with pytest.raises(APITimeoutError, match="nothing was sent"):
                await client.images.generate("a lake", timeout=1e-9)
            assert client.usage.maybe_billed == 0
        assert server.requests == []


async def test_a_proxy_that_refuses_to_connect_was_not_paid_for() -> None:
    with raw_server(hang_up) as proxy:
        async with client_for("https://far.test/v1", proxy=proxy.url.removesuffix("/v1")) as client:
            with pytest.raises(APIConnectionError, match="nothing was sent") as caught:
                await client.images.generate("a lake")
    assert (caught.value.billing, caught.value.attempts) == ("not_sent", 3)


async def test_a_fetch_that_fails_speaks_of_no_money() -> None:
    with raw_server(stay_silent) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APITimeoutError) as caught:
                await client.models.list(timeout=0.3)
    assert "billed" not in str(caught.value)
    assert "sent" not in str(caught.value)


def test_a_client_keeps_no_loop_alive() -> None:
    with raw_server(say(image_response())) as server:
        client = client_for(server.url)
        loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

        async def once() -> None:
            loops.append(weakref.ref(asyncio.get_running_loop()))
            await client.images.generate("a lake")

        for _ in range(5):
            asyncio.run(once())
        gc.collect()
        assert [loop() for loop in loops] == [None] * 5


async def test_an_image_that_cannot_be_written_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            with pytest.raises(SaveError, match="No space left") as caught:
                await client.images.generate("a lake", save_to=tmp_path / "a.png")
    assert isinstance(caught.value, OSError)
    assert caught.value.response.image.data == PIXEL
    assert list(tmp_path.iterdir()) == []


async def test_a_paid_image_is_written_even_when_the_call_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = anyio.CancelScope()
    real = httpx.Response.aclose

    async def cancel_on_arrival(response: httpx.Response) -> None:
        await real(response)
        scope.cancel()

    monkeypatch.setattr(httpx.Response, "aclose", cancel_on_arrival)
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            with scope:
                await client.images.generate("a lake", save_to=tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == PIXEL


async def test_a_transport_of_the_users_own_is_used_and_closed() -> None:
    class Recorder(httpx.MockTransport):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    body = image_response().partition(b"\r\n\r\n")[2]
    recorder = Recorder(lambda request: httpx.Response(200, content=body, headers={"x-trace-id": str(request.url)}))
    async with client_for("https://own.test/v1", transport=recorder) as client:
        response = await client.images.generate("a lake")
    assert response.trace_id == "https://own.test/v1/images/generations"
    assert recorder.closed


async def test_a_lost_response_of_a_mocked_transport_counts_as_maybe_billed() -> None:
    """Nobody watched the bytes leave, so the worse case holds."""

    def lose(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too slow", request=request)

    async with client_for("https://own.test/v1", transport=httpx.MockTransport(lose)) as client:
        with pytest.raises(APITimeoutError) as caught:
            await client.images.generate("a lake")
    assert (caught.value.billing, caught.value.attempts) == ("unknown", 1)


async def test_a_proxy_carries_the_calls() -> None:
    with raw_server(say(image_response())) as proxy:
        address = proxy.url.removesuffix("/v1")
        async with client_for("http://far.test/v1", proxy=address) as client:
            await client.images.generate("a lake")
    assert proxy.requests[0].startswith(b"POST http://far.test/v1/images/generations HTTP/1.1\r\n")


async def test_a_socks_proxy_carries_the_calls() -> None:
    with raw_server(say(image_response()), greet=socks_handshake) as proxy:
        address = proxy.url.removesuffix("/v1").replace("http", "socks5")
        async with client_for("http://far.test/v1", proxy=address) as client:
            await client.images.generate("a lake")
            await client.images.generate("a lake")
    assert proxy.requests[0].startswith(b"POST /v1/images/generations HTTP/1.1\r\n")
    assert proxy.connections == 1


async def test_the_environments_proxy_is_used_unless_it_excepts_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(say(image_response())) as proxy, raw_server(say(image_response())) as server:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with client_for("http://far.test/v1") as client:
            await client.images.generate("a lake")
        async with client_for(server.url) as client:
            await client.images.generate("a lake")
    assert (len(proxy.requests), len(server.requests)) == (1, 1)


@pytest.mark.parametrize("proxy", ["ftp://proxy.test", "not a proxy", "socks4://proxy.test"])
def test_a_proxy_that_cannot_be_one_is_refused(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="proxy"):
        client_for("http://far.test/v1", proxy=proxy)


def test_a_socks_proxy_says_what_it_needs_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    client_for("http://far.test/v1", proxy="socks5://127.0.0.1:1080")
    monkeypatch.setattr(proxies, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"stepfun-async\[socks\]"):
        client_for("http://far.test/v1", proxy="socks5://127.0.0.1:1080")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server that can prove to be 127.0.0.1 to clients that trust `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(autouse=True)
def _fresh_trust() -> Iterator[None]:
    """The process's TLS context is made once; these tests need their own."""
    yield
    connections._contexts.clear()


async def test_calls_go_over_tls_and_keep_their_connection(
    authority: trustme.CA, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with raw_server(say(image_response()), tls=server_tls) as server:
        async with client_for(server.url) as client:
            for _ in range(3):
                assert (await client.images.generate("a lake")).image.data == PIXEL
        assert server.connections == 1


async def test_a_server_that_cannot_prove_itself_gets_nothing(server_tls: ssl.SSLContext) -> None:
    with raw_server(say(image_response()), tls=server_tls) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="certificate verify failed") as caught:
                await client.images.generate("a lake")
    assert caught.value.billing == "not_sent"
    assert server.requests == []


async def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    async with client_for("https://127.0.0.1:9/v1") as client:
        with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
            await client.images.generate("a lake")
        assert client.usage.maybe_billed == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_client_serves_several_loops_and_leaves_no_socket(backend: str, anyio_backend: str) -> None:
    """Also without `aclose`: a loop that ends closes what was opened in it."""
    if backend != anyio_backend:
        return
    with raw_server(say(image_response())) as server:
        client = client_for(server.url)

        async def twice() -> None:
            await client.images.generate("a lake")
            await client.images.generate("a lake")

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                anyio.run(twice, backend=backend)
            gc.collect()
        assert server.connections == 3
        assert len(server.requests) == 6
        assert client.usage.billed == 6
