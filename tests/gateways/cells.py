"""One call through one gateway while one fault lasts, and which promises the outcome breaks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepfun_async import (
    APIConnectionError,
    APIError,
    APIStatusError,
    ImagesResponse,
    Limits,
    RetryPolicy,
    TextToImage,
    Usage,
)
from tests.gateways.faults import Fault
from tests.gateways.gateways import Gateway, Listener
from tests.support.faulty import FaultyService, billed, faulty_service, succeed, succeed_and_close
from tests.support.responses import PIXEL
from tests.support.shells import Ask, Caller, Result, Shell

QUICK = RetryPolicy(base=0.001, connect_base=0.001, cap=0.01)

PATIENCE = 120.0
"""Seconds after which a call counts as one that never ends."""

LARGE = 6_000_000
"""Bytes, more than the gateway and the kernels on the way take in while nothing is read."""

PASSED_ON = {True: 20.0, False: 0.5}
"""Seconds within which the upstream is disconnected when the caller is gone, by whether the gateway does that."""

WARM_UPS = 20
"""How many calls may fail before a fault: gateways may use a connection that the upstream closed after the last one."""


@dataclass(frozen=True)
class Operation:
    """What is asked, and how many requests that takes.

    Attributes:
        name: as in `client.images`.
        ask: asks it, with a request that is at least as long as the number.
        requests: how many it sends.
    """

    name: str
    ask: Callable[[Any, int], Any]
    requests: int = 1


def _image(size: int) -> bytes:
    """A whole PNG, at least so many bytes long, most of them in a chunk that decoders skip."""
    chunk = b"paDd" + bytes(size)
    return PIXEL[:33] + struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk)) + PIXEL[33:]


def _padding(size: int) -> Any:
    return {"padding": "x" * size} if size else None


def _map(images: Any, size: int) -> Any:
    return images.map(TextToImage(prompt=f"a lake {n}", extra_body=_padding(size)) for n in range(2))


OPERATIONS = (
    Operation("generate", lambda images, size: images.generate("a lake", extra_body=_padding(size))),
    Operation("edit", lambda images, size: images.edit(_image(size), "blue")),
    Operation("image_to_image", lambda images, size: images.image_to_image(_image(size), "blue", source_weight=0.5)),
    Operation("map", _map, requests=2),
)


@dataclass(frozen=True)
class Outcome:
    """What was reported, and what was billed.

    Attributes:
        results: how each request ended.
        usage: the client's sums, without those of the calls before.
        billed: how many images the upstreams made.
        hung_up: whether the upstream was disconnected when the caller is gone; None where the caller waited.
    """

    results: tuple[Result, ...]
    usage: Usage
    billed: int
    hung_up: bool | None = None

    @property
    def reported(self) -> int:
        """How many attempts may have been billed, by what the caller got."""
        return sum(maybe_billed(one) for one in self.results)

    def wrongs(self, gateway: Gateway, fault: Fault, operation: Operation) -> Iterator[str]:
        """The promises that it breaks."""
        own = min(self.billed, operation.requests) if gateway.resends else self.billed
        if self.reported < own:
            yield f"{own} billed, {self.reported} reported"
        if self.usage.billed + self.usage.maybe_billed < own:
            yield f"{own} billed, usage has {self.usage.billed} + {self.usage.maybe_billed}"
        again = max(map(attempts, self.results)) > 1 if gateway.resends else self.billed > operation.requests
        if fault.made and again:
            yield "sent again after the upstream had the body"


def maybe_billed(result: Result) -> int:
    """How many attempts may have been billed, by what the caller got."""
    return int(getattr(result, "maybe_billed", 0))


def attempts(result: Result) -> int:
    """How many attempts there were, by what the caller got."""
    return int(getattr(result, "attempts", 0))


def response_of(result: Result) -> int | str:
    """What the caller received: a status, "closed" where the connection ended first, or the exception's name."""
    if isinstance(result, ImagesResponse):
        return 200
    if isinstance(result, APIStatusError):
        return result.status
    return "closed" if type(result) is APIConnectionError else type(result).__name__


def line(result: Result) -> str:
    """What the caller got, in a few words."""
    billing = result.billing if isinstance(result, APIError) else "executed"
    return f"{response_of(result)} {billing} {attempts(result)}/{maybe_billed(result)}"


@dataclass(frozen=True)
class Place:
    """A gateway that runs, and the upstreams behind it."""

    gateway: Gateway
    ports: Mapping[Listener, int]
    upstreams: Sequence[FaultyService]

    def call(self, shell: Shell, fault: Fault, operation: Operation) -> Outcome:
        """Make a call while the fault lasts, after one that went well."""
        caller = shell.client(
            api_key="sk-test",
            base_url=f"http://127.0.0.1:{self.ports[fault.listener]}/v1",
            limits=Limits(2),
            retry=QUICK,
            timeout=fault.later / 2 or PATIENCE,
        )
        try:
            self._warm_up(caller, fresh=fault.fresh)
            return self._meet(caller, fault, operation)
        finally:
            caller.close()
            for upstream in self.upstreams:
                upstream.see_to_all()

    def _warm_up(self, caller: Caller, *, fresh: bool) -> None:
        with ExitStack() as stack:
            for upstream in self.upstreams:
                if fresh:
                    upstream.drop_idle()
                stack.enter_context(upstream.meeting(billed(succeed_and_close if fresh else succeed)))
            for _ in range(WARM_UPS):
                (result,) = _ask(caller, lambda images: images.generate("a lake"))
                if isinstance(result, ImagesResponse):
                    return
        raise AssertionError(f"{self.gateway.name} does not get well: {result!r}")

    def _meet(self, caller: Caller, fault: Fault, operation: Operation) -> Outcome:
        upstream, before, billed_before = self.upstreams[0], caller.usage, self._billed()

        def meanwhile() -> None:
            if fault.later and upstream.reached.is_set():
                upstream.reached.clear()
                caller.pass_time(fault.later)

        with fault.last(self.upstreams):
            results = _ask(caller, lambda images: operation.ask(images, LARGE if fault.large else 0), meanwhile)
            hung_up = upstream.await_idle(PASSED_ON[self.gateway.passes_hang_up]) if fault.later else None
        usage = _since(before, caller.usage)
        if hung_up is False:
            upstream.drop_idle()
        return Outcome(tuple(results), usage, self._billed() - billed_before, hung_up)

    def _billed(self) -> int:
        return sum(upstream.bill for upstream in self.upstreams)


def _ask(caller: Caller, asked: Ask, meanwhile: Callable[[], None] = lambda: None) -> list[Result]:
    call: Future[list[Result]] = caller.begin(asked)
    for _ in range(int(PATIENCE / 0.005)):
        if wait([call], 0.005).done:
            return call.result()
        meanwhile()
    raise AssertionError("the call does not end")


def _since(before: Usage, now: Usage) -> Usage:
    return Usage(billed=now.billed - before.billed, maybe_billed=now.maybe_billed - before.maybe_billed)


@contextmanager
def place(gateway: Gateway, folder: Path) -> Iterator[Place]:
    """A gateway before two upstreams, while the block lasts."""
    with ExitStack() as stack:
        upstreams = [stack.enter_context(faulty_service()) for _ in range(2)]
        ports = stack.enter_context(gateway.running(folder, [upstream.port for upstream in upstreams]))
        yield Place(gateway, ports, upstreams)
