"""Links to images: where they may lead, judged by the address that was really reached."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from stepfun_async import APIConnectionError, AsyncClient, ConfigurationError, RetryPolicy, SaveError
from stepfun_async._core.wire import SendState
from stepfun_async._transport import addresses
from stepfun_async._transport.addresses import why_not_public
from stepfun_async._transport.trace import AddressNotAllowedError, ConnectionTrace
from tests.support.raw import RawServer, raw_server, say, socks_handshake, stay_silent
from tests.support.responses import PIXEL, http_response, image_response

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("way")]

KEY = "sk-secret-1234"
IMAGE = http_response(PIXEL, content_type="image/png")
QUICK = RetryPolicy(base=0.001, connect_base=0.001)


def client_for(url: str, **more: Any) -> AsyncClient:
    return AsyncClient(KEY, base_url=url, retry=QUICK, **more)


def moved_to(location: str) -> bytes:
    return http_response(b"", status="302 Found", headers=f"location: {location}\r\n")


class Names(dict[str, str]):
    """Names that exist for one test, and the order in which they were looked up."""

    def __init__(self, **known: str) -> None:
        super().__init__({name.replace("_", "."): address for name, address in known.items()})
        self.asked: list[str] = []

    def look_up(self, real: Callable[..., Any], host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in self:
            if not options.get("flags", (*args, 0, 0, 0, 0)[3]) & socket.AI_NUMERICHOST:
                self.asked.append(name)
            else:
                raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return real(self.get(name, host), port, *args, **options)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """`api.test` is out on the internet, where nothing is sent; `images.test` is this machine."""
    known = Names(api_test="93.184.216.34", images_test="127.0.0.1", gateway_test="127.0.0.1", store_test="127.0.0.1")
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: known.look_up(real, *args, **options))
    return known


@pytest.fixture
def _loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 in the part of a public address; everything else of this machine stays what it is."""
    others = tuple(network for network in addresses._INSIDE_V4 if network != IPv4Network("127.0.0.0/8"))
    monkeypatch.setattr(addresses, "_INSIDE_V4", (*others, IPv4Network("127.0.0.2/31")))


@contextmanager
def overheard() -> Iterator[tuple[RawServer, list[bytes]]]:
    """A server with an image, and every byte that came before the first whole request."""
    heard: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        heard.append(connection.recv(1))

    with raw_server(say(IMAGE), greet=listen) as server:
        yield server, heard


def port_of(server: RawServer) -> str:
    return server.url.removesuffix("/v1").rpartition(":")[2]


# --- refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_name_that_leads_inside_is_given_up_before_a_byte_is_sent(scheme: str, names: Names) -> None:
    """It is looked up once, to connect: another address for the check (DNS rebinding) is no use."""
    with overheard() as (server, heard):
        async with client_for("https://api.test/v1") as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.images.download(f"{scheme}://images.test:{port_of(server)}/a.png")
        assert server.gone.wait(5), "the connection stayed open"
    assert "the link was not followed: images.test is 127.0.0.1, which is no public address" in str(caught.value)
    assert (caught.value.billing, caught.value.attempts, caught.value.again) == ("not_sent", 1, False)
    assert heard == [b""]
    assert server.connections == 1, "it would end the same way again"
    assert names.asked == ["images.test", "api.test"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "a.localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "0177.1",
        "0.0.0.0",
    ],
)
@pytest.mark.usefixtures("names")
async def test_an_address_inside_is_not_even_connected_to(host: str) -> None:
    with raw_server(say(IMAGE)) as server:
        async with client_for("https://api.test/v1") as client:
            with pytest.raises(APIConnectionError, match="is no public address") as caught:
                await client.images.download(f"http://{host}:{port_of(server)}/a.png")
    assert (caught.value.billing, caught.value.attempts) == ("not_sent", 1)
    assert server.connections == 0


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest", "http://127.0.0.3:{port}/", "http://localhost:{port}/", "//[::1]:{port}/"],
)
@pytest.mark.usefixtures("names", "_loopback_is_public")
async def test_every_hop_of_a_redirect_is_judged(target: str) -> None:
    with raw_server(say(IMAGE)) as inside, raw_server(say(moved_to(target.format(port=port_of(inside))))) as outside:
        async with client_for("https://api.test/v1") as client:
            with pytest.raises(APIConnectionError, match="no public address") as caught:
                await client.images.download(f"http://images.test:{port_of(outside)}/a.png")
        assert len(outside.requests) == 1
        assert inside.connections == 0
    assert (caught.value.billing, caught.value.attempts) == ("not_sent", 1)


@pytest.mark.usefixtures("names")
async def test_a_transport_of_ones_own_is_guarded_too() -> None:
    with overheard() as (server, heard):
        async with client_for("https://api.test/v1", transport=httpx.AsyncHTTPTransport()) as client:
            for host in ("images.test", "127.0.0.1"):
                with pytest.raises(APIConnectionError, match="no public address"):
                    await client.images.download(f"http://{host}:{port_of(server)}/a.png")
        assert server.gone.wait(5)
    assert heard == [b""]


