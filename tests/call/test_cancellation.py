"""Cancel anywhere, lose nothing: a call is cancelled at every point where it can be, and what is left is looked at.

A coroutine can be cancelled where it is suspended, and nowhere else. So a call is run again and again, and
cancelled at its first suspension, at its second, and so on, until it ends before its turn comes.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from types import coroutine
from typing import Any, Final, Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trustme

from stepfun_async import APITimeoutError, AsyncClient, Finished, Limits, RetryPolicy, SaveError, TextToImage, Usage
from stepfun_async._core import wire
from stepfun_async._runtime.deadlines import _queues
from stepfun_async._transport import pool as connections
from stepfun_async.embedded import EmbeddedTransport, Engine
from tests.support.faulty import FaultyService, faulty_service
from tests.support.responses import PIXEL
from tests.support.shells import open_files, running_tasks

pytestmark = pytest.mark.anyio

# --- interrupting -------------------------------------------------------------------------------


class Interruption:
    """Cancels what it runs when that is suspended for the `at`-th time.

    Args:
        at: when.
        native: whether by `Task.cancel()`, as asyncio's own timeouts do it, instead of a cancel scope.

    Attributes:
        scope: what is cancelled.
        suspended: how often what it runs was suspended so far.
    """

    def __init__(self, at: int, *, native: bool = False) -> None:
        self.scope = anyio.CancelScope()
        self.suspended = 0
        self._at = at
        self._native = native

    @property
    def came(self) -> bool:
        """Whether its turn came."""
        return self.suspended >= self._at

    async def apart(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run `work` where it can be cancelled alone: in a scope, or in a task of its own."""
        if not self._native:
            with self.scope:
                await self.run(work())
            return
        task = asyncio.ensure_future(self.run(work()))
        await asyncio.wait([task])
        assert task.cancelled() == self.came, "a cancelled task ends as one"
        if not task.cancelled():
            task.result()

    @coroutine
    def run(self, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Run `work`, handing on to the loop what it waits for, and to it what the loop says."""
        go_on: Callable[[], Any] = partial(work.send, None)
        while True:
            try:
                waits_for = go_on()
            except StopIteration as end:
                return end.value
            self.suspended += 1
            if self.suspended == self._at:
                self._cancel()
            try:
                go_on = partial(work.send, (yield waits_for))
            except BaseException as error:  # noqa: BLE001 - the cancellation, mostly; it is for `work`
                go_on = partial(work.throw, error)

    def _cancel(self) -> None:
        if self._native:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        else:
            self.scope.cancel()


# --- places -------------------------------------------------------------------------------------


class Place(Protocol):
    """Where calls go."""

    def client(self, limits: Limits) -> AsyncClient:
        """A client for it."""
        ...

    async def at_rest(self) -> None:
        """Wait until it is done with all that came and that no client waits for any more."""
        ...

    def get_ready(self) -> None:
        """Get ready for the next call: its connection is kept, or it is not."""
        ...

    @property
    def bill(self) -> int:
        """How many images it charged."""
        ...

    @property
    def link(self) -> str:
        """A link to an image."""
        ...


@dataclass(frozen=True)
class Sockets:
    """A service behind sockets, called at `url`, on connections that were `kept` or on new ones."""

    service: FaultyService
    url: str
    kept: bool

    def client(self, limits: Limits) -> AsyncClient:
        return AsyncClient("sk-test", base_url=self.url, limits=limits, retry=RetryPolicy(max_attempts=1))

    async def at_rest(self) -> None:
        await anyio.to_thread.run_sync(self.service.see_to_all)
        await until(lambda: self.service.busy == 0)

    def get_ready(self) -> None:
        if not self.kept:
            self.service.drop_idle()

    @property
    def bill(self) -> int:
        return self.service.bill

    @property
    def link(self) -> str:
        return f"{self.url}/pictures/1.png"


@dataclass(frozen=True)
class Embedded:
    """The engine in this process."""

    engine: Engine = field(default_factory=Engine)

    def client(self, limits: Limits) -> AsyncClient:
        return AsyncClient(base_url="embedded", transport=EmbeddedTransport(self.engine), limits=limits)

    async def at_rest(self) -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        await until(lambda: limiter.borrowed_tokens == 0)

    def get_ready(self) -> None:
        pass

    @property
    def bill(self) -> int:
        return self.engine.bill().images

    @property
    def link(self) -> str:
        response = self.engine.respond(
            wire.HTTPRequest("POST", "/images/generations", json={**SMALL, "response_format": "url"})
        )
        return str(json.loads(response.body)["data"][0]["url"])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - no event says what sockets and threads do
            await anyio.sleep(0.001)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """What a service proves itself by to clients, which trust the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        connections._contexts.clear()
        yield context
    connections._contexts.clear()


@pytest.fixture(params=["by address", "by name", "under TLS", "kept", "kept under TLS", "embedded"])
def place(request: pytest.FixtureRequest, certificate: ssl.SSLContext) -> Iterator[Place]:
    if request.param == "embedded":
        yield Embedded()
        return
    with faulty_service(certificate=certificate, tls="TLS" in request.param) as service:
        url = service.url.replace("127.0.0.1", "localhost") if request.param == "by name" else service.url
        yield Sockets(service, url, kept="kept" in request.param)


# --- what is cancelled --------------------------------------------------------------------------

SMALL: Final[dict[str, Any]] = {"model": "step-2x-large", "prompt": "a lake", "size": "256x256"}
"""The smallest image there is."""


@dataclass(frozen=True)
class Scene:
    """A client, where it calls, and how it was before it was cancelled.

    Attributes:
        client: the client.
        place: where it calls.
        link: a link to an image there.
        path: where an image is saved.
        files: descriptors that were open when all was well.
        tasks: tasks that the loop had then.
    """

    client: AsyncClient
    place: Place
    link: str
    path: Path
    files: int
    tasks: int


async def generate(scene: Scene) -> None:
    await scene.client.images.generate(**SMALL)


async def save(scene: Scene) -> None:
    await scene.client.images.generate(**SMALL, save_to=scene.path)


async def edit(scene: Scene) -> None:
    await scene.client.images.edit(PIXEL, "blue")


async def download(scene: Scene) -> None:
    await scene.client.images.download(scene.link)


async def read_map(scene: Scene) -> None:
    async with scene.client.images.map(TextToImage(**SMALL) for _ in range(4)) as outcomes:
        async for outcome in outcomes:
            assert isinstance(outcome, Finished)


Act = Callable[[Scene], Coroutine[Any, Any, None]]


async def works(client: AsyncClient, link: str) -> None:
    """All slots are free, responses are those of the calls that return them, links can be followed."""

    async def call(number: int) -> None:
        name = f"call-{number}"
        response = await client.images.generate(**SMALL, queue_timeout=0, extra_headers={"x-request-id": name})
        assert response.trace_id == name or client.base_url == "embedded"

    async with anyio.create_task_group() as group:
        for number in range(client.limits.max_concurrency):
            group.start_soon(call, number)
    await client.images.download(link, queue_timeout=0)


@asynccontextmanager
async def on_stage(place: Place, folder: Path, slots: int) -> AsyncIterator[Scene]:
    """A client for which all is well."""
    async with place.client(Limits(slots)) as client:
        link = place.link
        await works(client, link)
        await place.at_rest()
        yield Scene(client, place, link, folder / "lake.png", open_files(), running_tasks())


async def assert_nothing_is_lost(scene: Scene, before: Usage, bill: int) -> None:
    """The usage agrees with the bill, and nothing is left that was not there before."""
    client, place = scene.client, scene.place
    await place.at_rest()
    usage = client.usage
    billed, unknown = usage.billed - before.billed, usage.maybe_billed - before.maybe_billed
    assert billed <= place.bill - bill <= billed + unknown
    assert unknown <= usage.attempts - before.attempts <= usage.requests - before.requests
    assert (client.limits.state.in_flight, client.limits.state.waiting) == (0, 0)
    await until(lambda: running_tasks() == scene.tasks)
    await works(client, scene.link)
    await place.at_rest()
    await until(lambda: open_files() <= scene.files)


async def sweep(scene: Scene, run: Callable[[Interruption], Coroutine[Any, Any, None]]) -> int:
    """How often `run` is suspended. It is interrupted each time, and nothing is lost."""
    for at in count(1):
        scene.place.get_ready()
        interruption, bill, before = Interruption(at), scene.place.bill, scene.client.usage
        with interruption.scope:
            await run(interruption)
        await assert_nothing_is_lost(scene, before, bill)
        if not interruption.came:
            return at - 1
    raise AssertionError


@pytest.mark.parametrize("act", [generate, edit, download, read_map], ids=lambda act: act.__name__)
async def test_a_call_can_be_cancelled_wherever_it_waits(act: Act, place: Place, tmp_path: Path) -> None:
    async with on_stage(place, tmp_path, 2) as scene:
        points = await sweep(scene, lambda interruption: interruption.run(act(scene)))
    assert points > 0


class Deadline(Interruption):
    """Has the deadline pass of what it runs; in the same turn of the loop, others cancel `before` or `behind` it."""

    def __init__(self, at: int, *, before: str = "", behind: str = "") -> None:
        super().__init__(at, native="native" in (before, behind))
        self._in_order = (before, "deadline", behind)

    def _cancel(self) -> None:
        asyncio.get_running_loop().call_soon(self._cancel_all, asyncio.current_task())

    def _cancel_all(self, task: asyncio.Task[Any] | None) -> None:
        for what in self._in_order:
            if what == "native" and task is not None:
                task.cancel()
            elif what == "scope":
                self.scope.cancel()
            elif what == "deadline":
                for deadlines in tuple(_queues.get().by_timeout.values()):
                    for deadline in tuple(deadlines):
                        deadline.expire()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("act", [generate, save, edit, download], ids=lambda act: act.__name__)
async def test_a_deadline_can_pass_wherever_a_call_waits(act: Act, place: Place, tmp_path: Path) -> None:
    passed = 0
    async with on_stage(place, tmp_path, 2) as scene:
        for at in count(1):
            scene.place.get_ready()
            deadline, bill, before = Deadline(at), scene.place.bill, scene.client.usage
            try:
                await deadline.run(act(scene))
            except (APITimeoutError, SaveError):
                passed += 1
            await anyio.lowlevel.checkpoint()  # nothing is left of the cancellation
            assert requests_to_cancel() == 0
            await assert_nothing_is_lost(scene, before, bill)
            scene.path.unlink(missing_ok=True)
            if not deadline.came:
                break
    assert passed > 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("act", [generate, save, edit, download], ids=lambda act: act.__name__)
@pytest.mark.parametrize(
    "others", [{"before": "scope"}, {"before": "native"}, {"behind": "scope"}, {"behind": "native"}]
)
async def test_a_deadline_that_passes_as_something_else_cancels_takes_nothing_from_it(
    act: Act, others: dict[str, str], place: Place, tmp_path: Path
) -> None:
    async with on_stage(place, tmp_path, 2) as scene:
        for at in count(1):
            scene.place.get_ready()
            deadline, bill, before = Deadline(at, **others), scene.place.bill, scene.client.usage

            async def run(deadline: Deadline = deadline) -> None:
                await act(scene)
                await anyio.lowlevel.checkpoint()
                assert not deadline.came

            await deadline.apart(run)
            assert requests_to_cancel() == 0
            await assert_nothing_is_lost(scene, before, bill)
            scene.path.unlink(missing_ok=True)
            if not deadline.came:
                assert at > 1
                break


def requests_to_cancel() -> int:
    """How often the running task was cancelled, by someone who has not taken it back."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def test_an_image_that_is_saved_is_there_or_was_not_paid_for_in_silence(place: Place, tmp_path: Path) -> None:
    async with on_stage(place, tmp_path, 2) as scene:

        async def saved(interruption: Interruption) -> None:
            billed = scene.client.usage.billed
            try:
                await interruption.run(save(scene))
            finally:
                assert scene.path.exists() == (scene.client.usage.billed > billed)
                scene.path.unlink(missing_ok=True)

        assert await sweep(scene, saved) > 2


async def test_a_map_can_be_left_wherever_its_workers_wait(place: Place, tmp_path: Path) -> None:
    async with on_stage(place, tmp_path, 2) as scene:
        service = scene.client._service
        send = service.send

        async def left(interruption: Interruption) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(service, "send", lambda *given, **named: interruption.run(send(*given, **named)))
                await read_map(scene)

        assert await sweep(scene, left) > 2


async def test_thousands_of_cancellations_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Half of them in the queue for a slot, half of them anywhere on the way."""
    caplog.set_level(logging.CRITICAL, "stepfun_async")  # what is logged is kept here until the end
    points, sizes = random.Random(1), list[int]()
    with faulty_service() as service:
        async with on_stage(Sockets(service, service.url, kept=True), Path(), 4) as scene:

            async def cancel(times: int) -> None:
                while times:
                    interruption = Interruption(points.choice((*[1] * 8, *range(2, 8))))
                    with interruption.scope:
                        await interruption.run(generate(scene))
                    times -= interruption.scope.cancelled_caught

            for times in (40, 160):
                bill, before = scene.place.bill, scene.client.usage
                async with anyio.create_task_group() as group:
                    for _ in range(16):
                        group.start_soon(cancel, times)
                await assert_nothing_is_lost(scene, before, bill)
                gc.collect()
                sizes.append(len(gc.get_objects()))
        service.await_none()
    assert sizes[1] - sizes[0] < 400, "there are more objects after 2,560 more"
