"""Runs chunks of lines in another process, and returns rows for the journal.

`run_chunk` is all that a worker runs, whatever engine brings it there. It needs what the chunk says, the
shared folder, and a key in the worker's own environment; images go to the folder, and what comes back is
small. All chunks that a process has of one run share one client, for as long as there are any.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, cast

import anyio

from stepfun_async._call.record import CallRecord
from stepfun_async._call.service import caller_for
from stepfun_async._call.settings import resolve
from stepfun_async._core.data_uris import is_data_uri
from stepfun_async._core.errors import ConfigurationError, InvalidRequestError, LimitsUnavailableError, StepFunError
from stepfun_async._core.input_images import InputImage, is_link
from stepfun_async._core.profiles import Server
from stepfun_async._core.requests import ImageRequest
from stepfun_async._core.results import SaveError
from stepfun_async._core.retry import RetryPolicy
from stepfun_async._core.version import __version__
from stepfun_async._limits.limits import Limits
from stepfun_async._runtime.event_loop import Job, finished_in_thread
from stepfun_async._runtime.fork import ForkSafeLock
from stepfun_async._runtime.portal import Portal

from ..journal.admission import Task
from ..journal.journal import JobResult
from ..storage.base import StorageError
from ..storage.location import StorageLocation
from .claims import Claims
from .job_runner import STOPPING, JobOutcome, JobRunner, found


class ChunkError(StepFunError):
    """A chunk of lines came back without a response: its workers died time and again, or the cluster is gone."""


class Slots(Protocol):
    """A bound on the lines in flight on all workers together, such as Dask's `Semaphore`."""

    def acquire(self) -> object:
        """Wait for a slot, and take it. Blocks; it is called in a thread of its own."""
        ...

    def release(self) -> object:
        """Give a slot back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The settings of all chunks of a run. They contain no key.

    Attributes:
        run: the run's name, which its folder says too.
        version: of this package, where the run is.
        folder: where claims are, by the same absolute path on every machine; images too, unless they go to a bucket.
        keeping: where and how images are kept.
        base_url: where the API is.
        server: the profile of what stands there.
        limits: of the client in each process.
        timeout: seconds for each line.
        retry: when to retry.
        allow_http: allow sending the key to another machine over unencrypted HTTP.
        lines_at_once: how many lines of a chunk are in flight at once.
    """

    run: str
    version: str
    folder: Path
    keeping: StorageLocation
    base_url: str
    server: Server
    limits: Limits
    timeout: float
    retry: RetryPolicy
    allow_http: bool
    lines_at_once: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chunk.

    Attributes:
        claim: the claim that a worker acquires before it sends the line.
        task: the request, and where its image goes.
    """

    claim: str
    task: Task


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines to be made in one go, by whichever process. It pickles, and has no key and no more images in it
    than were given as bytes.

    Attributes:
        conditions: what holds for all.
        lines: the lines.
    """

    conditions: Conditions
    lines: tuple[Line, ...]

    def __len__(self) -> int:
        return len(self.lines)


@dataclass(frozen=True, slots=True)
class Row:
    """The result of a line of a chunk. It is small: the image is in the folder.

    Attributes:
        number: the line's in the journal.
        ended: for the journal; `None` if this chunk did not send it.
        error: what would meet every other line as well; `None` for anything else.
    """

    number: int
    ended: JobResult | None = None
    error: Exception | None = None


def run_chunk(chunk: Chunk, slots: Slots | None = None) -> tuple[Row, ...]:
    """Make the images of a chunk, in the folder that it names. This is what workers of a cluster run.

    It may be run again, on another worker or at the same time: each line is sent once, and its row has the state
    `unknown` if its result is lost. An error of one line is in its row.

    Args:
        chunk: the lines, from `Batch.run_chunks`.
        slots: what bounds the lines in flight on all workers; `None` for `lines_at_once` in each chunk alone.

    Returns:
        A row for each line, for whom the chunk is from.

    Raises:
        ConfigurationError: this process cannot work for the run: another version of the package, no key, a
            folder that is not the run's, or that cannot be written. Nothing was sent.
    """
    with _bench_for(chunk.conditions) as bench:
        return bench.make(chunk, slots)


