"""Limits kept elsewhere: what a client asks a backend, and what it does with the responses."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from stepfun_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncClient,
    Client,
    ConfigurationError,
    Limits,
    LimitsUnavailableError,
    QueueTimeoutError,
    RetryPolicy,
)
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from tests.support.backends import MemoryBackend
from tests.support.scripted import IMAGE, Respond, Scripted, refusal

pytestmark = pytest.mark.anyio

ROOT: Final = Path(__file__).parents[2]
BASE: Final = "https://stepfun.test/v1"


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what threads do."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - no event says what threads do
            await anyio.sleep(0.001)


async def made(call: HTTPRequest, progress: SendState) -> HTTPResponse:
    progress.mark_sent()
    return IMAGE


def client_of(respond: Respond, limits: Limits, **more: Any) -> AsyncClient:
    retry = RetryPolicy(base=0, connect_base=0)
    return AsyncClient("sk-test", base_url=BASE, transport=Scripted(respond), limits=limits, retry=retry, **more)


async def test_a_call_takes_a_slot_and_an_entry_says_when_it_left_and_releases_the_slot() -> None:
    shared = MemoryBackend()
    async with client_of(made, Limits(2, 10, backend=shared)) as client:
        await client.images.generate("a lake", timeout=20)
    assert shared.asked == ["acquire", "mark_sent", "release"]
    assert shared.slots == set()
    assert [ago is not None and ago >= 0 for ago in shared.entries.values()] == [True]
    assert shared.leases == {50.0}, "a slot is kept a bit longer than the call can last"


async def test_without_a_rate_there_are_no_entries() -> None:
    shared = MemoryBackend()
    async with client_of(made, Limits(2, backend=shared)) as client:
        await client.images.generate("a lake")
    assert (shared.asked, shared.entries) == (["acquire", "release"], {})


async def test_each_attempt_takes_an_entry_and_one_that_never_left_releases_it() -> None:
    shared = MemoryBackend()
    responses: list[HTTPResponse | Exception] = [
        APIConnectionError("no connection", billing="not_sent"),
        refusal(503),
        IMAGE,
    ]

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        response = responses.pop(0)
        if isinstance(response, Exception):
            raise response
        progress.mark_sent()
        return response

    async with client_of(respond, Limits(2, 10, backend=shared)) as client:
        await client.images.generate("a lake")
    assert shared.asked == ["acquire", "release", "acquire", "mark_sent", "acquire", "mark_sent", "release"]
    assert len(shared.entries) == 2


async def test_what_a_call_had_is_free_for_the_next_one_at_once() -> None:
    """What the background sends is sent before more is acquired."""
    shared = MemoryBackend(lambda _: time.sleep(0.001))
    async with client_of(made, Limits(1, backend=shared)) as client:
        for _ in range(50):
            await client.images.generate("a lake", queue_timeout=0)
    assert shared.asked == ["acquire", "release"] * 50


async def test_several_limits_objects_stay_within_the_shared_one() -> None:
    """As several processes would."""
    shared = MemoryBackend()
    under_way = most = 0

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.sleep(0.001)
        under_way -= 1
        return IMAGE

    clients = [client_of(respond, Limits(3, backend=shared)) for _ in range(3)]
    async with anyio.create_task_group() as group:
        for client in clients * 7:
            group.start_soon(client.images.generate, "a lake")
    assert most == 3
    await until(lambda: not shared.slots)


async def test_a_free_slot_is_taken_even_where_there_is_no_time_to_wait() -> None:
    shared = MemoryBackend()
    async with client_of(made, Limits(1, backend=shared)) as client:
        await client.images.generate("a lake", queue_timeout=0)
        shared.slots.add("somebody else's")
        with pytest.raises(QueueTimeoutError, match="at the backend that shares them; nothing was sent"):
            await client.images.generate("a lake", queue_timeout=0)
        assert client.limits.state.in_flight == 0


async def test_waiting_for_ones_turn_to_ask_ends_with_the_queue_timeout_too() -> None:
    shared = MemoryBackend()
    shared.slots.update({"a", "b"})
    async with client_of(made, Limits(2, backend=shared)) as client, anyio.create_task_group() as group:
        group.start_soon(client.images.generate, "asks again and again")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(QueueTimeoutError, match="came free in time at the backend"):
            await client.images.generate("waits for its turn", queue_timeout=0.01)
        shared.slots.clear()
    assert client.limits.state.in_flight == 0


async def test_a_call_cancelled_while_it_waits_leaves_nothing_behind() -> None:
    shared = MemoryBackend()
    shared.slots.add("somebody else's")
    async with client_of(made, Limits(1, 5, backend=shared)) as client:
        with anyio.move_on_after(0.02):
            await client.images.generate("a lake")
        assert client.limits.state.in_flight == 0
        shared.slots.clear()
        await client.images.generate("a lake", queue_timeout=0)
    assert (shared.slots, len(shared.entries)) == (set(), 1)


async def test_nothing_is_sent_while_the_backend_cannot_be_asked() -> None:
    shared = MemoryBackend()
    transport = Scripted(made)

    def fail(_: str) -> None:
        raise LimitsUnavailableError("the shared limits at redis://here are unavailable: it is gone; nothing was sent")

    client = AsyncClient("sk-test", base_url=BASE, transport=transport, limits=Limits(1, 5, backend=shared))
    async with client:
        shared.before = fail
        with pytest.raises(LimitsUnavailableError) as caught:
            await client.images.generate("a lake")
        assert (caught.value.billing, caught.value.attempts, transport.calls) == ("not_sent", 0, 0)
        shared.before = lambda _: None
        await client.images.generate("a lake", queue_timeout=0)


async def test_an_image_is_not_lost_when_the_backend_goes_while_it_is_made(caplog: pytest.LogCaptureFixture) -> None:
    shared = MemoryBackend()

    def fail(_: str) -> None:
        raise LimitsUnavailableError("it is gone")

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        shared.before = fail
        return IMAGE

    async with client_of(respond, Limits(1, 5, backend=shared)) as client:
        assert (await client.images.generate("a lake")).image.width == 1
        assert client.limits.state.in_flight == 0
        await until(lambda: bool(caplog.records))
        assert len(shared.slots) == 1
        shared.before = lambda _: None
        await until(lambda: not shared.slots)
    assert [ago is not None for ago in shared.entries.values()] == [True]
    messages = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(messages) == 1
    assert messages[0].startswith("the shared limits are unavailable, so requests that have ended still count")


# --- a backend that stalls ----------------------------------------------------------------------------


class Stalling(MemoryBackend):
    """A backend that does not return until it may continue, once it has begun to stall."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.stalls: set[str] = set()
        self.stalled = threading.Semaphore(0)
        self.go_on = threading.Event()

    def _wait(self, method: str) -> None:
        if method in self.stalls:
            self.stalled.release()
            assert self.go_on.wait(30)


