"""Slots, places in the minute and pauses: who goes when, in one loop and in several."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from stepfun_async import (
    AsyncClient,
    Client,
    ConfigurationError,
    Failed,
    InternalServerError,
    Limits,
    QueueTimeoutError,
    RateLimitError,
    RetryPolicy,
    TextToImage,
)
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async._limits import limiter as _limiter
from stepfun_async._limits.limiter import Permit
from stepfun_async._limits.rate import PERIOD
from tests.support.scripted import IMAGE, Respond, Scripted, refusal

BASE: Final = "https://stepfun.test/v1"


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main`; nobody really waits."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def client_of(respond: Respond, **more: Any) -> AsyncClient:
    return AsyncClient("sk-test", base_url=BASE, transport=Scripted(respond), **more)


class Watched:
    """Answers that note when each request left and how many were under way."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.left: list[float] = []
        self.under_way = 0
        self.most = 0
        self._seconds = seconds
        self._lock = threading.Lock()

    async def __call__(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        progress.mark_sent()
        with self._lock:
            self.left.append(anyio.current_time())
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            await anyio.sleep(self._seconds)
        finally:
            with self._lock:
                self.under_way -= 1
        return IMAGE


# --- the value


@pytest.mark.parametrize("name", ["max_concurrency", "requests_per_minute"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "5", True])
def test_a_limit_is_a_whole_number_above_zero(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is a whole number above 0, not {value!r}"):
        Limits(**{name: value})


def test_what_cannot_be_a_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="adaptive is True or False, not 1"):
        Limits(adaptive=1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="backend is a RedisBackend"):
        Limits(backend="redis://localhost")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("region", "tier", "concurrency", "per_minute"),
    [
        ("international", "V0", 5, 100),
        ("international", "V1", 20, 400),
        ("international", "V2", 30, 600),
        ("international", "V3", 40, 800),
        ("international", "V4", 130, 2_600),
        ("china", "V0", 5, 10),
        ("china", "V1", 20, 400),
        ("china", "V2", 30, 600),
        ("china", "V3", 40, 800),
        ("china", "V4", 130, 2_600),
        ("china", "V5", 10_000, 200_000),
    ],
)
def test_every_documented_tier_is_there(region: Any, tier: str, concurrency: int, per_minute: int) -> None:
    assert Limits.tier(tier, region=region) == Limits(concurrency, per_minute)
    assert Limits.tier(tier, region=region, adaptive=True).adaptive


def test_a_tier_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigurationError, match="no tier 'V5' in region 'international'; allowed: V0, V1, V2, V3, V4"):
        Limits.tier("V5")
    with pytest.raises(ConfigurationError, match="no region 'mars'; allowed: international, china"):
        Limits.tier("V1", region="mars")  # type: ignore[arg-type]


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda limits: pickle.loads(pickle.dumps(limits))])
def test_a_copy_is_equal_and_counts_for_itself(twin: Callable[[Limits], Limits]) -> None:
    limits = Limits(3, 60, adaptive=True)
    other = twin(limits)
    assert other == limits
    assert hash(other) == hash(limits)
    assert other.limiter is not limits.limiter
    assert repr(other) == "Limits(max_concurrency=3, requests_per_minute=60, adaptive=True, backend=None)"


# --- slots


@pytest.mark.anyio
async def test_slots_go_to_those_who_came_first() -> None:
    order: list[int] = []
    go_on = anyio.Event()

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        order.append(int((call.json or {})["seed"]))
        await go_on.wait()
        return IMAGE

    async with client_of(respond, limits=Limits(1)) as client, anyio.create_task_group() as group:
        for number in range(1, 9):
            group.start_soon(partial(client.images.generate, "a lake", seed=number))
            await anyio.wait_all_tasks_blocked()
        assert client.limits.state.waiting == 7
        go_on.set()
    assert order == list(range(1, 9))