@pytest.mark.usefixtures("names")
async def test_a_paid_image_behind_such_a_link_is_not_lost(tmp_path: Path) -> None:
    with raw_server(say(IMAGE)) as inside:
        body = json.dumps({"data": [{"url": f"http://127.0.0.1:{port_of(inside)}/a.png", "seed": 3}]}).encode()
        mocked = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
        async with client_for("https://api.test/v1", transport=mocked) as client:
            with pytest.raises(SaveError, match="no public address") as caught:
                await client.images.generate("a lake", response_format="url", save_to=tmp_path / "a.png")
    assert caught.value.billing == "executed"
    assert caught.value.response.image.seed == 3
    assert inside.connections == 0


@pytest.mark.usefixtures("names")
async def test_a_refused_link_leaves_the_client_usable_and_nothing_open() -> None:
    with raw_server(say(IMAGE)) as server:
        async with client_for("https://api.test/v1") as client:
            for _ in range(12):  # more than there are slots
                with pytest.raises(APIConnectionError, match="no public address"):
                    await client.images.download(f"http://images.test:{port_of(server)}/a.png", queue_timeout=5)
    assert server.requests == []


# --- allowed -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_loopback_is_public")
async def test_a_public_link_is_followed_and_its_connection_kept(names: Names) -> None:
    with raw_server(say(IMAGE)) as server:
        async with client_for("https://api.test/v1") as client:
            for _ in range(3):
                image = await client.images.download(f"http://images.test:{port_of(server)}/a.png")
                assert image.data == PIXEL
    assert server.connections == 1
    assert names.asked == ["images.test"], "nobody asks about the API before a link is refused"


@pytest.mark.parametrize("base", ["http://127.0.0.1:9/v1", "http://localhost:9/v1", "http://[::1]:9/v1"])
@pytest.mark.usefixtures("names")
async def test_an_api_on_this_machine_may_link_inside(base: str) -> None:
    with raw_server(say(IMAGE)) as server:
        async with client_for(base) as client:
            for host in ("images.test", "127.0.0.1", "localhost"):
                assert (await client.images.download(f"http://{host}:{port_of(server)}/a.png")).data == PIXEL


async def test_an_api_whose_name_leads_inside_may_link_inside(names: Names) -> None:
    with raw_server(say(IMAGE)) as server:
        async with client_for("https://gateway.test/v1") as client:
            for _ in range(2):
                assert (await client.images.download(f"http://store.test:{port_of(server)}/a.png")).data == PIXEL
    assert names.asked.count("gateway.test") == 1, "it is asked about once, when the first link was about to be refused"


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("host", ["nobody.invalid", "a..b"])
async def test_an_api_whose_name_is_not_known_may_not_link_inside(host: str) -> None:
    with raw_server(say(IMAGE)) as server:
        async with client_for(f"https://{host}/v1") as client:
            with pytest.raises(APIConnectionError, match="no public address"):
                await client.images.download(f"http://store.test:{port_of(server)}/a.png")
    assert server.requests == []


async def test_an_api_may_link_to_itself_wherever_it_is(names: Names) -> None:
    with raw_server(say(IMAGE)) as server:
        async with client_for(f"http://images.test:{port_of(server)}/v1", allow_http=True) as client:
            names["images.test"] = "127.0.0.1"
            assert (await client.images.download(f"http://IMAGES.test:{port_of(server)}/a.png")).data == PIXEL
    assert names.asked == ["images.test"]


@pytest.mark.usefixtures("names")
async def test_through_a_proxy_a_name_is_the_proxys_to_judge_and_an_address_is_not() -> None:
    for scheme, greet in (("http", None), ("socks5", socks_handshake)):
        with raw_server(say(IMAGE), greet=greet) as proxy:
            address = f"{scheme}://127.0.0.1:{port_of(proxy)}"
            async with client_for("https://api.test/v1", proxy=address) as client:
                assert (await client.images.download("http://images.test/a.png")).data == PIXEL
                for host in ("10.0.0.1", "0x7f.1", "localhost"):
                    with pytest.raises(APIConnectionError, match="no public address"):
                        await client.images.download(f"http://{host}/a.png")
        assert len(proxy.requests) == 1
        assert KEY.encode() not in proxy.requests[0]


# --- the key in clear ---------------------------------------------------------------------------------------------


async def test_a_name_of_this_machine_that_leads_elsewhere_does_not_get_the_key(
    monkeypatch: pytest.MonkeyPatch, names: Names
) -> None:
    names["step.localhost"] = "127.0.0.1"
    with overheard() as (server, heard):
        async with client_for(f"http://step.localhost:{port_of(server)}/v1") as client:
            monkeypatch.setattr(addresses, "_LOOPBACK", ())  # as if 127.0.0.1 were another machine
            with pytest.raises(ConfigurationError, match=r"step\.localhost is 127\.0\.0\.1, which is not this machine"):
                await client.images.generate("a lake")
            assert client.usage.maybe_billed == 0
        assert server.gone.wait(5)
    assert heard == [b""]


