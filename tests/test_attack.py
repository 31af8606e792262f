"""Random attacks, a few of them: `make attack` goes on for as long as one likes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from stepfun_async.redis import RedisBackend
from tests.attack import cancels, kills
from tests.support.redis_server import redis_server

KINDS = [("asyncio", "native"), ("asyncio", "both"), ("trio", "scopes")]


@pytest.mark.parametrize("over_sockets", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("loop", "ways"), KINDS)
def test_calls_cancelled_at_random_lose_nothing(loop: str, ways: str, seed: int, over_sockets: bool) -> None:
    cancels.run(seed, ways, 200, None, loop, over_sockets=over_sockets)


@pytest.mark.parametrize(("loop", "ways"), KINDS)
def test_calls_cancelled_at_random_lose_nothing_under_a_slow_backend(loop: str, ways: str) -> None:
    backend = cancels.SlowBackend(1)
    cancels.run(1, ways, 150, backend, loop)
    cancels.free_in_the_end(backend.held)


@pytest.mark.parametrize(("loop", "ways"), KINDS)
def test_calls_cancelled_at_random_lose_nothing_under_redis(loop: str, ways: str, tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        cancels.run(1, ways, 150, RedisBackend(redis.url, name="images"), loop)
        cancels.free_in_the_end(partial(cancels.slots_in, redis))


def test_processes_that_are_killed_leave_limits_as_they_are(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        kills.play(1, redis)
