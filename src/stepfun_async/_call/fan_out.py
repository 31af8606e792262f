"""Many requests with bounded concurrency: a pool of workers, and an iterator over their outcomes.

A fixed number of workers takes requests from one source, so neither tasks nor requests pile up. The workers are not
children of the reader's task: an async iterator has no block to which they could belong, and a task group that is
open across a `yield` breaks when the reader is cancelled or stops reading. They are tasks of their own, and end with
the iterator: at its end, on `aclose()`, when the reader is cancelled, and when the iterator is garbage-collected.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self

import anyio
from anyio.lowlevel import checkpoint

from .._core.errors import InvalidRequestError
from .._core.problems import Problem, plain
from .._runtime.event_loop import ended, finished, running_loop
from .caller import Caller
from .options import NO_OPTIONS
from .outcomes import Failed, Finished, Outcome

if TYPE_CHECKING:
    from .._core.requests import ImageRequest
    from .map_progress import MapProgress


class OutcomeIterator:
    """An async iterator over the outcomes of many requests, as returned by `images.map`."""

    def __init__(self, pool: _WorkerPool, progress: MapProgress | None = None) -> None:
        self._pool = pool
        self._progress = progress

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        try:
            outcome = await self._pool.next_outcome()
        except BaseException:
            await self.aclose()
            raise
        if outcome is None:
            self._show_end()
            raise StopAsyncIteration
        if self._progress is not None:
            self._progress.add(outcome)
        return outcome

    def _show_end(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.close()

    def begin(self) -> None:
        """Start to send requests before the first outcome is awaited."""
        self._pool.begin()

    @property
    def ready(self) -> bool:
        """Whether the next outcome is available without waiting."""
        return self._pool.ready

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the requests in flight, and discard the outcomes not read yet."""
        self._show_end()
        await ended(finished(self._pool.aclose))

    def __del__(self) -> None:
        self._pool.abandon()


def fan_out(
    service: Caller,
    requests: Iterable[ImageRequest | str] | AsyncIterable[ImageRequest | str],
    *,
    ordered: bool,
    progress: bool = False,
) -> OutcomeIterator:
    """See `AsyncImages.map`."""
    service.refuse_if_closed()
    pool = _WorkerPool(service, source_of(requests), ordered=ordered)
    if not progress:
        return OutcomeIterator(pool)
    from .map_progress import MapProgress

    return OutcomeIterator(pool, MapProgress(requests, service.price))


_IN_A_ROW = 8
"""Requests after which a worker yields to the event loop: an invalid request, say, fails without waiting."""

_END = object()


