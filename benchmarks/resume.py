"""The same job killed at half and run again, in three ways: pictures bought twice, pictures lost, time to finish.

    python -m benchmarks.resume

The embedded engine answers over HTTP with real pictures and keeps the bill. It charges when a call has come, and then
takes its time. At half of the calls it kills the process with SIGKILL; then the job is run again to its end. All
three send through this package's client, as many at once, so that what differs is how each remembers what it has.

`cookbook` and `shards` are stand-ins: no code of others, but the way in which others remember.

* cookbook: `examples/api_request_parallel_processor.py` of openai-cookbook. A result is appended to a JSONL file
  when it comes; a run reads the file of requests from its first line, whatever results there are.
* shards: img2dataset 1.47.0, `incremental_mode="incremental"`. A shard is done when its `_stats.json` is there; a
  run does every other shard from its first sample. Its shards have 10,000 samples unless told otherwise.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio

from stepfun_async import AsyncClient, Batch, Failed, Limits, TextToImage
from stepfun_async.batch import Records
from stepfun_async.batch.journal.database import JOURNAL
from stepfun_async.embedded import Engine, Fault, Scenario
from stepfun_async.embedded.server import running

KEY = "sk-bench"

PIECES = 50
"""In which an answer that drips comes."""


@dataclass(frozen=True)
class Job:
    """What each way is to do.

    Attributes:
        url: the server's.
        out: the folder.
        jobs: how many pictures.
        in_flight: how many calls at once.
        shard: pictures of a shard, for the way that has shards.
    """

    url: str
    out: Path
    jobs: int
    in_flight: int
    shard: int


def request(number: int) -> TextToImage:
    """The request for a picture; no two are alike."""
    return TextToImage(prompt=f"A lake, number {number}", model="step-2x-large", size="256x256", seed=number + 1)


# --- ways to remember ---------------------------------------------------------------------------


async def _each(job: Job, numbers: Iterable[int], keep: Callable[[int, bytes], object]) -> None:
    """Make pictures, and give each away as it comes."""
    async with AsyncClient(KEY, base_url=job.url, limits=Limits(job.in_flight)) as client:
        async for end in client.images.map(map(request, numbers)):
            if isinstance(end, Failed):
                raise end.error
            seed = end.request.seed
            assert isinstance(seed, int)
            keep(seed - 1, end.response.image.to_bytes())


async def cookbook(job: Job) -> None:
    """Append to a file of results."""

    def append(number: int, picture: bytes) -> None:
        with (job.out / "results.jsonl").open("a") as file:
            file.write(json.dumps([number, base64.b64encode(picture).decode()]) + "\n")

    await _each(job, range(job.jobs), append)


async def shards(job: Job) -> None:
    """One shard after the other, unless its statistics are there."""

    def write(number: int, picture: bytes) -> None:
        (job.out / f"{number // job.shard:05d}" / f"{number:09d}.png").write_bytes(picture)

    for first in range(0, job.jobs, job.shard):
        name = f"{first // job.shard:05d}"
        stats = job.out / f"{name}_stats.json"
        if not stats.exists():
            (job.out / name).mkdir(exist_ok=True)
            numbers = range(first, min(first + job.shard, job.jobs))
            await _each(job, numbers, write)
            stats.write_text(json.dumps({"count": len(numbers)}))


async def ours(job: Job) -> None:
    """A journal."""
    lines = [request(number) for number in range(job.jobs)]
    progress = await Batch(lines, out=job.out, base_url=job.url, api_key=KEY, limits=Limits(job.in_flight)).run()
    assert progress.stopped is None
    assert progress.failed == progress.unknown == 0


WAYS: Mapping[str, Callable[[Job], Awaitable[None]]] = {"cookbook": cookbook, "shards": shards, "ours": ours}


def kept(job: Job) -> int:
    """How many of the pictures that were asked for are there, each counted once however often it is."""
    results = job.out / "results.jsonl"
    if results.exists():
        return len(set(_readable(results)))
    return len(list(job.out.rglob("*.png")))


def named(job: Job) -> int:
    """How many attempts are known to have been paid for nothing, perhaps."""
    if not (job.out / JOURNAL).exists():
        return 0
    return sum(item.maybe_billed - item.billed for item in Records(job.out).items())


def _readable(results: Path) -> Iterator[int]:
    for line in results.read_text().splitlines():
        try:
            number, _ = json.loads(line)
        except ValueError:  # cut off by the kill
            continue
        yield number


# --- the kill -----------------------------------------------------------------------------------


class Killing(Scenario):
    """Charges for a picture at once, answers slowly, and kills a process when so many calls have come.

    Args:
        latency: seconds until an answer is whole.
        after: how many calls.
    """

    def __init__(self, latency: float, after: int) -> None:
        super().__init__()
        self._slow = Fault("drip", seconds=latency / PIECES)
        self._left = after
        self.process = 0

    def next_fault(self) -> Fault | None:
        self._left -= 1
        if self._left == 0:
            os.kill(self.process, signal.SIGKILL)
        return self._slow


@dataclass(frozen=True)
class Found:
    """What came of a way.

    Attributes:
        before: pictures that were paid for by the kill, those in flight included.
        lost: how many of them were nowhere.
        whole: pictures that were paid for in the end.
        there: pictures that are there in the end.
        named: attempts that the second run says may have been paid for nothing.
        seconds: how long the second run took.
    """

    before: int
    lost: int
    whole: int
    there: int
    named: int
    seconds: float


def measure(way: str, options: argparse.Namespace) -> Found:
    """Kill it at half, run it again, look at what there is."""
    killing = Killing(options.latency, options.jobs // 2)
    engine = Engine(plain=True, scenario=killing)
    with tempfile.TemporaryDirectory(prefix="stepfun-bench-") as folder, running(engine) as url:
        job = Job(url, Path(folder), options.jobs, options.in_flight, options.shard)
        first = _begin(way, job)
        killing.process = first.pid
        first.wait()
        time.sleep(2 * options.latency)
        before, saved = engine.bill().images, kept(job)
        began = time.perf_counter()
        if code := _begin(way, job).wait():
            raise subprocess.CalledProcessError(code, way)
        seconds = time.perf_counter() - began
        return Found(before, before - saved, engine.bill().images, kept(job), named(job), seconds)


def _begin(way: str, job: Job) -> subprocess.Popen[bytes]:
    arguments = [way, job.url, job.out, job.jobs, job.in_flight, job.shard]
    return subprocess.Popen([sys.executable, "-m", "benchmarks.resume", "--part", *map(str, arguments)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resume", description="Killed at half and run again.")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of each call")
    parser.add_argument("--shard", type=int, default=500, help="pictures of a shard")
    parser.add_argument("--part", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        way, url, out, *numbers = options.part
        anyio.run(WAYS[way], Job(url, Path(out), *map(int, numbers)))
        return
    print(f"{options.jobs:,} pictures, {options.in_flight} in flight, {options.latency:g} s each, killed at half")
    columns = f"{'paid at the kill':>18}{'of them lost':>14}{'bought twice':>14}{'named':>7}{'missing':>9}"
    print(f"{'':<10}{columns}{'second run':>12}")
    for way in WAYS:
        found = measure(way, options)
        twice, missing = found.whole - options.jobs, options.jobs - found.there
        print(f"{way:<10}{found.before:>18,}{found.lost:>14,}{twice:>14,}{found.named:>7,}", end="")
        print(f"{missing:>9,}{found.seconds:>10.1f} s", flush=True)


if __name__ == "__main__":
    main()
