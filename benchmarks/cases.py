"""What is measured: one row a case. Everything else reads this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

KB, MB, MB8 = 15, 708, 1633
"""Sides in pixels of pictures of 760 bytes (an answer of 1 KB), 1.5 MB and 8.0 MB."""

EVERYBODY = ("ours", "floor", "aiohttp", "httpx", "openai", "openai-aiohttp", "google-genai", "litellm")
SAVERS = ("ours", "floor", "floor-durable", *EVERYBODY[2:])
POOLS = ("ours", "floor", "aiohttp", "httpx", "httpx-20", "openai", "openai-aiohttp", "google-genai", "litellm")
FEW = ("ours", "floor", "aiohttp", "httpx", "openai")
"""What stands for the others; it can do links and edits."""
FEWER = ("ours", "floor", "aiohttp", "openai")
"""Without httpx: with hundreds of connections it takes minutes to settle, and large pictures cost as openai's do."""
PACKAGES = ("ours", "aiohttp", "httpx", "openai", "google-genai", "litellm")
SLIM = ("ours", "aiohttp", "httpx", "openai", "google-genai")
"""Without litellm, whose processes take seconds to begin."""
THREADED = ("ours", "httpx", "openai", "google-genai")
DECODERS = ("ours", "pieces", "floor", "stdlib")
PROTOCOLS = ("ours", "ours-http2", "httpx", "httpx-http2")


BEFORE = "before"
"""The client that is an earlier revision of this package: the same adapter, run with that revision's source."""

COMPARED = (
    "1kb-c1",
    "1kb-c16",
    "1kb-c64",
    "1kb-c64-50ms",
    "1kb-c256-50ms",
    "1kb-c1000-50ms",
    "1.5mb-c64",
    "1.5mb-save-c64",
    "edit-1.5mb-c16",
    "sync-32",
    "import",
    "first",
    "second",
)
"""The cases that an earlier revision takes part in: those of goals, as far as its interface is that of today."""


@dataclass(frozen=True)
class Case:
    """One thing that is measured, with several clients.

    Attributes:
        name: what it is called on the command line.
        title: what it is called in tables.
        clients: who takes part: names in `clients.CLIENTS`, or ways of doing it that the kind knows.
        kind: how it is measured: a function in `measure.KINDS`, or a program in `run.PROGRAMS`.
        job: what each call does: a method of the clients.
        side: pixels of a side of the picture that the server answers with.
        upload: pixels of a side of the picture that is sent.
        in_flight: calls at once; threads, where calls are not awaited.
        latency: seconds the server takes.
        loop: the event loop: `asyncio`, `uvloop` or `trio`.
        tls: over https.
        http2: let clients choose HTTP/2, which needs `tls`.
        count: requests of a fan-out.
        seconds: how long calls are counted; a quarter of it is warm-up before.
        rounds: rounds at most.
        quick: whether it is one of the headline cases.
        extra: whether it is measured only when asked for.
    """

    name: str
    title: str
    clients: tuple[str, ...]
    kind: str = "load"
    job: str = "generate"
    side: int = KB
    upload: int = 1
    in_flight: int = 1
    latency: float = 0.0
    loop: str = "asyncio"
    tls: bool = False
    http2: bool = False
    count: int = 0
    seconds: float = 0.8
    rounds: int = 99
    quick: bool = False
    extra: bool = False

    @property
    def links(self) -> bool:
        """Whether the server answers with links."""
        return self.job in ("link", "save_link")


def _small(in_flight: int, latency: float, clients: tuple[str, ...], *, quick: bool = False) -> Case:
    wait = f"-{latency * 1000:g}ms" if latency else ""
    after = f", {latency * 1000:g} ms latency" if latency else ""
    name, title = f"1kb-c{in_flight}{wait}", f"1 KB answers, {in_flight} in flight{after}"
    seconds = 1.5 if latency else 0.8
    return Case(name, title, clients, in_flight=in_flight, latency=latency, seconds=seconds, quick=quick)


def _picture(
    name: str, title: str, job: str, side: int, in_flight: int, clients: tuple[str, ...], *, quick: bool = False
) -> Case:
    return Case(name, title, clients, job=job, side=side, in_flight=in_flight, quick=quick)


def _threads(count: int, *, quick: bool = False) -> Case:
    title = f"Sync calls from {count} thread{'s' * (count > 1)}, 1 KB answers"
    return Case(f"sync-{count}", title, THREADED, "threads", in_flight=count, quick=quick)