@pytest.fixture
def stalling() -> Iterator[Stalling]:
    backend = Stalling()
    yield backend
    backend.go_on.set()


async def test_a_backend_that_stalls_is_asked_no_longer_than_there_is_time_to_wait(stalling: Stalling) -> None:
    stalling.stalls = {"acquire"}
    async with client_of(made, Limits(1, 5, backend=stalling)) as client:
        with anyio.fail_after(20), pytest.raises(QueueTimeoutError, match="did not respond in time; nothing was sent"):
            await client.images.generate("a lake", queue_timeout=0.01)
        assert client.limits.state.in_flight == 0
        stalling.go_on.set()
        await until(lambda: "release" in stalling.asked)  # what it grants then, to nobody
        assert (stalling.slots, stalling.entries) == (set(), {})
        await client.images.generate("a lake", queue_timeout=0)


async def test_an_entry_for_another_attempt_is_waited_for_until_the_deadline(stalling: Stalling) -> None:
    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        stalling.stalls = {"acquire"}
        raise APIConnectionError("no connection", billing="not_sent")

    async with client_of(respond, Limits(1, 5, backend=stalling), timeout=0.1) as client:
        with anyio.fail_after(20), pytest.raises(APITimeoutError):
            await client.images.generate("a lake")
        stalling.go_on.set()
    await until(lambda: (stalling.slots, stalling.entries) == (set(), {}))


async def test_an_image_is_handed_over_while_the_backend_stalls_and_its_slot_freed_later(
    stalling: Stalling,
) -> None:
    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        stalling.stalls = {"mark_sent", "release"}
        progress.mark_sent()
        return IMAGE

    async with client_of(respond, Limits(2, 5, backend=stalling)) as client:
        with anyio.fail_after(20):
            assert (await client.images.generate("a lake", timeout=10)).image.width == 1
        assert len(stalling.slots) == 1
        stalling.go_on.set()
        await until(lambda: not stalling.slots)
    assert [ago is not None for ago in stalling.entries.values()] == [True]


