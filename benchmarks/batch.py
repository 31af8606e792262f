"""A batch of very many jobs, to its end, killed at half of it, and begun again.

    python -m benchmarks.batch --jobs 1000000

A file of prompts is read, and a transport in the same process answers each call at once with the same picture of
1 KB, so that what is measured is the batch: reading, checking, journal, files. Each part is a process of its own.
Meanwhile an idle process wakes up as often as the watch in the event loop does: what it is late by is the machine's.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import anyio

from stepfun_async import Batch, Limits
from stepfun_async.batch import Records

from .gauges import cpu
from .measure import AtOnce
from .memory import resident

Said: TypeAlias = Mapping[str, float]
"""What a process says of itself: one line of JSON."""

URL = "https://nowhere.test/v1"
TICK = 0.005
"""Seconds between looks at how late a wake-up is."""

START = 1.0
"""Seconds at the beginning, in which modules are imported, that count for nothing."""

SIDE = 18
"""Pixels of a side of the picture, which makes it 1 KB."""


# --- in a process of its own --------------------------------------------------------------------


class Lateness:
    """How late wake-ups were, in a histogram, so that hours of them take no memory.

    Args:
        spent: tells the CPU that this thread has used, in seconds.

    Attributes:
        worst: milliseconds.
        busy: milliseconds of CPU from one look to the next, at worst. By its own doing this thread was never later
            than that, however many processes share the machine.
    """

    def __init__(self, spent: Callable[[], float] = time.thread_time) -> None:
        self._spent = spent
        self._counts = [0] * 2001
        self.worst = 0.0
        self.busy = 0.0

    def begin(self) -> tuple[float, float]:
        """A sleep of a tick begins."""
        return time.perf_counter(), self._spent()

    def end(self, since: tuple[float, float]) -> None:
        """It is over."""
        began, spent = since
        late = max(0.0, (time.perf_counter() - began - TICK) * 1e3)
        self._counts[min(int(late), 2000)] += 1
        self.worst = max(self.worst, late)
        self.busy = max(self.busy, (self._spent() - spent) * 1e3)

    def over(self, milliseconds: int) -> float:
        """The share of wake-ups that were later than that."""
        return sum(self._counts[milliseconds:]) / max(1, sum(self._counts))


class Garbage:
    """What Python's collector of garbage takes of this thread: the more a process has imported, the longer.

    Attributes:
        worst: milliseconds of CPU.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._began = 0.0
        self._seconds = 0.0
        self.worst = 0.0
        gc.callbacks.append(self._note)

    def spent_beside(self) -> float:
        """Seconds of CPU that this thread has used for anything else."""
        return time.thread_time() - self._seconds

    def _note(self, phase: str, _: object) -> None:
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._began = time.thread_time()
        else:
            taken = time.thread_time() - self._began
            self._seconds += taken
            self.worst = max(self.worst, taken * 1e3)


class First(AtOnce):
    """A transport that answers at once, and knows when it was first asked."""

    asked = 0.0

    async def send(self, call: Any, progress: Any) -> Any:
        self.asked = self.asked or time.perf_counter()
        return await super().send(call, progress)


def say(**figures: float) -> None:
    """Tell the parent."""
    print(json.dumps(figures), flush=True)