def _fan_out(count: int, clients: tuple[str, ...]) -> Case:
    title = f"A fan-out of {count:,} requests, 64 at once, answered at once in the same process"
    return Case(f"map-{count}", title, clients, "fan_out", in_flight=64, count=count, rounds=1)


_PLAIN = (
    _small(1, 0.0, EVERYBODY, quick=True),
    _small(16, 0.0, FEW),
    _small(64, 0.0, POOLS, quick=True),
    _small(256, 0.0, FEWER),
    _small(1000, 0.0, FEWER),
    _small(1, 0.05, FEWER),
    _small(16, 0.05, FEW),
    _small(64, 0.05, (*FEW, "google-genai"), quick=True),
    _small(256, 0.05, FEW),
    _small(1000, 0.05, FEWER),
    _picture("1.5mb-c64", "1.5 MB pictures as base64, to memory, 64 in flight", "generate", MB, 64, FEW),
    _picture("1.5mb-save-c64", "1.5 MB pictures as base64, to files, 64 in flight", "save", MB, 64, SAVERS, quick=True),
    _picture("1.5mb-link-c16", "1.5 MB pictures by link, to memory, 16 in flight", "link", MB, 16, FEW),
    _picture("1.5mb-save-link-c16", "1.5 MB pictures by link, to files, 16 in flight", "save_link", MB, 16, FEW),
    _picture("8mb-c8", "8 MB pictures as base64, to memory, 8 in flight", "generate", MB8, 8, FEWER),
    _picture("8mb-save-c8", "8 MB pictures as base64, to files, 8 in flight", "save", MB8, 8, FEWER),
    _picture("8mb-link-c8", "8 MB pictures by link, to memory, 8 in flight", "link", MB8, 8, FEWER),
    _picture("8mb-save-link-c8", "8 MB pictures by link, to files, 8 in flight", "save_link", MB8, 8, FEWER),
    Case("edit-1.5mb-c16", "Edits of a 1.5 MB picture, 16 in flight", FEW, job="edit", upload=MB, in_flight=16),
    Case("edit-8mb-c8", "Edits of an 8 MB picture, 8 in flight", FEWER, job="edit", upload=MB8, in_flight=8),
    _threads(1),
    _threads(8),
    _threads(32, quick=True),
)


def _over_https(case: Case) -> Case:
    """The same, with the clients that have a transport of their own."""
    name, title = f"tls-{case.name}", f"{case.title}, over https"
    clients = tuple(client for client in case.clients if client in (*FEW, "httpx-20"))
    return replace(case, name=name, title=title, clients=clients, tls=True, quick=False, extra=name not in _USUAL)


_USUAL = ("tls-1kb-c1", "tls-1kb-c64", "tls-1.5mb-save-c64", "tls-edit-1.5mb-c16", "tls-sync-32")
"""What is measured over https without being asked for; the rest tells the same again."""

_CASES = (
    *_PLAIN,
    *map(_over_https, _PLAIN),
    Case("uvloop-1kb-c64", "1 KB answers on uvloop, 64 in flight", FEWER, in_flight=64, loop="uvloop"),
    Case("trio-1kb-c64", "1 KB answers on trio, 64 in flight", ("ours", "httpx", "openai"), in_flight=64, loop="trio"),
    Case("http2-1kb-c64", "HTTP/1.1 and HTTP/2, 1 KB, 64 in flight", PROTOCOLS, in_flight=64, tls=True, http2=True),
    Case(
        "http2-1.5mb-c16",
        "HTTP/1.1 and HTTP/2, 1.5 MB, 16 in flight",
        PROTOCOLS,
        side=MB,
        in_flight=16,
        tls=True,
        http2=True,
    ),
    _fan_out(10_000, ("ours", "workers", "gather")),
    _fan_out(100_000, ("ours", "workers")),
    Case("import", "Import of the package", PACKAGES, "import", "package", quick=True),
    Case("import-class", "Import of the class that makes calls", SLIM, "import", "class"),
    Case("first", "A fresh process to its first answer", PACKAGES, "first", quick=True),
    Case("tls-first", "A fresh process to its first answer, over https", SLIM, "first", tls=True),
    Case("second", "One more client in the same process, over https", ("ours", "httpx", "openai"), "second", tls=True),
    Case("check", "A request checked against the tables and priced", ("ours",), "check", quick=True),
    Case("decode-1.5mb", "A 1.5 MB answer made into a picture", DECODERS, "decode", side=MB),
)


def _compared(case: Case) -> Case:
    ours, *others = case.clients
    return replace(case, clients=(ours, BEFORE, *others)) if case.name in COMPARED else case


CASES: Mapping[str, Case] = {case.name: _compared(case) for case in _CASES}
