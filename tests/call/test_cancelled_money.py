"""Money and limits of calls that are cancelled at every point where they can be: nothing is held that should not be."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest

from stepfun_async import AsyncClient, AttemptEnded, Budget, Limits, RetryPolicy, TextToImage
from stepfun_async._core.wire import HTTPRequest
from stepfun_async.embedded import EmbeddedTransport, Engine
from stepfun_async.embedded.server import running
from tests.call.test_cancellation import Interruption, until
from tests.support.backends import MemoryBackend
from tests.support.raw import raw_server, say
from tests.support.responses import REFUSAL, http_response

pytestmark = pytest.mark.anyio

LARGE: Final = "step-2x-large"
PRICE = Decimal("0.02")
_MOST = 400
"""Points at which a call may be cancelled at most; more would be a loop without end."""


Operation = Callable[[AsyncClient, Path], Awaitable[object]]


async def generate(client: AsyncClient, folder: Path) -> None:
    await client.images.generate("a lake", model=LARGE, size="256x256", save_to=folder / "lake.png", overwrite=True)


async def edit(client: AsyncClient, folder: Path) -> None:
    await client.images.edit(PIXEL_64, "a hat")


async def fetch(client: AsyncClient, folder: Path) -> None:
    target = folder / "linked.png"
    await client.images.generate("a lake", model=LARGE, response_format="url", save_to=target, overwrite=True)


async def fan_out(client: AsyncClient, folder: Path) -> None:
    requests = [TextToImage(prompt="a lake", model=LARGE, size="256x256") for _ in range(4)]
    async with client.images.map(requests) as outcomes:
        async for _ in outcomes:
            pass


async def lists(client: AsyncClient, folder: Path) -> None:
    await client.models.list()


OPERATIONS: dict[str, Operation] = {
    "generate": generate,
    "edit": edit,
    "download": fetch,
    "map": fan_out,
    "models": lists,
}


def _image() -> bytes:
    request = TextToImage(prompt="a cat", model=LARGE, size="256x256", response_format="url")
    engine = Engine(plain=True)
    link = json.loads(engine.respond(request.to_call()).body)["data"][0]["url"]
    return engine.respond(HTTPRequest("GET", link)).body


PIXEL_64 = _image()
"""An image that may be edited."""


@asynccontextmanager
async def service(way: str) -> AsyncIterator[tuple[Engine, dict[str, Any]]]:
    engine = Engine(plain=True, credit=1_000_000)
    if way == "in-process":
        yield engine, {"base_url": "embedded", "transport": EmbeddedTransport(engine)}
        return
    with running(engine) as url:
        more: dict[str, Any] = {"transport": httpx.AsyncHTTPTransport()} if way == "httpx" else {}
        if way == "http, no connection kept":
            more = {"keepalive_expiry": 0.0}
        yield engine, {"api_key": "sk-test", "base_url": url, **more}


async def cancelled_at(point: int, run: Callable[[], Awaitable[object]], *, native: bool = False) -> bool:
    """Run, cancelled at `point`; whether it got that far."""

    async def whole() -> None:
        await run()

    interruption = Interruption(point, native=native)
    await interruption.apart(whole)
    return interruption.came


@pytest.mark.parametrize("way", ["in-process", "http", "http, no connection kept", "httpx"])
@pytest.mark.parametrize("how", ["scope", "native", "scope, shared limits", "native, shared limits"])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_cancelled_anywhere_nothing_is_left_and_the_next_call_works(
    name: str, how: str, way: str, tmp_path: Path, anyio_backend_name: str
) -> None:
    if "native" in how and anyio_backend_name == "trio":
        pytest.skip("trio has nothing but scopes")
    shared = MemoryBackend() if "shared" in how else None
    budget = Budget(1_000_000, prices={"step-image-edit-2": PRICE, LARGE: PRICE})
    limits = Limits(2, requests_per_minute=1_000_000, adaptive=True, backend=shared)
    async with service(way) as (engine, options), AsyncClient(**options, budget=budget, limits=limits) as client:
        for point in itertools.count(1):
            billed = client.usage.billed
            reached = await cancelled_at(point, lambda: OPERATIONS[name](client, tmp_path), native="native" in how)
            assert (limits.state.in_flight, limits.state.waiting) == (0, 0)
            usage, bill = client.usage, engine.bill()
            assert bill.images <= usage.billed + usage.maybe_billed, "billed, and not reported"
            assert (budget.spent, budget.held) == (PRICE * usage.billed, PRICE * usage.maybe_billed)
            assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]
            if name == "generate":
                assert (tmp_path / "lake.png").exists() == (usage.billed > billed), "what came is saved"
                (tmp_path / "lake.png").unlink(missing_ok=True)
            await until(lambda: shared is None or not shared.slots)
            if not reached:
                break
            assert point < _MOST
        await client.images.generate("works", model=LARGE, size="256x256", timeout=20, queue_timeout=0)
        assert point > 1
    assert limits.limiter._window is not None
    assert limits.limiter._window._open == 0


async def test_a_call_cancelled_between_two_attempts_counts_the_first() -> None:
    refusals = [say(http_response(REFUSAL, status="503 Busy", headers="retry-after: 3600\r\n"))]
    refused = anyio.Event()

    def note(event: object) -> None:
        if isinstance(event, AttemptEnded):
            refused.set()

    with raw_server(*refusals) as server:
        at: dict[str, Any] = {"base_url": server.url, "timeout": 10_000, "retry": RetryPolicy(max_attempts=2)}
        async with AsyncClient("sk-test", **at, on_event=note) as client:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(client.images.generate, "a lake")
                    await refused.wait()
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            assert (client.usage.attempts, client.usage.maybe_billed) == (1, 0)
            assert client.limits.state.in_flight == 0