def check_worker(conditions: Conditions) -> None:
    """Make sure that this process can work for a run.

    Raises:
        ConfigurationError: it cannot, and why.
    """
    if conditions.version != __version__:
        raise _unfit(f"it has stepfun-async {__version__}, and the batch runs with {conditions.version}")
    try:
        resolve(None, conditions.base_url, allow_http=conditions.allow_http, server=conditions.server)
    except ConfigurationError as error:
        raise _unfit(f"{error.message} (a worker takes the key from its own environment)") from None
    claims = Claims(conditions.folder)
    try:
        run = claims.run()
        if run == conditions.run:
            claims.try_out()
            conditions.keeping.store().place.try_out()
    except StorageError as error:
        raise _unfit(error.message) from error
    except OSError as error:
        raise _unfit(f"{str(conditions.folder)!r} cannot be used: {error.strerror or error}") from error
    if run is None:
        raise _unfit(f"{str(conditions.folder)!r} is not the folder of the batch there; it has to be shared")
    if run != conditions.run:
        raise _unfit(f"in {str(conditions.folder)!r} another run goes on by now")


def _unfit(why: str) -> ConfigurationError:
    return ConfigurationError(f"the worker {os.getpid()} on {socket.gethostname()} cannot work: {why}")


# --- one client for all chunks of a process -------------------------------------------------------


