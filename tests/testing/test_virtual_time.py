"""Virtual time: long waits end at once and in order, and nothing that takes real time is overtaken.

A test here that really waited would not end for hours, so that it ends is what it asserts.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from stepfun_async import (
    APITimeoutError,
    AsyncClient,
    Client,
    ConfigurationError,
    Finished,
    Limits,
    QueueTimeoutError,
    RateLimitError,
    TextToImage,
)
from stepfun_async._runtime.files import AtomicFile
from stepfun_async.embedded import Engine
from stepfun_async.embedded.server import running
from stepfun_async.testing import FakeStepFun, VirtualLoop, run, virtual_backend, virtual_time

DAY = 86_400.0

Main = Callable[[], Awaitable[Any]]


@pytest.fixture(params=["asyncio", "trio"])
def in_virtual_time(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    """Runs an async function on either backend."""
    return lambda main: run(main, backend=request.param)


def work() -> bytes:
    """Something that takes real time in a thread, and leaves the others theirs."""
    return hashlib.pbkdf2_hmac("sha256", b"", b"", 50_000)


# --- what is jumped over


def test_time_begins_at_0_and_jumps_to_the_next_timer(in_virtual_time: Callable[[Main], Any]) -> None:
    async def main() -> list[float]:
        times = [anyio.current_time()]
        for seconds in (0.5, 400 * DAY, 1e-3):
            await anyio.sleep(seconds)
            times.append(anyio.current_time())
        return times

    assert in_virtual_time(main) == pytest.approx([0, 0.5, 400 * DAY + 0.5, 400 * DAY + 0.501])


def test_timers_go_off_in_their_order(in_virtual_time: Callable[[Main], Any]) -> None:
    async def main() -> list[float]:
        seen: list[float] = []

        async def wait(seconds: float) -> None:
            await anyio.sleep(seconds)
            seen.append(anyio.current_time())

        async with anyio.create_task_group() as group:
            for seconds in (30, 10, 20, 10):
                group.start_soon(wait, seconds)
        return seen

    assert in_virtual_time(main) == pytest.approx([10, 10, 20, 30])


def test_retries_wait_in_virtual_time(in_virtual_time: Callable[[Main], Any]) -> None:
    stepfun = FakeStepFun()
    stepfun.fail("429=600*2")

    async def main() -> None:
        async with stepfun.async_client(timeout=DAY) as client:
            response = await client.images.generate("a lake")
        assert response.attempts == 3
        assert 1200 <= response.elapsed == anyio.current_time() <= 1440  # 0 to 20 % later than it was asked to

    in_virtual_time(main)
    stepfun.assert_paid(1)


def test_deadlines_pass_in_virtual_time(in_virtual_time: Callable[[Main], Any]) -> None:
    stepfun = FakeStepFun()
    stepfun.fail("hang")

    async def main() -> float:
        async with stepfun.async_client() as client:
            with pytest.raises(APITimeoutError):
                await client.images.generate("a lake", timeout=DAY)
        return anyio.current_time()

    assert in_virtual_time(main) == pytest.approx(DAY)


def test_the_queue_passes_in_virtual_time(in_virtual_time: Callable[[Main], Any]) -> None:
    """Each of four calls takes an hour, one at a time, and the last would have to wait for three."""
    stepfun = FakeStepFun()
    stepfun.fail("delay=3600")

    async def main() -> None:
        async with (
            stepfun.async_client(limits=Limits(max_concurrency=1), timeout=2 * 3600) as client,
            anyio.create_task_group() as group,
        ):
            for number in range(3):
                group.start_soon(client.images.generate, f"lake {number}")
            await anyio.sleep(1800)
            with pytest.raises(QueueTimeoutError):
                await client.images.generate("late", queue_timeout=2 * 3600)
            assert anyio.current_time() == pytest.approx(2.5 * 3600)
        assert anyio.current_time() == pytest.approx(3 * 3600)

    in_virtual_time(main)
    assert sorted(call.prompt for call in stepfun.paid) == ["lake 0", "lake 1", "lake 2"]


def test_the_same_program_runs_the_same_way_again() -> None:
    """On asyncio; trio itself takes ready tasks in either order, by chance."""

    def calls() -> list[object]:
        stepfun = FakeStepFun()
        stepfun.fail("503%30", "delay=2%30", "delay=0.7%50")
        random.seed(5)

        async def main() -> list[str | None]:
            requests = (TextToImage(prompt=f"lake {number}") for number in range(40))
            async with stepfun.async_client(limits=Limits(max_concurrency=4)) as client:
                outcomes = [outcome async for outcome in client.images.map(requests)]
            assert sum(isinstance(outcome, Finished) for outcome in outcomes) > 20
            return [outcome.request.prompt for outcome in outcomes]

        ended = run(main)
        return [ended, [(call.prompt, call.status) for call in stepfun.calls]]

    assert calls() == calls()


def test_a_task_that_waits_until_all_are_blocked_comes_before_the_jump(in_virtual_time: Callable[[Main], Any]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, DAY)
            for _ in range(3):
                await anyio.wait_all_tasks_blocked()
                assert anyio.current_time() < DAY
        assert anyio.current_time() == pytest.approx(DAY)

    in_virtual_time(main)


# --- what is waited for


def test_no_deadline_passes_while_a_thread_works(in_virtual_time: Callable[[Main], Any]) -> None:
    async def main() -> None:
        with anyio.fail_after(600):
            for _ in range(3):
                await anyio.to_thread.run_sync(work)
        assert anyio.current_time() == 0

    in_virtual_time(main)


@pytest.mark.parametrize("own", [True, False], ids=["an executor of its own", "the default executor"])
def test_no_deadline_passes_while_an_executor_works(own: bool) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(600):
            if own:
                with ThreadPoolExecutor(1) as executor:
                    await loop.run_in_executor(executor, work)
            else:
                await asyncio.gather(asyncio.to_thread(work), asyncio.to_thread(work))
        now = loop.time()
        await asyncio.sleep(DAY)
        return now

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == 0


def test_a_thread_may_wait_for_the_loop_that_waits_for_it(in_virtual_time: Callable[[Main], Any]) -> None:
    async def main() -> float:
        await anyio.to_thread.run_sync(anyio.from_thread.run, anyio.sleep, 0.01)
        await anyio.sleep(DAY)
        return anyio.current_time()

    assert in_virtual_time(main) == pytest.approx(DAY + 0.01)


def test_a_thread_outside_can_wake_the_loop(in_virtual_time: Callable[[Main], Any]) -> None:
    async def main() -> None:
        event, token = anyio.Event(), anyio.lowlevel.current_token()
        thread = threading.Thread(target=lambda: anyio.from_thread.run_sync(event.set, token=token))
        thread.start()
        await event.wait()
        thread.join()

    in_virtual_time(main)


def test_drawn_images_and_files_are_waited_for(in_virtual_time: Callable[[Main], Any], tmp_path: Any) -> None:
    stepfun = FakeStepFun(Engine())

    async def main() -> None:
        async with stepfun.async_client(timeout=600) as client:
            await client.images.generate("a lake", save_to=tmp_path / "lake.png")
            response = await client.images.edit(tmp_path / "lake.png", "a cat")
        assert response.elapsed == 0

    in_virtual_time(main)
    assert (tmp_path / "lake.png").stat().st_size > 10_000


def test_time_stands_still_while_an_image_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the loop looks meanwhile whether anything else can happen."""
    stepfun = FakeStepFun()
    real = AtomicFile.append
    loops: list[asyncio.AbstractEventLoop] = []

    def slow(file: AtomicFile, *pieces: bytes, last: bool = False) -> None:
        for _ in range(50):
            looked = threading.Event()
            loops[0].call_soon_threadsafe(looked.set)
            assert looked.wait(10)
        real(file, *pieces, last=last)

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        async with stepfun.async_client(timeout=600) as client, anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 500)
            await client.images.generate("a lake", save_to=tmp_path / "lake.png")
            assert anyio.current_time() < 1
            group.cancel_scope.cancel()

    monkeypatch.setattr(AtomicFile, "append", slow)
    run(main)


