"""Killed at any instant and run again, a batch makes every picture once, and says what it may have paid for twice."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import PIL.Image
import pytest

from stepfun_async.batch import Records
from stepfun_async.embedded import Engine, Fault, Scenario
from stepfun_async.embedded.server import running

from ...support.object_store import BUCKET, ObjectStore
from ..crashing import BUCKET_POINTS, CONCURRENCY, POINTS

ROOT = Path(__file__).parents[3]
KILLS = 30
"""How many times a batch is killed at some instant."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that is ready begins by a fork")


class Killing(Scenario):
    """Kills a process when its n-th call has come to the server; what else is under way then is up to chance."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0
        self._process: Future[int] = Future()

    def at(self, call: int) -> None:
        """Kill the process that begins next at its n-th call, however early that comes; 0 for never."""
        self._left, self._process = call, Future()

    def begun(self, process: int) -> None:
        """Which process that is."""
        self._process.set_result(process)

    def next_fault(self) -> Fault | None:
        self._left -= 1
        if self._left == 0:
            os.kill(self._process.result(), signal.SIGKILL)
        return None


class Job:
    """A batch in a folder that processes work on, one after another."""

    def __init__(self, url: str, out: Path, engine: Engine, forks: subprocess.Popen[str]) -> None:
        self.url = url
        self.out = out
        self.pictures: str | None = None
        self.engine = engine
        self.count = 200
        self.killed = 0
        self._forks = forks

    def start(self, point: str = "none", time: int = 1) -> int:
        """Have a process begin; its number."""
        assert self._forks.stdin is not None
        print(
            json.dumps([self.url, str(self.out), self.pictures, self.count, point, time]),
            file=self._forks.stdin,
            flush=True,
        )
        return self._said()

    def ended(self) -> int:
        """The exit code of the process begun last; one that was killed left no more in flight than it may."""
        code = self._said()
        if code:
            self.killed += 1
            assert Records(self.out).status().counts["started"] <= CONCURRENCY
        return code

    def _said(self) -> int:
        assert self._forks.stdout is not None
        return int(self._forks.stdout.readline())

    def files(self) -> dict[str, bytes]:
        """The pictures that are there, by their names."""
        return {path.relative_to(self.out).as_posix(): path.read_bytes() for path in self.out.rglob("*.png")}

    def assert_right(self) -> None:
        """Every picture is there once, whole; all that was billed is a picture or is named; nothing else is left."""
        items = list(Records(self.out).items())
        assert [item.line for item in items] == list(range(1, self.count + 1))
        assert {item.state for item in items} == {"done"}
        files = self.files()
        assert sorted(files) == sorted(str(item.path) for item in items)
        for data in files.values():
            with PIL.Image.open(io.BytesIO(data)) as picture:
                picture.load()
        assert list(self.out.rglob("*.part")) == []
        unknown = sum(item.maybe_billed - item.billed for item in items)
        assert self.count <= self.engine.bill().images <= self.count + unknown
        assert unknown <= CONCURRENCY * self.killed
        status = Records(self.out).status()
        assert (status.lines, status.counts["done"]) == (self.count, self.count)


class BucketJob(Job):
    """A job whose pictures go to a bucket."""

    def __init__(self, job: Job, server: ObjectStore) -> None:
        super().__init__(job.url, job.out, job.engine, job._forks)
        self.pictures = f"s3://{BUCKET}/lakes of all sorts"
        self.count = 24
        self._server = server

    def files(self) -> dict[str, bytes]:
        above = "lakes of all sorts/"
        keys = [key for key in self._server.names() if key.endswith(".png")]
        return {key.removeprefix(above): self._server.get(key) for key in keys}


@pytest.fixture
def killing() -> Killing:
    return Killing()


@pytest.fixture
def job(tmp_path: Path, killing: Killing) -> Iterator[Job]:
    engine = Engine(plain=True, scenario=killing)
    path = os.pathsep.join([str(ROOT), *sys.path])
    command = [sys.executable, "-m", "tests.batch.crashing"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(engine) as url:
        forks = subprocess.Popen(command, text=True, env={**os.environ, "PYTHONPATH": path}, **pipes)  # type: ignore[call-overload]
        with forks:
            yield Job(url, tmp_path / "out", engine, forks)
            forks.stdin.close()


def test_killed_at_some_instants_and_run_again(job: Job, killing: Killing) -> None:
    chance = random.Random(7)
    for _ in range(KILLS):
        killing.at(chance.randint(1, 2 * job.count // KILLS - 1))
        killing.begun(job.start())
        if job.ended() == 0:  # so few were left that it was done first
            break
    assert job.killed > KILLS / 2
    killing.at(0)
    job.start()
    assert job.ended() == 0
    job.assert_right()


def test_ended_at_every_point_of_a_lines_way_and_run_again(job: Job) -> None:
    """In the order of the way; each time a few lines get further."""
    for number, point in enumerate(POINTS):
        job.start(point, 1 if "admitted" in point or "inputs" in point else 1 + number % 5)
        assert job.ended() == 9, point
    job.start()
    assert job.ended() == 0
    job.assert_right()


@pytest.fixture
def bucket_job(bucket: ObjectStore, job: Job) -> Job:
    return BucketJob(job, bucket)


def test_with_a_bucket_ended_at_every_point_and_run_again(bucket_job: Job) -> None:
    for number, point in enumerate(BUCKET_POINTS):
        bucket_job.start(point, 1 if "admitted" in point or "inputs" in point else 1 + number % 3)
        assert bucket_job.ended() == 9, point
    bucket_job.start()
    assert bucket_job.ended() == 0
    bucket_job.assert_right()
