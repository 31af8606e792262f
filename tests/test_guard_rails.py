"""How much is done for one call, counted and never timed: what was made cheap stays so, on any machine.

The bounds are a little above what is reached. A change that needs more says in its message what for.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context
from functools import partial
from itertools import pairwise
from pathlib import Path
from socket import socketpair
from types import FrameType
from typing import Any, TypeVarTuple

import anyio
import anyio.lowlevel
import pytest
import trio

from stepfun_async import AsyncClient, Client, Failed, Limits, TextToImage
from stepfun_async._call.settings import resolve
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async._runtime import background
from stepfun_async._runtime.portal import loop_options
from stepfun_async._transport.asyncio_socket import AsyncioSocket
from stepfun_async._transport.sockets import PIECE
from stepfun_async.batch.inputs.job_reader import read_jobs
from stepfun_async.batch.inputs.jobs import Job, JobDefaults
from stepfun_async.batch.inputs.lines import line_of
from tests.support.raw import raw_server, say
from tests.support.responses import PIXEL, http_response, image_response
from tests.support.scripted import IMAGE, Respond, Scripted

Args = TypeVarTuple("Args")

KEY = "sk-test-0123456789"
URL = "https://stepfun.test/v1"
PARAMETERS: dict[str, Any] = {"size": "1024x1024", "seed": 7, "steps": 8, "cfg_scale": 1.5}


async def at_once(call: HTTPRequest, progress: SendState) -> HTTPResponse:
    return IMAGE


async def after_a_turn(call: HTTPRequest, progress: SendState) -> HTTPResponse:
    await anyio.lowlevel.checkpoint()
    return IMAGE


@asynccontextmanager
async def client_of(respond: Respond = at_once, concurrency: int = 64) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(KEY, base_url=URL, transport=Scripted(respond), limits=Limits(concurrency)) as client:
        yield client


def numbered(count: int) -> Iterator[TextToImage]:
    return (TextToImage(prompt=f"A lake, {n}", **PARAMETERS) for n in range(count))


async def functions_called(run: Callable[[], Awaitable[object]], *, and_builtins: bool = False) -> Counter[str]:
    """How often each function is called while `run` runs, in this thread: Python's, and C's too if wanted."""
    called: Counter[str] = Counter()

    def count(frame: FrameType, event: str, function: Any) -> None:
        if event == "call":
            called[frame.f_code.co_name] += 1
        elif event == "c_call" and and_builtins:
            called[function.__qualname__] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        await run()
    finally:
        sys.setprofile(before)
    return called


# --- one call ---------------------------------------------------------------------------------------


async def one_call(client: AsyncClient) -> Counter[str]:
    async def generate() -> None:
        await client.images.generate("A lake", **PARAMETERS)

    for _ in range(3):  # the first ones load and remember
        await generate()
    return await functions_called(generate)


@pytest.mark.anyio
async def test_a_call_costs_few_function_calls(anyio_backend: str) -> None:
    """Guards the whole way of a call: validation, slot, deadline, attempt, parsing, usage."""
    async with client_of() as client:
        called = await one_call(client)
    assert called.total() <= {"asyncio": 86, "trio": 134}[anyio_backend], called.most_common(40)


@pytest.mark.anyio
async def test_a_call_over_a_socket_costs_few_function_calls(anyio_backend: str) -> None:
    """Guards the way on to the socket and back, on a connection that is open; its host was judged at the first call."""
    with raw_server(say(image_response())) as server:
        async with AsyncClient(KEY, base_url=server.url) as client:
            called = min(
                [await one_call(client) for _ in range(5)], key=Counter.total
            )  # some are received in two pieces
    assert called["why_not_loopback"] == 0
    assert called.total() <= {"asyncio": 166, "trio": 242}[anyio_backend], called.most_common(40)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_plain_call_costs_few_function_calls_those_of_c_included() -> None:
    """Guards what a benchmark of small responses measures: a prompt and nothing else, httpx not imported."""
    with raw_server(say(image_response())) as server:
        async with AsyncClient(KEY, base_url=server.url) as client:
            for _ in range(3):
                await client.images.generate("A lake")
            hidden = {name: sys.modules.pop(name) for name in ("httpx", "httpcore", "pydantic_core")}
            try:
                generate = partial(client.images.generate, "A lake")
                counts = [await functions_called(generate, and_builtins=True) for _ in range(5)]
            finally:
                sys.modules.update(hidden)
    called = min(counts, key=Counter.total)
    # With 64 in flight it is 40 fewer, as calls share the turns of the loop.
    assert called.total() <= 247, called.most_common(40)


@pytest.mark.anyio
async def test_a_call_hardly_asks_which_loop_runs(anyio_backend: str) -> None:
    """Guards against anyio's conveniences on the way of a call: each of them finds out the loop anew."""
    async with client_of() as client:
        called = await one_call(client)
    assert called["current_async_library"] <= {"asyncio": 0, "trio": 4}[anyio_backend]