class _WorkerPool:
    """The workers, their source of requests, and the outcomes not read yet.

    Up to the limit, there is one worker more than requests in flight: a worker that takes a request starts another
    one, unless one is waiting for the next request.
    """

    _pulling: anyio.Lock

    def __init__(self, service: Caller, source: Callable[[], Awaitable[Any]], *, ordered: bool) -> None:
        self._service = service
        self._source = source
        self._ordered = ordered
        self._size = service.limits.max_concurrency
        self._room = 2 * self._size
        self._outcomes: dict[int, Outcome] = {}
        self._started = 0
        self._ended = 0
        self._returned = 0
        self._workers = 0
        self._spare = 0
        self._exhausted = False
        self._failure: BaseException | None = None
        self._loop: Any = None
        self._scopes: set[anyio.CancelScope] = set()
        self._changed: anyio.Event | None = None
        self._has_room: anyio.Event | None = None
        service.pools.add(self)

    async def next_outcome(self) -> Outcome | None:
        """Return the next outcome; `None` at the end. An error of the source is raised after all outcomes."""
        self.begin()
        while True:
            outcome = self._outcomes.pop(self._returned, None)
            if outcome is not None:
                self._returned += 1
                if self._has_room is not None:
                    self._has_room.set()
                return outcome
            if self._exhausted and not self._workers:
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
                return None
            await self._wait_for_change()

    def begin(self) -> None:
        """Start the first worker, in the running loop."""
        if self._loop is None:
            self._loop = running_loop()
            self._pulling = anyio.Lock(fast_acquire=True)
            self._start_worker()

    @property
    def ready(self) -> bool:
        """Whether the next outcome is available without waiting."""
        return self._returned in self._outcomes

    async def aclose(self, failure: Exception | None = None) -> None:
        """Cancel the workers and wait until they have ended; those of another loop end with that loop.

        Args:
            failure: the error to raise in a reader that still waits; `None` to end silently.
        """
        if failure is not None and (self._workers or not self._exhausted):
            self._failure = self._failure or failure
        self._exhausted = True
        if self._loop is not running_loop():
            return
        self._cancel()
        while self._workers:
            await self._wait_for_change()

    def abandon(self) -> None:
        """Cancel the workers of a garbage-collected iterator, in any thread and also after the loop has ended."""
        if self._workers:
            soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
            with suppress(RuntimeError):
                soon(self._cancel)

    def _cancel(self) -> None:
        for scope in tuple(self._scopes):
            scope.cancel()

    def _start_worker(self) -> None:
        """Start one more worker, unless there are enough or the source is exhausted."""
        if self._workers < self._size and not self._exhausted:
            self._workers += 1
            self._spare += 1
            _run_beside(self._work, self._worker_ended)

    async def _work(self) -> None:
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                await self._send_all()
        except BaseException as error:  # noqa: BLE001 - it would end the loop while the reader waits
            # A cancellation or interrupt out of the source or a request is raised in the reader.
            self._exhausted, self._failure = True, error
        finally:
            self._scopes.discard(scope)

    def _worker_ended(self) -> None:
        """Count a worker that has ended, also one that was cancelled before its first step."""
        self._workers -= 1
        self._notify()

    async def _send_all(self) -> None:
        sent = 0
        while (request := await self._take()) is not _END:
            index = self._started
            self._started += 1
            self._spare -= 1
            if not self._spare:
                self._start_worker()
            outcome = await self._outcome_of(request)
            self._spare += 1
            self._outcomes[index if self._ordered else self._ended] = outcome
            self._ended += 1
            self._notify()
            sent += 1
            if sent % _IN_A_ROW == 0:
                await checkpoint()

    async def _take(self) -> Any:
        """Return the next request, once there is room for its outcome; `_END` if there is none."""
        async with self._pulling:
            while self._started - self._returned >= self._room:
                self._has_room = anyio.Event()
                await self._has_room.wait()
            if self._exhausted:
                return _END
            try:
                return await self._source()
            except (StopIteration, StopAsyncIteration):
                self._exhausted = True
            except Exception as error:  # noqa: BLE001 - raised in the reader after all outcomes
                self._exhausted, self._failure = True, error
            return _END

    async def _outcome_of(self, request: ImageRequest | str) -> Outcome:
        if isinstance(request, str):
            request = _of_prompt(request)
        if not hasattr(request, "to_call"):
            allowed = "TextToImage, ImageEdit, ImageToImage or text, the prompt of an image"
            error = InvalidRequestError.of("map", (Problem("request", plain(request), allowed),))
            return Failed(request, error)
        try:
            return Finished(
                request,
                await self._service.send(request.read(self._service.config.server), NO_OPTIONS, request=request),
            )
        except Exception as error:  # noqa: BLE001 - every failure is an outcome
            return Failed(request, error)

    async def _wait_for_change(self) -> None:
        """Wait until there is an outcome, or a worker has ended."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _notify(self) -> None:
        """Wake the tasks that wait for a change."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def _of_prompt(prompt: str) -> ImageRequest:
    from .._core.requests import TextToImage  # imports pydantic, which a program without prompts may not have loaded

    return TextToImage(prompt=prompt)


def source_of(requests: Any) -> Callable[[], Awaitable[Any]]:
    """Return a function that returns the next of `requests`, and raises `StopAsyncIteration` at the end."""
    if hasattr(requests, "__aiter__") and not _is_single(requests):
        take: Callable[[], Awaitable[Any]] = aiter(requests).__anext__
        return take
    return _awaitable_next(items_of(requests))


def items_of(requests: Any) -> Iterator[Any]:
    """Return an iterator over `requests`, which must be readable without an event loop.

    Raises:
        InvalidRequestError: they are not iterable.
    """
    if hasattr(requests, "__iter__") and not _is_single(requests):
        return iter(requests)
    raise InvalidRequestError.of("map", (Problem("requests", plain(requests), "an iterable of requests or prompts"),))


def _is_single(requests: object) -> bool:
    """Whether it is a single value although it is iterable."""
    return isinstance(requests, type | str) or hasattr(requests, "to_call")


def _awaitable_next(items: Iterator[Any]) -> Callable[[], Awaitable[Any]]:
    async def take() -> Any:
        item = next(items, _END)
        if item is _END:
            raise StopAsyncIteration
        return item

    return take


_tasks: set[asyncio.Task[None]] = set()
"""asyncio keeps only weak references to tasks."""


def _run_beside(work: Callable[[], Awaitable[None]], over: Callable[[], None]) -> None:
    """Run `work` in the running loop, in a task without a parent, and call `over` when it has ended."""
    loop = running_loop()
    if isinstance(loop, asyncio.AbstractEventLoop):
        task = loop.create_task(_awaited(work))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
        task.add_done_callback(lambda _: over())  # asyncio cancels tasks before their first step, too
    else:
        import trio

        trio.lowlevel.spawn_system_task(_and_over, work, over, context=copy_context())  # as asyncio's tasks have it


async def _and_over(work: Callable[[], Awaitable[None]], over: Callable[[], None]) -> None:
    try:
        await work()
    finally:
        over()


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


class Feed(AsyncIterator[Any]):
    """An async source of requests that the sync client fills from its iterable."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._ended = False
        self._changed = anyio.Event()

    def push(self, item: Any) -> None:
        """Add a request."""
        self._items.append(item)
        self._changed.set()

    def end(self) -> None:
        """End the source: there are no more requests."""
        self._ended = True
        self._changed.set()

    async def __anext__(self) -> Any:
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            self._changed = anyio.Event()
            await self._changed.wait()
        return self._items.popleft()
