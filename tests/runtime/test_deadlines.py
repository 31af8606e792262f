"""Scopes that end at a deadline, alone and where others cancel the same task."""

from __future__ import annotations

import asyncio
import gc
import threading
from weakref import ref

import anyio
import anyio.lowlevel
import pytest

from stepfun_async._runtime.deadlines import deadline_scope
from stepfun_async._runtime.event_loop import deliver_cancellation, finished_in_thread, loop_and_clock

pytestmark = pytest.mark.anyio

asyncio_only = pytest.mark.parametrize("anyio_backend", ["asyncio"])


class Reached:
    """A deadline that has passed already, as a call sees it: `ended` tells whether the block was left by it."""

    def __init__(self, timeout: float = 1.0, left: float = 0.0) -> None:
        loop, clock = loop_and_clock()
        self.at = clock() + left
        self.scope = deadline_scope(timeout, self.at, loop)
        self.ended = True

    async def wait(self) -> None:
        with self.scope:
            await anyio.sleep_forever()
            self.ended = False


async def test_a_deadline_ends_the_block_that_waits() -> None:
    reached = Reached()
    await reached.wait()
    assert reached.ended
    await anyio.lowlevel.checkpoint()  # nothing is left of the cancellation


async def test_a_block_that_ends_in_time_is_not_cancelled_later() -> None:
    loop, clock = loop_and_clock()
    at = clock() + 0.001
    with deadline_scope(0.001, at, loop):
        pass
    while clock() < at + 0.002:
        await anyio.lowlevel.checkpoint()


async def test_what_the_block_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), Reached().scope:
        raise ZeroDivisionError


async def test_deadlines_of_different_timeouts_pass_in_their_order() -> None:
    ended: list[float] = []

    async def wait(left: float) -> None:
        await Reached(left, left).wait()
        ended.append(left)

    async with anyio.create_task_group() as tasks:
        for left in (0.03, 0.01, 0.02):
            tasks.start_soon(wait, left)
    assert ended == [0.01, 0.02, 0.03]


async def test_the_scope_around_it_is_left_alone() -> None:
    with anyio.move_on_after(60) as around:
        await Reached().wait()
        await anyio.lowlevel.checkpoint()
    assert not around.cancel_called


async def test_a_scope_that_is_cancelled_ends_the_block_too() -> None:
    reached = Reached(60.0, 60.0)
    with anyio.CancelScope() as around:
        around.cancel()
        await reached.wait()
    assert around.cancelled_caught


@asyncio_only
async def test_a_task_that_is_cancelled_at_the_same_time_ends_cancelled() -> None:
    reached = Reached()
    task = asyncio.create_task(reached.wait())
    asyncio.get_running_loop().call_at(reached.at + 1e-9, task.cancel)  # in the same turn, behind the deadline
    with pytest.raises(asyncio.CancelledError):
        await task


@asyncio_only
async def test_a_timeout_around_it_that_ends_at_the_same_time_is_reported() -> None:
    async def run() -> None:
        async with asyncio.timeout_at(asyncio.get_running_loop().time()):
            await Reached().wait()
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await run()


class Step:
    """A step in a thread that has to finish, and that ends once the deadline has passed meanwhile."""

    def __init__(self) -> None:
        self._go_on = threading.Event()

    async def run(self) -> int:
        asyncio.get_running_loop().call_later(0.001, self._go_on.set)  # a timer behind that of the deadline
        return await finished_in_thread(lambda: self._go_on.wait(10) and 5)


@asyncio_only
async def test_a_deadline_during_a_step_that_has_to_finish_takes_effect_where_the_task_waits_next() -> None:
    results: list[int] = []
    with Reached().scope:
        results.append(await Step().run())
        await asyncio.sleep(0)
        results.append(await Step().run())
    assert results == [5]


@asyncio_only
async def test_a_block_that_ends_with_such_a_step_has_its_result_and_nothing_is_left_to_cancel() -> None:
    with Reached().scope:
        result = await Step().run()
    await deliver_cancellation()
    await asyncio.sleep(0)
    assert result == 5
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@asyncio_only
async def test_a_task_cancelled_during_such_a_step_too_is_cancelled_once() -> None:
    async def run() -> int:
        with Reached().scope:
            result = await Step().run()
        await deliver_cancellation()
        return result

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1


class Stubborn(asyncio.Future[None]):
    """A future that cannot be cancelled at first."""

    refuses = True

    def cancel(self, msg: object = None) -> bool:
        if self.refuses:
            self.refuses = False
            raise ZeroDivisionError
        return super().cancel(msg)


@asyncio_only
async def test_a_future_that_cannot_be_cancelled_does_not_keep_deadlines_from_passing() -> None:
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

    async def wait_stubbornly() -> None:
        with Reached().scope:
            await Stubborn()

    async with anyio.create_task_group() as tasks:
        loop.call_later(20, tasks.cancel_scope.cancel)
        tasks.start_soon(wait_stubbornly)
        tasks.start_soon(Reached().wait)
        tasks.start_soon(Reached(2.0).wait)
    assert [type(error) for error in reported] == [ZeroDivisionError]


@asyncio_only
async def test_a_deadline_keeps_no_loop_alive() -> None:
    async def run() -> ref[asyncio.AbstractEventLoop]:
        with Reached(60.0, 60.0).scope:
            await asyncio.sleep(0)
        return ref(asyncio.get_running_loop())

    gone = await asyncio.to_thread(asyncio.run, run())
    await asyncio.to_thread(gc.collect)
    assert gone() is None
