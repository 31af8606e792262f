"""The same call from asyncio, from trio and from code without a loop, and a clock that can be put forward.

Tests that go through all three are written once, without `await`: a portal carries their calls into a loop
of the right kind. A loop's clock runs with the real one, until a test says that time passes. So a deadline
of an hour can be waited for without waiting, and no machine is too slow for it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import trio
import trio.testing
from anyio.from_thread import BlockingPortal, start_blocking_portal

from stepfun_async import AsyncClient, Client, Failed, Image, ImagesResponse, Limits, Usage

T = TypeVar("T")

Ask: TypeAlias = Callable[[Any], Any]
"""What is asked of a client's `images`; they return an awaitable, a value or an iterator over outcomes."""

Result: TypeAlias = ImagesResponse | Image | Exception
"""How one request ended."""

SHELLS = ("asyncio", "trio", "sync")


@dataclass(frozen=True)
class Footprint:
    """What a process holds besides memory; the threads that loops keep for later do not count."""

    files: int
    tasks: int
    threads: int


class Caller(Protocol):
    """A client in its shell."""

    @property
    def usage(self) -> Usage:
        """The client's."""
        ...

    @property
    def limits(self) -> Limits:
        """The client's."""
        ...

    def begin(self, ask: Ask) -> Future[list[Result]]:
        """Begin a call, which ends as the future says: one `Result` for each request."""
        ...

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the client's loop."""
        ...

    def footprint(self) -> Footprint:
        """What is held at this moment."""
        ...

    def close(self) -> None:
        """Close the client."""
        ...


class Shell(Protocol):
    """A place to call from."""

    def client(self, **settings: Any) -> Caller:
        """A client there."""
        ...


@contextmanager
def shell(name: str) -> Iterator[Shell]:
    """One of `SHELLS`, while the block lasts."""
    with ExitStack() as stack:
        if name == "sync":
            yield SyncShell(stack.enter_context(ThreadPoolExecutor(1)))
            return
        clock = trio.testing.MockClock(rate=1.0)
        options = {"clock": clock} if name == "trio" else {}
        portal = stack.enter_context(start_blocking_portal(name, options))
        yield AsyncShell(portal, clock.jump if name == "trio" else portal.call(_jumping_clock))


@dataclass(frozen=True)
class AsyncShell:
    """A loop in a thread of its own."""

    portal: BlockingPortal
    jump: Callable[[float], None]

    def client(self, **settings: Any) -> Caller:
        return AsyncCaller(self, AsyncClient(**settings))


@dataclass(frozen=True)
class AsyncCaller:
    """An `AsyncClient`."""

    shell: AsyncShell
    client: AsyncClient

    @property
    def usage(self) -> Usage:
        return self.client.usage

    @property
    def limits(self) -> Limits:
        return self.client.limits

    def begin(self, ask: Ask) -> Future[list[Result]]:
        return self.shell.portal.start_task_soon(_results, ask, self.client.images)

    def pass_time(self, seconds: float) -> None:
        self.shell.portal.call(self.shell.jump, seconds)

    def footprint(self) -> Footprint:
        return self.shell.portal.call(_footprint)

    def close(self) -> None:
        self.shell.portal.call(self.client.aclose)


@dataclass(frozen=True)
class SyncShell:
    """A thread to call from, so that another one can look on."""

    threads: ThreadPoolExecutor

    def client(self, **settings: Any) -> Caller:
        return SyncCaller(self, Client(**settings))


class SyncCaller:
    """A `Client`."""

    def __init__(self, shell: SyncShell, client: Client) -> None:
        self._shell = shell
        self._client = client
        self._jump: Callable[[float], None] | None = None

    @property
    def usage(self) -> Usage:
        return self._client.usage

    @property
    def limits(self) -> Limits:
        return self._client.limits

    def begin(self, ask: Ask) -> Future[list[Result]]:
        return self._shell.threads.submit(_results_at_once, ask, self._client.images)

    def pass_time(self, seconds: float) -> None:
        if self._jump is None:
            self._jump = self._in_loop(_jumping_clock)
        self._in_loop(self._jump, seconds)

    def footprint(self) -> Footprint:
        return self._in_loop(_footprint)

    def close(self) -> None:
        self._client.close()

    def _in_loop(self, function: Callable[..., T], *args: Any) -> T:
        async def call() -> T:
            return function(*args)

        return self._client._bridge.run(call)


async def _results(ask: Ask, images: Any) -> list[Result]:
    try:
        asked = ask(images)
        return [_end(end) async for end in asked] if isinstance(asked, AsyncIterator) else [await asked]
    except Exception as error:  # noqa: BLE001 - the end that it came to
        return [error]


def _results_at_once(ask: Ask, images: Any) -> list[Result]:
    try:
        asked = ask(images)
        return [_end(end) for end in asked] if isinstance(asked, Iterator) else [asked]
    except Exception as error:  # noqa: BLE001 - the end that it came to
        return [error]


def _end(outcome: Any) -> Result:
    end: Result = outcome.error if isinstance(outcome, Failed) else outcome.response
    return end


def _jumping_clock() -> Callable[[float], None]:
    """What puts the running asyncio loop's clock forward."""
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, [0.0]

    def jump(seconds: float) -> None:
        ahead[0] += seconds

    loop.time = lambda: real() + ahead[0]  # type: ignore[method-assign]
    return jump


def _footprint() -> Footprint:
    return Footprint(open_files(), running_tasks(), busy_threads())


def open_files() -> int:
    """How many descriptors this process has open, sockets included."""
    return len(os.listdir("/dev/fd"))


def running_tasks() -> int:
    """How many tasks the running loop has."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living


_NOT_COUNTED = ("AnyIO worker", "Trio thread", "asyncio_", "stepfun-async w", "talk")
"""Threads that are kept for later, and those of the faulty service, by the beginnings of their names."""


def busy_threads() -> int:
    """How many threads this process has, without those that are kept for later."""
    return sum(not thread.name.startswith(_NOT_COUNTED) for thread in threading.enumerate())


def eventually(expected: T, look: Callable[[], T]) -> T:
    """What `look` sees: what is expected, as soon as it does, or else what it still sees after a long time."""
    for _ in range(2000):
        seen = look()
        if seen == expected:
            break
        threading.Event().wait(0.005)
    return seen
