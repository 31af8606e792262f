"""A batch on a real Dask cluster: two processes, of which one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from stepfun_async import Batch, ConfigurationError, Limits, RetryPolicy
from stepfun_async._core.wire import HTTPRequest
from stepfun_async.batch import Records
from stepfun_async.batch.run.chunks import _workers
from stepfun_async.dask import run_on
from stepfun_async.embedded import Engine, Fault, Mount, Scenario
from stepfun_async.embedded.server import running
from stepfun_async.redis import RedisBackend
from tests.support.dask_cluster import connected, dask_cluster
from tests.support.redis_server import redis_server

KEY = "sk-only-the-workers-have-this-one"
MOST = 8
"""Lines in flight at once."""

COUNT = 120
"""Lines of a job."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with dask_cluster({"STEP_API_KEY": KEY}) as client:
        yield client


class Crowded(Engine):
    """Knows how many calls it had at once."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(plain=True, scenario=scenario)
        self._lock = threading.Lock()
        self._now = 0
        self.peak = 0

    def play(self, call: HTTPRequest, *mount: Mount) -> Iterator[Any]:
        with self._lock:
            self._now += 1
            self.peak = max(self.peak, self._now)
        try:
            yield from super().play(call, *mount)
        finally:
            with self._lock:
                self._now -= 1


class Killing(Scenario):
    """Kills a process when the n-th call has come to the server."""

    left = 0
    process = 0

    def next_fault(self) -> Fault | None:
        self.left -= 1
        if self.left == 0:
            os.kill(self.process, signal.SIGKILL)
        return None


def lakes(count: int, **settings: Any) -> Batch:
    """A batch of so many lines."""
    small = {"model": "step-2x-large", "size": "256x256"}
    lines = [{"prompt": f"lake {number}", "seed": number, **small} for number in range(1, count + 1)]
    return Batch(lines, retry=RetryPolicy(max_attempts=1), **settings)


class Job:
    """A batch, the server that answers it, and its bill."""

    def __init__(self, out: Path) -> None:
        self.scenario = Killing()
        self.engine = Crowded(self.scenario)
        self.out = out
        self.url = ""

    def batch(self, count: int, **settings: Any) -> Batch:
        return lakes(count, out=self.out, base_url=self.url, **settings)

    def assert_right(self, count: int) -> int:
        """Every picture is there once, whole, and nothing else is; what was billed for nothing is named: how many."""
        items = list(Records(self.out).items())
        assert [item.line for item in items] == list(range(1, count + 1))
        assert {item.state for item in items} == {"done"}
        paths = sorted(self.out / str(item.path) for item in items)
        assert sorted(self.out.rglob("*.png")) == paths
        for path in paths:
            with PIL.Image.open(path) as picture:
                picture.load()
        assert list(self.out.rglob("*.part")) == []
        assert not (self.out / "sending").exists()
        unknown = sum(item.maybe_billed - item.billed for item in items)
        assert count <= self.engine.bill().images <= count + unknown
        return unknown


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path / "out")
    with running(job.engine) as job.url:
        yield job


@pytest.mark.parametrize("call", [3, 60, 115])
def test_a_worker_is_killed_and_every_picture_is_there_once(cluster: Any, job: Job, call: int) -> None:
    job.scenario.process, job.scenario.left = next(iter(cluster.run(os.getpid).values())), call
    progress = run_on(cluster, job.batch(COUNT), chunk=10, max_in_flight=MOST)
    assert (progress.done, progress.unknown, progress.lines, progress.stopped) == (COUNT, 0, COUNT, None)
    assert job.assert_right(COUNT) <= MOST
    assert job.engine.peak <= MOST
    cluster.wait_for_workers(2)
    assert job.scenario.process not in cluster.run(os.getpid).values()
    again = run_on(cluster, job.batch(COUNT), chunk=10, max_in_flight=MOST)
    assert (again.done, again.skipped) == (0, COUNT)


def busy() -> bool:
    """Whether this process, a worker, has a chunk."""
    return bool(_workers)


def test_the_run_itself_is_killed_and_its_pictures_are_found(cluster: Any, job: Job) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.batch.run.test_dask", cluster.scheduler.address, job.url, str(job.out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])},
    )
    job.scenario.process, job.scenario.left = driver.pid, 60
    assert driver.wait() == -signal.SIGKILL
    while any(cluster.run(busy).values()):
        pass  # else what they have in flight would be bought again, and named
    assert Records(job.out).status().counts["started"] > 0
    progress = run_on(cluster, job.batch(COUNT), chunk=10, max_in_flight=MOST)
    assert progress.adopted > 0
    assert job.assert_right(COUNT) <= MOST


def test_workers_keep_the_limits_that_are_shared(cluster: Any, job: Job, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        backend = RedisBackend(server.url, name="images")
        limits = Limits(max_concurrency=4, requests_per_minute=100, backend=backend)
        assert run_on(cluster, job.batch(30, limits=limits), chunk=5).done == 30
        with server.inside() as redis:
            (entries,) = (redis.zcard(key) for key in redis.scan_iter() if key.endswith(":entries"))
    assert entries == 30
    assert job.engine.peak <= 4
    job.assert_right(30)


def have_key(key: str | None) -> None:
    """Have this process, a worker, have a key in its environment, or none."""
    os.environ.pop("STEP_API_KEY", None)
    if key is not None:
        os.environ["STEP_API_KEY"] = key


def test_a_worker_without_a_key_is_named_before_anything_is_sent(cluster: Any, job: Job) -> None:
    (first, *_) = cluster.scheduler_info()["workers"]
    cluster.run(have_key, None, workers=[first])
    try:
        with pytest.raises(ConfigurationError, match=r"1 of 2 workers cannot work(?s:.)*no API key") as caught:
            run_on(cluster, job.batch(3))
        assert first in str(caught.value)
    finally:
        cluster.run(have_key, KEY, workers=[first])
    assert job.engine.bill().calls == 0
    assert run_on(cluster, job.batch(3)).done == 3
    job.assert_right(3)


def test_what_is_no_client_that_blocks_is_refused(job: Job) -> None:
    with pytest.raises(ConfigurationError, match=r"a distributed\.Client that is not asynchronous"):
        run_on("tcp://127.0.0.1:8786", job.batch(1))


def main(scheduler: str, url: str, out: str) -> None:
    """The run that is killed, in a process of its own."""
    with connected(scheduler) as client:
        run_on(client, lakes(COUNT, out=out, base_url=url), chunk=10, max_in_flight=MOST)


if __name__ == "__main__":
    main(*sys.argv[1:])
