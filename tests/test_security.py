"""What must never happen to a key, whatever goes wrong: shown, logged, pickled, or sent to another host."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import logging
import os
import pickle
import socket
import ssl
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpcore
import httpx
import pytest
import trustme

from stepfun_async import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncClient,
    Batch,
    Client,
    ConfigurationError,
    Image,
    ImageEdit,
    ImageToImage,
    Limits,
    RetryPolicy,
    StepFunError,
    TextToImage,
    register_model,
)
from stepfun_async._transport import http as calls
from tests.support.raw import Script, hang_up, raw_server, reset, say
from tests.support.responses import PIXEL, http_response, image_response

pytestmark = pytest.mark.anyio

KEY = "sk-canary+0123456789/abcdef="
ESCAPED = json.dumps({"error": {"message": f"bad key {KEY}"}}).replace("/", "\\/").replace("+", "\\u002B")
NO_RETRY = RetryPolicy(max_attempts=1)


def client_for(url: str, **more: Any) -> AsyncClient:
    return AsyncClient(KEY, base_url=url, **{"retry": NO_RETRY, **more})


class Ears(logging.Handler):
    """Hears every record of every logger, with all its attributes and its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(f"{record.getMessage()} {vars(record)!r} {self.format(record)}")


@pytest.fixture
def ears() -> Iterator[Ears]:
    """All loggers there are, those of the libraries below included, at DEBUG."""
    for name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "asyncio", "stepfun_async"):
        logging.getLogger(name)
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    before = [logger.level for logger in loggers]
    ears = Ears()
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(ears)
    yield ears
    logging.getLogger().removeHandler(ears)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def behind(error: BaseException) -> Iterator[BaseException]:
    """`error` and everything that is behind it, shown or not."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        each = todo.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            todo += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
            yield each


def shown(error: BaseException) -> str:
    """All that anybody could show of an error: its words, its variables, and those of every frame."""
    parts: list[str] = []
    for each in behind(error):
        trace = traceback.TracebackException.from_exception(each, capture_locals=True)
        parts += [str(each), repr(each), repr(each.args), repr(vars(each)), *trace.format()]
        if isinstance(each, StepFunError):
            parts.append(pickle.dumps(each).decode("latin-1"))
    return "\n".join(parts)


async def ended(call: Callable[[], Awaitable[Any]]) -> BaseException:
    """How `call` failed. In a frame of its own, without the test's variables."""
    try:
        await call()
    except Exception as error:  # noqa: BLE001 - looked at by the test
        return error
    raise AssertionError("the call did not fail")


def assert_hidden(*texts: str) -> None:
    for text in texts:
        at = text.find("canary")
        assert at == -1, text[max(0, at - 300) : at + 100]


# --- a server that repeats the key ------------------------------------------------------------------------

ECHO = f"x-trace-id: {KEY}\r\nx-echo: Bearer {KEY}\r\n"


def echo(body: str | bytes, status: str = "200 OK", headers: str = ECHO) -> Script:
    return say(http_response(body if isinstance(body, bytes) else body.encode(), status=status, headers=headers))


def then(data: bytes, end: Script) -> Script:
    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        end(connection)
        hang_up(connection)

    return talk


