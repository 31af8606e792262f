"""Images go to disk as they come, in bounded memory; and nothing is left of one that did not come whole."""

from __future__ import annotations

import asyncio
import base64
import errno
import gc
import gzip
import json
import os
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from stepfun_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncClient,
    Budget,
    BudgetExceededError,
    CallEnded,
    Client,
    ContentFilteredError,
    Image,
    ImagesResponse,
    InternalServerError,
    InvalidRequestError,
    MalformedResponseError,
    RetryPolicy,
    SaveError,
)
from stepfun_async._call import save as _sinks
from stepfun_async._call.save import GATHERED, FileSink, SaveTarget
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async._runtime.event_loop import running_loop
from stepfun_async._runtime.files import AtomicFile
from stepfun_async._transport import http as calls
from stepfun_async._transport.http11 import ResponseHead
from stepfun_async._transport.response_body import BodyReader
from tests.support.raw import Script, hang_up, raw_server, say, stay_silent
from tests.support.responses import PIXEL, http_response
from tests.support.samples import FOREIGN, SAMPLES, segment
from tests.support.scripted import IMAGE as RESPONSE

pytestmark = pytest.mark.anyio

MEGABYTE = 1024 * 1024
HEADS = {
    "png": PIXEL[:16] + (1024).to_bytes(4, "big") + (768).to_bytes(4, "big"),
    "jpeg": b"\xff\xd8\xff\xc0\0\x11\x08" + (768).to_bytes(2, "big") + (1024).to_bytes(2, "big"),
}


def image_bytes(size: int, format: str = "png") -> bytes:
    """Bytes that begin like an image of 1024 x 768."""
    return HEADS[format] + os.urandom(size - len(HEADS[format]))


def body_of(*bodies: bytes, **more: object) -> bytes:
    """A success."""
    facts = {"seed": 7, "finish_reason": "success", **more}
    items = [{"b64_json": base64.b64encode(data).decode(), **facts} for data in bodies]
    return json.dumps({"created": 1, "data": items}).encode()


IMAGE = image_bytes(9 * GATHERED + 12345)
BODY = body_of(IMAGE)
RAW = http_response(IMAGE, content_type="image/png")


def chunked(body: bytes) -> bytes:
    """A response that does not say how long it is."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def client_for(url: str, **more: Any) -> AsyncClient:
    return AsyncClient("sk-secret-1234", base_url=url, **{"retry": RetryPolicy(base=0.001), **more})


@pytest.fixture
def appended(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The thread and the length of each write to a temporary file."""
    noted: list[tuple[int, int]] = []
    real = AtomicFile.append

    def append(file: AtomicFile, *pieces: bytes, last: bool = False) -> None:
        noted.append((threading.get_ident(), sum(map(len, pieces))))
        real(file, *pieces, last=last)

    monkeypatch.setattr(AtomicFile, "append", append)
    return noted


# --- memory -------------------------------------------------------------------------------------------------------

LARGE = image_bytes(32 * MEGABYTE)


@pytest.fixture(scope="module")
def large() -> Iterator[dict[str, str]]:
    """The addresses of three services that have an image of 32 MB."""
    body = body_of(LARGE)
    raw = http_response(LARGE, content_type="image/png")
    with (
        raw_server(say(http_response(body))) as said,
        raw_server(say(chunked(body))) as unsaid,
        raw_server(say(raw)) as linked,
    ):
        with raw_server(say(http_response(BODY))) as small, Client("sk-secret-1234", base_url=small.url) as client:
            client.images.generate("a lake")  # what is imported late is no part of any peak
        yield {"said": said.url, "unsaid": unsaid.url, "linked": linked.url}


class Peak:
    """What was allocated at the worst moment of the block, in bytes. Nothing is collected in it: cycles would show."""

    def __enter__(self) -> Self:
        gc.collect()
        gc.disable()
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("how", ["said", "unsaid"])
async def test_an_image_is_saved_in_memory_that_does_not_depend_on_its_size(
    how: str, large: dict[str, str], tmp_path: Path
) -> None:
    async with client_for(large[how]) as client:
        with Peak() as peak:
            image = (await client.images.generate("a lake", save_to=tmp_path / "lake")).image
    assert peak.bytes < 3 * MEGABYTE
    assert (image.path, image.data) == (tmp_path / "lake.png", None)
    assert (image.format, image.width, image.height, image.seed) == ("png", 1024, 768, 7)
    assert image.to_bytes() == LARGE
    assert os.listdir(tmp_path) == ["lake.png"]


