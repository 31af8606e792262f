"""Clients and other processes: forks in any state, prefork servers, multiprocessing."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from stepfun_async import APIConnectionError, Budget, Client, ConfigurationError, Limits, TextToImage
from stepfun_async.embedded import EmbeddedTransport, Engine
from tests.support.raw import raw_server, say, stay_silent
from tests.support.responses import image_response
from tests.support.scripts import run_script

LARGE: Final = "step-2x-large"

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def small(prompt: str = "a lake") -> TextToImage:
    return TextToImage(prompt=prompt, model=LARGE, size="256x256")


def in_child(run: Callable[[], object]) -> int:
    """Run `run` in a forked child; its exit code, 0 when it did not raise."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    return child


def ended_well(child: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        os.sched_yield()


def test_a_forked_child_and_its_parent_both_go_on() -> None:
    with raw_server(say(image_response())) as server, Client("sk-test", base_url=server.url) as client:
        client.images.generate("before the fork")
        child = os.fork()
        if child == 0:  # another process
            try:
                client.images.generate("in the child")
                client.close()
            finally:
                os._exit(0 if client.usage.billed == 2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.images.generate("in the parent")
        assert client.usage.billed == 2
        assert server.connections == 2, "the parent's connection did not survive the fork"


def test_a_prefork_server_shares_the_client_that_it_made_at_import() -> None:
    """As gunicorn with preload does: used once before the fork, then by threads of several workers."""
    with (
        raw_server(say(image_response())) as server,
        Client("sk-test", base_url=server.url, limits=Limits(2)) as client,
    ):
        client.images.generate("a warm-up before the fork")

        def work() -> None:
            with ThreadPoolExecutor(8) as pool:
                assert len(list(pool.map(client.images.generate, ["a lake"] * 16))) == 16
            assert client.usage.billed == 17
            assert client.limits.state.in_flight == 0

        workers = [in_child(work) for _ in range(4)]
        assert all(ended_well(worker) for worker in workers)
        client.images.generate("the parent goes on")
    assert len(server.requests) == 1 + 4 * 16 + 1


def test_a_child_does_not_wait_for_the_slots_of_calls_that_its_parent_has_in_flight() -> None:
    scripts = (stay_silent, say(image_response()))
    with raw_server(*scripts) as server, Client("sk-test", base_url=server.url, limits=Limits(1)) as client:
        calls = [threading.Thread(target=_until_closed, args=(client,)) for _ in range(3)]
        for call in calls:
            call.start()
        _wait_for(lambda: bool(server.requests) and client.limits.state.waiting == 2)
        child = in_child(lambda: client.images.generate("a lake", queue_timeout=5))
        assert ended_well(child)
        assert client.limits.state.in_flight == 1
        client.close()
        for call in calls:
            call.join()


def test_a_child_does_not_hold_the_money_of_calls_that_its_parent_has_in_flight() -> None:
    budget = Budget(10, prices={LARGE: 1})
    lost = budget.reserve(LARGE, budget.price_of(LARGE, None), 1)
    lost.settle(billed=0, unknown=1)
    in_flight = budget.reserve(LARGE, budget.price_of(LARGE, None), 1)

    def look() -> None:
        assert [budget.held, budget.left] == [1, 9], "what may have been billed is held on"
        own = budget.reserve(LARGE, budget.price_of(LARGE, None), 1)
        assert budget.held == 2
        own.settle(billed=1, unknown=0)
        in_flight.settle(billed=0, unknown=1)  # where the fork was in the middle of a call that goes on here too
        assert [budget.spent, budget.held] == [1, 2]

    assert ended_well(in_child(look))
    assert [budget.held, budget.left] == [2, 8]
    in_flight.settle(billed=1, unknown=0)
    assert [budget.spent, budget.held] == [1, 1]


def _until_closed(client: Client) -> None:
    with pytest.raises(APIConnectionError, match="closed"):
        client.images.generate("a lake")


@pytest.mark.parametrize("attempt", range(5))
def test_a_fork_while_threads_hold_every_lock_leaves_none_locked(attempt: int) -> None:
    budget = Budget(1000, prices={LARGE: 1})
    limits = Limits(4, requests_per_minute=100_000, adaptive=True)
    client = Client(transport=EmbeddedTransport(Engine()), base_url="embedded", budget=budget, limits=limits)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            budget.reserve(LARGE, budget.price_of(LARGE, None), 1).settle(billed=0, unknown=0)
            assert limits.state.in_flight >= 0
            assert client.usage.billed >= 0

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    child = in_child(lambda: client.images.generate("a lake", model=LARGE, size="256x256"))
    assert ended_well(child)
    stop.set()
    for thread in threads:
        thread.join()
    client.close()


_client: Client | None = None


def _in_forked_worker(prompt: str) -> int | None:
    assert _client is not None
    return _client.images.generate(prompt, model=LARGE, size="256x256").image.width


def test_a_pool_of_forked_processes_uses_the_client_of_its_parent() -> None:
    global _client
    with Client(base_url="embedded") as _client:
        _client.images.generate("before the fork", model=LARGE, size="256x256")
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map(_in_forked_worker, ["a lake"] * 9) == [256] * 9
            pool.close()
            pool.join()
    _client = None


def _in_child() -> int | None:
    with Client(base_url="embedded") as client:
        return client.images.generate("a lake", model="step-2x-large", size="256x256").image.width


def test_it_works_in_spawned_processes() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_in_child) == 256
        pool.close()
        pool.join()


def test_a_map_begun_before_a_fork_is_refused_in_the_child() -> None:
    with Client(base_url="embedded") as client:
        outcomes = client.images.map([small()] * 5)
        next(outcomes)
        child = os.fork()
        if child == 0:  # another process
            code = 1
            try:
                next(outcomes)
            except ConfigurationError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(list(outcomes)) == 4


@pytest.mark.parametrize("child", ["print(len(client.models.list()), flush=True)", "del client"])
def test_a_child_that_ends_as_a_program_does_waits_for_no_thread_of_its_parent(child: str) -> None:
    done = run_script(
        "import os, sys\n"
        "from stepfun_async import Client\n"
        "client = Client(base_url='embedded')\n"
        "client.models.list()\n"
        "if not (pid := os.fork()):\n"
        f"    {child}\n"
        "    sys.exit()\n"
        "print(os.waitpid(pid, 0)[1], len(client.models.list()))\n"
    )
    assert (done.returncode, done.stdout.split()[-2:]) == (0, ["0", "4"])
