"""`images.map`: bounded, in either order, and nothing left behind however it is left."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from stepfun_async import (
    AsyncClient,
    Client,
    ConfigurationError,
    Failed,
    Finished,
    InvalidRequestError,
    Limits,
    TextToImage,
)
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from tests.support.responses import image_response
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio

BODY = image_response().partition(b"\r\n\r\n")[2]


class Station:
    """A transport that answers at once, or holds the prompts that it is made for."""

    def __init__(self, *held: str) -> None:
        self.held = {prompt: anyio.Event() for prompt in held}
        self.running = 0
        self.peak = 0
        self.cancelled = 0

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        assert call.json is not None
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            if call.json["prompt"] in self.held:
                await self.held[call.json["prompt"]].wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return HTTPResponse(200, {}, BODY)

    async def aclose(self) -> None:
        pass


def client_over(station: Station, concurrency: int = 3) -> AsyncClient:
    return AsyncClient(base_url="embedded", transport=station, limits=Limits(concurrency))


def numbered(count: int) -> Iterator[TextToImage]:
    return (TextToImage(prompt=str(n)) for n in range(count))


async def test_every_request_has_one_outcome_and_never_too_many_run() -> None:
    station = Station()
    async with client_over(station) as client:
        prompts = [outcome.request.prompt async for outcome in client.images.map(numbered(100))]
    assert sorted(int(prompt or -1) for prompt in prompts) == list(range(100))
    assert station.peak == 3


async def test_every_request_is_sent_in_the_context_of_the_reader() -> None:
    reader = ContextVar("reader", default="nobody")

    class Listening(Station):
        async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
            seen.append(reader.get())
            return await super().send(call, progress)

    seen: list[str] = []
    reader.set("me")
    async with client_over(Listening()) as client:
        assert len([outcome async for outcome in client.images.map(numbered(10))]) == 10
    assert seen == ["me"] * 10


async def test_outcomes_come_as_they_end() -> None:
    station = Station("0")
    async with client_over(station) as client, client.images.map(numbered(3)) as outcomes:
        assert [(await anext(outcomes)).request.prompt for _ in range(2)] == ["1", "2"]
        station.held["0"].set()
        assert (await anext(outcomes)).request.prompt == "0"


async def test_ordered_outcomes_come_in_the_order_of_the_requests() -> None:
    station = Station("0", "7")
    async with client_over(station) as client:
        prompts: list[Any] = []
        async with anyio.create_task_group() as group:

            async def read() -> None:
                prompts.extend(
                    [outcome.request.prompt async for outcome in client.images.map(numbered(30), ordered=True)]
                )

            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            assert prompts == []
            for event in station.held.values():
                event.set()
    assert prompts == [str(n) for n in range(30)]


async def test_an_async_source_is_read() -> None:
    async def source() -> AsyncIterator[TextToImage]:
        for request in numbered(5):
            await anyio.lowlevel.checkpoint()
            yield request

    async with client_over(Station()) as client:
        outcomes = [outcome async for outcome in client.images.map(source())]
    assert len(outcomes) == 5


async def test_a_failure_is_an_outcome_and_ends_nothing() -> None:
    requests: list[Any] = [TextToImage(prompt="fine"), TextToImage(prompt="x", steps=0), 5, {"prompt": "x"}]
    async with client_over(Station()) as client:
        outcomes = [outcome async for outcome in client.images.map(requests, ordered=True)]
    assert isinstance(outcomes[0], Finished)
    for failed in outcomes[1:]:
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, InvalidRequestError)


async def test_requests_are_taken_only_as_there_is_room() -> None:
    """A slow reader holds the source back: memory does not grow with the number of requests."""
    taken = 0

    def counting() -> Iterator[TextToImage]:
        nonlocal taken
        for request in numbered(1000):
            taken += 1
            yield request

    async with client_over(Station()) as client, client.images.map(counting()) as outcomes:
        for _ in range(10):
            await anext(outcomes)
            await anyio.wait_all_tasks_blocked()
        assert taken <= 10 + 2 * 3


async def test_an_error_of_the_source_comes_after_what_was_begun() -> None:
    def broken() -> Iterator[TextToImage]:
        yield from numbered(4)
        raise LookupError("the database is gone")

    async with client_over(Station()) as client, client.images.map(broken()) as outcomes:
        assert [(await anext(outcomes)).request.prompt for _ in range(4)] == ["0", "1", "2", "3"]
        with pytest.raises(LookupError, match="database"):
            await anext(outcomes)


async def test_a_source_that_is_cancelled_ends_the_loop_with_an_error_and_not_with_silence() -> None:
    class Interrupted(BaseException):
        """What is neither an outcome nor an error of a request."""

    def broken() -> Iterator[TextToImage]:
        yield from numbered(2)
        raise Interrupted

    for concurrency in (1, 3):
        async with client_over(Station(), concurrency) as client, client.images.map(broken()) as outcomes:
            assert [(await anext(outcomes)).request.prompt for _ in range(2)] == ["0", "1"]
            with pytest.raises(Interrupted):
                await anext(outcomes)


@pytest.mark.parametrize("steps", range(8))
def test_a_loop_that_ends_while_workers_begin_is_not_kept_waiting(steps: int) -> None:
    """`asyncio.run` cancels every task when its main one is over, those included that had no first step."""

    async def main() -> bool:
        client = client_over(Station(), concurrency=6)

        async def read() -> None:
            async for _ in client.images.map(numbered(20)):
                pass

        reader = asyncio.create_task(read())
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for _ in range(100):
            await asyncio.sleep(0)
        return reader.cancelled()

    loop = asyncio.new_event_loop()  # not a Runner, whose own end would wait for what does not end
    try:
        assert loop.run_until_complete(main())
    finally:
        loop.close()


async def test_closing_the_client_ends_what_is_in_flight() -> None:
    station = Station("1", "2")
    client = client_over(station)
    outcomes = client.images.map(numbered(3))
    await anext(outcomes)
    await anyio.wait_all_tasks_blocked()
    await client.aclose()
    assert (station.running, station.cancelled) == (0, 2)
    assert client.usage.maybe_billed == 2


async def test_leaving_the_loop_early_ends_what_is_in_flight() -> None:
    station = Station("1", "2")
    async with client_over(station) as client:
        outcomes = client.images.map(numbered(3))
        async for outcome in outcomes:
            assert outcome.request.prompt == "0"
            break
        await anyio.wait_all_tasks_blocked()
        await outcomes.aclose()
        assert (station.running, station.cancelled) == (0, 2)


async def test_a_dropped_iterator_ends_what_is_in_flight() -> None:
    station = Station("1", "2")
    async with client_over(station) as client:
        async for _ in client.images.map(numbered(3)):
            break
        gc.collect()
        await anyio.wait_all_tasks_blocked()
        assert (station.running, station.cancelled) == (0, 2)


async def test_a_cancelled_reader_ends_what_is_in_flight() -> None:
    station = Station("0", "1", "2")
    async with client_over(station) as client:

        async def read() -> None:
            async for _ in client.images.map(numbered(9)):
                raise AssertionError("nothing was answered")

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            assert station.running == 3
            group.cancel_scope.cancel()
        assert (station.running, station.cancelled) == (0, 3)


@pytest.mark.parametrize("requests", [None, 5, "a lake", TextToImage, TextToImage(prompt="a lake")])
async def test_what_cannot_be_iterated_is_refused(requests: Any) -> None:
    async with client_over(Station()) as client:
        with pytest.raises(InvalidRequestError, match="iterable"):
            client.images.map(requests)


async def test_a_closed_client_maps_nothing() -> None:
    client = client_over(Station())
    await client.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        client.images.map(numbered(1))


async def test_memory_does_not_grow_with_the_number_of_requests() -> None:
    async def peak(count: int) -> int:
        async with client_over(Station(), 8) as client:
            tracemalloc.start()
            try:
                async for _ in client.images.map(numbered(count)):
                    pass
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    await peak(50)
    few, many = await peak(200), await peak(2000)
    assert many < few + 200_000


async def test_progress_counts_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    requests = [TextToImage(prompt="a"), TextToImage(prompt="b", steps=99)]
    async with AsyncClient(base_url="embedded", transport=Station()) as client:
        assert len([outcome async for outcome in client.images.map(requests, progress=True)]) == 2
    with Client(base_url="embedded", transport=Station()) as blocking:
        assert len(list(blocking.images.map(iter(requests), progress=True))) == 2
    whole, unknown = terminal.lines
    assert whole.startswith("2 of 2 (100 %) \N{MIDDLE DOT} 1 failed \N{MIDDLE DOT} ")
    assert whole.endswith(" \N{MIDDLE DOT} 0.003 USD")
    assert unknown.startswith("2 ended \N{MIDDLE DOT} 1 failed")


async def test_progress_of_a_map_that_is_left_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    async with AsyncClient(base_url="embedded", transport=Station()) as client:
        outcomes = client.images.map([TextToImage(prompt="a")] * 5, progress=True)
        await anext(outcomes)
        await outcomes.aclose()
    assert terminal.lines[0].startswith("1 of 5 (20 %)")
