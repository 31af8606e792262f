"""Many requests, a bounded number at once: workers that pull, results that wait for their reader.

A fixed number of workers takes requests from one source, so that neither tasks nor requests pile up.
The workers are not children of the reader's task: an async iterator has no block that they could
belong to, and a task group held open across `yield` breaks when the reader is cancelled or walks
away. They run beside it instead, and end with the iterator: at its end, on `aclose()`, when the
reader is cancelled, and when it is dropped.
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
    """An async iterator over the outcomes of many requests; what `images.map` returns."""

    def __init__(self, crew: _WorkerPool, progress: MapProgress | None = None) -> None:
        self._crew = crew
        self._progress = progress

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        try:
            outcome = await self._crew.next_outcome()
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
        """Begin to take requests before an outcome is asked for."""
        self._crew.begin()

    @property
    def ready(self) -> bool:
        """Whether the next outcome is there already."""
        return self._crew.ready

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End what is in flight. Outcomes not read yet are dropped."""
        self._show_end()
        await ended(finished(self._crew.dismiss))

    def __del__(self) -> None:
        self._crew.abandon()


def fan_out(
    service: Caller,
    requests: Iterable[ImageRequest | str] | AsyncIterable[ImageRequest | str],
    *,
    ordered: bool,
    progress: bool = False,
) -> OutcomeIterator:
    """See `AsyncImages.map`."""
    service.refuse_if_closed()
    crew = _WorkerPool(service, source_of(requests), ordered=ordered)
    if not progress:
        return OutcomeIterator(crew)
    from .map_progress import MapProgress

    return OutcomeIterator(crew, MapProgress(requests, service.price))


_IN_A_ROW = 8
"""Requests after which a worker lets the loop go on: one that is refused, say, is answered without a wait."""

_END = object()


class _WorkerPool:
    """The workers, the source they pull from, and the outcomes that were not read yet.

    There is one worker more than requests in flight, up to the limit: a worker that begins with a request starts
    another one, unless one is left to take the next.
    """

    _pulling: anyio.Lock

    def __init__(self, service: Caller, source: Callable[[], Awaitable[Any]], *, ordered: bool) -> None:
        self._service = service
        self._source = source
        self._ordered = ordered
        self._size = service.limits.max_concurrency
        self._room = 2 * self._size
        self._outcomes: dict[int, Outcome] = {}
        self._taken = 0
        self._ended = 0
        self._given = 0
        self._workers = 0
        self._spare = 0
        self._exhausted = False
        self._failure: BaseException | None = None
        self._loop: Any = None
        self._scopes: set[anyio.CancelScope] = set()
        self._news: anyio.Event | None = None
        self._room_made: anyio.Event | None = None
        service.crews.add(self)

    async def next_outcome(self) -> Outcome | None:
        """The next outcome; None at the end. An error of the source is raised after all outcomes."""
        self.begin()
        while True:
            outcome = self._outcomes.pop(self._given, None)
            if outcome is not None:
                self._given += 1
                if self._room_made is not None:
                    self._room_made.set()
                return outcome
            if self._exhausted and not self._workers:
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
                return None
            await self._hear()

    def begin(self) -> None:
        """Start the first worker, in the running loop."""
        if self._loop is None:
            self._loop = running_loop()
            self._pulling = anyio.Lock(fast_acquire=True)
            self._hire()

    @property
    def ready(self) -> bool:
        """Whether the next outcome is there already."""
        return self._given in self._outcomes

    async def dismiss(self, failure: Exception | None = None) -> None:
        """End the workers and wait until they are gone; those of another loop have ended or end with it.

        Args:
            failure: what is raised where outcomes are still waited for; `None` to end silently.
        """
        if failure is not None and (self._workers or not self._exhausted):
            self._failure = self._failure or failure
        self._exhausted = True
        if self._loop is not running_loop():
            return
        self._cancel()
        while self._workers:
            await self._hear()

    def abandon(self) -> None:
        """End the workers from wherever the iterator was dropped: any thread, or after the loop."""
        if self._workers:
            soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
            with suppress(RuntimeError):
                soon(self._cancel)

    def _cancel(self) -> None:
        for scope in tuple(self._scopes):
            scope.cancel()

    def _hire(self) -> None:
        """Start one more worker, unless there are enough or nothing is left to take."""
        if self._workers < self._size and not self._exhausted:
            self._workers += 1
            self._spare += 1
            _run_beside(self._work, self._gone)

    async def _work(self) -> None:
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                await self._send_all()
        except BaseException as error:  # noqa: BLE001 - it would end the loop, with the reader waiting in it for ever
            # A cancellation or interrupt out of the source or a request: it is raised to the reader.
            self._exhausted, self._failure = True, error
        finally:
            self._scopes.discard(scope)

    def _gone(self) -> None:
        """A worker has ended, be it before its first step."""
        self._workers -= 1
        self._tell()

    async def _send_all(self) -> None:
        sent = 0
        while (request := await self._take()) is not _END:
            index = self._taken
            self._taken += 1
            self._spare -= 1
            if not self._spare:
                self._hire()
            outcome = await self._outcome_of(request)
            self._spare += 1
            self._outcomes[index if self._ordered else self._ended] = outcome
            self._ended += 1
            self._tell()
            sent += 1
            if sent % _IN_A_ROW == 0:
                await checkpoint()

    async def _take(self) -> Any:
        """The next request, once there is room for it; `_END` where there is none."""
        async with self._pulling:
            while self._taken - self._given >= self._room:
                self._room_made = anyio.Event()
                await self._room_made.wait()
            if self._exhausted:
                return _END
            try:
                return await self._source()
            except (StopIteration, StopAsyncIteration):
                self._exhausted = True
            except Exception as error:  # noqa: BLE001 - told to the reader after what was begun
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

    async def _hear(self) -> None:
        """Wait until there is an outcome, or a worker is gone."""
        if self._news is None:
            self._news = anyio.Event()
        await self._news.wait()

    def _tell(self) -> None:
        """Wake the tasks that wait for an outcome, or for the workers' end."""
        if self._news is not None:
            self._news.set()
            self._news = None


def _of_prompt(prompt: str) -> ImageRequest:
    from .._core.requests import TextToImage  # imports pydantic, which a program without prompts may not have loaded

    return TextToImage(prompt=prompt)


def source_of(requests: Any) -> Callable[[], Awaitable[Any]]:
    if hasattr(requests, "__aiter__") and not _is_single(requests):
        take: Callable[[], Awaitable[Any]] = aiter(requests).__anext__
        return take
    return _awaitable_next(items_of(requests))


def items_of(requests: Any) -> Iterator[Any]:
    """An iterator over `requests`, which are to be read without an event loop.

    Raises:
        InvalidRequestError: they cannot be.
    """
    if hasattr(requests, "__iter__") and not _is_single(requests):
        return iter(requests)
    raise InvalidRequestError.of("map", (Problem("requests", plain(requests), "an iterable of requests or prompts"),))


def _is_single(requests: object) -> bool:
    """Whether it is one thing, although Python could iterate over it."""
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
    """Run `work` in the running loop, as no task's child, and call `over` when it has ended."""
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
    """An async source that is filled from outside: how the sync client hands its iterable over."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._ended = False
        self._changed = anyio.Event()

    def push(self, item: Any) -> None:
        """Add a request."""
        self._items.append(item)
        self._changed.set()

    def end(self) -> None:
        """Say that there are no more."""
        self._ended = True
        self._changed.set()

    async def __anext__(self) -> Any:
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            self._changed = anyio.Event()
            await self._changed.wait()
        return self._items.popleft()
