"""A web application whose sync endpoints all call at once: each holds one of the threads that the framework has."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx
import pytest
import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from stepfun_async import AsyncClient, Limits
from stepfun_async._transport import pool as connections
from stepfun_async.embedded import Engine
from stepfun_async.embedded.server import running
from tests.call.test_cancelled_money import PIXEL_64
from tests.support.backends import MemoryBackend
from tests.support.raw import raw_server, say
from tests.support.responses import image_response


def application(settings: dict[str, Any], folder: Path, *, edits: bool, saves: bool) -> Starlette:
    """An application with one sync endpoint, which has an image made."""
    client: AsyncClient
    (folder / "source.png").write_bytes(PIXEL_64)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        nonlocal client
        async with AsyncClient(**settings) as client:
            yield

    async def make(number: int) -> None:
        save_to = folder / f"{number}.png" if saves else None
        if edits:
            await client.images.edit(folder / "source.png", "a hat", save_to=save_to)
        else:
            await client.images.generate("a lake", save_to=save_to)

    def endpoint(request: Request) -> PlainTextResponse:
        anyio.from_thread.run(make, request.path_params["number"])
        return PlainTextResponse("made")

    return Starlette(routes=[Route("/{number:int}", endpoint)], lifespan=lifespan)


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The application behind uvicorn, in a thread with a loop of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", backlog=1024))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


async def ask(url: str, count: int) -> list[str]:
    """The responses to so many requests at once."""
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None), trust_env=False) as http:
        return [
            response.text
            for response in await asyncio.gather(*(http.get(f"{url}/{number}") for number in range(count)))
        ]


@contextmanager
def api(monkeypatch: pytest.MonkeyPatch, *, tls: bool) -> Iterator[str]:
    """The base URL of a server for images."""
    if not tls:
        with running(Engine(plain=True)) as url:
            yield url
        return
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with authority.cert_pem.tempfile() as trusted, raw_server(say(image_response()), tls=context) as server:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        connections._contexts.clear()
        yield server.url
    connections._contexts.clear()


@pytest.mark.parametrize(
    ("count", "tls", "shared", "edits", "saves"),
    [
        pytest.param(40, False, False, False, False, id="40, http"),
        pytest.param(40, True, False, False, False, id="40, https"),
        pytest.param(40, False, True, False, False, id="40, http, shared limits"),
        pytest.param(40, False, False, False, True, id="40, http, saved"),
        pytest.param(40, False, False, True, False, id="40, http, edited"),
        pytest.param(400, False, True, False, False, id="400, http, shared limits"),
        pytest.param(400, True, True, True, True, id="400, https, shared limits, edited, saved"),
    ],
)
def test_sync_endpoints_that_take_all_threads_get_their_images(
    count: int, tls: bool, shared: bool, edits: bool, saves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(16, backend=MemoryBackend() if shared else None)
    with ExitStack() as stack:
        base_url = stack.enter_context(api(monkeypatch, tls=tls))
        settings = {"api_key": "sk-test", "base_url": base_url, "limits": limits, "timeout": 60}
        url = stack.enter_context(served(application(settings, tmp_path, edits=edits, saves=saves)))
        assert asyncio.run(ask(url, count)) == ["made"] * count
    assert len(list(tmp_path.iterdir())) == 1 + count * saves
