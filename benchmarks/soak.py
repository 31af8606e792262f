"""Many calls with mixed faults, each held against the bill of the service.

    python -m benchmarks.soak --calls 2000

The service runs in a process of its own, over sockets on loopback. One call in twenty meets a fault, and so does
one connection in a hundred. Each call carries an `x-request-id`, under which the service notes how many pictures
it charged. At the end every call's fate is held against that: a picture that was charged is in the caller's hands,
or was reported as one that may have been billed. Otherwise it is printed as a mismatch, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import random
import resource
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import Any

import anyio
from tests.support.faulty import (
    FaultyService,
    Play,
    billed,
    drip,
    faulty_service,
    half_close,
    hang_up,
    midway,
    nothing,
    reset,
    say,
    say_cut,
    say_status,
    silence,
    succeed_and_close,
    succeed_and_say,
    trickle,
    unbilled,
    well,
)
from tests.support.responses import REFUSAL, data_response, http_response

from stepfun_async import APIError, AsyncClient, Client, ImagesResponse, Limits, RetryPolicy, Usage

ENVOY = b"upstream connect error or disconnect/reset before headers. reset reason: "
VARNISH = b"<html><head><title>503 Backend fetch failed</title></head></html>"

FAULTS: Mapping[str, Play] = MappingProxyType(
    {
        "reset in the upload": midway(reset),
        "reset, not made": unbilled(reset),
        "reset, made": billed(reset),
        "closed, made": billed(hang_up),
        "half-closed, made": billed(half_close),
        "silence, not made": unbilled(silence),
        "silence, made": billed(silence),
        "cut answer": billed(say_cut(0.7), hang_up),
        "dripping answer": billed(drip(b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n", b"x")),
        "a byte at a time": billed(trickle),
        "an answer too many": billed(succeed_and_say(http_response(b"{}", status="408 Request Timeout"))),
        "closed after the answer": billed(succeed_and_close),
        "401": unbilled(say_status("401 Unauthorized")),
        "429": unbilled(say_status("429 Too Many Requests", REFUSAL, "retry-after: 0.01\r\n")),
        "429 of a gateway, made": billed(say_status("429 Too Many Requests", headers="retry-after: 0.01\r\n")),
        "451": unbilled(say_status("451 Unavailable For Legal Reasons")),
        "503": unbilled(say_status("503 Service Unavailable", REFUSAL)),
        "503 of Envoy, made": billed(say_status("503 Service Unavailable", ENVOY + b"connection termination")),
        "503 of Envoy, not sent on": unbilled(
            say_status("503 Service Unavailable", ENVOY + b"remote connection failure")
        ),
        "503 of Varnish, made": billed(say_status("503 Service Unavailable", VARNISH, "retry-after: 0.01\r\n")),
        "408 of LiteLLM, made": billed(say_status("408 Request Timeout", REFUSAL, "x-litellm-call-id: 1\r\n")),
        "500, not made": unbilled(say_status("500 Internal Server Error")),
        "500, made": billed(say_status("500 Internal Server Error")),
        "504 page, made": billed(say_status("504 Gateway Timeout", b"<html>504</html>")),
        "page for a picture": billed(say(http_response(b"<html>welcome</html>"))),
        "no data": billed(say(data_response())),
    }
)
"""What a request may meet, each as likely as the others."""

RETRY = RetryPolicy(base=0.01, connect_base=0.01, cap=0.1, quota=None)


# --- the service --------------------------------------------------------------------------------


@dataclass
class Account:
    """What the service says at the end.

    Attributes:
        bills: pictures charged, by request id.
        faults: how often each fault was met.
        connections: how many were accepted.
    """

    bills: Counter[str]
    faults: Counter[str]
    connections: int


def serve(pipe: Connection, percent: float, seed: int) -> None:
    """Be the service: say where it is, and when asked, what it charged."""
    with faulty_service() as service:
        faults = _fail_at_random(service, percent, random.Random(seed))
        pipe.send(service.url)
        pipe.recv()
        service.see_to_all()
        pipe.send(Account(service.bills, faults, service.connections))


def _fail_at_random(service: FaultyService, percent: float, chance: random.Random) -> Counter[str]:
    """Let requests, and a fifth as many connections, meet faults; they are counted in what is returned."""
    faults: Counter[str] = Counter()
    lock = threading.Lock()

    def next_play() -> Play:
        if chance.random() * 100 >= percent:
            return well
        name = chance.choice(tuple(FAULTS))
        faults[name] += 1
        return FAULTS[name]

    def handshake(talk: Any) -> None:
        with lock:
            fails = chance.random() * 500 < percent
            faults["reset when accepted"] += fails
        (reset if fails else nothing)(talk)

    service.next_play, service.handshake = next_play, handshake
    return faults


@contextmanager
def service_process(percent: float, seed: int) -> Iterator[tuple[str, Callable[[], Account]]]:
    """The service in a process of its own: its address, and what asks it for its account and ends it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, percent, seed))
    process.start()
    theirs.close()
    try:

        def account() -> Account:
            ours.send("the bill, please")
            said: Account = ours.recv()
            return said

        yield ours.recv(), account
    finally:
        ours.close()
        process.join()


# --- the calls ----------------------------------------------------------------------------------