async def work(prompts: str, out: str, in_flight: int, most: int) -> None:
    """Run the batch; tell each percent and the end.

    Args:
        prompts: the file of prompts.
        out: the folder.
        in_flight: how many at once.
        most: stop after so many pictures; 0 for never.
    """
    transport = First(SIDE)
    batch = Batch(
        prompts, out=out, base_url=URL, api_key="sk-bench", limits=Limits(in_flight), transport=cast("Any", transport)
    )
    garbage = Garbage()
    lateness = Lateness(garbage.spent_beside)

    async def watch() -> None:
        await anyio.sleep(START)
        while True:
            began = lateness.begin()
            await anyio.sleep(TICK)
            lateness.end(began)

    async def tell() -> None:
        while True:
            await anyio.sleep(0.1)
            done = batch.progress.done
            say(done=done, rss_mb=resident(), seconds=time.perf_counter() - began)
            if most and done >= most:
                batch.stop()

    began, spent = time.perf_counter(), cpu()
    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        group.start_soon(tell)
        progress = await batch.run()
        group.cancel_scope.cancel()
    say(
        done=progress.done,
        skipped=progress.skipped,
        adopted=progress.adopted,
        seconds=time.perf_counter() - began,
        cpu_s=cpu() - spent,
        rss_mb=resident(),
        peak_mb=resident(peak=True),
        first_s=transport.asked - began if transport.asked else 0.0,
        lag_ms=lateness.worst,
        lag_over=lateness.over(10),
        busy_ms=lateness.busy,
        garbage_ms=garbage.worst,
    )


def check(prompts: str, out: str) -> None:
    """Check the inputs."""
    began = time.perf_counter()
    checked = Batch(prompts, out=out, base_url=URL).check_sync()
    say(done=checked.lines, seconds=time.perf_counter() - began, peak_mb=resident(peak=True))


def status(out: str) -> None:
    """Ask how the batch stands."""
    began = time.perf_counter()
    counts = Records(out).status().counts
    say(done=counts["done"], seconds=time.perf_counter() - began, peak_mb=resident(peak=True))


# --- the parent ---------------------------------------------------------------------------------