def test_no_deadline_passes_while_a_socket_is_waited_for(in_virtual_time: Callable[[Main], Any]) -> None:
    async def main() -> None:
        async with AsyncClient("any-key", base_url=url, timeout=600) as client:
            assert (await client.images.generate("a lake")).image.width == 1024
        assert anyio.current_time() < 600

    with running(Engine()) as url:
        in_virtual_time(main)


# --- ways to get it


def test_arguments_go_in_and_the_result_comes_out() -> None:
    async def double(number: int) -> int:
        return 2 * number

    assert run(double, 21, backend="trio") == 42


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'asyncio' or 'trio', not 'curio'"):
        run(anyio.sleep, 1, backend="curio")  # type: ignore[arg-type]


class TestWithAnyiosPlugin:
    """The fixture that anyio's pytest plugin asks for its backend."""

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> object:
        return virtual_backend(request.param)

    @pytest.fixture
    async def asked(self, anyio_backend: object) -> FakeStepFun:
        stepfun = FakeStepFun()
        stepfun.fail("429=60*1")
        async with stepfun.async_client() as client:
            await client.images.generate("a lake")
        return stepfun

    @pytest.mark.anyio
    @pytest.mark.parametrize("times", [1, 2])
    async def test_tests_and_fixtures_run_in_virtual_time(self, asked: FakeStepFun, times: int) -> None:
        for _ in range(times):
            await anyio.sleep(DAY)
        await anyio.to_thread.run_sync(work)

        assert times * DAY + 60 <= anyio.current_time() <= times * DAY + 72


