"""Processes that share limits through Redis and are killed at random: what is in flight meanwhile, and what comes back.

    python -m tests.attack.kills --seconds 600 --seed 1

A round starts processes that call one server without a pause, has Redis stall for a while, and kills them one after
another. The server never has more calls in flight than the limit allows, however many processes there are; and once
the leases of the dead are over, all slots are free. A round that is wrong ends it, with its seed.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import anyio

from stepfun_async import AsyncClient, Limits, StepFunError
from stepfun_async._core.wire import HTTPRequest
from stepfun_async.embedded import Engine, Fault, Scenario
from stepfun_async.embedded.engine import Mount
from stepfun_async.embedded.server import running
from stepfun_async.embedded.steps import Send, Step
from stepfun_async.redis import RedisBackend
from tests.attack.cancels import free_in_the_end, slots_in
from tests.support.redis_server import RedisServer, redis_server

SLOTS = 3
PROCESSES = 3
AT_ONCE = 6
TIMEOUT = 5.0
LEASE = TIMEOUT + 30.0


class Counted(Engine):
    """An engine that knows how many calls it has in flight.

    Attributes:
        peak: the most there were at once.
        served: how many there were.
    """

    def __init__(self) -> None:
        super().__init__(plain=True, scenario=Scenario("delay=0.03"))
        self.peak = self.served = self._in_flight = 0
        self._counting = threading.Lock()

    def perform(self, call: HTTPRequest, fault: Fault | None, mount: Mount = Mount()) -> Iterator[Step]:  # noqa: B008 - as it is
        with self._counting:
            self._in_flight += 1
            self.served += 1
            self.peak = max(self.peak, self._in_flight)
        with ExitStack() as stack:
            stack.callback(self._over)
            for step in super().perform(call, fault, mount):
                if isinstance(step, Send):  # whoever gets the response may call again before this generator ends
                    stack.close()
                yield step

    def _over(self) -> None:
        with self._counting:
            self._in_flight -= 1


def play(seed: int, redis: RedisServer) -> str:
    """Play a round, and say what happened.

    Raises:
        AssertionError: more was in flight than allowed, or a slot did not come back.
    """
    chance, engine = random.Random(seed), Counted()
    with running(engine) as url:
        command = [sys.executable, "-m", "tests.attack.kills", "--work", url, redis.url]
        workers = [subprocess.Popen(command) for _ in range(PROCESSES)]
        try:
            _until(lambda: engine.served > SLOTS)
            for worker in chance.sample(workers, PROCESSES):
                if chance.random() < 0.5:
                    with redis.frozen():
                        time.sleep(chance.random())
                time.sleep(chance.random())
                worker.kill()
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        assert engine.peak <= SLOTS, f"{engine.peak} were in flight, and {SLOTS} are allowed"
        held, peak = slots_in(redis), engine.peak
        redis.pass_time(LEASE)
        anyio.run(_fill, url, redis.url)
        free_in_the_end(lambda: slots_in(redis))
        return f"{engine.served} calls, {peak} at once; {held} slots were held by the dead"


async def _fill(url: str, redis_url: str) -> None:
    """Use all slots at once."""
    async with _client(url, redis_url) as client, anyio.create_task_group() as group:
        for _ in range(SLOTS):
            group.start_soon(_make, client, 10.0)


async def _make(client: AsyncClient, queue_timeout: float | None) -> None:
    await client.images.generate("a lake", model="step-2x-large", size="256x256", queue_timeout=queue_timeout)


def _client(url: str, redis_url: str) -> AsyncClient:
    limits = Limits(SLOTS, backend=RedisBackend(redis_url, name="kills"))
    return AsyncClient("sk-test", base_url=url, limits=limits, timeout=TIMEOUT)


async def work(url: str, redis_url: str) -> None:
    """Call without a pause, until this process is killed."""
    async with _client(url, redis_url) as client:

        async def call() -> None:
            while True:
                with suppress(StepFunError):
                    await _make(client, None)

        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(call)


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "nothing happens"
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each further one has the next")
    parser.add_argument("--work", nargs=2, metavar=("URL", "REDIS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        anyio.run(work, *given.work)
        return
    until, seed = time.monotonic() + given.seconds, given.seed
    while time.monotonic() < until:
        with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as redis:
            sys.stdout.write(f"seed {seed}: {play(seed, redis)}\n")
        seed += 1


if __name__ == "__main__":
    main()