async def test_closing_does_not_wait_long_for_a_backend_that_stalls(stalling: Stalling) -> None:
    stalling.stalls = {"release"}
    with anyio.fail_after(20):
        async with client_of(made, Limits(2, backend=stalling)) as client:
            await client.images.generate("a lake")
    assert len(stalling.slots) == 1


async def test_a_question_that_failed_may_have_been_granted_so_it_is_taken_back_twice() -> None:
    """The second time since it may reach a backend that stalls after what takes it back."""
    fails = [True]

    def fail(method: str) -> None:
        if method == "acquire" and fails.pop():
            raise LimitsUnavailableError("they are unavailable")

    backend = MemoryBackend(fail)
    async with client_of(made, Limits(1, backend=backend)) as client:
        with pytest.raises(LimitsUnavailableError):
            await client.images.generate("a lake")
        await until(lambda: backend.asked == ["acquire", "release", "release"])


_ENDS = """
import sys, threading
from stepfun_async import Client, Limits
from stepfun_async.embedded import EmbeddedTransport, Engine
from tests.support.backends import MemoryBackend

class Printing(MemoryBackend):
    def release(self, *, slot, entry):
        if sys.argv[1] == "stalls":
            threading.Event().wait()
        super().release(slot=slot, entry=entry)
        print("released", flush=True)

def call():
    transport = EmbeddedTransport(Engine(plain=True))
    Client(base_url="embedded", transport=transport, limits=Limits(2, backend=Printing())).images.generate("a lake")

if sys.argv[2] == "child":
    import multiprocessing
    child = multiprocessing.get_context("fork").Process(target=call)
    child.start()
    child.join()
else:
    call()
"""


@pytest.mark.parametrize("where", ["here", "child"])
@pytest.mark.parametrize("how", ["answers", "stalls"])
def test_a_process_that_ends_releases_its_slot_where_that_is_possible(how: str, where: str) -> None:
    if where == "child" and not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    command = [sys.executable, "-c", _ENDS, how, where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "released\n" if how == "answers" else "", "")


_INTERRUPTED = """
import asyncio, os, signal, sys, time
from pathlib import Path
from stepfun_async import AsyncClient, AttemptEnded, Limits
from stepfun_async.embedded import EmbeddedTransport, Engine
from tests.support.backends import MemoryBackend

point, path = sys.argv[1], Path(sys.argv[2])

def interrupt(where):
    if where == point or type(where).__name__ == point:
        os.kill(os.getpid(), signal.SIGINT)
        if where == point:
            time.sleep(0.05)  # in a thread, so that it goes on when its call is cancelled

backend = MemoryBackend(interrupt)
engine = Engine(plain=True)

async def main():
    at = dict(base_url="embedded", transport=EmbeddedTransport(engine), on_event=interrupt)
    async with AsyncClient(**at, limits=Limits(1, 100, backend=backend)) as client:
        try:
            await client.images.generate("a lake", save_to=path)
        finally:
            print(client.usage.billed, client.usage.maybe_billed, client.limits.state.in_flight)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print(engine.bill().images, path.exists(), len(backend.slots))
"""


@pytest.mark.parametrize(
    ("point", "printed"),
    [
        ("acquire", "0 0 0\n0 False 0\n"),
        ("AttemptEnded", "1 0 0\n1 True 0\n"),
        ("mark_sent", "1 0 0\n1 True 0\n"),
        ("CallEnded", "1 0 0\n1 True 0\n"),
    ],
)
def test_an_interrupt_of_asyncio_run_loses_nothing(point: str, printed: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _INTERRUPTED, point, str(tmp_path / "lake.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == (printed, "")


async def test_a_call_without_a_deadline_could_keep_its_slot_for_ever() -> None:
    limits = Limits(1, backend=MemoryBackend())
    with pytest.raises(ConfigurationError, match="shared limits need a finite timeout"):
        client_of(made, limits, timeout=float("inf"))
    async with client_of(made, limits) as client:
        with pytest.raises(ConfigurationError, match="shared limits need a finite timeout"):
            await client.images.generate("a lake", timeout=float("inf"))
        assert client.limits.state.in_flight == 0


def test_it_works_below_the_sync_client() -> None:
    shared = MemoryBackend()
    limits = Limits(2, 10, backend=shared)
    with Client("sk-test", base_url=BASE, transport=Scripted(made), limits=limits) as client:
        client.images.generate("a lake")
    assert (shared.slots, len(shared.entries)) == (set(), 1)