@pytest.mark.anyio
async def test_a_cancelled_call_gives_its_place_in_the_line_up() -> None:
    order: list[int] = []
    go_on = anyio.Event()

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        order.append(int((call.json or {})["seed"]))
        await go_on.wait()
        return IMAGE

    scopes: dict[int, anyio.CancelScope] = {}

    async def call(client: AsyncClient, number: int) -> None:
        with anyio.CancelScope() as scopes[number]:
            await client.images.generate("a lake", seed=number)

    async with client_of(respond, limits=Limits(1)) as client, anyio.create_task_group() as group:
        for number in range(1, 6):
            group.start_soon(call, client, number)
            await anyio.wait_all_tasks_blocked()
        scopes[2].cancel()
        scopes[4].cancel()
        await anyio.wait_all_tasks_blocked()
        assert client.limits.state.waiting == 2
        go_on.set()
    assert order == [1, 3, 5]
    assert (client.limits.state.in_flight, client.limits.state.waiting) == (0, 0)


@pytest.mark.anyio
async def test_a_slot_granted_to_a_call_that_is_cancelled_in_the_same_moment_goes_to_the_next() -> None:
    limits = Limits(1)
    ran: list[str] = []

    async def hold(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with limits.limiter.permit(None, entry=True):
                await anyio.lowlevel.checkpoint()
                ran.append(name)

    cancelled, other = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        first = limits.limiter.permit(None, entry=True)
        await first.__aenter__()
        for name, scope in (("cancelled", cancelled), ("other", other)):
            group.start_soon(hold, name, scope)
            await anyio.wait_all_tasks_blocked()
        await first.__aexit__(None, None, None)  # grants the slot to a call that has not run since
        assert (limits.state.in_flight, limits.state.waiting) == (1, 1)
        cancelled.cancel()
    assert ran == ["other"]
    assert limits.state.in_flight == 0


@pytest.mark.anyio
async def test_clients_share_the_limits_object_they_are_given_and_nothing_otherwise() -> None:
    watched = Watched(0.001)
    limits = Limits(2)
    async with (
        client_of(watched, limits=limits) as one,
        client_of(watched, limits=limits) as other,
        anyio.create_task_group() as group,
    ):
        for client in (one, other) * 10:
            group.start_soon(client.images.generate, "a lake")
    assert watched.most == 2
    watched = Watched(0.001)
    async with client_of(watched) as one, client_of(watched) as other, anyio.create_task_group() as group:
        for client in (one, other) * 10:
            group.start_soon(client.images.generate, "a lake")
    assert watched.most == 10


def test_one_async_client_in_several_loops_and_threads_stays_within_one_limit() -> None:
    """Two asyncio loops and one of trio, at once, with waiters in all of them."""
    watched = Watched(0.001)
    client = client_of(watched, limits=Limits(3))

    async def many() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(client.images.generate, "a lake")

    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(asyncio.run, many()), pool.submit(asyncio.run, many()), pool.submit(trio.run, many)]
        for run in runs:
            run.result(30)
    assert client.usage.billed == 120
    assert watched.most == 3
    assert (client.limits.state.in_flight, client.limits.state.waiting) == (0, 0)


def test_sync_clients_in_threads_share_limits_too() -> None:
    watched = Watched(0.001)
    limits = Limits(3)
    clients = [Client("sk-test", base_url=BASE, transport=Scripted(watched), limits=limits) for _ in range(2)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: clients[number % 2].images.generate("a lake"), range(64)))
    for client in clients:
        client.close()
    assert watched.most == 3
    assert limits.state.in_flight == 0


def test_a_loop_that_was_closed_over_a_waiting_call_does_not_stop_the_others() -> None:
    limits = Limits(1)
    holding, closed = asyncio.new_event_loop(), asyncio.new_event_loop()
    first = limits.limiter.permit(None, entry=True)
    holding.run_until_complete(first.__aenter__())

    async def leave_one_waiting() -> None:
        left.append(asyncio.ensure_future(limits.limiter.permit(None, entry=True).__aenter__()))
        while limits.state.waiting < 1:  # noqa: ASYNC110 - no event says when
            await asyncio.sleep(0)

    left: list[Any] = []
    closed.run_until_complete(leave_one_waiting())
    closed.close()
    holding.run_until_complete(first.__aexit__(None, None, None))
    holding.close()
    assert (limits.state.in_flight, limits.state.waiting) == (0, 0)
    left[0]._log_destroy_pending = False


