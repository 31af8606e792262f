"""Calls and maps for code without an event loop: the caller behind `Client`, which runs in a portal's loop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .._core.errors import ConfigurationError
from .._runtime.portal import BackgroundLoop, Portal
from .caller import Caller
from .fan_out import Feed, OutcomeIterator, fan_out, items_of
from .outcomes import Outcome
from .record import CallRecord

if TYPE_CHECKING:
    from .._core.requests import ImageRequest
    from .map_progress import MapProgress

T = TypeVar("T")


class BlockingCaller:
    """Runs the async methods of one client in the loop of a portal, for any thread.

    Args:
        service: sends the calls.
    """

    def __init__(self, service: Caller) -> None:
        self.service = service
        self.portal = service.portal = Portal("a Client", ConfigurationError)

    def run(self, function: Callable[..., Awaitable[T]], *args: Any, **keywords: Any) -> T:
        """Run an async method in the loop. An interrupt here cancels it there."""
        if not sys.is_finalizing():
            self.service.refuse_if_closed()
        return self.portal.run(partial(function, *args, **keywords), CallRecord().closed)

    def map(self, requests: Iterable[ImageRequest | str], *, ordered: bool, progress: bool = False) -> BlockingOutcomes:
        """Return the outcomes of many requests, which are read in the thread that reads those."""
        self.service.refuse_if_closed()
        items = items_of(requests)
        if not progress:
            return BlockingOutcomes(self, items, ordered=ordered)
        from .map_progress import MapProgress

        return BlockingOutcomes(self, items, ordered=ordered, progress=MapProgress(requests, self.service.price))

    def close(self) -> None:
        """Close the connections, and end loop and thread. Calls in flight end with an `APIConnectionError`."""
        self.portal.close(self.service.aclose)
        self.service.closed = True  # where no call had started the loop


class BlockingOutcomes(Generator["Outcome", None, None]):
    """The outcomes of a map. A generator in all but one respect: dropping it waits for nothing.

    Args:
        caller: runs the fan-out.
        requests: read in the thread that reads the outcomes, only as there is room.
        ordered: whether outcomes come in the order of the requests.
        progress: counts the outcomes that are read, and shows how many there are.
    """

    def __init__(
        self,
        caller: BlockingCaller,
        requests: Iterator[ImageRequest | str],
        *,
        ordered: bool,
        progress: MapProgress | None = None,
    ) -> None:
        self._caller = caller
        self._progress = progress
        self._portal = caller.portal
        self._fed = _FedFanOut(caller, ordered=ordered)
        self._requests = requests
        self._loop: BackgroundLoop | None = None
        self._is_over = False
        self._reading = threading.Lock()

    def send(self, _: None) -> Outcome:
        """Return the next outcome."""
        if not self._reading.acquire(blocking=False):
            raise ValueError("this map is being read already, in this thread or another")
        try:
            return self._next()
        except BaseException:
            self.close()
            raise
        finally:
            self._reading.release()

    def _next(self) -> Outcome:
        if self._is_over:
            raise StopIteration
        loop = self._loop = self._loop or self._portal.open()
        if not self._portal.reaches(loop):
            loop.refuse_own_thread()
            self._caller.service.refuse_if_closed()
            raise ConfigurationError(_why_left(loop))
        outcome = self._fed.advance(self._requests)
        if outcome is not None:
            if self._progress is not None:
                self._progress.add(outcome)
            return outcome
        raise self._fed.failure or StopIteration

    def throw(self, kind: Any, value: Any = None, traceback: Any = None, /) -> Outcome:
        """Cancel the requests in flight, and raise the given error."""
        self.close()
        error = value if isinstance(value, BaseException) else kind
        raise error if traceback is None else error.with_traceback(traceback)

    def close(self) -> None:
        """Cancel the requests in flight, and wait until they have ended."""
        loop, self._loop = self._loop, None
        over, self._is_over = self._is_over, True
        if not over and self._progress is not None:
            self._progress.close()
        if not over and loop is not None and self._portal.reaches(loop):
            self._caller.run(self._fed.aclose)


def _why_left(loop: BackgroundLoop) -> str:
    if loop.is_inherited():
        return "this map was begun before a fork: begin a new one here"
    return "this map's loop has ended, as it does when the interpreter ends: begin a new one"


class _FedFanOut:
    """A fan-out in the loop, fed from the caller's thread: each request is sent as it is taken."""

    def __init__(self, caller: BlockingCaller, *, ordered: bool) -> None:
        self._caller = caller
        self._ordered = ordered
        self._room = 2 * caller.service.limits.max_concurrency
        self._open = 0
        self._ended = False
        self._ready = False
        self._begun: tuple[Feed, OutcomeIterator] | None = None
        self.failure: Exception | None = None

    def advance(self, requests: Iterator[ImageRequest | str]) -> Outcome | None:
        """Take requests while there is room and no outcome is ready, then wait for the next outcome."""
        while self._open < self._room and not self._ended and not self._ready:
            try:
                request = next(requests)
            except StopIteration:
                self._ended = True
            except Exception as error:  # noqa: BLE001 - raised after the outcomes of what was begun
                self._ended, self.failure = True, error
            else:
                self._open += 1
                self._caller.run(self._give, request)
        return self._caller.run(self._next)

    async def _give(self, request: ImageRequest | str) -> None:
        feed, outcomes = self._begin()
        self._ready = outcomes.ready
        feed.push(request)

    async def _next(self) -> Outcome | None:
        feed, outcomes = self._begin()
        if self._ended:
            feed.end()
        outcome = await anext(outcomes, None)
        self._open -= 1
        self._ready = outcomes.ready
        return outcome

    def _begin(self) -> tuple[Feed, OutcomeIterator]:
        if self._begun is None:
            feed = Feed()
            outcomes = fan_out(self._caller.service, feed, ordered=self._ordered)
            outcomes.begin()
            self._begun = feed, outcomes
        return self._begun

    async def aclose(self) -> None:
        """Cancel the requests in flight, and wait until they have ended."""
        if self._begun is not None:
            await self._begun[1].aclose()
