"""Work of many tasks goes to a few threads in groups, and each task gets the result of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from stepfun_async.batch.run.groups import GroupExecutor

pytestmark = pytest.mark.anyio


class Panic(BaseException):
    """What a library written in Rust raises; it is no `Exception`."""


class Bench:
    """Work that waits in its thread until it may go on. An odd number fails, and 13 panics."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.groups: list[list[int]] = []
        self.came: dict[int, object] = {}

    def work(self, numbers: Sequence[int]) -> list[int | BaseException]:
        self.groups.append(list(numbers))
        self.gate.wait()
        return [self.result(number) for number in numbers]

    def result(self, number: int) -> int | BaseException:
        return Panic() if number == 13 else ValueError(f"no {number}") if number % 2 else number

    async def ask(self, groups: GroupExecutor[int, int], number: int) -> None:
        """Have one number done, and note how that ended."""
        try:
            self.came[number] = await groups.run(number)
        except ValueError as error:
            self.came[number] = str(error)
        except Panic:
            self.came[number] = "panic"


def expected(numbers: Sequence[int]) -> dict[int, object]:
    return {n: "panic" if n == 13 else f"no {n}" if n % 2 else n for n in numbers}


@pytest.mark.parametrize(("count", "most"), [(1, 100), (2, 100), (3, 4)])
async def test_each_task_gets_its_own_result_and_what_waits_for_a_thread_is_one_group(count: int, most: int) -> None:
    bench = Bench()
    groups = GroupExecutor(bench.work, count, most)
    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(bench.ask, groups, number)
        await anyio.wait_all_tasks_blocked()
        assert len(bench.groups) <= count
        bench.gate.set()
    assert bench.came == expected(range(30))
    assert sorted(number for each in bench.groups for number in each) == list(range(30))
    assert max(map(len, bench.groups)) <= most
    assert len(bench.groups) <= 2 * count + 30 // most


async def test_an_error_of_the_work_itself_reaches_every_task_of_the_group() -> None:
    def work(numbers: Sequence[int]) -> list[int | BaseException]:
        raise Panic

    bench = Bench()
    groups = GroupExecutor(work, 1, 8)
    for _ in range(2):  # and the thread is free again
        async with anyio.create_task_group() as group:
            for number in (2, 4):
                group.start_soon(bench.ask, groups, number)
        assert bench.came == {2: "panic", 4: "panic"}
        bench.came.clear()


async def test_threads_that_were_idle_work_again() -> None:
    bench = Bench()
    bench.gate.set()
    groups = GroupExecutor(bench.work, 2, 8)
    for number in range(0, 60, 2):
        await bench.ask(groups, number)
    assert bench.came == expected(range(0, 60, 2))


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_task_that_is_cancelled_waits_for_its_result_and_is_cancelled_then(anyio_backend: str) -> None:
    bench, after = Bench(), list[int]()
    groups = GroupExecutor(bench.work, 1, 8)

    async def ask(number: int) -> None:
        await bench.ask(groups, number)
        await anyio.lowlevel.checkpoint()
        after.append(number)

    async with anyio.create_task_group() as group:
        for number in (0, 2):
            group.start_soon(ask, number)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
        threading.Timer(0.0, bench.gate.set).start()
    assert bench.came == expected([0, 2])
    assert after == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_asyncio_cancels_waits_for_its_result_and_is_cancelled_then(anyio_backend: str) -> None:
    bench, after = Bench(), list[int]()
    groups = GroupExecutor(bench.work, 1, 8)

    async def ask() -> None:
        await bench.ask(groups, 2)
        await asyncio.sleep(0)
        after.append(2)

    task = asyncio.create_task(ask())
    await anyio.wait_all_tasks_blocked()
    for _ in range(3):
        task.cancel("enough")
        await asyncio.sleep(0)
    bench.gate.set()
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert (bench.came, after) == ({2: 2}, [])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_deadline_of_asyncio_is_still_one_when_the_result_came_after_it(anyio_backend: str) -> None:
    bench = Bench()
    groups = GroupExecutor(bench.work, 1, 8)

    async def ask() -> None:
        async with asyncio.timeout(None) as deadline:
            asyncio.get_running_loop().call_soon(deadline.reschedule, 0.0)
            threading.Timer(0.0, bench.gate.set).start()
            await bench.ask(groups, 2)
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await ask()
    assert bench.came == {2: 2}