def leave_in_flight(limits: Limits) -> list[asyncio.Task[Any]]:
    """A call in flight in a loop that is closed over its head, as a script does that gives up."""
    loop, left = asyncio.new_event_loop(), list[asyncio.Task[Any]]()

    async def begin() -> None:
        permit = limits.limiter.permit(None, entry=True)
        left.append(asyncio.ensure_future(hold(permit)))
        while limits.state.in_flight < 1:  # noqa: ASYNC110 - no event says when
            await asyncio.sleep(0)

    async def hold(permit: Permit) -> None:
        async with permit:
            await asyncio.Event().wait()

    loop.run_until_complete(begin())
    loop.close()
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    return left


def test_what_a_call_has_whose_loop_was_closed_over_its_head_comes_back() -> None:
    limits = Limits(1, 2)
    left = leave_in_flight(limits)

    async def call() -> None:
        async with limits.limiter.permit(0, entry=True):
            assert limits.state.in_flight == 1

    asyncio.run(call())
    left.clear()  # which ends it, and gives back nothing for the second time
    gc.collect()
    assert limits.state.in_flight == 0
    window = limits.limiter._window
    assert window is not None
    assert (window._open, len(window._sent)) == (0, 1), "what may have been sent counts as sent"


def test_a_call_that_waits_gets_the_slot_of_one_whose_loop_is_closed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_limiter, "_POLL_INTERVAL", 0.01)
    limits, left = Limits(1), list[asyncio.Task[Any]]()
    begun, waiting = threading.Event(), threading.Event()

    def leave() -> None:
        loop = asyncio.new_event_loop()

        async def begin() -> None:
            permit = limits.limiter.permit(None, entry=True)
            left.append(asyncio.ensure_future(hold(permit)))
            while not limits.state.in_flight:  # noqa: ASYNC110 - no event says when
                await asyncio.sleep(0)
            begun.set()
            await asyncio.to_thread(waiting.wait, 10)

        async def hold(permit: Permit) -> None:
            async with permit:
                await asyncio.Event().wait()

        loop.run_until_complete(begin())
        loop.close()
        left[0]._log_destroy_pending = False  # type: ignore[attr-defined]

    async def call() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(let_go_on())
            async with limits.limiter.permit(10, entry=True):
                pass

    async def let_go_on() -> None:
        while not limits.state.waiting:  # noqa: ASYNC110 - no event says when
            await asyncio.sleep(0.001)
        waiting.set()

    thread = threading.Thread(target=leave)
    thread.start()
    assert begun.wait(10)
    asyncio.run(call())
    thread.join()


# --- the minute


def _fits(left: list[float], per_minute: int) -> bool:
    left = sorted(left)
    return all(bisect_right(left, start + PERIOD) - bisect_left(left, start) <= per_minute for start in left)


def test_a_minute_never_sees_more_requests_than_allowed() -> None:
    async def main() -> None:
        watched = Watched(7)
        async with client_of(watched, limits=Limits(4, requests_per_minute=10)) as client:
            async with anyio.create_task_group() as group:
                for _ in range(35):
                    group.start_soon(client.images.generate, "a lake")
            assert len(watched.left) == 35
            assert _fits(watched.left, 10)
            assert watched.left[-1] - watched.left[0] < 4 * PERIOD

    in_virtual_time(main)


def test_the_minute_holds_over_loops_one_after_another() -> None:
    watched = Watched()
    client = client_of(watched, limits=Limits(5, requests_per_minute=3))

    async def main() -> None:
        for _ in range(3):
            await client.images.generate("a lake")
        with pytest.raises(QueueTimeoutError, match="the requests of this minute are used up"):
            await client.images.generate("one too many", queue_timeout=0)

    asyncio.run(main())

    async def again() -> None:
        with pytest.raises(QueueTimeoutError):
            await client.images.generate("one too many", queue_timeout=0)

    asyncio.run(again())
    trio.run(again)


def test_retries_count_and_go_before_calls_that_have_not_begun() -> None:
    order: list[int] = []

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        progress.mark_sent()
        order.append(int((call.json or {})["seed"]))
        return refusal(503) if order.count(1) == 1 and order[-1] == 1 else IMAGE

    async def main() -> None:
        retry = RetryPolicy(base=1.0)
        async with client_of(respond, limits=Limits(2, requests_per_minute=1), retry=retry, timeout=300) as client:
            async with anyio.create_task_group() as group:
                for number in (1, 2, 3):
                    group.start_soon(partial(client.images.generate, "a lake", seed=number))
                    await trio.testing.wait_all_tasks_blocked()
            assert order == [1, 1, 2, 3]

    in_virtual_time(main)