@pytest.mark.usefixtures("names")
async def test_a_connection_is_used_again_only_where_it_was_judged_alike() -> None:
    """The one for the key in clear leads to this machine for certain; the one for links may lead anywhere."""
    with raw_server(say(image_response()), say(IMAGE), say(image_response()), say(IMAGE)) as server:
        async with client_for(f"http://localhost:{port_of(server)}/v1") as client:
            for _ in range(2):
                await client.images.generate("a lake")
                await client.images.download(f"http://localhost:{port_of(server)}/a.png")
    assert server.connections == 2


# --- the hook ------------------------------------------------------------------------------------------------------


class Stream:
    """A connection that is not one."""

    def __init__(self, where: object) -> None:
        self._where = where
        self.closed = False

    def get_extra_info(self, name: str) -> object:
        assert name == "server_addr"
        if isinstance(self._where, Exception):
            raise self._where
        return self._where

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("where", "why"),
    [
        (("93.184.216.34", 443), None),
        (("2606:4700::1", 443, 0, 0), None),
        (("192.168.1.1", 443), "is 192.168.1.1, which is no public address"),
        (("fe80::1%eth0", 443, 0, 2), "is fe80::1%eth0, which is no public address"),
        (("64:ff9b::a00:1", 443, 0, 0), "no public address"),
    ],
)
async def test_a_connection_is_judged_by_the_address_it_has(where: object, why: str | None) -> None:
    watch = ConnectionTrace(SendState(), "images.test", why_not_public, None)
    stream = Stream(where)
    await watch("connection.connect_tcp.started", {"host": "images.test"})
    if why is None:
        await watch("connection.connect_tcp.complete", {"return_value": stream})
    else:
        with pytest.raises(AddressNotAllowedError, match=why):
            await watch("connection.connect_tcp.complete", {"return_value": stream})
    assert stream.closed == (why is not None)


@pytest.mark.parametrize("where", [None, OSError(107, "not connected")])
async def test_a_connection_that_was_closed_at_once_is_none(where: object) -> None:
    """There is nothing to judge any more, and nothing to refuse: trying again may help."""
    watch = ConnectionTrace(SendState(), "images.test", why_not_public, None)
    await watch("connection.connect_tcp.started", {"host": "images.test"})
    with pytest.raises(ConnectionResetError, match="closed as soon as it was open"):
        await watch("connection.connect_tcp.complete", {"return_value": Stream(where)})


async def test_a_refused_connection_is_closed_even_when_the_call_is_cancelled() -> None:
    class Slow(Stream):
        async def aclose(self) -> None:
            await anyio.lowlevel.checkpoint()
            self.closed = True

    watch = ConnectionTrace(SendState(), "images.test", why_not_public, None)
    stream = Slow(("10.0.0.1", 80))
    await watch("connection.connect_tcp.started", {"host": "images.test"})
    with anyio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(AddressNotAllowedError):
            await watch("connection.connect_tcp.complete", {"return_value": stream})
    assert stream.closed


# --- how much -------------------------------------------------------------------------------------------------------


async def test_an_image_without_end_is_not_read_without_end_and_not_retried() -> None:
    piece = b"%x\r\n" % 2**20 + b"\x89PNG" + b"x" * (2**20 - 4) + b"\r\n"

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(piece)

    with raw_server(endless) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="longer than 167,772,160 bytes") as caught:
                await client.images.download(f"{server.url}/a.png")
        assert server.gone.wait(5)
    assert caught.value.attempts == len(server.requests) == 1
    assert caught.value.maybe_billed == 0


async def test_the_deadline_holds_over_all_hops_of_a_link() -> None:
    with raw_server(say(moved_to("/v1/b")), stay_silent) as server:
        async with client_for(server.url) as client:
            with pytest.raises(TimeoutError):
                await client.images.download(f"{server.url}/a.png", timeout=1.5)
        assert server.gone.wait(5)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "location", ["ftp://images.test/a", "file:///etc/passwd", "data:image/png;base64,AA", "http://[x"]
)
async def test_what_ends_the_same_way_again_is_not_repeated(location: str) -> None:
    with raw_server(say(moved_to(location))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="not http") as caught:
                await client.images.download(f"{server.url}/a.png")
    assert caught.value.attempts == len(server.requests) == 1


async def test_a_link_that_goes_in_circles_is_not_begun_again() -> None:
    with raw_server(say(moved_to("/v1/a.png"))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match="redirected more than 5 times") as caught:
                await client.images.download(f"{server.url}/a.png")
    assert caught.value.attempts == 1
    assert len(server.requests) == 6
