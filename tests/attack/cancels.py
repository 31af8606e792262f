"""Calls that are cancelled at random, in all ways: what they leave behind, and what is reported of their money.

    python -m tests.attack.cancels --seconds 600 --seed 1

plays rounds on asyncio and trio, with limits of the process, of a backend in memory that is slow at random, and of a
real Redis where redis-server is installed, and prints what was billed and what was reported of it. A round that is
wrong ends it, with its seed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from stepfun_async import AsyncClient, Budget, Limits, LimitsUnavailableError, RetryPolicy, StepFunError, Usage
from stepfun_async._limits.backend import LimitsBackend
from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario
from stepfun_async.embedded.server import running
from stepfun_async.redis import RedisBackend
from tests.support.backends import MemoryBackend
from tests.support.redis_server import RedisServer, redis_server

PRICE = Decimal("0.02")
MODEL: Final = "step-2x-large"
FAULTS = ("delay=0.002%40", "delay=0.01%10", "429=0%5", "503=0%5", "drop-before%3", "drop-after%3", "bad-json%3")

SLOTS = 4
AT_ONCE = 12


@dataclass(frozen=True)
class Round:
    """What came of a round.

    Attributes:
        calls: how many were made.
        bill: images that the server billed.
        usage: what the client says of them.
        files: images that are on disk.
    """

    calls: int
    bill: int
    usage: Usage
    files: int

    def __str__(self) -> str:
        usage = f"billed {self.usage.billed}, maybe billed {self.usage.maybe_billed}"
        return f"{self.calls} calls: bill {self.bill}; reported: {usage}; {self.files} images on disk"


Cancelled = Callable[[Callable[[], Awaitable[object]], random.Random], Awaitable[None]]
"""Runs a call, and cancels it at random."""


async def by_scope(call: Callable[[], Awaitable[object]], chance: random.Random) -> None:
    with anyio.move_on_after(_moment(chance)):
        await call()


async def by_timeout(call: Callable[[], Awaitable[object]], chance: random.Random) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_moment(chance)):
            await call()


async def by_wait_for(call: Callable[[], Awaitable[object]], chance: random.Random) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(call(), _moment(chance))


async def by_task(call: Callable[[], Awaitable[object]], chance: random.Random) -> None:
    """Once or more often, as an impatient user does."""

    async def run() -> None:
        await call()

    task = asyncio.create_task(run())
    await asyncio.sleep(_moment(chance))
    for _ in range(chance.choice((1, 1, 2, 4))):
        task.cancel()
        await asyncio.sleep(0)
    with suppress(asyncio.CancelledError):
        await task


def _moment(chance: random.Random) -> float:
    """Seconds: before the call has begun, somewhere in it, or after its end."""
    return chance.choice((0.0, 0.001, 0.005, 0.02, 0.05, 0.1, 0.3)) * chance.random()


WAYS: dict[str, tuple[Cancelled, ...]] = {
    "scopes": (by_scope,),
    "native": (by_timeout, by_wait_for, by_task),
    "both": (by_scope, by_timeout, by_wait_for, by_task),
}


async def play(
    seed: int, ways: str, calls: int, backend: LimitsBackend | None, folder: Path, url: str | None, engine: Engine
) -> Round:
    """Make so many calls, cancel them in those ways, and look at what is left.

    They go to the engine in this process or, with a `url`, to where it is served.

    Raises:
        AssertionError: a slot, an image, a file or money is not where it should be.
    """
    chance = random.Random(f"{seed} {ways}")
    budget, limits = Budget(1000, prices={MODEL: PRICE}), Limits(SLOTS, 100_000, backend=backend)
    retry = RetryPolicy(max_attempts=3, base=0.001, connect_base=0.001)
    at: dict[str, Any] = {"base_url": "embedded", "transport": EmbeddedTransport(engine)}
    if url is not None:
        at = {"base_url": url, "api_key": "sk-test"}
    async with AsyncClient(**at, limits=limits, retry=retry, budget=budget) as client:
        numbers = iter(range(calls))

        async def work() -> None:
            for number in numbers:
                timeout = chance.choice((10.0, 10.0, _moment(chance) + 0.001))  # deadlines cancel calls, too
                await chance.choice(WAYS[ways])(partial(_make, client, folder / f"{number}.png", timeout), chance)

        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(work)
        assert (client.limits.state.in_flight, client.limits.state.waiting) == (0, 0), client.limits.state
        engine.scenario = Scenario()
        for number in range(SLOTS):
            await _make(client, folder / f"last-{number}.png")
    usage = client.usage
    files = Counter(path.suffix for path in folder.iterdir())
    what = Round(calls, engine.bill().images, usage, files[".png"])
    assert usage.billed <= what.bill <= usage.billed + usage.maybe_billed, str(what)
    assert budget.spent == PRICE * usage.billed, (budget, str(what))
    assert budget.held == PRICE * usage.maybe_billed, (budget, str(what))
    assert files == {".png": usage.billed}, (files, str(what))
    return what


async def _make(client: AsyncClient, path: Path, timeout: float = 10.0) -> None:
    with suppress(StepFunError):
        await client.images.generate("a lake", model=MODEL, size="256x256", save_to=path, timeout=timeout)


# --- backends ---------------------------------------------------------------------------------------


class SlowBackend(MemoryBackend):
    """A backend in memory that takes its time, and now and then is unavailable."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)

        def wait(_: str) -> None:
            time.sleep(0.004 * chance.random() * chance.random())
            if chance.random() < 0.01:
                raise LimitsUnavailableError("they are unavailable now")

        super().__init__(wait)

    def held(self) -> int:
        """How many slots are held."""
        return len(self.slots)