def test_a_request_that_never_left_does_not_count() -> None:
    from stepfun_async import APIConnectionError

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        progress.sent = False
        raise APIConnectionError("no connection", billing="not_sent")

    async def main() -> None:
        retry = RetryPolicy(max_attempts=1)
        async with client_of(respond, limits=Limits(2, requests_per_minute=2), retry=retry) as client:
            for _ in range(10):
                with pytest.raises(APIConnectionError):
                    await client.images.generate("a lake", queue_timeout=0)

    in_virtual_time(main)


def test_a_request_held_up_on_its_way_counts_from_when_it_left() -> None:
    """Five seconds of connecting must not let two minutes' requests meet."""
    left: list[float] = []

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        await anyio.sleep(5 if not left else 0)
        progress.mark_sent()
        left.append(anyio.current_time())
        return IMAGE

    async def main() -> None:
        async with client_of(respond, limits=Limits(2, requests_per_minute=1)) as client:
            await client.images.generate("a lake")
            await client.images.generate("a lake")
        assert left[1] - left[0] > PERIOD

    in_virtual_time(main)


def test_lists_of_models_count_and_links_to_images_do_not() -> None:
    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        from tests.support.responses import PIXEL

        return HTTPResponse(200, {}, PIXEL) if call.path.startswith("http") else HTTPResponse(200, {}, b'{"data": []}')

    async def main() -> None:
        async with client_of(respond, limits=Limits(2, requests_per_minute=1)) as client:
            await client.models.list()
            for _ in range(5):
                await client.images.download("https://images.test/1.png", queue_timeout=0)
            start = anyio.current_time()
            await client.models.list()
            assert anyio.current_time() - start > PERIOD - 1

    in_virtual_time(main)


# --- pauses


def test_after_a_429_no_call_is_sent_until_the_time_the_server_asked_for() -> None:
    left: list[float] = []

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        left.append(anyio.current_time())
        return refusal(429, retry_after=30) if len(left) == 1 else IMAGE

    async def main() -> None:
        async with client_of(respond, limits=Limits(50)) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.images.generate, "meets the 429")
                await trio.testing.wait_all_tasks_blocked()
                for _ in range(49):
                    group.start_soon(client.images.generate, "a lake")
            first, *others = left
            assert min(others) - first >= 30
            assert len(set(others)) > 40, "they did not rush out together"
            assert max(others) - first <= 30 * 1.2 + 1

    in_virtual_time(main)


def test_a_call_that_met_a_429_is_not_kept_waiting_for_a_pause_beyond_its_deadline() -> None:
    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        return refusal(429, retry_after=50)

    async def main() -> None:
        async with client_of(respond, timeout=10) as client:
            start = anyio.current_time()
            with pytest.raises(RateLimitError) as caught:
                await client.images.generate("a lake")
            assert anyio.current_time() == start
            assert (caught.value.attempts, caught.value.retry_after) == (1, 50)
            with pytest.raises(QueueTimeoutError, match="the server asked for a pause, which lasts 50"):
                await client.images.generate("a lake", queue_timeout=0)

    in_virtual_time(main)


def test_a_server_cannot_stop_a_client_for_longer_than_a_minute() -> None:
    responses = [refusal(429, retry_after=86_400), IMAGE]

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        return responses.pop(0)

    async def main() -> None:
        async with client_of(respond) as client:
            with pytest.raises(RateLimitError):
                await client.images.generate("a lake")
            start = anyio.current_time()
            await client.images.generate("a lake")
            assert anyio.current_time() - start == pytest.approx(60)

    in_virtual_time(main)


# --- the quota of further attempts


@pytest.mark.anyio
async def test_a_server_in_trouble_is_not_asked_three_times_by_everybody() -> None:
    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        return refusal(503)

    async with client_of(respond, retry=RetryPolicy(base=0), limits=Limits(10)) as client:
        outcomes = [outcome async for outcome in client.images.map([TextToImage(prompt="a lake")] * 100)]
        assert client.usage.attempts == 100 + 500 // 14
    errors = [str(outcome.error) for outcome in outcomes if isinstance(outcome, Failed)]
    assert sum("too many attempts of this client failed" in error for error in errors) > 80