@dataclass
class Fates:
    """How each call ended: by its number, whether there is a picture, and how many may have been billed."""

    calls: int
    pictures: array[int] = field(init=False)
    maybe_billed: array[int] = field(init=False)
    ends: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.pictures, self.maybe_billed = array("b", bytes(self.calls)), array("b", bytes(self.calls))

    def note(self, number: int, end: ImagesResponse | APIError) -> None:
        """Note how call `number` ended."""
        self.maybe_billed[number] = end.maybe_billed
        if isinstance(end, ImagesResponse):
            assert end.trace_id in (str(number), None), f"call {number} got the picture of call {end.trace_id}"
            self.pictures[number] = 1
            self.ends["a picture"] += 1
        else:
            self.ends[f"{type(end).__name__}, {end.billing}"] += 1

    def mismatches(self, account: Account) -> Iterator[str]:
        """What does not agree with the account, in words."""
        for number in range(self.calls):
            charged = account.bills[str(number)]
            if charged > self.maybe_billed[number]:
                yield f"call {number}: {charged} charged, {self.maybe_billed[number]} reported"
            if charged < self.pictures[number]:
                yield f"call {number}: a picture that was not charged"

    def disagreements(self, account: Account, usage: Usage) -> Iterator[str]:
        """What does not agree in the sums, in words."""
        pictures, reported, charged = sum(self.pictures), sum(self.maybe_billed), account.bills.total()
        if not pictures <= charged <= reported:
            yield f"{charged} charged, but {pictures} pictures and {reported} reported"
        if (usage.billed, usage.billed + usage.maybe_billed) != (pictures, reported):
            yield f"usage says {usage.billed} and {usage.maybe_billed}, the calls say {pictures} and {reported}"


def _headers(number: int) -> dict[str, str]:
    return {"x-request-id": str(number)}


async def call_async(settings: Mapping[str, Any], fates: Fates, width: int, look: Callable[[], None]) -> Usage:
    """All calls, from `width` tasks."""
    numbers = iter(range(fates.calls))

    async def work(client: AsyncClient) -> None:
        for number in numbers:
            try:
                fates.note(number, await client.images.generate("a lake", extra_headers=_headers(number)))
            except APIError as error:
                fates.note(number, error)
            if number == fates.calls // 10:
                look()

    async with AsyncClient(**settings) as client:
        async with anyio.create_task_group() as group:
            for _ in range(width):
                group.start_soon(work, client)
        return client.usage


def call_sync(settings: Mapping[str, Any], fates: Fates, width: int, look: Callable[[], None]) -> Usage:
    """All calls, from `width` threads."""
    numbers = iter(range(fates.calls))
    lock = threading.Lock()

    def work(client: Client) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                end: ImagesResponse | APIError = client.images.generate("a lake", extra_headers=_headers(number))
            except APIError as error:
                end = error
            with lock:
                fates.note(number, end)
            if number == fates.calls // 10:
                look()

    with Client(**settings) as client, ThreadPoolExecutor(width) as threads:
        for done in [threads.submit(work, client) for _ in range(width)]:
            done.result()
        return client.usage


# --- the report ---------------------------------------------------------------------------------


def memory() -> float:
    """Megabytes that this process has in memory."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:  # not on Linux: the most it ever had
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def open_files() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


@dataclass
class Figures:
    """What is measured meanwhile: seconds, megabytes after a tenth of the calls and at the end, descriptors left."""

    files: int = field(default_factory=open_files)
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    early: float = 0.0
    late: float = 0.0

    def look(self) -> None:
        """Measure the memory when all that is kept is there."""
        gc.collect()
        self.early = memory()

    def end(self) -> None:
        """Measure what there is at the end."""
        self.seconds = time.perf_counter() - self.began
        gc.collect()
        self.late = memory()
        self.files = open_files() - self.files


def report(fates: Fates, account: Account, usage: Usage, figures: Figures) -> int:
    """Print the figures and the mismatches; the exit code."""
    print(f"{fates.calls:,} calls in {figures.seconds:.0f} s, {fates.calls / figures.seconds:.0f} calls/s")
    print(f"memory {figures.early:.1f} MB after a tenth of the calls, {figures.late:.1f} MB at the end")
    print(f"{account.connections:,} connections; {figures.files} descriptors left open")
    _table("the service failed", account.faults)
    _table("the calls ended with", fates.ends)
    pictures, charged = sum(fates.pictures), account.bills.total()
    unknown = sum(fates.maybe_billed) - pictures
    print(
        f"\n{charged:,} charged = {pictures:,} pictures + {charged - pictures:,} of the {unknown:,} reported as unknown"
    )
    wrong = [*fates.mismatches(account), *fates.disagreements(account, usage)]
    if figures.files > 0:
        wrong.append(f"{figures.files} descriptors stay open")
    for line in wrong[:50]:
        print(f"MISMATCH {line}")
    print(f"{len(wrong)} mismatches")
    return 1 if wrong else 0


def _table(title: str, counts: Counter[str]) -> None:
    print(f"\n{title}")
    for name, count in sorted(counts.items()):
        print(f"{count:9,}  {name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 where something does not agree."""
    given = _arguments(arguments)
    logging.getLogger("stepfun_async").setLevel(logging.ERROR)  # a warning for each lost answer is what is expected
    fates = Fates(given.calls)
    with service_process(given.faults, given.seed) as (url, account):
        figures = Figures()
        settings = {
            "api_key": "sk-soak",
            "base_url": url,
            "limits": Limits(given.concurrency),
            "timeout": given.timeout,
            "retry": RETRY,
        }
        usage = _run(given.code, settings, fates, given.concurrency, figures.look)
        figures.end()
        said = account()
    return report(fates, said, usage, figures)


def _run(code: str, settings: Mapping[str, Any], fates: Fates, width: int, look: Callable[[], None]) -> Usage:
    if code == "sync":
        return call_sync(settings, fates, width, look)
    return anyio.run(call_async, settings, fates, width, look, backend=code)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--faults", type=float, default=5.0, help="calls in a hundred that meet one")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--code", choices=("asyncio", "trio", "sync"), default="asyncio")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds a call may take")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
