"""Writes that go on in a thread while their task does something else."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from stepfun_async._runtime import background
from stepfun_async._runtime.background import BackgroundWrite
from stepfun_async._runtime.event_loop import ThreadResult
from stepfun_async._runtime.workers import Threads

pytestmark = pytest.mark.anyio


class Held:
    """A write that waits to be let go on."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.over = threading.Event(), threading.Event(), threading.Event()
        self.thread = 0

    def __call__(self) -> None:
        self.thread = threading.get_ident()
        self.begun.set()
        assert self.go_on.wait(10)
        self.over.set()


async def test_a_task_goes_on_while_a_thread_writes_and_waits_for_it_when_it_likes() -> None:
    held = Held()
    write = BackgroundWrite(held)
    assert await anyio.to_thread.run_sync(held.begun.wait, 10)
    over = [write.is_over]
    held.go_on.set()
    await write.wait()
    over.append(write.is_over)
    assert over == [False, True]
    assert held.over.is_set()
    assert held.thread != threading.get_ident()
    await write.wait()
    await write.finished()


async def test_who_stops_waiting_leaves_the_write_alone() -> None:
    held = Held()
    write = BackgroundWrite(held)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await write.wait()
    assert scope.cancelled_caught
    assert not write.is_over
    held.go_on.set()
    await write.wait()
    assert held.over.is_set()


async def test_a_write_is_waited_for_even_when_the_caller_is_cancelled() -> None:
    held = Held()
    write = BackgroundWrite(held)
    with anyio.CancelScope() as scope:
        scope.cancel()
        held.go_on.set()
        await write.finished()
        assert held.over.is_set()
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_a_write_that_hangs_holds_up_no_other() -> None:
    hung, other = Held(), Held()
    other.go_on.set()
    writes = BackgroundWrite(hung), BackgroundWrite(other)
    with anyio.fail_after(10):
        await writes[1].wait()
    assert not writes[0].is_over
    hung.go_on.set()
    await writes[0].wait()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_loop_is_not_woken_for_a_write_that_no_task_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, woken = asyncio.get_running_loop(), list[object]()
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *given, **_: woken.append(given))
    held = Held()
    held.go_on.set()
    write = BackgroundWrite(held)
    while not write.is_over:
        pass
    await write.wait()
    assert woken == []


async def test_a_write_that_ends_when_its_task_begins_to_wait_is_not_waited_for_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Late(ThreadResult[Any]):
        """Made when the write goes on, and not at hand before the write is over."""

        def __init__(self) -> None:
            super().__init__()
            held.go_on.set()
            while not write.is_over:
                pass

    monkeypatch.setattr(background, "ThreadResult", Late)
    held = Held()
    write = BackgroundWrite(held)
    with anyio.fail_after(10):
        await write.wait()


async def test_a_write_is_done_at_once_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Threads, "start", refuse)
    held = Held()
    held.go_on.set()
    write = BackgroundWrite(held)
    assert write.is_over
    assert held.thread == threading.get_ident()
    await write.finished()
