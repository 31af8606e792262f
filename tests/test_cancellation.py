"""Cancelled at every point where a call can be cancelled: nothing is left, and the next call works.

A call is driven by hand, and each time that it gives control away is counted. At the first of them it is
cancelled, then at the second, and so on until it ends by itself. So no point is left out, and none is met
by chance.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from stepfun_async import AsyncClient, Budget, Limits, RetryPolicy, TextToImage
from stepfun_async._core.wire import Call
from stepfun_async.embedded import EmbeddedTransport, Engine
from stepfun_async.embedded.server import running
from tests.support.answers import answer, picture_answer
from tests.support.raw import raw_server, say

pytestmark = pytest.mark.anyio

LARGE: Final = "step-2x-large"
PRICE = Decimal("0.02")
_MOST = 400
"""Points at which a call may be cancelled at most; more would be a loop without end."""


class Counted:
    """An awaitable that cancels `scope` when `coroutine` gives control away for the `at`th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], at: int, scope: anyio.CancelScope) -> None:
        self._coroutine = coroutine
        self._at = at
        self._scope = scope
        self.met = 0

    def __await__(self) -> Generator[Any, Any, None]:
        step, value = self._coroutine.send, None
        while True:
            try:
                given = step(value)
            except StopIteration:
                return
            self.met += 1
            if self.met == self._at:
                self._scope.cancel()
            try:
                step, value = self._coroutine.send, (yield given)
            except BaseException as error:  # noqa: BLE001 - thrown into the coroutine
                step, value = self._coroutine.throw, error


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


def _picture() -> bytes:
    request = TextToImage(prompt="a cat", model=LARGE, size="256x256", response_format="url")
    engine = Engine(plain=True)
    link = json.loads(engine.respond(request.to_call()).body)["data"][0]["url"]
    return engine.respond(Call("GET", link)).body


PIXEL_64 = _picture()
"""A picture that may be edited."""


@asynccontextmanager
async def service(way: str) -> AsyncIterator[tuple[Engine, dict[str, Any]]]:
    engine = Engine(plain=True, credit=1_000_000)
    if way == "in-process":
        yield engine, {"base_url": "embedded", "transport": EmbeddedTransport(engine)}
        return
    with running(engine) as url:
        yield engine, {"api_key": "sk-test", "base_url": url}


async def cancelled_at(point: int, run: Callable[[], Awaitable[object]]) -> bool:
    """Run, cancelled at `point`; whether it got that far."""

    async def whole() -> None:
        await run()

    with anyio.CancelScope() as scope:
        counted = Counted(whole(), point, scope)
        await counted
    return counted.met >= point


@pytest.mark.parametrize("way", ["in-process", "http"])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_cancelled_anywhere_nothing_is_left_and_the_next_call_works(name: str, way: str, tmp_path: Path) -> None:
    budget = Budget(1_000_000, prices={"step-image-edit-2": PRICE, LARGE: PRICE})
    limits = Limits(2, requests_per_minute=1_000_000, adaptive=True)
    async with service(way) as (engine, options), AsyncClient(**options, budget=budget, limits=limits) as client:
        for point in itertools.count(1):
            reached = await cancelled_at(point, lambda: OPERATIONS[name](client, tmp_path))
            assert (limits.state.in_flight, limits.state.waiting) == (0, 0)
            usage, bill = client.usage, engine.bill()
            assert bill.pictures <= usage.billed + usage.maybe_billed, "billed, and nobody was told"
            assert (budget.spent, budget.held) == (PRICE * usage.billed, PRICE * usage.maybe_billed)
            assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]
            if not reached:
                break
            assert point < _MOST
        await client.images.generate("works", model=LARGE, size="256x256", timeout=20, queue_timeout=0)
        assert point > 1
    assert limits.gate._window is not None
    assert limits.gate._window._open == 0


async def test_cancelled_while_connecting_or_reading_no_connection_is_kept() -> None:
    """Each call that was cancelled on its way costs its connection, and only that."""
    with raw_server(say(picture_answer())) as server:
        async with AsyncClient("sk-test", base_url=server.url, limits=Limits(1)) as client:
            for point in itertools.count(1):
                reached = await cancelled_at(point, lambda: client.images.generate("a lake"))
                if not reached:
                    break
                await client.images.generate("works", queue_timeout=0)
            before = server.connections
            for _ in range(5):
                await client.images.generate("works")
            assert server.connections == before


async def test_a_call_cancelled_between_two_attempts_counts_the_first() -> None:
    refusals = [say(answer(b"{}", status="503 Busy", headers="retry-after: 3600\r\n"))]
    with raw_server(*refusals) as server:
        policy = RetryPolicy(max_attempts=2)
        async with AsyncClient("sk-test", base_url=server.url, timeout=10_000, retry=policy) as client:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(client.images.generate, "a lake")
                    await anyio.to_thread.run_sync(_until, lambda: bool(server.requests))
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            assert (client.usage.attempts, client.usage.maybe_billed) == (1, 0)
            assert client.limits.state.in_flight == 0


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        os.sched_yield()


async def test_ten_thousand_cancellations_leave_no_socket_task_or_memory_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At points that change all the time, many at once, on connections that are thrown away or kept."""
    monkeypatch.setattr(logging.getLogger("stepfun_async"), "disabled", True)  # or each would be kept for this test
    with raw_server(say(picture_answer())) as server:
        limits = Limits(8)
        async with AsyncClient("sk-test", base_url=server.url, limits=limits) as client:
            points = itertools.cycle(range(1, 12))

            async def some(count: int) -> None:
                for _ in range(count):
                    await cancelled_at(next(points), lambda: client.images.generate("a lake"))

            async def storm(count: int) -> None:
                async with anyio.create_task_group() as group:
                    for _ in range(20):
                        group.start_soon(some, count // 20)

            await storm(1_000)
            before = _ours()
            await storm(9_000)
            assert (limits.state.in_flight, limits.state.waiting) == (0, 0)
            more = {name: count - before[name] for name, count in _ours().items() if count > before[name] + 40}
            assert not more, "each slot may have a connection, and nothing else is left of 9,000 calls"
            await client.images.generate("works", queue_timeout=0)


def _ours() -> Counter[str]:
    """How many objects there are of each class of ours, and of what a loop keeps for a call."""
    gc.collect()
    kept = ("Task", "Future", "CancelScope", "CancelStatus", "_SelectorSocketTransport", "SocketStream", "coroutine")
    kinds = [type(each) for each in gc.get_objects()]
    return Counter(
        kind.__name__ for kind in kinds if str(kind.__module__).startswith("stepfun") or kind.__name__ in kept
    )