async def test_a_linked_image_is_saved_in_memory_that_does_not_depend_on_its_size(
    large: dict[str, str], tmp_path: Path
) -> None:
    link = f"{large['linked']}/a.png"
    asked = http_response(json.dumps({"data": [{"url": link, "seed": 7}]}).encode())
    with raw_server(say(asked)) as server:
        async with client_for(server.url) as client:
            with Peak() as peak:
                made = await client.images.generate("a lake", response_format="url", save_to=tmp_path / "made")
                fetched = await client.images.download(link, save_to=tmp_path / "fetched")
    assert peak.bytes < 3 * MEGABYTE
    assert (made.image.seed, made.image.url) == (7, link)
    for image in (made.image, fetched):
        assert (image.data, image.format, image.width) == (None, "png", 1024)
        assert image.to_bytes() == LARGE
    assert sorted(os.listdir(tmp_path)) == ["fetched.png", "made.png"]


@pytest.mark.parametrize("how", ["said", "unsaid"])
async def test_an_image_in_memory_is_there_once(how: str, large: dict[str, str]) -> None:
    async with client_for(large[how]) as client:
        with Peak() as peak:
            data = (await client.images.generate("a lake")).image.data
    assert data == LARGE
    assert peak.bytes < 1.2 * len(LARGE)


async def test_a_linked_image_in_memory_is_there_once(large: dict[str, str]) -> None:
    async with client_for(large["linked"]) as client:
        with Peak() as peak:
            data = (await client.images.download(f"{large['linked']}/a.png")).data
    assert data == LARGE
    assert peak.bytes < 1.2 * len(LARGE)


async def test_an_image_without_references_is_freed_at_once(large: dict[str, str]) -> None:
    async with client_for(large["said"]) as client:
        with Peak() as peak:
            for _ in range(3):
                assert (await client.images.generate("a lake")).image.width == 1024
    assert peak.bytes < 1.2 * len(LARGE)


# --- what is written, and when ------------------------------------------------------------------------------------


async def test_pieces_are_gathered_and_written_by_threads(appended: list[tuple[int, int]], tmp_path: Path) -> None:
    with raw_server(say(http_response(BODY))) as server:
        async with client_for(server.url) as client:
            await client.images.generate("a lake", save_to=tmp_path / "a.png")
    *pieces, last = [length for _, length in appended]
    assert len(pieces) > 2
    assert min(pieces) >= GATHERED
    assert sum((*pieces, last)) == len(IMAGE)
    assert threading.get_ident() not in {thread for thread, _ in appended}


async def test_a_small_image_is_written_in_one_go(appended: list[tuple[int, int]], tmp_path: Path) -> None:
    for size in (100, 20_000, GATHERED - 1):
        small = image_bytes(size)
        with raw_server(say(http_response(body_of(small)))) as server:
            async with client_for(server.url) as client:
                image = (await client.images.generate("a lake", save_to=tmp_path / f"{size}")).image
        assert (image.path, image.data) == (tmp_path / f"{size}.png", None)
        assert image.to_bytes() == small
    assert [length for _, length in appended] == [100, 20_000, GATHERED - 1]


@pytest.mark.parametrize(("format", "extension"), [("png", ".png"), ("jpeg", ".jpg")])
async def test_the_real_format_gives_the_name(format: str, extension: str, tmp_path: Path) -> None:
    data = image_bytes(2 * GATHERED, format)
    with raw_server(say(http_response(body_of(data)))) as server:
        async with client_for(server.url) as client:
            image = (await client.images.generate("a lake", save_to=tmp_path / "deep" / "lake.")).image
    assert (image.format, image.width, image.height) == (format, 1024, 768)
    assert image.path == tmp_path / "deep" / f"lake{extension}"
    assert image.path.read_bytes() == data
    assert os.listdir(tmp_path / "deep") == [f"lake{extension}"]


async def test_bytes_of_no_known_format_are_saved_too(tmp_path: Path) -> None:
    data = os.urandom(2 * GATHERED)
    with raw_server(say(http_response(body_of(data)))) as server:
        async with client_for(server.url) as client:
            image = (await client.images.generate("a lake", save_to=tmp_path / "lake")).image
    assert (image.path, image.format, image.width) == (tmp_path / "lake.bin", None, None)
    assert image.to_bytes() == data


@pytest.mark.parametrize("overwrite", [True, False])
async def test_the_name_is_given_when_the_image_is_whole(overwrite: bool, tmp_path: Path) -> None:
    if overwrite:
        (tmp_path / "a.png").write_bytes(b"old")
    seen: list[object] = []

    def talk(connection: socket.socket) -> None:
        whole = http_response(BODY)
        connection.sendall(whole[:-100])
        seen.append((tmp_path / "a.png").read_bytes() if overwrite else (tmp_path / "a.png").exists())
        connection.sendall(whole[-100:])

    with raw_server(talk) as server:
        async with client_for(server.url) as client:
            await client.images.generate("a lake", save_to=tmp_path / "a.png", overwrite=overwrite)
    assert seen == [b"old" if overwrite else False]
    assert (tmp_path / "a.png").read_bytes() == IMAGE
    assert os.listdir(tmp_path) == ["a.png"]