@pytest.mark.anyio
async def test_waiting_for_a_slot_costs_few_function_calls() -> None:
    """Guards the queue for slots: more tasks than slots is the usual case."""

    async def with_slots(slots: int) -> int:
        async with client_of(after_a_turn, slots) as client:

            async def ten_at_once() -> None:
                async with anyio.create_task_group() as group:
                    for _ in range(10):
                        group.start_soon(one_call, client)

            return (await functions_called(ten_at_once)).total()

    enough, one = await with_slots(10), await with_slots(1)
    assert one - enough <= 40 * 80


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_short_response_takes_no_memory_but_its_own() -> None:
    """Guards the buffer that all sockets of a loop receive into: a new one for each receive is the dearest step of all.

    Two sockets that receive in the same turn of the loop still have each its own.
    """
    pairs = [socketpair() for _ in range(2)]
    async with AsyncExitStack() as stack:
        opened = [await AsyncioSocket.open(ours) for ours, _ in pairs]
        for each, (_, theirs) in zip(opened, pairs, strict=True):
            stack.push_async_callback(each.aclose)
            stack.callback(theirs.close)
        tracemalloc.start()
        try:
            for number, (_, theirs) in enumerate(pairs):
                theirs.sendall(b"%d" % number * 1000)
            received = [await each.receive() for each in opened]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert received == [b"0" * 1000, b"1" * 1000]
    assert peak < 64 * 1024


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_saved_image_costs_few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the way of an image to its file: decoded in the loop's callback, and the task wakes once, at its end.

    The thread that writes pieces is left out: how far it gets meanwhile is chance.
    """
    loop, opened, woken = asyncio.get_running_loop(), list[str](), 0
    really_open, really_wake = os.open, loop.call_soon_threadsafe

    def counted_open(path: Any, *given: Any, **named: Any) -> int:
        opened.append(str(path))
        return really_open(path, *given, **named)

    def counted_wake(*given: Any, **named: Any) -> Any:
        nonlocal woken
        woken += 1
        return really_wake(*given, **named)

    monkeypatch.setattr(background, "writers", NoThreads)
    monkeypatch.setattr(os, "open", counted_open)
    monkeypatch.setattr(loop, "call_soon_threadsafe", counted_wake)
    image = PIXEL + os.urandom(1_500_000)
    said = {"data": [{"b64_json": base64.b64encode(image).decode(), "seed": 1, "finish_reason": "success"}]}
    runs = list[Counter[str]]()
    with raw_server(say(http_response(json.dumps(said).encode()))) as server:
        async with AsyncClient(KEY, base_url=server.url) as client:

            async def save() -> None:
                await client.images.generate("A lake", save_to=tmp_path / "a.png", overwrite=True, **PARAMETERS)

            for _ in range(2):
                await save()
            opened.clear()
            woken = 0
            for _ in range(5):
                runs.append(await functions_called(save))
    assert (tmp_path / "a.png").read_bytes() == image
    assert woken <= 5 * 2, "one for the checks before, one for the last piece and the name"
    assert len(opened) <= 5 * 8 + 2, "one for each piece, and a trial of the folder now and then"
    for called in runs:
        assert called["receive_into"] <= 2, "it begins, and goes on at the end"
    assert min(map(Counter.total, runs)) <= 960, runs[-1].most_common(40)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_an_edit_of_an_image_in_memory_costs_few_writes_and_no_thread() -> None:
    """Guards the way of an upload: the head goes with the texts, the image in pieces that are not copied."""
    image = PIXEL + bytes(1_500_000)
    with raw_server(say(image_response())) as server:
        async with AsyncClient(KEY, base_url=server.url) as client:
            edit = partial(client.images.edit, image, "a hat")
            await edit()
            runs = [await functions_called(edit) for _ in range(3)]
    for called in runs:
        assert called["write"] == 2 + -(-len(image) // PIECE), "head and texts, the pieces, the form's end"
        assert called["finished_in_thread"] == 0


class NoThreads:
    """Threads of which none can be started."""

    def start(self, work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")


# --- images.map -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_map_costs_few_function_calls_beside_the_calls() -> None:
    """Guards the machinery of the fan-out: workers, source, outcomes, wake-ups."""
    async with client_of(after_a_turn, 16) as client:

        async def one_by_one() -> None:
            for request in numbered(200):
                await client.images.generate(request.prompt or "", **PARAMETERS)

        async def mapped() -> None:
            assert len([outcome async for outcome in client.images.map(numbered(200))]) == 200

        await mapped()
        beside = (await functions_called(mapped)).total() - (await functions_called(one_by_one)).total()
    assert beside <= 200 * 60


@pytest.mark.anyio
async def test_map_starts_workers_only_as_they_are_needed() -> None:
    """Guards against a task for each slot where one or two can do all there is to do."""
    before = tasks()
    most = 0

    async def count(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        nonlocal most
        most = max(most, tasks() - before)
        return IMAGE

    async with client_of(count, 1000) as client:
        assert len([outcome async for outcome in client.images.map(numbered(300))]) == 300
    assert most <= 2


@pytest.mark.anyio
async def test_map_leaves_others_their_turns() -> None:
    """Guards the loop's lag: requests that are answered without a wait, as refused ones are, may be many."""
    ended, turns = 0, [0]

    async def take_turns() -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            turns.append(ended)

    async with client_of(concurrency=1000) as client, anyio.create_task_group() as group:
        group.start_soon(take_turns)
        async for outcome in client.images.map(TextToImage(prompt="A lake", steps=0) for _ in range(2000)):
            assert isinstance(outcome, Failed)
            ended += 1
        group.cancel_scope.cancel()
    assert max(after - before for before, after in pairwise(turns)) <= 50


