"""Work in threads, which is waited for whoever cancels."""

from __future__ import annotations

import asyncio
import threading

import anyio
import anyio.lowlevel
import pytest

from stepfun_async._loops import finished_in_thread

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


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("fails", [True, False])
async def test_a_task_that_is_cancelled_ends_when_the_work_has_ended(fails: bool) -> None:
    loop = asyncio.get_running_loop()
    begun, go_on, ended = asyncio.Event(), threading.Event(), threading.Event()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        ended.set()
        if fails:
            raise ZeroDivisionError

    task = asyncio.create_task(finished_in_thread(work))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await anyio.lowlevel.checkpoint()
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


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
