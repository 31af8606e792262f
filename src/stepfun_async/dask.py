"""A batch on a Dask cluster, with the extra `dask`.

    from distributed import Client
    from stepfun_async.dask import run_on

    with Client("tcp://scheduler:8786") as cluster:
        progress = run_on(cluster, Batch("prompts.jsonl", out="batch", pictures="/shared"), max_in_flight=200)

Dask sends chunks to workers and their rows back. Its `Semaphore` limits the lines in flight on all workers; a worker
renews its leases for as long as it lives. Everything else is `Batch.run_chunks`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

import anyio
from anyio.lowlevel import current_token

from ._core.errors import ConfigurationError
from ._runtime.event_loop import finished_in_thread
from .batch import Batch, Chunk, Progress, Row, run_chunk
from .batch.run.chunks import check_worker

__all__ = ["run_on"]

_FEWEST = 16
"""The minimum number of chunks submitted at once, so that a cluster that grows has work."""

_AHEAD = 2
"""Chunks for each thread of a worker: one that runs, and one that waits."""

_SHARE = 2
"""The factor by which a chunk may exceed its even share of the lines in flight, so that no slot is idle."""


def run_on(cluster: Any, batch: Batch, *, chunk: int = 50, max_in_flight: int | None = None) -> Progress:
    """Run a batch on the workers of a Dask cluster, or continue where the last run ended.

    It blocks, may be called while an event loop runs, and ends as `Batch.run_sync` does: after `batch.stop()` in
    another thread or Ctrl-C, nothing more is sent, and the lines in flight finish and are recorded in the journal.

    Args:
        cluster: a `distributed.Client` that is not asynchronous.
        batch: the batch. The folder of its images must have the same absolute path here and on all workers, and the
            key must be in the environment of the workers; it is not sent to them.
        chunk: the number of lines sent to a worker at once, 1 to 256.
        max_in_flight: the maximum number of lines in flight on all workers together; `None` for `max_concurrency` of
            the batch's limits.

    Returns:
        The counts and costs of this run, as from `Batch.run`.

    Raises:
        ConfigurationError: a worker has another version of this package, no key, or not the batch's folder; or a
            setting is invalid. Nothing was sent.
        ChunkError: Dask gave up a chunk, since its workers died repeatedly.
        StepFunError: as from `Batch.run`.
    """
    workers = _Workers(cluster, max_in_flight or batch.limits.max_concurrency)
    try:
        return batch.run_chunks_sync(
            workers.submit,
            chunk=chunk,
            chunks_at_once=workers.chunks_at_once,
            max_in_flight=max_in_flight,
            lines_at_once=workers.lines_at_once,
        )
    finally:
        workers.close()


class _Workers:
    """The workers of a cluster, for one run.

    Args:
        cluster: the client.
        max_in_flight: the maximum number of lines in flight on all of them.
    """

    def __init__(self, cluster: Any, max_in_flight: int) -> None:
        if getattr(cluster, "asynchronous", None) is not False:
            raise ConfigurationError(f"cluster is a distributed.Client that is not asynchronous, not {cluster!r}")
        threads = max(1, sum(cluster.nthreads().values()))
        self.chunks_at_once = max(_FEWEST, _AHEAD * threads)
        self.lines_at_once = math.ceil(_SHARE * max_in_flight / threads)
        self._cluster = cluster
        self._most = max_in_flight
        self._semaphore: Any = None
        self._beginning = anyio.Lock()

    async def submit(self, chunk: Chunk) -> Sequence[Row]:
        """Run a chunk on one of the workers. Return its rows."""
        async with self._beginning:
            if self._semaphore is None:
                self._semaphore = await finished_in_thread(partial(self._begin, chunk))
        name = self._semaphore.name
        future = await finished_in_thread(
            partial(self._cluster.submit, _run_chunk, chunk, name, self._most, pure=False)
        )
        try:
            await _ended(future)
            rows: Sequence[Row] = await finished_in_thread(future.result)
            return rows
        finally:
            future.release()

    def _begin(self, chunk: Chunk) -> Any:
        """Check all workers before anything is sent. Return the semaphore of the run.

        Raises:
            ConfigurationError: some workers cannot run the batch; the reasons are listed.
        """
        found = self._cluster.run(check_worker, chunk.config, on_error="return")
        unusable = [f"{address}: {error}" for address, error in found.items() if error is not None]
        if unusable:
            raise ConfigurationError(
                f"{len(unusable)} of {len(found)} workers cannot work; nothing was sent:\n" + "\n".join(unusable)
            )
        semaphore = _semaphore(f"stepfun-{chunk.config.run}", self._most)
        semaphore.register()
        return semaphore

    def close(self) -> None:
        """Delete the semaphore, unless workers that died still hold leases."""
        if self._semaphore is None:
            return
        with suppress(OSError, RuntimeError):  # the cluster is gone, and the semaphore with it
            if not self._semaphore.get_value():
                self._semaphore.close()


def _semaphore(name: str, most: int) -> Any:
    """Return Dask's semaphore of a name."""
    distributed: Any = importlib.import_module("distributed")
    return distributed.Semaphore(max_leases=most, name=name)


async def _ended(future: Any) -> None:
    """Wait until a future of Dask's has a result or an error."""
    loop: Any = current_token().native_token
    done = anyio.Event()

    def set_done(_: object) -> None:
        with suppress(RuntimeError):  # the caller no longer waits, and the loop is gone
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(set_done)
    await done.wait()


# --- on a worker ----------------------------------------------------------------------------------


class _Slots:
    """The slots of all workers, in the form that `run_chunk` accepts.

    Args:
        name: the name of Dask's semaphore.
        most: the number of slots.
    """

    def __init__(self, name: str, most: int) -> None:
        self._semaphore = _semaphore(name, most)

    def acquire(self) -> None:
        """Acquire a slot. Each request for one expires soon, so that none is granted to a worker that has died."""
        while not self._semaphore.acquire(timeout=_PATIENCE):
            pass

    def release(self) -> None:
        """Release a slot."""
        self._semaphore.release()


_PATIENCE = 5.0
"""Seconds for which the scheduler keeps a request for a slot."""


@lru_cache(maxsize=8)
def _slots(name: str, most: int) -> _Slots:
    """Return the slots of a run, one object per process, which renews the leases."""
    return _Slots(name, most)


def _run_chunk(chunk: Chunk, name: str, most: int) -> Sequence[Row]:
    """Run a chunk; this is the function that Dask sends to a worker."""
    return run_chunk(chunk, _slots(name, most))
