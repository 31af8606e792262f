"""Runs chunks of lines in another process, and returns rows for the journal.

`run_chunk` is the only function that a worker runs, whatever engine calls it. It needs the chunk, the shared folder,
and a key in the worker's own environment. Images are written to the folder, so the returned rows are small. All chunks
of a run share one client in each process, which is closed with the last of them.
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
from .job_results import STOPPING_ERRORS, JobOutcome, found_result
from .job_runner import JobRunner


class ChunkError(StepFunError):
    """The result of a chunk of lines was lost: its workers died repeatedly, or the cluster is gone."""


class Slots(Protocol):
    """A limit on the lines in flight on all workers together, such as Dask's `Semaphore`."""

    def acquire(self) -> object:
        """Wait for a slot, and acquire it. This may block: it is called in a thread of its own."""
        ...

    def release(self) -> object:
        """Release a slot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """The settings of the workers of a run. They contain no key.

    Attributes:
        run: the name of the run, which is also in its folder.
        version: the version of this package in the process of the run.
        folder: the folder of claims, with the same absolute path on every machine; also of images, unless they go to a
            bucket.
        location: where and how images are stored.
        base_url: the URL of the API.
        server: the profile of the server at that URL.
        limits: the limits of the client in each process.
        timeout: seconds for each line.
        retry: when to retry.
        allow_http: allow sending the key to another machine over unencrypted HTTP.
        lines_at_once: the number of lines of a chunk in flight at once.
    """

    run: str
    version: str
    folder: Path
    location: StorageLocation
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
        task: the request, and the stem of its image.
    """

    claim: str
    task: Task


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines that one process sends together. It can be pickled, and contains no key, and no images other than those
    given as bytes.

    Attributes:
        config: the settings of the workers.
        lines: the lines.
    """

    config: WorkerConfig
    lines: tuple[Line, ...]

    def __len__(self) -> int:
        return len(self.lines)


@dataclass(frozen=True, slots=True)
class Row:
    """The result of a line of a chunk. It is small: the image is in the folder.

    Attributes:
        number: the number of the line's row in the journal.
        result: its result, for the journal; `None` if this chunk did not send it.
        error: an error that every other line would meet as well; `None` for any other error.
    """

    number: int
    result: JobResult | None = None
    error: Exception | None = None


def run_chunk(chunk: Chunk, slots: Slots | None = None) -> tuple[Row, ...]:
    """Make the images of a chunk, in the folder that it names. This is what the workers of a cluster run.

    It may be run again, on another worker or at the same time: each line is sent once, and its row has the state
    `unknown` if its result is lost. An error of one line is in its row.

    Args:
        chunk: the lines, from `Batch.run_chunks`.
        slots: limits the lines in flight on all workers; `None` for `lines_at_once` in each chunk alone.

    Returns:
        A row for each line, to be returned to the process of the run.

    Raises:
        ConfigurationError: this process cannot work for the run: another version of the package, no key, a
            folder that is not the run's, or one that cannot be written to. Nothing was sent.
    """
    with _worker_for(chunk.config) as worker:
        return worker.run(chunk, slots)


def check_worker(config: WorkerConfig) -> None:
    """Check that this process can work for a run.

    Raises:
        ConfigurationError: it cannot, and why.
    """
    if config.version != __version__:
        raise _unusable(f"it has stepfun-async {__version__}, and the batch runs with {config.version}")
    try:
        resolve(None, config.base_url, allow_http=config.allow_http, server=config.server)
    except ConfigurationError as error:
        raise _unusable(f"{error.message} (a worker takes the key from its own environment)") from None
    claims = Claims(config.folder)
    try:
        run = claims.run()
        if run == config.run:
            claims.check_writable()
            config.location.store().files.check_writable()
    except StorageError as error:
        raise _unusable(error.message) from error
    except OSError as error:
        raise _unusable(f"{str(config.folder)!r} cannot be used: {error.strerror or error}") from error
    if run is None:
        raise _unusable(f"{str(config.folder)!r} is not the folder of the batch there; it has to be shared")
    if run != config.run:
        raise _unusable(f"another run is using {str(config.folder)!r} now")


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError(f"the worker {os.getpid()} on {socket.gethostname()} cannot work: {why}")


# --- one client for all chunks of a process -------------------------------------------------------


class _ChunkWorker:
    """The state shared by all chunks of one run in this process."""

    def __init__(self, config: WorkerConfig) -> None:
        check_worker(config)
        self._config = config
        self._claims = Claims(config.folder)
        self._store = config.location.store()
        self._caller = caller_for(
            None,
            base_url=config.base_url,
            server=config.server,
            limits=config.limits,
            timeout=config.timeout,
            queue_timeout=None,
            retry=config.retry,
            budget=None,  # the process of the run has reserved the money
            validation="strict",
            default_headers=None,
            transport=None,
            proxy=None,
            allow_http=config.allow_http,
            on_event=None,
        )
        self._runner = JobRunner(self._caller, self._store, template="", retry=config.retry)
        self._portal = Portal("a chunk", ConfigurationError)
        self.chunks = 0

    def run(self, chunk: Chunk, slots: Slots | None) -> tuple[Row, ...]:
        """Run a chunk, and return its rows."""
        return self._portal.run(partial(self._run, chunk.lines, slots))

    def close(self) -> None:
        """Close the client and its loop."""
        self._portal.close(self._caller.aclose)

    async def _run(self, lines: Iterable[Line], slots: Slots | None) -> tuple[Row, ...]:
        waiting = deque(lines)
        rows: list[Row] = []

        async def work() -> None:
            while waiting:
                line = waiting.popleft()
                row = await self._run_line(line, slots)
                rows.append(row)
                if row.error is not None:
                    rows.extend(Row(other.task.number) for other in waiting)
                    waiting.clear()

        async with anyio.create_task_group() as group:
            for _ in range(min(self._config.lines_at_once, len(waiting))):
                group.start_soon(work)
        return tuple(rows)

    async def _run_line(self, line: Line, slots: Slots | None) -> Row:
        number = line.task.number
        try:
            async with self._slot(slots):
                if not await finished_in_thread(partial(self._claims.acquire, line.claim)):
                    return Row(number)
                return _row(number, await self._run_task(line.task))
        except _NoSlotError as error:
            message = f"no slot could be acquired, so nothing was sent: {error.__cause__}"
            return Row(number, error=LimitsUnavailableError(message))
        except OSError as error:
            return Row(number, error=_unusable(f"{str(self._config.folder)!r} cannot be written: {error}"))

    async def _run_task(self, task: Task) -> JobOutcome:
        """Send the request of a line, unless its image has arrived late from a worker that was given up."""
        stored = await finished_in_thread(partial(self._store.find, task.stem))
        if stored is None or stored.note.get("fingerprint", task.job.fingerprint) != task.job.fingerprint:
            return await self._runner.run(task, CallRecord())
        return JobOutcome(replace(found_result(stored), billed=1))  # its attempt is recorded as maybe billed

    @asynccontextmanager
    async def _slot(self, slots: Slots | None) -> AsyncGenerator[None]:
        """Hold a slot of this process, and one of all workers together, during the block."""
        async with self._limiter:
            if slots is None:
                yield
                return
            try:
                await _acquire(slots)
            except Exception as error:
                raise _NoSlotError from error
            try:
                yield
            finally:
                await finished_in_thread(slots.release)

    @cached_property
    def _limiter(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(self._config.limits.max_concurrency)


async def _acquire(slots: Slots) -> None:
    """Wait for a slot, and acquire it. If it is acquired after a cancellation, it is released."""
    acquired: list[bool] = []

    def acquire() -> None:
        slots.acquire()
        acquired.append(True)

    def release_late() -> None:
        if acquired:
            slots.release()

    await Job(acquire, release_late, apart=True).result()


class _NoSlotError(Exception):
    """No slot of all workers could be acquired."""


_workers: dict[tuple[int, str], _ChunkWorker] = {}
"""By process, since a forked process has none of the threads, and by run."""

_lock = ForkSafeLock()


@contextmanager
def _worker_for(config: WorkerConfig) -> Generator[_ChunkWorker]:
    """Yield the worker of a run in this process. It is closed after its last chunk."""
    key = (os.getpid(), config.run)
    with _lock:
        worker = _workers.get(key) or _ChunkWorker(config)
        _workers[key] = worker
        worker.chunks += 1
    try:
        yield worker
    finally:
        with _lock:
            worker.chunks -= 1
            last = not worker.chunks
            if last:
                del _workers[key]
        if last:
            worker.close()


# --- between processes ------------------------------------------------------------------------------


def _row(number: int, outcome: JobOutcome) -> Row:
    """Return the row of a line: without the bytes of images, and with an error only if it ends the run."""
    result, error = outcome.result, outcome.error
    if isinstance(error, SaveError):
        result = replace(result, message=f"{error.message} (on {socket.gethostname()})")
        images = tuple(replace(image, data=None) for image in error.response.data)
        return Row(number, result, SaveError(str(result.message), response=replace(error.response, data=images)))
    if isinstance(error, InvalidRequestError):  # it was valid in the process of the run
        return Row(
            number,
            JobResult(state="pending"),
            _unusable(f"a line is invalid there, so its image may be missing: {error}"),
        )
    return Row(number, result, error if isinstance(error, STOPPING_ERRORS) else None)


def portable_request(request: ImageRequest) -> ImageRequest:
    """Return the request in a form for other processes: with absolute paths, and other images as bytes."""
    fields = {name: getattr(request, name) for name in request.model_fields_set}
    changed = {name: fields[name] for name in ("image", "style_reference") if fields.get(name) is not None}
    if not changed:
        return request
    loaded = request.values()
    fields.update({name: _portable_value(value, loaded.get(name)) for name, value in changed.items()})
    return type(request)(**fields)


def _portable_value(value: object, loaded: object) -> object:
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, object]", value)
        loaded_parts = cast("Mapping[str, object]", loaded)
        return {name: _portable_value(part, loaded_parts.get(name)) for name, part in parts.items()}
    if isinstance(value, str | os.PathLike):
        text = os.fsdecode(cast("str | os.PathLike[str]", value))
        return (
            text if not isinstance(loaded, InputImage) or is_link(text) or is_data_uri(text) else os.path.abspath(text)
        )
    return loaded.data if isinstance(loaded, InputImage) else value


def portable_lines(tasks: Iterable[Task], claims: Iterable[str]) -> tuple[Line, ...]:
    """Return tasks with their claims as picklable lines. Reads images that are neither paths nor links."""
    return tuple(Line(claim, _portable_task(task)) for claim, task in zip(claims, tasks, strict=True))


def _portable_task(task: Task) -> Task:
    request = task.job.request
    assert request is not None  # noqa: S101 - only good lines become tasks
    return replace(task, job=replace(task.job, request=portable_request(request), digest=None))