class Part:
    """A process that works, and what it has said."""

    def __init__(self, name: str, *arguments: object) -> None:
        command = [sys.executable, "-m", "benchmarks.batch", "--part", name, *map(str, arguments)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._stdout = cast("Any", self._process.stdout)

    def said(self) -> Iterator[Said]:
        """What it says, as it says it."""
        for line in self._stdout:
            yield json.loads(line)

    def end(self) -> Said:
        """The last thing it said.

        Raises:
            CalledProcessError: it failed.
        """
        last: Said = {}
        for said in self.said():
            last = said
        self._wait()
        return last

    def until(self, done: int) -> Said:
        """Kill it when it has made so many pictures; what it said last."""
        last: Said = {}
        for last in self.said():
            if last["done"] >= done:
                self._process.send_signal(signal.SIGKILL)
                break
        self._process.wait()
        return last

    def _wait(self) -> None:
        code = self._process.wait()
        if code:
            raise subprocess.CalledProcessError(code, self._process.args)


@contextmanager
def idle() -> Iterator[Lateness]:
    """How late the wake-ups of a thread are that does nothing else in a process that does nothing else."""
    lateness, over = Lateness(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            began = lateness.begin()
            time.sleep(TICK)
            lateness.end(began)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lateness
    finally:
        over.set()
        thread.join()


def write_prompts(path: Path, count: int) -> None:
    """As many lines, no two alike."""
    with path.open("w") as file:
        for number in range(count):
            prompt = f"A lighthouse on a cliff in the evening, waves below, number {number}"
            file.write(json.dumps({"prompt": prompt, "seed": number, "size": "1024x1024"}) + "\n")


def whole(prompts: Path, out: Path, options: argparse.Namespace) -> None:
    """From beginning to end."""
    jobs: int = options.jobs
    end: Said = {}
    tenths: dict[int, float] = {}
    with idle() as machine:
        for end in Part("run", prompts, out, options.in_flight, 0).said():
            tenths.setdefault(int(end["done"] * 10 // jobs), end["rss_mb"])
            _tell_progress(end, jobs)
    assert end["done"] == jobs, end
    seconds = end["seconds"]
    _row("jobs", f"{jobs:,}, {options.in_flight} in flight: {seconds:,.0f} s, {jobs / seconds:,.0f} jobs/s")
    _row("CPU", f"{end['cpu_s'] / jobs * 1e6:,.0f} us a job, {end['cpu_s'] / seconds:.2f} cores")
    _row("memory", f"{' '.join(f'{size:.1f}' for size in tenths.values())} MB after each tenth from 0 to 10")
    _row("", f"{end['peak_mb']:.1f} MB at the peak")
    _row("event loop late", f"{end['lag_ms']:.1f} ms at worst, more than 10 ms in {end['lag_over']:.3%} of looks")
    _row("its own CPU", f"{end['busy_ms']:.1f} ms at worst from one look to the next, without garbage collection")
    _row("", f"{end['garbage_ms']:.1f} ms at worst for Python's garbage collection")
    _row("an idle process", f"{machine.worst:.1f} ms at worst, more than 10 ms in {machine.over(10):.3%} of looks")


def _row(name: str, text: str) -> None:
    print(f"{name:<20}{text}", flush=True)


def _tell_progress(said: Said, jobs: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{said['done']:,.0f} of {jobs:,}, {said['rss_mb']:.1f} MB", end="", file=sys.stderr)


def disk(out: Path) -> None:
    """What is on the disk."""
    sizes = {"pictures": 0, "notes": 0, "journal": 0}
    apparent = 0
    for folder, _, names in os.walk(out):
        for name in names:
            facts = os.stat(os.path.join(folder, name))
            kind = "journal" if name.startswith("journal.") else "notes" if name.endswith(".json") else "pictures"
            sizes[kind] += facts.st_blocks * 512
            apparent += facts.st_size
    shown = ", ".join(f"{size / 1e6:,.0f} MB of {kind}" for kind, size in sizes.items())
    _row("disk", f"{shown}; {apparent / 1e6:,.0f} MB are in them")


def file_system(folder: Path) -> str:
    """The kind of file system that a folder is on and where that is mounted, as Linux calls them."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return "not known"
    above = [(mount[1], mount[2]) for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    where, kind = max(above, key=lambda mount: len(mount[0]))
    return f"{kind}, mounted at {where}"


def again(prompts: Path, out: Path, options: argparse.Namespace) -> None:
    """What a finished journal costs."""
    end = Part("run", prompts, out, options.in_flight, 0).end()
    assert end["skipped"] == options.jobs, end
    _row("run again", f"{end['seconds']:.1f} s, {end['peak_mb']:.1f} MB at the peak")
    for name, arguments in (("status", (out,)), ("check", (prompts, out))):
        end = Part(name, *arguments).end()
        _row(name, f"{end['seconds']:.1f} s, {end['peak_mb']:.1f} MB at the peak")


def killed(prompts: Path, out: Path, options: argparse.Namespace) -> None:
    """Killed when half is done, and run again until it goes on."""
    half = options.jobs // 2
    Part("run", prompts, out, options.in_flight, 0).until(half)
    done = Records(out).status().counts
    end = Part("run", prompts, out, options.in_flight, options.in_flight).end()
    _row("killed at half", f"{done['done']:,} done and {done['started']} in flight, by the journal")
    _row("run again", f"{end['skipped']:,.0f} passed over, {end['adopted']:.0f} pictures found and adopted")
    _row("", f"the first new one asked for after {end['first_s']:.1f} s, {end['peak_mb']:.1f} MB at the peak")


PARTS: Mapping[str, Callable[..., object]] = {
    "run": lambda prompts, out, in_flight, most: anyio.run(work, prompts, out, int(in_flight), int(most)),
    "check": check,
    "status": status,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description="A batch of very many jobs.")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--folder", help="where its files are for the time being; 8 KB a job (the system's)")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, *arguments = options.part
        PARTS[name](*arguments)
        return
    folder = Path(tempfile.mkdtemp(prefix="stepfun-bench-", dir=options.folder))
    try:
        _row("file system", file_system(folder))
        write_prompts(folder / "prompts.jsonl", options.jobs)
        whole(folder / "prompts.jsonl", folder / "whole", options)
        disk(folder / "whole")
        again(folder / "prompts.jsonl", folder / "whole", options)
        killed(folder / "prompts.jsonl", folder / "killed", options)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