def test_map_keeps_nothing_of_requests_whose_outcomes_were_read() -> None:
    """Guards the memory of a map over millions: it does not grow with their number."""

    async def peak_over(count: int) -> int:
        async with client_of(after_a_turn) as client:
            tracemalloc.start()
            try:
                async for _ in client.images.map(numbered(count)):
                    pass
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    asyncio.run(peak_over(200))
    few, many = asyncio.run(peak_over(1_000)), asyncio.run(peak_over(20_000))
    assert many < few + 200_000


# --- the sync client --------------------------------------------------------------------------------


def test_calls_of_many_threads_wake_the_loop_once() -> None:
    """Guards the way into the loop of the sync client: a wake-up is dear, and one brings all calls that wait."""
    busy, free = threading.Event(), threading.Event()
    woken = 0

    class Counting(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(
            self, callback: Callable[[*Args], object], *args: *Args, context: Context | None = None
        ) -> asyncio.Handle:
            nonlocal woken
            woken += 1
            return super().call_soon_threadsafe(callback, *args, context=context)

    async def hold_the_loop(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        busy.set()
        free.wait(10)
        return IMAGE

    loop_options["loop_factory"] = Counting
    try:
        with Client(KEY, base_url=URL, transport=Scripted(hold_the_loop)) as client, ThreadPoolExecutor(20) as pool:
            calls = [pool.submit(client.images.generate, "A lake")]
            assert busy.wait(10)
            waiting = client._bridge.portal.open()._queue
            before = woken
            calls += [pool.submit(client.images.generate, "A lake") for _ in range(19)]
            while len(waiting) < 19:
                pass
            free.set()
            assert all(call.result(10).data for call in calls)
            assert woken - before == 1
    finally:
        loop_options.clear()


# --- what is left, and what is loaded ---------------------------------------------------------------


def tasks() -> int:
    """How many tasks the running loop has."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.anyio
async def test_a_client_whose_calls_are_over_has_no_task_and_no_thread() -> None:
    """Guards against machinery that lives on beside the calls."""
    before = tasks(), threading.active_count()
    async with client_of(after_a_turn) as client:
        await client.images.generate("A lake", **PARAMETERS)
        assert len([outcome async for outcome in client.images.map(numbered(10))]) == 10
        await anyio.wait_all_tasks_blocked()
        assert (tasks(), threading.active_count()) == before


def loaded_by(statement: str) -> set[str]:
    """The modules that `statement` loads in a new interpreter."""
    source = f"import sys; before = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_else() -> None:
    """Guards the time that an import takes: each name is loaded when it is first used."""
    assert loaded_by("import stepfun_async") == {"__future__", "stepfun_async"}


DEAR = {"PIL", "difflib", "http.client", "httpcore", "httpx", "pydantic", "trio", "urllib.request"}
"""Modules that take long to load, and that no client needs before its first call."""


@pytest.mark.parametrize("name", ["AsyncClient", "Client"])
def test_a_client_is_there_without_what_only_calls_need(name: str) -> None:
    """Guards the time until a program has its client: what calls need, the first of them loads."""
    assert not loaded_by(f"import stepfun_async\nstepfun_async.{name}({KEY!r})") & DEAR


def test_a_first_call_loads_no_pydantic() -> None:
    """Guards the time to the first response: only request values need pydantic, which takes 60 ms to load."""
    call = f"""
import asyncio, stepfun_async
from stepfun_async._core.wire import HTTPResponse
class Fixed:
    async def send(self, call, progress):
        return HTTPResponse(200, {{}}, {IMAGE.body!r})
    async def aclose(self):
        pass
async def main():
    async with stepfun_async.AsyncClient({KEY!r}, transport=Fixed()) as client:
        assert (await client.images.generate("A lake", size="1:1")).image.format == "png"
asyncio.run(main())
"""
    assert not loaded_by(call) & DEAR


def test_looking_for_a_proxy_loads_nothing_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the time to the first response: `urllib.request` brings `http.client` and `email` along."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    look = "from stepfun_async._transport.proxies import proxy_for\nproxy_for(('https', 'api.stepfun.test', None))"
    assert not loaded_by(look) & DEAR or sys.platform in ("darwin", "win32")


# --- batches ----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_plain_line_of_a_batch_is_read_with_few_function_calls() -> None:
    """Guards against reading, checking and hashing a line in several passes."""
    defaults = JobDefaults({}, server=resolve(KEY, URL, allow_http=False, server=None).server)
    request = TextToImage(prompt="A lake, 2", **PARAMETERS)
    first, second = (line_of(number, {"prompt": f"A lake, {number}", **PARAMETERS}) for number in (1, 2))
    jobs = read_jobs([first], set(), defaults)

    async def read() -> None:
        jobs.extend(read_jobs([second], set(), defaults))

    called = await functions_called(read)
    assert [job.fingerprint for job in jobs[1:] if isinstance(job, Job)] == [request.fingerprint()]
    assert called.total() <= 130, called.most_common(40)