@pytest.mark.anyio
async def test_success_brings_the_quota_back() -> None:
    responses = [refusal(503), IMAGE] * 200

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        return responses.pop(0)

    async with client_of(respond, retry=RetryPolicy(base=0, quota=14)) as client:
        for _ in range(200):
            assert (await client.images.generate("a lake")).attempts == 2


@pytest.mark.anyio
@pytest.mark.parametrize(("quota", "attempts"), [(0, 1), (14, 2), (28, 3), (None, 3)])
async def test_the_quota_is_the_policy_s(quota: int | None, attempts: int) -> None:
    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        return refusal(503)

    async with client_of(respond, retry=RetryPolicy(base=0, quota=quota)) as client:
        with pytest.raises(InternalServerError) as caught:
            await client.images.generate("a lake")
    assert caught.value.attempts == attempts


# --- adaptive


def test_adaptive_concurrency_falls_with_each_429_and_rises_with_success() -> None:
    """A server that takes 10 at once: the client finds out, and never goes above its own limit."""
    under_way = 0
    refused = 0

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        nonlocal under_way, refused
        if under_way >= 10:
            refused += 1
            return refusal(429)
        under_way += 1
        await anyio.sleep(1)
        under_way -= 1
        return IMAGE

    async def main() -> None:
        nonlocal refused
        limits = Limits(40, adaptive=True)
        retry = RetryPolicy(max_attempts=20, quota=None)
        async with client_of(respond, limits=limits, retry=retry, timeout=10_000) as client:
            requests = (TextToImage(prompt=f"lake {n}") for n in range(1_000))
            seen: set[int] = set()
            async for _ in client.images.map(requests):
                seen.add(limits.state.max_concurrency)
            assert client.usage.billed == 1_000
        assert min(seen) <= 10
        assert max(seen) <= 40
        assert refused < 200, "without it, nearly every call would be refused at first"

    in_virtual_time(main)


# --- all together


@settings(max_examples=30)
@given(
    limits=st.builds(Limits, st.integers(1, 4), st.one_of(st.none(), st.integers(1, 6))),
    calls=st.lists(
        st.tuples(
            st.floats(0, 20),  # comes so many seconds after the one before
            st.floats(0, 30),  # takes so long to leave
            st.floats(0, 30),  # and so long to be answered
            st.one_of(st.none(), st.floats(0, 100)),  # is cancelled after so many seconds
        ),
        max_size=25,
    ),
)
def test_whatever_comes_and_goes_the_limits_hold_and_nothing_is_left(
    limits: Limits, calls: list[tuple[float, float, float, float | None]]
) -> None:
    limits = copy.copy(limits)
    left: list[float] = []
    granted: list[tuple[float, int]] = []
    cancelled: set[int] = set()
    under_way = 0

    async def call(number: int, plan: tuple[float, float, float | None]) -> None:
        nonlocal under_way
        leaves, answered, cancel = plan
        with anyio.move_on_after(cancel) as scope:
            async with limits.limiter.permit(None, entry=True) as permit:
                granted.append((anyio.current_time(), number))
                under_way += 1
                assert under_way <= limits.max_concurrency
                sent = None
                try:
                    await anyio.sleep(leaves)
                    sent = permit.now()
                    left.append(anyio.current_time())
                    await anyio.sleep(answered)
                finally:
                    under_way -= 1
                    permit.attempt_ended("not_sent" if sent is None else "executed", sent)
        if scope.cancelled_caught:
            cancelled.add(number)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number, (after, leaves, answered, cancel) in enumerate(calls):
                await anyio.sleep(after)
                group.start_soon(call, number, (leaves, answered, cancel))
                await trio.testing.wait_all_tasks_blocked()

    in_virtual_time(main)
    order = [number for _, number in sorted(granted)]  # trio runs in any order what it runs at one instant
    assert order == sorted(order), "first come, first served"
    assert set(order) | cancelled == set(range(len(calls)))
    assert limits.requests_per_minute is None or _fits(left, limits.requests_per_minute)
    assert (limits.state.in_flight, limits.state.waiting) == (0, 0)
