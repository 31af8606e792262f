"""Threads of the package's own, and nothing that waits for one of the application's."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from stepfun_async import AsyncClient, Limits, TextToImage
from stepfun_async._runtime.event_loop import running_loop
from stepfun_async._runtime.workers import Threads
from stepfun_async.batch import Batch
from stepfun_async.embedded import EmbeddedTransport, Engine
from stepfun_async.embedded.server import running
from tests.call.test_cancelled_money import PIXEL_64
from tests.support.backends import MemoryBackend

# --- the pool ---------------------------------------------------------------------------------------


@contextmanager
def busy(pool: Threads, count: int) -> Iterator[threading.Event]:
    """So many threads that wait for the event."""
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        begun.release()
        assert go_on.wait(10)

    for _ in range(count):
        pool.start(wait)
    for _ in range(count):
        assert begun.acquire(timeout=10)
    try:
        yield go_on
    finally:
        go_on.set()


def _note_thread(seen: set[int], done: threading.Event) -> None:
    seen.add(threading.get_ident())
    done.set()


def test_a_thread_that_is_done_does_the_next_work() -> None:
    pool, seen = Threads(4), set[int]()
    for _ in range(20):
        done = threading.Event()

        pool.start(partial(_note_thread, seen, done))
        assert done.wait(10)
        while not pool._idle:
            pass
    assert len(seen) == 1


def test_more_work_than_threads_waits_its_turn() -> None:
    pool, done = Threads(2), threading.Semaphore(0)
    for _ in range(500):
        pool.start(done.release)
    for _ in range(500):
        assert done.acquire(timeout=10)
    assert not pool._waiting


def test_threads_that_all_wait_for_work_that_waits_get_company() -> None:
    pool, order = Threads(2), list[int]()
    with busy(pool, 2) as go_on:
        pool.start(lambda: order.append(1))
        pool.start(go_on.set)
        assert go_on.wait(10)
    assert order == [1]


def test_no_thread_at_all_is_an_error_and_the_work_is_not_done_later(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, done = Threads(2), list[int]()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            pool.start(lambda: done.append(1))
    later = threading.Event()
    pool.start(later.set)
    assert later.wait(10)
    assert done == []


# --- nothing waits for the application's --------------------------------------------------------------


class _Refusing(Executor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise AssertionError(f"the loop's own threads were asked for {fn}")


@asynccontextmanager
async def no_thread_but_ours() -> AsyncIterator[None]:
    """All threads of anyio's and of the loop's are taken, as by endpoints that wait for calls of ours."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    before = limiter.total_tokens
    loop: Any = running_loop()
    if hasattr(loop, "set_default_executor"):
        loop._default_executor = _Refusing()  # `set_default_executor` takes nothing but the usual kind
    limiter.total_tokens = 1
    limiter.acquire_on_behalf_of_nowait("the application")
    try:
        with anyio.fail_after(30):
            yield
    finally:
        limiter.release_on_behalf_of("the application")
        limiter.total_tokens = before
        if hasattr(loop, "set_default_executor"):
            loop._default_executor = None


Act = Callable[[AsyncClient, Path], Awaitable[object]]


async def generate(client: AsyncClient, folder: Path) -> None:
    await client.images.generate("a lake")


async def save(client: AsyncClient, folder: Path) -> None:
    await client.images.generate("a lake", save_to=folder / "lake")


async def save_by_link(client: AsyncClient, folder: Path) -> None:
    await client.images.generate("a lake", model="step-2x-large", response_format="url", save_to=folder / "linked")


async def edit(client: AsyncClient, folder: Path) -> None:
    (folder / "source.png").write_bytes(PIXEL_64)
    await client.images.edit(folder / "source.png", "a hat")


async def fan_out(client: AsyncClient, folder: Path) -> None:
    assert len([outcome async for outcome in client.images.map([TextToImage(prompt="a lake")] * 3)]) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("act", [generate, save, save_by_link, edit, fan_out], ids=lambda act: act.__name__)
@pytest.mark.parametrize("where", ["embedded", "http"])
async def test_a_call_needs_no_thread_of_the_application(act: Act, where: str, shared: bool, tmp_path: Path) -> None:
    limits = Limits(4, 1000, backend=MemoryBackend() if shared else None)
    engine = Engine(plain=act is not generate)
    with running(engine) as url:
        at: dict[str, Any] = {"base_url": url, "api_key": "sk-test"}
        if where == "embedded":
            at = {"base_url": "embedded", "transport": EmbeddedTransport(engine)}
        async with no_thread_but_ours(), AsyncClient(**at, limits=limits) as client:
            await act(client, tmp_path)


@pytest.mark.anyio
async def test_a_batch_needs_no_thread_of_the_application(tmp_path: Path) -> None:
    inputs = tmp_path / "prompts.txt"
    inputs.write_text("a lake\na hill\n")
    async with no_thread_but_ours():
        progress = await Batch(inputs, out=tmp_path / "batch", base_url="embedded").run()
    assert progress.done == 2