def with_breaks(body: bytes) -> bytes:
    content = json.loads(body)
    payload = content["data"][0]["b64_json"]
    content["data"][0]["b64_json"] = "\n".join(payload[at : at + 76] for at in range(0, len(payload), 76))
    return json.dumps(content).encode()


def odd_at_the_end(body: bytes) -> bytes:
    content = json.loads(body)
    content["data"][0]["b64_json"] += "\r\n"
    return json.dumps(content).encode()


def packed(body: bytes) -> bytes:
    return http_response(gzip.compress(body, 1), headers="content-encoding: gzip\r\n")


@pytest.mark.parametrize(
    "said",
    [
        http_response(with_breaks(BODY)),
        http_response(odd_at_the_end(BODY)),
        http_response(BODY.replace(b"/", b"\\/")),
        http_response(BODY.replace(b'": "iVBOR', b'": "data:image/png;base64,iVBOR')),
        packed(BODY),
        chunked(BODY),
    ],
    ids=["line breaks", "odd at the end", "escapes", "data URI", "packed", "chunked"],
)
@pytest.mark.parametrize("to_disk", [True, False])
async def test_every_writing_of_a_response_brings_the_image(said: bytes, to_disk: bool, tmp_path: Path) -> None:
    save: Any = {"save_to": tmp_path / "a.png"} if to_disk else {}
    with raw_server(say(said)) as server:
        async with client_for(server.url) as client:
            image = (await client.images.generate("a lake", **save)).image
    assert (image.data is None, image.to_bytes()) == (to_disk, IMAGE)
    assert os.listdir(tmp_path) == ["a.png"] * to_disk


async def test_of_two_images_the_first_is_saved_and_the_other_kept(tmp_path: Path) -> None:
    other = image_bytes(2 * GATHERED, "jpeg")
    with raw_server(say(http_response(body_of(IMAGE, other)))) as server:
        async with client_for(server.url) as client:
            response = await client.images.generate("a lake", save_to=tmp_path / "lake")
    first, second = response.data
    assert (first.path, first.data, first.to_bytes()) == (tmp_path / "lake.png", None, IMAGE)
    assert (second.path, second.data, second.format) == (None, other, "jpeg")
    assert os.listdir(tmp_path) == ["lake.png"]


async def test_of_two_images_the_one_that_was_not_withheld_is_saved(tmp_path: Path) -> None:
    content = json.loads(body_of(image_bytes(2 * GATHERED, "jpeg"), IMAGE))
    content["data"][0]["finish_reason"] = "content_filtered"
    content["image"] = base64.b64encode(os.urandom(2 * GATHERED)).decode()
    with raw_server(say(http_response(json.dumps(content).encode()))) as server:
        async with client_for(server.url) as client:
            response = await client.images.generate("a lake", save_to=tmp_path / "lake")
    assert [image.filtered for image in response.data] == [True, False]
    assert (response.image.path, response.image.to_bytes()) == (tmp_path / "lake.png", IMAGE)
    assert os.listdir(tmp_path) == ["lake.png"]


@pytest.mark.parametrize("size", [100, 2 * MEGABYTE])
async def test_what_a_transport_of_ones_own_brings_is_saved_alike(size: int, tmp_path: Path) -> None:
    data = image_bytes(size)

    class Own:
        async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
            return HTTPResponse(200, {}, body_of(data) if call.path.startswith("/") else data)

        async def aclose(self) -> None:
            pass

    async with client_for("https://own.test/v1", transport=Own()) as client:
        made = (await client.images.generate("a lake", save_to=tmp_path / "made")).image
        fetched = await client.images.download("https://own.test/a.png", save_to=tmp_path / "fetched")
        kept = (await client.images.generate("a lake")).image
    for image in (made, fetched):
        assert (image.data, image.format, image.to_bytes()) == (None, "png", data)
    assert kept.data == data
    assert sorted(os.listdir(tmp_path)) == ["fetched.png", "made.png"]


async def test_a_retry_begins_a_new_file(appended: list[tuple[int, int]], tmp_path: Path) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(http_response(BODY)[:-1000])
        hang_up(connection)

    with raw_server(cut, say(http_response(BODY))) as server:
        async with client_for(server.url, retry=RetryPolicy(base=0.001, retry_unknown=True)) as client:
            response = await client.images.generate("a lake", save_to=tmp_path / "a.png")
    assert (response.attempts, len(server.requests)) == (2, 2)
    assert response.image.to_bytes() == IMAGE
    assert sum(length for _, length in appended) > len(IMAGE) + GATHERED, "the first attempt wrote, too"
    assert os.listdir(tmp_path) == ["a.png"]