def free_in_the_end(held: Callable[[], int]) -> None:
    """Wait until nothing is held; what could not be released at a backend is released later.

    Raises:
        AssertionError: something is, still.
    """
    until = time.monotonic() + 30
    while held():
        assert time.monotonic() < until, f"{held()} slots are held for good"
        time.sleep(0.01)


def run(
    seed: int, ways: str, calls: int, backend: LimitsBackend | None, loop: str, *, over_sockets: bool = False
) -> Round:
    """Play a round in a loop of its own."""
    engine = Engine(plain=True, scenario=Scenario(*FAULTS, seed=seed))
    with tempfile.TemporaryDirectory() as folder, running(engine) if over_sockets else nullcontext() as url:
        return anyio.run(play, seed, ways, calls, backend, Path(folder), url, engine, backend=loop)


def rounds(seed: int, calls: int, redis: RedisServer | None) -> Iterator[tuple[str, Round]]:
    """One round of each kind, and what it was."""
    for loop, ways in (("asyncio", "both"), ("asyncio", "native"), ("trio", "scopes")):
        yield f"{loop}, {ways}, own limits", run(seed, ways, calls, None, loop)
        yield f"{loop}, {ways}, own limits, over sockets", run(seed, ways, calls, None, loop, over_sockets=True)
        slow = SlowBackend(seed)
        yield f"{loop}, {ways}, shared in memory", run(seed, ways, calls, slow, loop)
        free_in_the_end(slow.held)
        if redis is not None:
            shared = RedisBackend(redis.url, name=f"round-{seed}-{ways}")
            yield f"{loop}, {ways}, shared in Redis", run(seed, ways, calls, shared, loop)
            free_in_the_end(partial(slots_in, redis))


def slots_in(redis: RedisServer) -> int:
    """How many slots are held in a Redis, under all names."""
    with redis.inside() as connection:
        return sum(connection.zcard(key) for key in connection.scan_iter("*:slots"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="of the first rounds; each further ones have the next")
    parser.add_argument("--calls", type=int, default=500, help="in a round")
    given = parser.parse_args()
    logging.disable()
    until = time.monotonic() + given.seconds
    seed = given.seed
    sums: Counter[str] = Counter()
    with ExitStack() as stack:
        redis = None
        if shutil.which("redis-server"):
            redis = stack.enter_context(redis_server(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        while time.monotonic() < until:
            try:
                for name, what in rounds(seed, given.calls, redis):
                    sys.stdout.write(f"seed {seed}, {name}: {what}\n")
                    sums.update(calls=what.calls, bill=what.bill, billed=what.usage.billed)
                    sums.update(maybe_billed=what.usage.maybe_billed, files=what.files)
            except AssertionError:
                sys.stderr.write(f"seed {seed} is wrong\n")
                raise
            seed += 1
    sys.stdout.write(
        f"{sums['calls']} calls: bill {sums['bill']}; reported: billed {sums['billed']}, maybe billed "
        f"{sums['maybe_billed']}; {sums['files']} images on disk\n"
    )


if __name__ == "__main__":
    main()
