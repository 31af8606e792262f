"""One measurement, in a process of its own: `python -m benchmarks.measure TASK`, called by `run`.

It is told the task as JSON and prints what it found as JSON. Then it ends at once: what a client
does to close, or to give up calls in flight, is not measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import anyio
from anyio.lowlevel import checkpoint

from .cases import CASES, Case
from .clients import CLIENTS, KEY, MODEL, PROMPT, Target, cut_out
from .gauges import LONGEST, Figures, Lag, Window, cpu
from .memory import Memory
from .pictures import png
from .server import GENERATIONS, answers

if TYPE_CHECKING:
    from stepfun_async import AsyncClient, TextToImage

Report: TypeAlias = Callable[[Figures], None]
"""What a measurement gives its figures to, as soon as it has them."""


_TICK = 0.005
"""Seconds between looks at the event loop's lag; the server's latency, where that is longer, or looking would cost."""


@dataclass(frozen=True)
class Task:
    """What to measure.

    Attributes:
        case: which case.
        client: with which client.
        seconds: how long calls are counted.
        url: the base URL of the server, where the case has one.
        folder: where files go.
        cpu: the CPU to stay on; None for any.
        source: the folder with this package's modules; None for the present ones.
    """

    case: Case
    client: str
    seconds: float
    url: str = ""
    folder: str = "."
    cpu: int | None = None
    source: str | None = None

    @classmethod
    def from_json(cls, text: str) -> Task:
        values = json.loads(text)
        return cls(**{**values, "case": CASES[values["case"]]})

    def to_json(self) -> str:
        return json.dumps({**vars(self), "case": self.case.name})

    def target(self) -> Target:
        """What the client works against."""
        return Target(self.url, self.case.in_flight, self.folder, png(self.case.upload))

    def check(self, picture: bytes | None) -> None:
        """See to it that a job brought the picture; None where it went to the first worker's file.

        Raises:
            ValueError: it did not.
        """
        found = self.target().file(0).read_bytes() if picture is None else picture
        if found != png(self.case.side):
            raise ValueError(f"{self.client} brought another picture than the server's")


def load(task: Task, report: Report) -> None:
    """Calls awaited, so many at once."""
    _run(task.case.loop, lambda: _load(task, report))


async def _load(task: Task, report: Report) -> None:
    case = task.case
    peer = CLIENTS[task.client].awaited(task.target())
    await peer.open()
    call = getattr(peer, case.job)
    task.check(await call(0))
    over = anyio.Event()
    lag = Lag(max(_TICK, case.latency))
    window = Window(case.in_flight, task.seconds, over.set, lag)

    async def work(worker: int) -> None:
        while True:
            began = time.perf_counter()
            await call(worker)
            window.note(worker, began)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lag.watch)
        for worker in range(case.in_flight):
            tasks.start_soon(work, worker)
        with anyio.move_on_after(LONGEST):
            await over.wait()
        report(window.figures())
        tasks.cancel_scope.cancel()


def threads(task: Task, report: Report) -> None:
    """Calls made from so many threads."""
    case = task.case
    call = getattr(CLIENTS[task.client].called(task.target()), case.job)
    task.check(call(0))
    over = threading.Event()
    window = Window(case.in_flight, task.seconds, over.set)

    def work(worker: int) -> None:
        while not over.is_set():
            began = time.perf_counter()
            call(worker)
            window.note(worker, began)

    for worker in range(case.in_flight):
        threading.Thread(target=work, args=(worker,), daemon=True).start()
    over.wait(LONGEST)
    report(window.figures())


def fan_out(task: Task, report: Report) -> None:
    """Many requests, by one of the `WAYS`."""
    _run(task.case.loop, lambda: _fan_out(task, report))


async def _fan_out(task: Task, report: Report) -> None:
    from stepfun_async import AsyncClient, Limits

    case = task.case
    limits = Limits(max_concurrency=case.in_flight)
    client = AsyncClient(KEY, base_url="https://nowhere/v1", limits=limits, transport=cast("Any", AtOnce(case.side)))
    await client.images.generate(PROMPT)
    lag, memory = Lag(_TICK), Memory()
    ended: list[float] = []
    spent, began = cpu(), time.perf_counter()

    def end() -> None:
        if not ended:
            ended.append(time.perf_counter() - began)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lag.watch)
        await WAYS[task.client](client, case, end)
        tasks.cancel_scope.cancel()
    report(
        {
            "cpu_us": (cpu() - spent) / case.count * 1e6,
            "rate": case.count / (time.perf_counter() - began),
            "peak_mb": memory.peak(),
            "lag_ms": lag.worst * 1e3,
            "first_ms": ended[0] * 1e3,
        }
    )


class AtOnce:
    """A transport that answers at once, so that what is left is the cost of everything around it.

    Args:
        side: pixels of the picture's side.
    """

    def __init__(self, side: int) -> None:
        from stepfun_async._core.wire import HTTPResponse

        content_type, body = answers(png(side), "", links=False)[GENERATIONS]
        self._reply = HTTPResponse(200, {"content-type": content_type}, body)

    async def send(self, call: Any, progress: Any) -> Any:
        progress.mark_sent()
        await checkpoint()
        return self._reply

    async def aclose(self) -> None:
        pass


async def _mapped(client: AsyncClient, case: Case, end: Callable[[], None]) -> None:
    async with client.images.map(_requests(case.count)) as outcomes:
        async for _ in outcomes:
            end()


def _requests(count: int) -> Iterator[TextToImage]:
    from stepfun_async import TextToImage

    return (TextToImage(prompt=PROMPT) for _ in range(count))


async def _worked(client: AsyncClient, case: Case, end: Callable[[], None]) -> None:
    """As many tasks as calls at once, each taking the next number: the least that fanning out can cost."""
    numbers = iter(range(case.count))

    async def work() -> None:
        for _ in numbers:
            await client.images.generate(PROMPT)
            end()

    async with anyio.create_task_group() as tasks:
        for _ in range(case.in_flight):
            tasks.start_soon(work)


async def _gathered(client: AsyncClient, case: Case, end: Callable[[], None]) -> None:
    """What people write: a task for each call, and a semaphore."""
    room = asyncio.Semaphore(case.in_flight)

    async def call() -> None:
        async with room:
            await client.images.generate(PROMPT)
            end()

    await asyncio.gather(*(call() for _ in range(case.count)))


WAYS: Mapping[str, Callable[[AsyncClient, Case, Callable[[], None]], Awaitable[None]]] = {
    "ours": _mapped,
    "workers": _worked,
    "gather": _gathered,
}
"""Ways to send many requests with our client."""


def check(task: Task, report: Report) -> None:
    """Requests made, judged and priced, and nothing sent."""
    from stepfun_async import TextToImage

    def judge() -> None:
        request = TextToImage(prompt=PROMPT, size="1024x1024", seed=1, steps=8)
        if request.problems() or request.price() is None:
            raise ValueError("the request is good, and its price is known")

    report(_repeated(judge, task.seconds))


def decode(task: Task, report: Report) -> None:
    """A whole answer made into a picture, by one of the `DECODERS`."""
    _, body = answers(png(task.case.side), "", links=False)[GENERATIONS]
    make = DECODERS[task.client]()
    task.check(make(body))
    report(_repeated(lambda: make(body), task.seconds))


def _repeated(function: Callable[[], object], seconds: float) -> Figures:
    """`function` called for `seconds`, after a tenth of that to warm up."""
    _call_for(function, seconds / 10)
    spent, began = cpu(), time.perf_counter()
    calls = _call_for(function, seconds)
    return {"cpu_us": (cpu() - spent) / calls * 1e6, "rate": calls / (time.perf_counter() - began)}


def _call_for(function: Callable[[], object], seconds: float) -> int:
    end = time.perf_counter() + seconds
    calls = 0
    while not calls or time.perf_counter() < end:
        function()
        calls += 1
    return calls


def _our_decoder() -> Callable[[bytes], bytes]:
    from stepfun_async._core.responses import parse_images
    from stepfun_async._core.wire import HTTPResponse

    def make(body: bytes) -> bytes:
        reply = HTTPResponse(200, {"content-type": "application/json"}, body)
        made = parse_images(reply, model=MODEL, base_url="https://nowhere/v1", now=0.0, link_lifetime=None)
        return made.image.to_bytes()

    return make


def _our_decoder_of_pieces() -> Callable[[bytes], bytes]:
    """As answers come from a socket."""
    from stepfun_async._core.cutting import Base64StreamDecoder

    def make(body: bytes) -> bytes:
        cutter = Base64StreamDecoder(length=len(body))
        for at in range(0, len(body), _PIECE):
            cutter.feed(body[at : at + _PIECE])
        _, pictures = cutter.finish() or (b"", ())
        return pictures[0].sink.read()

    return make


_PIECE = 256 * 1024
"""Bytes that come at once."""


def _standard_decoder() -> Callable[[bytes], bytes]:
    return lambda body: base64.b64decode(json.loads(body)["data"][0]["b64_json"])


def _floor_decoder() -> Callable[[bytes], bytes]:
    return cut_out


DECODERS: Mapping[str, Callable[[], Callable[[bytes], bytes]]] = {
    "ours": _our_decoder,
    "pieces": _our_decoder_of_pieces,
    "stdlib": _standard_decoder,
    "floor": _floor_decoder,
}
"""Ways to make a picture of an answer's body."""