async def test_events_tell_where_the_image_is(tmp_path: Path) -> None:
    events: list[Any] = []
    (tmp_path / "taken.png").touch()
    with raw_server(say(http_response(BODY))) as server:
        async with client_for(server.url, on_event=events.append) as client:
            await client.images.generate("a lake", save_to=tmp_path / "a")
    ended = events[-1]
    assert isinstance(ended, CallEnded)
    assert ended.response is not None
    assert (ended.response.image.path, ended.response.image.data) == (tmp_path / "a.png", None)


# --- what is left of an image that did not come whole ---------------------------------------------------------------


def cut_off(connection: socket.socket) -> None:
    connection.sendall(http_response(BODY)[:-1000])
    hang_up(connection)


def falls_silent(connection: socket.socket) -> None:
    connection.sendall(http_response(BODY)[:-1000])
    stay_silent(connection)


FAILURES: dict[str, tuple[Script, type[Exception]]] = {
    "cut off": (cut_off, APIConnectionError),
    "late": (falls_silent, APITimeoutError),
    "no end of the JSON": (say(http_response(BODY[:-2])), MalformedResponseError),
    "no end of the picture": (say(http_response(BODY[:-100])), MalformedResponseError),
    "broken base64": (say(http_response(BODY.replace(b'", "seed"', b'A", "seed"'))), MalformedResponseError),
    "no picture": (say(http_response(BODY.replace(b'"data"', b'"date"'))), MalformedResponseError),
    "filtered": (say(http_response(body_of(IMAGE, finish_reason="content_filtered"))), ContentFilteredError),
    "too long": (say(chunked(BODY + b" " * 2_000_000)), APIConnectionError),
    "error": (say(http_response(BODY, status="500 Oops")), InternalServerError),
}