class _Bench:
    """The state shared by all chunks of one run in this process."""

    def __init__(self, conditions: Conditions) -> None:
        check_worker(conditions)
        self._conditions = conditions
        self._claims = Claims(conditions.folder)
        self._store = conditions.keeping.store()
        self._service = caller_for(
            None,
            base_url=conditions.base_url,
            server=conditions.server,
            limits=conditions.limits,
            timeout=conditions.timeout,
            queue_timeout=None,
            retry=conditions.retry,
            budget=None,  # the run's own set the money aside
            validation="strict",
            default_headers=None,
            transport=None,
            proxy=None,
            allow_http=conditions.allow_http,
            on_event=None,
        )
        self._maker = JobRunner(self._service, self._store, template="", retry=conditions.retry)
        self._portal = Portal("a chunk", ConfigurationError)
        self.chunks = 0

    def make(self, chunk: Chunk, slots: Slots | None) -> tuple[Row, ...]:
        """The rows of a chunk."""
        return self._portal.run(partial(self._make, chunk.lines, slots))

    def close(self) -> None:
        """Close the client and its loop."""
        self._portal.close(self._service.aclose)

    async def _make(self, lines: Iterable[Line], slots: Slots | None) -> tuple[Row, ...]:
        waiting = deque(lines)
        rows: list[Row] = []

        async def work() -> None:
            while waiting:
                line = waiting.popleft()
                row = await self._one(line, slots)
                rows.append(row)
                if row.error is not None:
                    rows.extend(Row(other.task.number) for other in waiting)
                    waiting.clear()

        async with anyio.create_task_group() as group:
            for _ in range(min(self._conditions.lines_at_once, len(waiting))):
                group.start_soon(work)
        return tuple(rows)

    async def _one(self, line: Line, slots: Slots | None) -> Row:
        number = line.task.number
        try:
            async with self._slot(slots):
                if not await finished_in_thread(partial(self._claims.acquire, line.claim)):
                    return Row(number)
                return _row(number, await self._made(line.task))
        except _NoSlotError as error:
            message = f"no slot could be had, so nothing was sent: {error.__cause__}"
            return Row(number, error=LimitsUnavailableError(message))
        except OSError as error:
            return Row(number, error=_unfit(f"{str(self._conditions.folder)!r} cannot be written: {error}"))

    async def _made(self, task: Task) -> JobOutcome:
        """The image of a line; one that came late from a process that was given up is taken."""
        saved = await finished_in_thread(partial(self._store.find, task.stem))
        if saved is None or saved.note.get("fingerprint", task.job.fingerprint) != task.job.fingerprint:
            return await self._maker.make(task, CallRecord())
        return JobOutcome(replace(found(saved), billed=1))  # of an attempt that was entered as possibly billed

    @asynccontextmanager
    async def _slot(self, slots: Slots | None) -> AsyncGenerator[None]:
        """A slot of this process, and of all together. What is taken when it has one is about to be sent."""
        async with self._room:
            if slots is None:
                yield
                return
            try:
                await _acquired(slots)
            except Exception as error:
                raise _NoSlotError from error
            try:
                yield
            finally:
                await finished_in_thread(slots.release)

    @cached_property
    def _room(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(self._conditions.limits.max_concurrency)


async def _acquired(slots: Slots) -> None:
    """Wait for a slot. One that is acquired after the caller was cancelled is released."""
    taken: list[bool] = []

    def acquire() -> None:
        slots.acquire()
        taken.append(True)

    def release_late() -> None:
        if taken:
            slots.release()

    await Job(acquire, release_late, apart=True).result()


class _NoSlotError(Exception):
    """The semaphore of all workers cannot be acquired."""


_benches: dict[tuple[int, str], _Bench] = {}
"""By process, since a fork of one has none of its threads, and by run."""

_lock = ForkSafeLock()


@contextmanager
def _bench_for(conditions: Conditions) -> Generator[_Bench]:
    """The bench of a run in this process, which the last chunk to leave closes."""
    key = (os.getpid(), conditions.run)
    with _lock:
        bench = _benches.get(key) or _Bench(conditions)
        _benches[key] = bench
        bench.chunks += 1
    try:
        yield bench
    finally:
        with _lock:
            bench.chunks -= 1
            last = not bench.chunks
            if last:
                del _benches[key]
        if last:
            bench.close()


# --- what travels -----------------------------------------------------------------------------------


def _row(number: int, made: JobOutcome) -> Row:
    """Return the row of a line: without the bytes of images, and with an error only if that ends the run."""
    ended, error = made.ended, made.error
    if isinstance(error, SaveError):
        ended = replace(ended, message=f"{error.message} (on {socket.gethostname()})")
        images = tuple(replace(image, data=None) for image in error.response.data)
        return Row(number, ended, SaveError(str(ended.message), response=replace(error.response, data=images)))
    if isinstance(error, InvalidRequestError):  # it was valid where the run is
        return Row(
            number,
            JobResult(state="pending"),
            _unfit(f"it does not find the line valid, so it may lack its image: {error}"),
        )
    return Row(number, ended, error if isinstance(error, STOPPING) else None)


def portable(request: ImageRequest) -> ImageRequest:
    """The request as other processes can read it: paths in full, and what only this process has as bytes."""
    fields = {name: getattr(request, name) for name in request.model_fields_set}
    changed = {name: fields[name] for name in ("image", "style_reference") if fields.get(name) is not None}
    if not changed:
        return request
    loaded = request.values()
    fields.update({name: _portable(value, loaded.get(name)) for name, value in changed.items()})
    return type(request)(**fields)


def _portable(value: object, loaded: object) -> object:
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, object]", value)
        seen = cast("Mapping[str, object]", loaded)
        return {name: _portable(part, seen.get(name)) for name, part in parts.items()}
    if isinstance(value, str | os.PathLike):
        text = os.fsdecode(cast("str | os.PathLike[str]", value))
        return (
            text if not isinstance(loaded, InputImage) or is_link(text) or is_data_uri(text) else os.path.abspath(text)
        )
    return loaded.data if isinstance(loaded, InputImage) else value


def shipped(tasks: Iterable[Task], claims: Iterable[str]) -> tuple[Line, ...]:
    """Return tasks with their claims as picklable lines. Reads images that are neither paths nor links."""
    return tuple(Line(claim, _portable_task(task)) for claim, task in zip(claims, tasks, strict=True))


def _portable_task(task: Task) -> Task:
    request = task.job.request
    assert request is not None  # noqa: S101 - only good lines become tasks
    return replace(task, job=replace(task.job, request=portable(request), digest=None))