def second(task: Task, report: Report) -> None:
    """One more client where there is one: making it, and its first call, connection and all."""
    _run(task.case.loop, lambda: _second(task, report))


async def _second(task: Task, report: Report) -> None:
    kind = CLIENTS[task.client].awaited
    peers = [kind(task.target())]
    await peers[0].open()
    task.check(await peers[0].generate(0))
    spent = cpu()
    for _ in range(_MORE):
        peers.append(kind(task.target()))
        await peers[-1].open()
    made = cpu()
    for peer in peers[1:]:
        await peer.generate(0)
    report({"made_us": (made - spent) / _MORE * 1e6, "cpu_us": (cpu() - spent) / _MORE * 1e6})


_MORE = 20
"""Clients that are made to find out what one costs."""


def _run(loop: str, main: Callable[[], Awaitable[None]]) -> None:
    backend, options = _LOOPS[loop]
    anyio.run(main, backend=backend, backend_options=dict(options))


_LOOPS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}

KINDS: Mapping[str, Callable[[Task, Report], None]] = {
    "load": load,
    "threads": threads,
    "fan_out": fan_out,
    "check": check,
    "decode": decode,
    "second": second,
}
"""How each kind of case is measured."""


def _print_and_end(figures: Figures) -> None:
    print(json.dumps(figures), flush=True)
    os._exit(0)


def main() -> None:
    task = Task.from_json(sys.argv[1])
    if task.cpu is not None:
        os.sched_setaffinity(0, {task.cpu})
    try:
        KINDS[task.case.kind](task, _print_and_end)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is reported of this client
        reason = _reason(error)
        print(f"{type(reason).__name__}: {reason}", file=sys.stderr, flush=True)
        os._exit(1)  # before the garbage of what failed complains as well


def _reason(error: BaseException) -> BaseException:
    """The first error within a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