FAILURES: dict[str, Script] = {
    **{
        f"status {status}": echo(json.dumps({"error": {"message": f"key {KEY}", "type": KEY}}), f"{status} Bad {KEY}")
        for status in (400, 401, 402, 403, 404, 418, 429, 451, 500, 502, 503)
    },
    "escaped": echo(ESCAPED, "401 Unauthorized"),
    "text": echo(f"<pre>Authorization: Bearer {KEY}</pre>", "500 Oh"),
    "redirect": echo("", "307 Temporary Redirect", f"location: https://other.test/?key={KEY}\r\n"),
    "not JSON": echo(f"Authorization: Bearer {KEY}"),
    "no object": echo(json.dumps([KEY])),
    "no picture": echo(json.dumps({"data": [], "said": KEY})),
    "broken picture": echo(json.dumps({"data": [{"b64_json": f"!{KEY}"}]})),
    "broken link": echo(json.dumps({"data": [{"url": f"http://[{KEY}"}]})),
    "packed": echo(KEY, headers=f"content-encoding: {KEY}\r\n"),
    "packed badly": echo(KEY, headers="content-encoding: gzip\r\n"),
    "packed without end": echo(gzip.compress(KEY.encode(), 0)[:-9], headers="content-encoding: gzip\r\n"),
    "too long": echo(f"{KEY} " * 5000),
    "lost": then(b"", reset),
    "cut off": then(f"HTTP/1.1 200 OK\r\ncontent-length: 500\r\nx-echo: {KEY}\r\n\r\n{KEY}".encode(), hang_up),
    "reset in the middle": then(
        f"HTTP/1.1 200 OK\r\ncontent-length: 500\r\nx-echo: {KEY}\r\n\r\n{KEY}".encode(), reset
    ),
    "no HTTP": then(f"Authorization: Bearer {KEY}\r\n\r\n".encode(), hang_up),
    "bad header": then(f"HTTP/1.1 200 OK\r\nauthorization bearer {KEY}\r\n\r\n".encode(), hang_up),
    "bad chunk": then(f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{KEY}\r\n".encode(), hang_up),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_no_failure_shows_the_key(name: str, way: str, ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_BODY", 50_000)
    events: list[Any] = []
    with contextlib.suppress(RuntimeError):  # on trio
        asyncio.get_running_loop().set_debug(True)
    with raw_server(FAILURES[name]) as server:
        async with client_for(server.url, on_event=events.append) as client:
            error = await ended(lambda: client.images.generate("a lake"))
            texts = [repr(client), repr(vars(client)), repr(client.usage), repr(vars(client.images))]
        assert KEY.encode() in server.requests[0], "the key was not sent, so nothing is shown by this test"
    assert isinstance(error, APIError)
    assert len(events) == 3
    texts += [repr(event) for event in events]
    assert_hidden(shown(error), *texts, *ears.heard)
    assert any("httpcore" in line for line in ears.heard) == (way != "straight")


async def test_no_success_shows_the_key(ears: Ears) -> None:
    whole = image_response(id=KEY, said=f"Bearer {KEY}").replace(b"trace-1", KEY.encode())
    with raw_server(say(whole)) as server:
        async with client_for(server.url) as client:
            response = await client.images.generate("a lake", extra_headers={"x-more": "1"})
            text = repr(response) + repr(client.usage) + repr(vars(client)) + pickle.dumps(response).decode("latin-1")
    assert response.image.data == PIXEL
    assert_hidden(text, *ears.heard)


@pytest.mark.parametrize("name", ["status 401", "not JSON", "bad header", "lost"])
def test_no_failure_of_the_sync_client_shows_the_key(name: str, ears: Ears) -> None:
    def fail(client: Client) -> BaseException:
        with pytest.raises(APIError) as caught:
            client.images.generate("a lake")
        return caught.value

    with raw_server(FAILURES[name]) as server, Client(KEY, base_url=server.url, retry=NO_RETRY) as client:
        error = fail(client)
        text = repr(client) + repr(vars(client)) + repr(vars(client.images))
    assert_hidden(shown(error), text, *ears.heard)


async def test_neither_client_pickles_its_key() -> None:
    clients = (client_for("https://api.test/v1"), Client(KEY, base_url="https://api.test/v1"))
    for client in clients:
        with pytest.raises((TypeError, AttributeError)) as caught:
            pickle.dumps(client)
        assert_hidden(shown(caught.value))


# --- frames below us, which hold the request --------------------------------------------------------------


class Faulty(httpcore.AsyncNetworkBackend):
    """A network where the head of a request cannot be written."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        stream = httpcore.AsyncMockStream([])
        write = self._write

        async def fail(buffer: bytes, timeout: float | None = None) -> None:
            await write(buffer)

        stream.write = fail  # type: ignore[method-assign]
        return stream


def faulty_client(write: Callable[[bytes], Awaitable[None]], **more: Any) -> AsyncClient:
    transport = httpx.AsyncHTTPTransport()
    transport._pool = httpcore.AsyncConnectionPool(network_backend=Faulty(write))
    return client_for("http://localhost:9/v1", transport=transport, **more)


async def test_a_head_that_cannot_be_written_is_not_shown_with_the_frames_of_who_wrote_it() -> None:
    async def fail(buffer: bytes) -> None:
        assert KEY.encode() in buffer
        raise httpcore.WriteTimeout("no way")

    async with faulty_client(fail, allow_http=True) as client:
        error = await ended(lambda: client.images.generate("a lake"))
    assert isinstance(error, APIConnectionError)
    assert "no way" in str(error)
    assert error.__cause__ is not None, "what happened below stays behind the error"
    assert_hidden(shown(error))


async def test_a_deadline_that_ends_a_write_shows_nothing_of_it() -> None:
    async def wait(buffer: bytes) -> None:
        assert KEY.encode() in buffer
        await anyio.sleep_forever()

    async def with_a_deadline_around_it() -> None:
        with anyio.fail_after(0.5):
            await client.images.generate("a lake")

    async with faulty_client(wait, allow_http=True) as client:
        own = await ended(lambda: client.images.generate("a lake", timeout=0.5))
        others = await ended(with_a_deadline_around_it)
    assert isinstance(own, APITimeoutError)
    assert isinstance(others, TimeoutError)
    assert_hidden(shown(own), shown(others))


async def test_a_cancelled_call_shows_nothing_of_its_request() -> None:
    caught: list[BaseException] = []

    async def wait(buffer: bytes) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    async def watched() -> None:
        try:
            await client.images.generate("a lake")
        except BaseException as error:
            caught.append(error)
            raise

    async with faulty_client(wait, allow_http=True) as client:
        with anyio.CancelScope() as scope:
            await watched()
    assert scope.cancelled_caught
    assert isinstance(caught[0], anyio.get_cancelled_exc_class())
    assert_hidden(shown(caught[0]))


async def test_a_mistake_in_a_transport_of_ones_own_keeps_its_frames() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError("a mistake")

    async with client_for("https://api.test/v1", transport=httpx.MockTransport(handle)) as client:
        error = await ended(lambda: client.images.generate("a lake"))
    assert isinstance(error, ZeroDivisionError)
    text = shown(error)
    assert "in handle" in text
    assert_hidden(text)


# --- before anything is sent ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [AsyncClient, Client])
@pytest.mark.parametrize(
    ("key", "options"),
    [
        (KEY, {"timeout": -1}),
        (KEY, {"retry": 5}),
        (KEY, {"validation": "none"}),
        (KEY, {"base_url": "nowhere"}),
        (KEY, {"base_url": "http://far.test/v1"}),
        (KEY, {"base_url": "https://api.test/v1", "proxy": "ftp://proxy.test"}),
        (KEY, {"base_url": "https://api.test/v1", "transport": object()}),
        (f"{KEY}é", {}),
        (f"{KEY} two", {}),
    ],
)
def test_no_setting_that_is_refused_shows_the_key(kind: Callable[..., Any], key: str, options: dict[str, Any]) -> None:
    error: BaseException | None = None
    try:
        kind(key, **options)
    except ConfigurationError as refused:
        error = refused
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next  # this frame has the key, of course
    assert error is not None
    assert_hidden(shown(error))


@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_a_key_of_the_environment_that_is_refused_is_not_shown(
    kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_API_KEY", f"{KEY}\u200b")
    with pytest.raises(ConfigurationError) as caught:
        kind()
    assert_hidden(shown(caught.value))


async def test_a_proxys_password_is_not_shown() -> None:
    for address in ("http://me:can\nary@proxy.test", "ftp://me:canary@proxy.test", "http://me:canary@proxy.test:port"):
        with pytest.raises(ConfigurationError, match="proxy's address cannot be used") as caught:
            client_for("https://api.test/v1", proxy=address)
        assert "ary" not in str(caught.value)
    async with client_for("https://api.test/v1", proxy="http://me:canary@127.0.0.1:9") as client:
        transport: Any = client._service._transport
        error = await ended(lambda: client.images.generate("a lake"))
    assert_hidden(shown(error), repr(vars(transport)), repr(vars(transport._connections)))


# --- other secrets: of gateways and proxies ---------------------------------------------------------------

GATEWAY = {"x-api-key": "canary-of-a-gateway", "x-team": "one"}
SETTINGS: dict[str, dict[str, Any]] = {
    "headers": {"default_headers": GATEWAY},
    "headers that are no mapping": {"default_headers": list(GATEWAY.items())},
    "a header that cannot be sent": {"default_headers": {"x-api-key": "canary\n"}},
    "a header that is no text": {"default_headers": {"x-api-key": b"canary"}},
    "a proxy": {"proxy": "http://me:canary@127.0.0.1:9"},
    "a proxy that is none": {"proxy": "ftp://me:canary@proxy.test"},
    "a user in the address": {"base_url": "https://me:canary@api.test/v1"},
    "a user in no address": {"base_url": "ftp://me:canary@api.test/v1"},
    "a key in the address": {"base_url": "https://api.test/v1?key=canary"},
    "a key in no address": {"base_url": "api.test/v1?key=canary#canary"},
    "a user with breaks": {"base_url": "https://me:can\n@canary@api.test:port/v1"},
}


def shown_by_the_package(error: BaseException) -> str:
    """What is shown of an error, and of the variables in the package's own frames."""
    parts: list[str] = []
    for each in behind(error):
        parts += [str(each), repr(each), repr(vars(each))]
        frames = traceback.walk_tb(each.__traceback__)
        own = [frame for frame, _ in frames if "stepfun_async" in frame.f_code.co_filename]
        parts += [f"{frame.f_code.co_name} {frame.f_locals!r}" for frame in own]
    return "\n".join(parts)


def make_batch(key: str, **options: Any) -> Batch:
    return Batch([{"prompt": "a lake"}], out="nowhere", **{"max_failures": -1, **options})


@pytest.mark.parametrize("kind", [AsyncClient, Client])
@pytest.mark.parametrize("setting", SETTINGS)
async def test_no_client_that_is_refused_shows_a_secret(setting: str, kind: Callable[..., Any]) -> None:
    options = {"base_url": "https://api.test/v1", "timeout": -1, **SETTINGS[setting]}
    error = await ended(partial(anyio.to_thread.run_sync, partial(kind, KEY, **options)))
    assert_hidden(shown_by_the_package(error))
    del options["timeout"]
    with contextlib.suppress(ConfigurationError):
        client = kind(KEY, **options)
        assert_hidden(
            repr(client), repr(vars(client)), repr(client._service if kind is AsyncClient else client._bridge)
        )


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_batch_that_is_refused_shows_a_secret(setting: str) -> None:
    with pytest.raises(StepFunError) as caught:
        make_batch(KEY, **{"base_url": "https://api.test/v1", **SETTINGS[setting]})
    assert_hidden(shown_by_the_package(caught.value))


@pytest.mark.parametrize("setting", [name for name, options in SETTINGS.items() if "base_url" in options])
def test_an_address_of_the_environment_that_is_refused_shows_no_secret(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_BASE_URL", SETTINGS[setting]["base_url"])
    with pytest.raises(ConfigurationError) as caught:
        Client(KEY)
    assert_hidden(shown_by_the_package(caught.value))


def test_a_proxy_of_the_environment_that_is_refused_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:canary@proxy.test:port")
    with Client(KEY, base_url="https://api.test/v1") as client, pytest.raises(StepFunError) as caught:
        client.images.generate("a lake")
    assert_hidden(shown_by_the_package(caught.value))


ASKING: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "generate": (("a lake",), {}),
    "edit": ((PIXEL, "a lake"), {}),
    "image_to_image": ((PIXEL, "a lake"), {"source_weight": 0.5}),
}
HEADERS: dict[str, Any] = {
    "sent": GATEWAY,
    "not sayable": {"x-api-key": "canary\n"},
    "no mapping": [("x-api-key", "canary")],
    "bytes": {"x-api-key": b"canary"},
}


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("operation", ASKING)
async def test_no_failure_shows_the_headers_of_a_call(operation: str, headers: str, ears: Ears) -> None:
    arguments, options = ASKING[operation]
    options = {**options, "extra_headers": HEADERS[headers], "timeout": 5}
    for failure in (hang_up, FAILURES["status 400"]):
        with raw_server(failure) as server:
            client = client_for(server.url)
            error = await ended(partial(getattr(client.images, operation), *arguments, **options))
            assert_hidden(shown_by_the_package(error))
            with Client(KEY, base_url=server.url, retry=NO_RETRY) as sync:
                asked = partial(getattr(sync.images, operation), *arguments, **options)
                error = await ended(partial(anyio.to_thread.run_sync, asked))
            assert_hidden(shown_by_the_package(error))
            await client.aclose()
    assert not [heard for heard in ears.heard if "canary" in heard and "stepfun_async" in heard]


# --- other hosts ------------------------------------------------------------------------------------------


async def test_a_redirect_of_the_api_does_not_get_the_key() -> None:
    with raw_server(say(image_response())) as other:
        for status in (301, 302, 303, 307, 308):
            moved = http_response(
                b"", status=f"{status} Moved", headers=f"location: {other.url}/images/generations\r\n"
            )
            with raw_server(say(moved)) as server:
                async with client_for(server.url) as client:
                    with pytest.raises(APIStatusError, match="not followed") as caught:
                        await client.images.generate("a lake")
            assert (caught.value.status, len(server.requests)) == (status, 1)
    assert other.connections == 0


async def test_no_hop_of_a_link_gets_the_key_not_even_one_back_to_the_api() -> None:
    image = say(http_response(PIXEL, content_type="image/png"))
    with raw_server(image) as server:
        back = http_response(b"", status="302 Found", headers=f"location: {server.url}/a.png\r\n")
        with raw_server(say(back)) as images:
            async with client_for(server.url, default_headers={"x-token": KEY}) as client:
                assert (await client.images.download(f"{images.url}/a.png")).data == PIXEL
    for request in (*images.requests, *server.requests):
        assert b"canary" not in request
        assert b"authorization" not in request.lower()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_of_the_environment_does_not_get_the_key_for_this_machine(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw_server(say(image_response())) as proxy, raw_server(say(image_response())) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        async with client_for(server.url.replace("127.0.0.1", host)) as client:
            await client.images.generate("a lake")
        async with client_for(server.url, proxy=proxy.url.removesuffix("/v1")) as client:
            assert proxy.connections == 0
            await client.images.generate("a lake")
    assert (len(server.requests), len(proxy.requests)) == (1, 1), "one that is given by hand is used all the same"


async def test_a_proxy_sees_no_key_that_goes_over_tls() -> None:
    with raw_server(say(b"HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n")) as proxy:
        async with client_for("https://far.test/v1", proxy=proxy.url.removesuffix("/v1")) as client:
            with pytest.raises(APIConnectionError):
                await client.images.generate("a lake")
    assert proxy.requests
    assert all(request.startswith(b"CONNECT far.test:443 ") for request in proxy.requests)
    assert not any(b"canary" in request or b"authorization" in request.lower() for request in proxy.requests)


@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_a_key_in_clear_needs_leave_whatever_carries_it(kind: Callable[..., Any]) -> None:
    mocked = httpx.MockTransport(lambda _: httpx.Response(500))
    with pytest.raises(ConfigurationError, match="allow_http=True"):
        kind(KEY, base_url="http://far.test/v1", transport=mocked)
    assert kind(KEY, base_url="http://far.test/v1", transport=mocked, allow_http=True).base_url == "http://far.test/v1"


# --- TLS --------------------------------------------------------------------------------------------------

_ASK = """
import sys
from stepfun_async import Client, StepFunError
with Client("sk-canary-0123456789", base_url=sys.argv[1]) as client:
    try:
        client.images.generate("a lake")
    except StepFunError as error:
        print(type(error).__name__, error.billing, error.attempts, error)
    else:
        print("the server was trusted")
"""

_LOOSE_TLS = """openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
VerifyMode = None
"""


@pytest.mark.parametrize(
    ("variables", "error", "why"),
    [
        (
            {
                "PYTHONHTTPSVERIFY": "0",
                "NODE_TLS_REJECT_UNAUTHORIZED": "0",
                "GIT_SSL_NO_VERIFY": "1",
                "SSL_VERIFY": "false",
                "VERIFY_SSL": "0",
                "HTTPX_VERIFY": "0",
                "REQUESTS_CA_BUNDLE": "",
                "CURL_CA_BUNDLE": "",
                "SSL_CERT_FILE": "",
                "SSL_CERT_DIR": "",
                "OPENSSL_CONF": "{loose}",
                "PYTHONWARNINGS": "ignore",
            },
            "APIConnectionError",
            "certificate verify failed",
        ),
        ({"REQUESTS_CA_BUNDLE": "{ca}", "CURL_CA_BUNDLE": "{ca}"}, "APIConnectionError", "certificate verify failed"),
        ({"SSL_CERT_DIR": "/nowhere"}, "APIConnectionError", "certificate verify failed"),
        ({"SSL_CERT_FILE": "/nowhere"}, "ConfigurationError", "SSL_CERT_FILE"),
        ({"SSL_CERT_FILE": "{loose}"}, "ConfigurationError", "SSL_CERT_FILE"),
    ],
    ids=["off", "other tools", "no directory", "no file", "another file"],
)
def test_no_variable_of_the_environment_turns_verification_off(
    variables: dict[str, str], error: str, why: str, tmp_path: Path
) -> None:
    authority = trustme.CA()
    files = {"ca": str(tmp_path / "ca.pem"), "loose": str(tmp_path / "openssl.cnf")}
    authority.cert_pem.write_to_path(files["ca"])
    Path(files["loose"]).write_text(_LOOSE_TLS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    environment = {**os.environ, **{name: value.format(**files) for name, value in variables.items()}}
    with raw_server(say(image_response()), tls=context) as server:
        command = [sys.executable, "-c", _ASK, server.url]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert server.requests == []
    kind, billing, attempts, *message = done.stdout.split()
    assert (kind, billing) == (error, "not_sent")
    assert why in " ".join(message)
    assert int(attempts) <= 1, "it would end the same way again"


# --- image bombs ----------------------------------------------------------------------------------------

BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02" + b"\0" * 70


def test_an_image_bomb_is_refused_by_every_operation_and_every_model(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(BOMB)
    model = register_model("bomb-proof", like="step-1x-medium")
    edit = register_model("bomb-proof-edit", like="step-image-edit-2")
    for bomb in (BOMB, str(path), path, io.BytesIO(BOMB), Image(data=BOMB)):
        style = {"source_url": bomb, "weight": 1.0}
        requests = [
            ImageEdit(image=bomb, prompt="a"),
            ImageEdit(model="step-1x-edit", image=bomb, prompt="a"),
            ImageEdit(model=edit, image=bomb, prompt="a"),
            ImageToImage(image=bomb, prompt="a", source_weight=0.5),
            ImageToImage(model=model, image=bomb, prompt="a", source_weight=0.5),
            TextToImage(model="step-1x-medium", prompt="a", style_reference=style),
            TextToImage(model=model, prompt="a", style_reference=style),
        ]
        for request in requests:
            (problem,) = request.problems()
            assert "60000x60000 pixels" in problem.why
            if isinstance(bomb, io.BytesIO):
                bomb.seek(0)


async def test_an_image_bomb_is_refused_even_unvalidated() -> None:
    with raw_server(say(image_response())) as server:
        async with client_for(server.url, validation="off", limits=Limits(1)) as client:
            error = await ended(lambda: client.images.edit(BOMB, "a"))
    assert "60000x60000 pixels" in str(error)
    assert server.connections == 0
