"""Work in threads, which is waited for whatever is cancelled."""

from __future__ import annotations

import asyncio
import threading

import anyio
import anyio.lowlevel
import pytest

from stepfun_async._runtime.event_loop import Job, ended, finished, finished_in_thread

pytestmark = pytest.mark.anyio


async def test_work_is_done_by_another_thread() -> None:
    assert await finished_in_thread(threading.get_ident) != threading.get_ident()


async def test_what_work_raises_is_raised() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await finished_in_thread(fail)


async def test_work_of_a_scope_that_is_cancelled_is_done_and_its_result_given() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        assert await finished_in_thread(lambda: 5) == 5
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


class Slow:
    """Work for a thread that waits to be let go on."""

    def __init__(self, *, fails: bool = False) -> None:
        self.begun, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        self._fails = fails

    def __call__(self) -> int:
        self.begun.set()
        assert self.go_on.wait(10)
        self.ended.set()
        if self._fails:
            raise ZeroDivisionError
        return 5

    async def has_begun(self) -> None:
        while not self.begun.is_set():
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_task_that_is_cancelled_gets_what_work_gives_and_is_cancelled_then(fails: bool, times: int) -> None:
    got: list[object] = []
    work = Slow(fails=fails)

    async def call() -> None:
        try:
            got.append(await finished_in_thread(work))
        except ZeroDivisionError:
            got.append("failed")
            raise

    async def wait() -> None:
        await ended(call())
        got.append("went on")

    task = asyncio.create_task(wait())
    await work.has_begun()
    for _ in range(times):
        task.cancel()
        await anyio.lowlevel.checkpoint()
    assert not task.done()
    work.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended.is_set()
    assert got == ["failed" if fails else 5]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_timeout_of_asyncio_is_one_although_what_it_ends_had_to_end_first() -> None:
    async def step() -> int:
        await asyncio.sleep(0.05)
        return 5

    got: list[int] = []

    async def call() -> None:
        got.append(await finished(step))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await ended(call())
    assert got == [5]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # nothing is left to take effect


async def test_a_step_of_a_scope_that_is_cancelled_is_done() -> None:
    async def step() -> int:
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        return 5

    with anyio.CancelScope() as scope:
        scope.cancel()
        assert await finished(step) == 5
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_work_that_is_left_goes_on_and_is_seen_to() -> None:
    work, unwanted = Slow(), threading.Event()
    job = Job(work, unwanted.set)
    async with anyio.create_task_group() as group:
        group.start_soon(job.result)
        await work.has_begun()
        group.cancel_scope.cancel()
    assert not work.ended.is_set()
    assert not unwanted.is_set()
    work.go_on.set()
    assert unwanted.wait(10)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_work_whose_loop_was_closed_is_seen_to() -> None:
    work, unwanted = Slow(), threading.Event()

    def leave() -> None:
        loop = asyncio.new_event_loop()

        async def begin() -> None:
            task = asyncio.ensure_future(Job(work, unwanted.set).result())
            await work.has_begun()
            del task

        loop.run_until_complete(begin())
        loop.close()

    await asyncio.to_thread(leave)
    work.go_on.set()
    assert unwanted.wait(10)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_system_that_gives_no_more_threads_has_the_work_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, or by a thread that was there already: a pool keeps what it could start no thread for."""
    begun, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def busy() -> None:
        begun.set()
        assert go_on.wait(10)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with anyio.create_task_group() as group:
        group.start_soon(finished_in_thread, busy)
        while not begun.is_set():
            await anyio.lowlevel.checkpoint()
        monkeypatch.setattr(threading.Thread, "start", refuse)
        await finished_in_thread(lambda: done.append(1))
        monkeypatch.undo()
        go_on.set()
    await finished_in_thread(lambda: None)
    assert done == [1]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_threads_of_the_loop_that_all_wait_are_no_hindrance() -> None:
    """As those of `asyncio.to_thread` that wait for calls made with `run_coroutine_threadsafe`."""
    loop = asyncio.get_running_loop()

    def ask() -> int:
        return asyncio.run_coroutine_threadsafe(finished_in_thread(threading.get_ident), loop).result(10)

    assert len(await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(40)))) == 40
