"""Work of many tasks goes to a few threads in lots, and each task gets what came of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
import pytest

from stepfun_async.batch.run.threads import Threads

pytestmark = pytest.mark.anyio


class Bench:
    """Work that waits in its thread until it may go on."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.done: list[int] = []

    def piece(self, number: int) -> Callable[[], int]:
        """Work that gives `number`; an odd one fails."""

        def work() -> int:
            self.gate.wait()
            self.done.append(number)
            if number % 2:
                raise ValueError(f"piece {number}")
            return number

        return work


async def test_each_task_gets_what_came_of_its_own_work() -> None:
    bench, threads, came = Bench(), Threads(2), dict[int, object]()

    async def ask(number: int) -> None:
        try:
            came[number] = await threads.do(bench.piece(number))
        except ValueError as error:
            came[number] = str(error)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ask, number)
        await anyio.wait_all_tasks_blocked()
        bench.gate.set()
    assert came == {number: f"piece {number}" if number % 2 else number for number in range(20)}


async def test_no_more_threads_work_at_once_and_none_is_lost() -> None:
    threads = Threads(3)
    at_work, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        with lock:
            at_work -= 1

    for _ in range(3):
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(threads.do, work)
    assert 1 <= most <= 3


async def test_what_was_not_begun_is_given_up_when_its_task_is_cancelled_and_the_rest_goes_on() -> None:
    bench, threads, came = Bench(), Threads(1), list[int]()

    async def ask(number: int) -> None:
        came.append(await threads.do(bench.piece(number)))

    async with anyio.create_task_group() as group:
        group.start_soon(ask, 0)
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as given_up:
            given_up.start_soon(ask, 2)
            given_up.start_soon(ask, 4)
            await anyio.wait_all_tasks_blocked()
            given_up.cancel_scope.cancel()
        group.start_soon(ask, 6)
        await anyio.wait_all_tasks_blocked()
        bench.gate.set()
    assert came == [0, 6]
    assert sorted(bench.done) == [0, 6]


async def test_a_task_that_is_cancelled_while_it_leads_leaves_nothing_undone() -> None:
    """Its own work and that of the others in its lot is done, and the thread is free again."""
    bench, threads, came = Bench(), Threads(1), list[int]()
    leading = anyio.CancelScope()

    async def ask(number: int) -> None:
        came.append(await threads.do(bench.piece(number)))

    async def lead() -> None:
        with leading:
            await ask(0)

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await anyio.wait_all_tasks_blocked()
        for number in (2, 4, 6):
            group.start_soon(ask, number)
        await anyio.wait_all_tasks_blocked()
        leading.cancel()
        bench.gate.set()
    assert sorted(bench.done) == [0, 2, 4, 6]
    assert sorted(number for number in came if number) == [2, 4, 6]


async def test_what_ends_one_piece_of_a_lot_ends_no_other() -> None:
    """Not even what is no `Exception`, as a panic in Rust is none."""
    bench, threads, came = Bench(), Threads(1), dict[int, object]()

    class Panic(BaseException):
        pass

    def panic() -> int:
        raise Panic

    async def ask(number: int) -> None:
        try:
            came[number] = await threads.do(panic if number == 2 else bench.piece(number))
        except Panic:
            came[number] = "panic"

    async with anyio.create_task_group() as group:
        for number in (0, 2, 4, 6):
            group.start_soon(ask, number)
        await anyio.wait_all_tasks_blocked()
        bench.gate.set()
    assert came == {0: 0, 2: "panic", 4: 4, 6: 6}
