"""Images to send leave from disk, in pieces, as often as needed, and never half of one that changed."""

from __future__ import annotations

import base64
import gc
import os
import socket
import threading
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async import APIConnectionError, AsyncClient, Image, ImageEdit, RetryPolicy
from stepfun_async._core.input_images import load_image
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState, Upload, encode_json
from stepfun_async._runtime.files import CHUNK_SIZE, FileSource
from stepfun_async._transport import request_body as uploads
from stepfun_async._transport.request_body import RequestBody, body_of
from stepfun_async.embedded import EmbeddedTransport, Engine
from tests.support.raw import hang_up, raw_server, say
from tests.support.responses import PIXEL, REFUSAL, http_response, image_response
from tests.support.services import parts_of

pytestmark = pytest.mark.anyio

MEGABYTE = 1024 * 1024


def image_bytes(size: int) -> bytes:
    """Bytes that begin and end like a PNG of 64 x 64."""
    head = PIXEL[:16] + (64).to_bytes(4, "big") * 2
    return head + os.urandom(size - len(head) - 12) + PIXEL[-12:]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of several pieces."""
    path = tmp_path / "cat.png"
    path.write_bytes(image_bytes(3 * CHUNK_SIZE + 1000))
    return path


def client_for(url: str, **more: Any) -> AsyncClient:
    return AsyncClient("sk-secret-1234", base_url=url, **{"retry": RetryPolicy(base=0.001), **more})


def body_in(request: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


async def all_of(body: RequestBody) -> bytes:
    return b"".join([piece async for piece in body])


# --- how bodies are written ----------------------------------------------------------------------------------------

names = st.text(max_size=8)


@given(
    form=st.dictionaries(names, st.text(max_size=20), max_size=3),
    files=st.dictionaries(names, st.tuples(names.filter(bool), st.binary(max_size=40)), max_size=2),
    joined=st.integers(0, 40),
)
async def test_forms_are_written_as_httpx_writes_them(
    form: dict[str, str], files: dict[str, tuple[str, bytes]], joined: int
) -> None:
    uploading = {
        name: Upload(filename, "image/png", data) for name, (filename, data) in files.items() if name not in form
    }
    call = HTTPRequest("POST", "/images/edits", form=form, files=uploading)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(uploads, "_JOINED", joined)
        body = await body_of(call, SendState())
    if body.content_type is None:
        assert not form
        assert not uploading
        return
    fields: list[Any] = [(name, (None, text.encode())) for name, text in form.items()]
    fields += [(name, (upload.filename, upload.data, "image/png")) for name, upload in uploading.items()]
    theirs = httpx.Request("POST", "https://a.b/", files=fields, headers={"content-type": body.content_type})
    assert await all_of(body) == await all_of(body) == theirs.read()
    assert body.length == len(theirs.content)
    assert theirs.headers["content-length"] == str(body.length)


async def test_json_and_nothing_are_one_piece() -> None:
    body = await body_of(HTTPRequest("POST", "/x", json={"a": "湖"}), SendState())
    assert (body.content_type, body.whole, body.length) == ("application/json", '{"a":"湖"}'.encode(), 11)
    assert [piece async for piece in body] == [body.whole]
    body = await body_of(HTTPRequest("GET", "/x"), SendState())
    assert (body.content_type, body.whole, body.length) == (None, b"", None)
    assert [piece async for piece in body] == []


async def test_a_small_image_in_memory_goes_with_its_texts() -> None:
    for size, together in ((100, True), (MEGABYTE, False)):
        form = {"prompt": "a", "model": "b"}
        call = HTTPRequest("POST", "/x", form=form, files={"image": Upload("a.png", "image/png", bytes(size))})
        body = await body_of(call, SendState())
        pieces = [piece async for piece in body]
        assert (len(pieces) == 1, body.whole is not None) == (together, together)
        assert body.length == sum(map(len, pieces)) > size


async def test_long_json_is_written_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def encode(value: Any) -> bytes:
        threads.append(threading.get_ident())
        return encode_json(value)

    monkeypatch.setattr(uploads, "encode_json", encode)
    for json in (
        {"source_url": "a" * 100},
        {"source_url": "a" * 2 * MEGABYTE},
        {"s": {"source_url": "a" * 2 * MEGABYTE}},
    ):
        body = await body_of(HTTPRequest("POST", "/x", json=json), SendState())
        assert body.whole == encode_json(json)
    assert [thread == threading.get_ident() for thread in threads] == [True, False, False]


# --- from disk -----------------------------------------------------------------------------------------------------


async def test_a_file_is_sent_in_pieces_of_known_length(path: Path) -> None:
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            for image in (path, str(path), Image(path=path), path.read_bytes()):
                await client.images.edit(image, "a hat")
    assert len(server.requests) == 4
    for request in server.requests:
        headers, body = body_in(request)
        assert int(headers["content-length"]) == len(body)
        assert "transfer-encoding" not in headers
        form, files = parts_of(headers["content-type"], body)
        assert form["prompt"] == "a hat"
        assert files["image"] == Upload("image.png", "image/png", path.read_bytes())


async def test_a_retry_sends_the_file_again(path: Path) -> None:
    with raw_server(say(http_response(REFUSAL, status="503 Busy")), say(image_response())) as server:
        async with client_for(server.url) as client:
            response = await client.images.edit(path, "a hat")
    assert response.attempts == 2
    sent = [parts_of(headers["content-type"], body) for headers, body in map(body_in, server.requests)]
    assert sent[0] == sent[1]
    assert sent[0][1]["image"].data == path.read_bytes()


async def test_a_link_to_a_file_of_the_file_system_and_an_image_just_saved_are_sent(tmp_path: Path) -> None:
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            made = await client.images.generate("a cat", save_to=tmp_path / "cat")
            (tmp_path / "link").symlink_to("cat.png")
            for image in (made.image, tmp_path / "link"):
                await client.images.edit(image, "a hat")
    _, *edits = map(body_in, server.requests)
    for headers, body in edits:
        assert parts_of(headers["content-type"], body)[1]["image"].data == PIXEL


async def test_image_to_image_sends_the_file_as_a_data_uri(path: Path) -> None:
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            await client.images.image_to_image(path, "a hat", source_weight=0.5)
    _, body = body_in(server.requests[0])
    assert b'"source_url":"data:image/png;base64,' + base64.b64encode(path.read_bytes()) + b'"' in body


class Peak:
    """What was allocated at the worst moment of the block, in bytes."""

    def __enter__(self) -> Self:
        gc.collect()
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def swallow(connection: socket.socket) -> None:
    """Take requests of any length without keeping them, and answer."""
    buffer = bytearray(65536)
    while True:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(1000)
            if not piece:
                return
            head += piece
        head, _, rest = head.partition(b"\r\n\r\n")
        left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(rest)
        while left > 0:
            left -= connection.recv_into(buffer)
        connection.sendall(image_response())


async def test_a_file_takes_no_memory_of_its_size(tmp_path: Path) -> None:
    (tmp_path / "small.png").write_bytes(PIXEL)
    (tmp_path / "large.png").write_bytes(image_bytes(9 * MEGABYTE))
    with raw_server(hang_up, greet=swallow) as server:
        async with client_for(server.url) as client:
            await client.images.edit(tmp_path / "small.png", "a hat")  # what is imported late is no part of the peak
            with Peak() as peak:
                await client.images.edit(tmp_path / "large.png", "a hat")
                ImageEdit(image=tmp_path / "large.png", prompt="a hat").fingerprint()
    assert peak.bytes < 2 * MEGABYTE


async def test_a_file_is_read_by_threads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    real = FileSource.read_piece

    def read_piece(source: FileSource, start: int, length: int) -> bytes:
        threads.add(threading.get_ident())
        return real(source, start, length)

    monkeypatch.setattr(FileSource, "read_piece", read_piece)
    with raw_server(say(image_response())) as server:
        for more in ({}, {"transport": EmbeddedTransport(Engine(plain=True))}):
            async with client_for(server.url, **more) as client:
                await client.images.edit(path, "a hat")
    assert threads
    assert threading.get_ident() not in threads


async def test_a_transport_of_ones_own_can_have_the_bytes(path: Path) -> None:
    sent: list[bytes] = []

    class Own:
        async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
            sent.append(call.files["image"].data)
            return HTTPResponse(200, {}, image_response().partition(b"\r\n\r\n")[2])

        async def aclose(self) -> None:
            pass

    mocked = httpx.MockTransport(lambda request: httpx.Response(200, content=response_to(request, sent)))
    for transport in (Own(), mocked):
        async with client_for("https://own.test/v1", transport=transport) as client:
            await client.images.edit(path, "a hat")
    assert sent == [path.read_bytes()] * 2


def response_to(request: httpx.Request, sent: list[bytes]) -> bytes:
    sent.append(parts_of(request.headers["content-type"], request.content)[1]["image"].data)
    return image_response().partition(b"\r\n\r\n")[2]


# --- files that change ---------------------------------------------------------------------------------------------


def _replaced(path: Path) -> None:
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").replace(path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (Path.unlink, "can no longer be read"),
    (_replaced, "has changed"),
    (_cut, "has changed"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
@pytest.mark.parametrize("embedded", [True, False])
async def test_a_file_that_changed_before_it_leaves_is_not_sent(
    change: Callable[[Path], object], said: str, embedded: bool, path: Path
) -> None:
    """After it was looked at, while the call waited for its slot, say."""
    engine = Engine(plain=True)
    more = {"transport": EmbeddedTransport(engine)} if embedded else {}
    with raw_server(say(image_response())) as server:
        async with client_for(server.url, on_event=once(partial(change, path)), **more) as client:
            with pytest.raises(APIConnectionError, match=said) as caught:
                await client.images.edit(path, "a hat")
            assert client.usage.maybe_billed == 0
    assert "cat.png" in str(caught.value)
    assert "nothing was sent" in str(caught.value)
    assert (caught.value.billing, caught.value.attempts, caught.value.again) == ("not_sent", 1, False)
    assert server.connections == engine.bill().calls == 0


def once(act: Callable[[], object]) -> Callable[[object], None]:
    """A listener to events that acts at the first."""
    acts = iter([act])

    def listen(event: object) -> None:
        for found in acts:
            found()

    return listen


@pytest.mark.parametrize(("change", "said"), CHANGES)
async def test_a_file_that_changes_while_it_leaves_breaks_the_request_off(
    change: Callable[[Path], object], said: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FileSource.read_piece

    def read_piece(source: FileSource, start: int, length: int) -> bytes:
        if start == 2 * CHUNK_SIZE and path.exists():
            change(path)
        return real(source, start, length)

    monkeypatch.setattr(FileSource, "read_piece", read_piece)
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            with pytest.raises(APIConnectionError, match=said) as caught:
                await client.images.edit(path, "a hat")
            assert client.usage.maybe_billed == 1
        assert server.gone.wait(5), "the connection was dropped"
    assert (caught.value.billing, caught.value.attempts, caught.value.again) == ("unknown", 1, False)
    assert server.requests == [], "the server never had a whole request"


async def test_a_request_that_is_made_again_sends_what_is_there_now(path: Path) -> None:
    request = ImageEdit(image=path, prompt="a hat")
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            for _ in range(2):
                assert [type(outcome).__name__ async for outcome in client.images.map([request])] == ["Finished"]
                path.write_bytes(PIXEL)
    sent = [parts_of(headers["content-type"], body)[1]["image"] for headers, body in map(body_in, server.requests)]
    assert [upload.size for upload in sent] == [3 * CHUNK_SIZE + 1000, len(PIXEL)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed on Linux")
async def test_a_call_that_is_cancelled_while_its_file_leaves_keeps_nothing_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = anyio.CancelScope()
    real = FileSource.read_piece
    token = anyio.lowlevel.current_token()

    def read_piece(source: FileSource, start: int, length: int) -> bytes:
        if start:
            anyio.from_thread.run_sync(scope.cancel, token=token)
        return real(source, start, length)

    monkeypatch.setattr(FileSource, "read_piece", read_piece)
    with raw_server(say(image_response())) as server:
        async with client_for(server.url) as client:
            with scope:
                await client.images.edit(path, "a hat")
            assert scope.cancelled_caught
            open_files = {os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
        assert server.gone.wait(5)
    assert str(path) not in open_files


async def test_an_image_is_looked_at_without_being_read(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(image_bytes(9 * MEGABYTE))
    load_image(tmp_path / "large.png")
    with Peak() as peak:
        assert not hasattr(load_image(tmp_path / "large.png"), "why")
    assert peak.bytes < 100_000