# --- the sync client


def test_sync_clients_wait_in_virtual_time() -> None:
    stepfun = FakeStepFun()
    with virtual_time(), stepfun.client(timeout=DAY) as client:
        stepfun.fail("429=600*2")
        assert client.images.generate("a lake").elapsed >= 1200
        stepfun.fail("hang*1")
        with pytest.raises(APITimeoutError):
            client.images.generate("a lake")
        assert client.images.edit(client.images.generate("a cat").image, "a dog").elapsed == 0


def test_a_sync_fan_out_waits_in_virtual_time() -> None:
    stepfun = FakeStepFun()
    stepfun.fail("429=600*2", "delay=3600")
    requests = [TextToImage(prompt=f"lake {number}") for number in range(12)]
    with virtual_time(), stepfun.client(timeout=DAY) as client:
        outcomes = list(client.images.map(requests))

    assert all(isinstance(outcome, Finished) for outcome in outcomes)
    stepfun.assert_paid(12)


def test_threads_share_a_sync_client_in_virtual_time() -> None:
    stepfun = FakeStepFun()
    stepfun.fail("429=50*2", "delay=3600")
    with virtual_time(), stepfun.client(timeout=DAY) as client, ThreadPoolExecutor(4) as executor:
        responses = list(executor.map(client.images.generate, ["a", "b", "c", "d"]))

    assert sum(response.attempts for response in responses) == 6
    stepfun.assert_paid(4)


def test_sync_clients_over_http_are_not_overtaken() -> None:
    with running(Engine()) as url, virtual_time(), Client("any-key", base_url=url, timeout=600) as client:
        assert client.images.generate("a lake").image.width == 1024


def test_only_clients_begun_inside_are_in_virtual_time() -> None:
    stepfun = FakeStepFun()
    with virtual_time():
        with virtual_time():
            pass
        with stepfun.client() as inside:
            stepfun.fail("429=100*1")
            assert inside.images.generate("a lake").elapsed >= 100
    with stepfun.client(timeout=60) as outside:
        stepfun.fail("429=100")
        with pytest.raises(RateLimitError):  # no time is left to wait
            outside.images.generate("a lake")
    with stepfun.client() as outside:  # another one, since the first is to send nothing for a minute
        stepfun.fail("delay=0.001")
        assert 0.001 <= outside.images.generate("a lake", timeout=60).elapsed < 60