@pytest.mark.parametrize("how", FAILURES)
async def test_a_call_that_fails_leaves_no_file(
    how: str, appended: list[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, kind = FAILURES[how]
    monkeypatch.setattr(calls, "MAX_BODY", 2_000_000)
    with raw_server(script) as server:
        async with client_for(server.url) as client:
            with pytest.raises(kind) as caught:
                await client.images.generate("a lake", save_to=tmp_path / "a.png", timeout=0.2 if how == "late" else 60)
    assert type(caught.value) is kind
    assert appended or how in ("late", "error"), "it had begun to write"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["no end of the JSON", "no end of the picture", "broken base64", "no picture"])
async def test_what_came_of_an_image_that_cannot_be_read_is_in_the_error(how: str, tmp_path: Path) -> None:
    came: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        FAILURES[how][0](Listening(connection, came))  # type: ignore[arg-type]

    with raw_server(talk) as server:
        async with client_for(server.url) as client:
            options: list[Any] = [{"save_to": tmp_path / "a.png"}, {}]
            for save in options:
                came.clear()
                with pytest.raises(MalformedResponseError) as caught:
                    await client.images.generate("a lake", **save)
                assert caught.value.body == came[0].partition(b"\r\n\r\n")[2]
                assert (caught.value.billing, caught.value.maybe_billed) == ("unknown", 1)


class Listening:
    """A connection, and what was sent on it."""

    def __init__(self, connection: socket.socket, sent: list[bytes]) -> None:
        self._connection = connection
        self._sent = sent

    def sendall(self, data: bytes) -> None:
        self._sent.append(data)
        self._connection.sendall(data)


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("written", [True, False])
async def test_a_call_that_is_cancelled_in_the_middle_leaves_no_file(
    written: bool, linked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it while a thread writes, or when it has."""
    at_work, go_on = threading.Event(), threading.Event()
    real = AtomicFile.append

    def append(file: AtomicFile, *pieces: bytes, last: bool = False) -> None:
        if written:
            real(file, *pieces, last=last)
        at_work.set()
        assert go_on.wait(10)
        if not written:
            real(file, *pieces, last=last)

    async def make(client: AsyncClient) -> None:
        if linked:
            await client.images.download(f"{server.url}/a.png", save_to=tmp_path / "a.png")
        else:
            await client.images.generate("a lake", save_to=tmp_path / "a.png")

    def talk(connection: socket.socket) -> None:
        connection.sendall((RAW if linked else http_response(BODY))[: 4 * GATHERED])
        stay_silent(connection)

    monkeypatch.setattr(AtomicFile, "append", append)
    with raw_server(talk) as server:
        async with client_for(server.url) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(make, client)
                assert await anyio.to_thread.run_sync(at_work.wait, 10)
                there = os.listdir(tmp_path)
                group.cancel_scope.cancel()
                go_on.set()
            assert client.usage.maybe_billed == (not linked)
    assert [name.endswith(".part") for name in there] == [True] * written
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", [http_response(BODY), http_response(odd_at_the_end(BODY)), packed(BODY)])
async def test_an_image_that_has_come_whole_is_saved_even_when_the_call_is_cancelled(
    said: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = anyio.CancelScope()
    real = BodyReader.finish

    async def finish(intake: BodyReader) -> HTTPResponse:
        scope.cancel()
        return await real(intake)

    monkeypatch.setattr(BodyReader, "finish", finish)
    with raw_server(say(said)) as server:
        async with client_for(server.url) as client:
            with scope:
                await client.images.generate("a lake", save_to=tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == IMAGE
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("how", ["cancel", "timeout"])
@pytest.mark.parametrize("whole", [True, False])
async def test_asyncios_own_way_to_cancel_waits_for_the_thread_that_writes(
    whole: bool, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not heed anyio's shields. A thread left alone would make a file after all were taken away."""
    loop = asyncio.get_running_loop()
    real = AtomicFile.append
    at_work, cancelled = asyncio.Event(), threading.Event()

    def append(file: AtomicFile, *pieces: bytes, last: bool = False) -> None:
        if last == whole:
            loop.call_soon_threadsafe(at_work.set)
            assert cancelled.wait(10)
        real(file, *pieces, last=last)

    async def make(client: AsyncClient) -> None:
        async with asyncio.timeout(None) as limit:
            limits.append(limit)
            await client.images.generate("a lake", save_to=tmp_path / "a.png")

    limits: list[asyncio.Timeout] = []
    monkeypatch.setattr(AtomicFile, "append", append)
    with raw_server(say(http_response(BODY))) as server:
        async with client_for(server.url) as client:
            task = asyncio.create_task(make(client))
            await at_work.wait()
            if how == "timeout":
                limits[0].reschedule(loop.time() - 1)
            for _ in range(3):  # who is impatient cancels again
                if how == "cancel":
                    task.cancel()
                await anyio.lowlevel.checkpoint()
            assert not task.done()
            cancelled.set()
            with pytest.raises(asyncio.CancelledError if how == "cancel" else TimeoutError):
                await task
            assert client.usage.maybe_billed + client.usage.billed == 1
    saved = [path.read_bytes() for path in tmp_path.iterdir()]
    assert saved == [IMAGE] or (saved == [] and not whole)  # the rest may have arrived while the thread wrote


async def test_a_link_to_something_else_leaves_no_file_and_is_in_the_error(tmp_path: Path) -> None:
    page = b"<html>" + b"gone " * GATHERED
    with raw_server(say(http_response(page, content_type="text/html"))) as server:
        async with client_for(server.url) as client:
            with pytest.raises(MalformedResponseError, match="not an image") as caught:
                await client.images.download(f"{server.url}/a.png", save_to=tmp_path / "a.png")
    assert caught.value.body == page
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [0, 3])
async def test_a_size_that_lies_behind_the_first_piece_is_known(length: int, tmp_path: Path) -> None:
    jpeg = SAMPLES["jpeg-RGB"]
    data = jpeg[:20] + segment(0xE2, bytes(60_000)) * (length * GATHERED // 60_000) + jpeg[20:] + bytes(3 * GATHERED)
    with raw_server(say(http_response(data, content_type="image/jpeg"))) as server:
        async with client_for(server.url) as client:
            image = await client.images.download(f"{server.url}/a", save_to=tmp_path / "a")
    assert (image.format, image.width, image.height, image.path) == ("jpeg", 37, 21, tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == data


@pytest.mark.parametrize("padding", [0, 3 * GATHERED])
@pytest.mark.parametrize(("name", "ending"), [("avif", "avif"), ("bmp", "bmp"), ("svg", "svg"), ("qoi", "bin")])
async def test_an_image_of_any_format_behind_a_link_is_kept(
    name: str, ending: str, padding: int, tmp_path: Path
) -> None:
    data = FOREIGN[name][1] + b"\n" * padding
    with raw_server(say(http_response(data, content_type="image/x"))) as server:
        async with client_for(server.url) as client:
            image = await client.images.download(f"{server.url}/a", save_to=tmp_path / "a")
    assert (image.format, image.width, image.path) == (name, None, tmp_path / f"a.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == data


# --- a disk that is full ---------------------------------------------------------------------------------------------


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """As a quota does it: a write beyond fails, half-way perhaps."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1000, GATHERED + 1000, 2 * GATHERED + 5000, len(IMAGE) - 1])
@pytest.mark.parametrize("linked", [True, False])
async def test_a_disk_that_is_full_loses_no_image(room: int, linked: bool, tmp_path: Path) -> None:
    with raw_server(say(RAW if linked else http_response(BODY))) as server:
        async with client_for(server.url) as client:
            ask = (
                partial(client.images.download, f"{server.url}/a.png")
                if linked
                else partial(client.images.generate, "a")
            )
            with no_file_longer_than(room), pytest.raises(SaveError, match="File too large") as caught:
                await ask(save_to=tmp_path / "a.png")
    image = caught.value.response.image
    assert (image.data, image.path, image.format, image.width) == (IMAGE, None, "png", 1024)
    assert list(tmp_path.iterdir()) == []
    assert image.save(tmp_path / "elsewhere").read_bytes() == IMAGE


async def test_writing_to_a_full_disk_is_retried_only_at_the_end(
    appended: list[tuple[int, int]], tmp_path: Path
) -> None:
    with raw_server(say(http_response(BODY))) as server:
        async with client_for(server.url) as client:
            with no_file_longer_than(1000), pytest.raises(SaveError):
                await client.images.generate("a lake", save_to=tmp_path / "a.png")
    assert len(appended) == 2
    assert appended[-1][1] == len(IMAGE)


async def test_a_disk_that_has_room_again_gets_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = AtomicFile.append
    full = iter([True])

    def append(file: AtomicFile, *pieces: bytes, last: bool = False) -> None:
        if file.size and next(full, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, *pieces, last=last)

    monkeypatch.setattr(AtomicFile, "append", append)
    with raw_server(say(http_response(BODY))) as server:
        async with client_for(server.url) as client:
            image = (await client.images.generate("a lake", save_to=tmp_path / "a.png")).image
    assert image.to_bytes() == IMAGE
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("save_to", ["out", "new/", "new.png/", "new/.", "new/..", ".", "..", Path("out")])
async def test_a_directory_is_refused_before_anything_is_sent(
    save_to: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    why = "it names a directory; add the name of a file, such as"
    with raw_server(say(http_response(BODY))) as server:
        async with client_for(server.url) as client:
            for ask in (
                partial(client.images.generate, "a lake"),
                partial(client.images.download, f"{server.url}/a.png"),
            ):
                with pytest.raises(InvalidRequestError, match=why) as caught:
                    await ask(save_to=save_to, overwrite=True)
                assert caught.value.billing == "not_sent"
    assert server.requests == []
    assert os.listdir(tmp_path) == ["out"]


def _taken(path: Path) -> None:
    path.write_bytes(b"somebody else's")


@pytest.mark.parametrize(
    ("get_in_the_way", "said"), [(_taken, "it exists, and nothing is overwritten"), (Path.mkdir, "it exists, and")]
)
async def test_a_name_that_was_taken_meanwhile_is_left_alone(
    get_in_the_way: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"

    def talk(connection: socket.socket) -> None:
        get_in_the_way(path)
        connection.sendall(http_response(BODY))

    with raw_server(talk) as server:
        async with client_for(server.url) as client:
            with pytest.raises(SaveError, match=said) as caught:
                await client.images.generate("a lake", save_to=path)
    assert caught.value.response.image.data == IMAGE
    assert (caught.value.billing, caught.value.attempts) == ("executed", 1)
    assert os.listdir(tmp_path) == ["a.png"]
    assert path.is_dir() or path.read_bytes() == b"somebody else's"


async def test_an_image_that_can_neither_be_written_nor_read_back_is_a_lost_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(AtomicFile, "read", fail)
    with raw_server(say(http_response(BODY))) as server:
        async with client_for(server.url) as client:
            with (
                no_file_longer_than(GATHERED + 100_000),
                pytest.raises(APIConnectionError, match="read back") as caught,
            ):
                await client.images.generate("a lake", save_to=tmp_path / "a.png")
    assert (caught.value.billing, caught.value.attempts, caught.value.again) == ("unknown", 1, False)
    assert list(tmp_path.iterdir()) == []


async def test_a_slot_that_cannot_be_released_costs_no_image(tmp_path: Path) -> None:
    """Whatever fails between the response and the disk."""
    async with aclosing(SaveTarget(tmp_path / "a", overwrite=False)) as place:
        sink = place.begin(0)
        sink.write(IMAGE)
        await sink.drain()
        response = ImagesResponse((Image(path=sink.path, format="png"), Image(data=b"other")))
        first, second = (await place.in_memory(response)).data
    assert (first.data, first.path, second.data) == (IMAGE, None, b"other")
    assert list(tmp_path.iterdir()) == []


# --- taking a response in ---------------------------------------------------------------------------------------------

IMAGE_CALL = HTTPRequest("POST", "/images/generations", json={})


@pytest.mark.parametrize("step", [1000, 65536])
async def test_an_intake_is_full_when_a_piece_is_written_and_the_next_is_complete(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AtomicFile.append
    go_on = threading.Semaphore(0)

    def append(file: AtomicFile, *pieces: bytes, last: bool = False) -> None:
        assert go_on.acquire(timeout=10)
        real(file, *pieces, last=last)

    monkeypatch.setattr(AtomicFile, "append", append)
    fed: list[int] = []
    async with aclosing(SaveTarget(tmp_path / "a.png", overwrite=False)) as place:
        call = HTTPRequest("POST", "/images/generations", json={}, into=place.begin)
        intake = BodyReader(call, ResponseHead(200, {"content-length": str(len(BODY))}), 10**9)
        for at in range(0, len(BODY), step):
            intake.feed(BODY[at : at + step])
            if intake.full:
                fed.append(at + step)
                go_on.release()
                await intake.drain()
                assert not intake.full
        go_on.release()
        response = await intake.finish()
        assert len(response.body) < 200
        assert response.images[0].sink.read() == IMAGE
    pieces = [after - before for before, after in pairwise([0, *fed])]
    assert 2 * GATHERED * 4 / 3 <= pieces[0] <= 2 * GATHERED * 4 / 3 + 2 * step
    assert all(GATHERED * 4 / 3 <= piece <= GATHERED * 4 / 3 + step for piece in pieces[1:])
    assert len(pieces) >= 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("way")
async def test_a_slow_disk_makes_the_server_wait_and_nothing_else(
    large: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has to wait on a connection, the next call on it is not kept waiting."""
    real, settle, drain = AtomicFile.append, FileSink.settle, FileSink.drain
    waited_for = threading.Semaphore(0)
    drained = 0

    def append(file: AtomicFile, *pieces: bytes, last: bool = False) -> None:
        if not last:
            assert waited_for.acquire(timeout=10)
        real(file, *pieces, last=last)

    async def slowly_drain(sink: FileSink) -> None:
        nonlocal drained
        drained += 1
        waited_for.release()
        await drain(sink)

    async def slowly_settle(sink: FileSink) -> None:
        waited_for.release()
        await settle(sink)

    monkeypatch.setattr(AtomicFile, "append", append)
    monkeypatch.setattr(FileSink, "drain", slowly_drain)
    monkeypatch.setattr(FileSink, "settle", slowly_settle)
    with raw_server(say(http_response(body_of(LARGE))), say(http_response(BODY))) as server:
        async with client_for(server.url) as client:
            with Peak() as peak:
                image = (await client.images.generate("a lake", save_to=tmp_path / "large")).image
            assert image.to_bytes() == LARGE
            assert peak.bytes < 4 * MEGABYTE
            assert (await client.images.generate("a lake", save_to=tmp_path / "small")).image.to_bytes() == IMAGE
            assert server.connections == 1
    assert drained > 50


async def test_an_intake_that_is_abandoned_leaves_no_file(appended: list[tuple[int, int]], tmp_path: Path) -> None:
    place = SaveTarget(tmp_path / "a.png", overwrite=False)
    for call, said in ((IMAGE_CALL, BODY), (HTTPRequest("GET", "https://a.b/c.png"), IMAGE)):
        intake = BodyReader(HTTPRequest(call.method, call.path, into=place.begin), ResponseHead(200, {}), 10**9)
        intake.feed(said[: len(said) // 2])
        with anyio.CancelScope() as scope:
            scope.cancel()
            await intake.abandon()
        assert appended.pop()
        assert list(tmp_path.iterdir()) == []


async def test_an_intake_takes_no_more_than_it_may() -> None:
    for call in (IMAGE_CALL, HTTPRequest("GET", "/models"), HTTPRequest("GET", "https://a.b/c.png")):
        intake = BodyReader(call, ResponseHead(200, {}), 10)
        intake.feed(b"12345")
        intake.feed(b"67890")
        with pytest.raises(APIConnectionError, match="longer than 10 bytes"):
            intake.feed(b"1")


@pytest.mark.parametrize(
    ("path", "status", "cut"),
    [
        ("/images/generations", 200, True),
        ("/images/edits", 201, True),
        ("/images/image2image", 200, True),
        ("/images/generations", 500, False),
        ("/models", 200, False),
        ("https://a.b/c.json", 200, False),
    ],
)
async def test_images_are_cut_out_of_successes_that_have_some(path: str, status: int, cut: bool) -> None:
    intake = BodyReader(HTTPRequest("POST", path), ResponseHead(status, {"content-length": str(len(BODY))}), 10**9)
    intake.feed(BODY)
    response = await intake.finish()
    assert bool(response.images) == cut
    assert response.whole().body == BODY
    assert response.status == status


async def test_many_at_once_are_kept_apart(tmp_path: Path) -> None:
    bodies = [image_bytes(GATHERED + 1000 * number) for number in range(8)]
    scripts = [say(http_response(body_of(data))) for data in bodies]
    images: list[Image] = []

    async def make(client: AsyncClient, number: int) -> None:
        images.append((await client.images.generate("a lake", save_to=tmp_path / f"{number}")).image)

    with raw_server(*scripts) as server:
        async with client_for(server.url) as client, anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(partial(make, client, number))
    assert sorted(image.to_bytes() for image in images) == sorted(bodies)
    assert sorted(os.listdir(tmp_path)) == [f"{number}.png" for number in range(8)]


# --- one file, several calls


class Waiting:
    """A transport whose first call waits until it is let go."""

    def __init__(self) -> None:
        self.calls = 0
        self.sent = anyio.Event()
        self.go_on = anyio.Event()

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        self.calls += 1
        self.sent.set()
        await self.go_on.wait()
        return RESPONSE

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("second", ["{0}/lake.png", "{0}/../{1}/lake.png", "{0}/link/lake.png", "{0}/lake"])
async def test_a_file_that_a_call_in_flight_saves_to_is_refused_before_anything_is_bought(
    second: str, overwrite: bool, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    transport, saved = Waiting(), tmp_path / "lake.png"
    client = client_on(transport)
    async with client, anyio.create_task_group() as group:
        group.start_soon(partial(client.images.generate, "a lake", save_to=saved, overwrite=overwrite))
        await transport.sent.wait()
        with pytest.raises(InvalidRequestError, match="another call in flight saves its image there"):
            await client.images.generate("a lake", save_to=second.format(tmp_path, tmp_path.name), overwrite=overwrite)
        assert transport.calls == 1
        transport.go_on.set()
    assert saved.exists()
    await client_on(transport).images.generate("a lake", save_to=saved, overwrite=True)


def client_on(transport: Waiting, **more: Any) -> AsyncClient:
    return AsyncClient("sk-test", base_url="https://stepfun.test/v1", transport=transport, **more)


async def test_a_file_is_free_again_however_the_call_before_ended(tmp_path: Path) -> None:
    transport = Waiting()
    client = client_on(transport)
    with anyio.move_on_after(0):
        await client.images.generate("a lake", save_to=tmp_path / "lake.png")
    async with anyio.create_task_group() as group:
        group.start_soon(partial(client.images.generate, "a lake", save_to=tmp_path / "lake.png"))
        await transport.sent.wait()
        group.cancel_scope.cancel()
    with pytest.raises(APITimeoutError):
        await client.images.generate("a lake", save_to=tmp_path / "lake.png", timeout=1e-6)
    transport.go_on.set()
    with pytest.raises(BudgetExceededError):
        await client_on(transport, budget=Budget(0, prices={"step-image-edit-2": 1})).images.generate(
            "a lake", save_to=tmp_path / "lake.png"
        )
    await client.images.generate("a lake", save_to=tmp_path / "lake.png")
    assert not _sinks._claimed


async def test_a_call_that_is_dropped_gives_its_file_back(tmp_path: Path) -> None:
    place = _sinks.SaveTarget(tmp_path / "lake", overwrite=False)
    place.claim(running_loop())
    assert {Path(name).suffix for name in _sinks._claimed} >= {".png", ".jpg", ".webp", ".bin"}, "whichever it may get"
    del place
    gc.collect()
    assert not _sinks._claimed


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_call_whose_loop_was_closed_over_it_loses_its_file_to_the_next_one(tmp_path: Path) -> None:
    waiting, answering, saved = Waiting(), Waiting(), tmp_path / "lake.png"
    answering.go_on.set()
    closed = asyncio.new_event_loop()
    first = closed.create_task(client_on(waiting).images.generate("a lake", save_to=saved))
    closed.run_until_complete(waiting.sent.wait())
    closed.close()
    asyncio.run(client_on(answering).images.generate("a hill", save_to=saved))
    assert saved.exists()
    later = _sinks._Claim([saved])
    with closing(asyncio.new_event_loop()) as loop:
        later.acquire(loop)
        del first
        gc.collect()
        with pytest.raises(InvalidRequestError, match="another call in flight"):
            _sinks._Claim([saved]).acquire(loop)
    later.release()
    assert not _sinks._claimed


def test_a_forked_child_does_not_hold_the_files_of_its_parents_calls(tmp_path: Path) -> None:
    claim, loop = _sinks._Claim([tmp_path / "lake.png"]), asyncio.new_event_loop()
    claim.acquire(loop)
    child = os.fork()
    if not child:
        os._exit(len(_sinks._claimed))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    claim.release()
    loop.close()
