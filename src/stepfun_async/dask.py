"""A batch on a Dask cluster, with the extra `dask`.

    from distributed import Client
    from stepfun_async.dask import run_on

    with Client("tcp://scheduler:8786") as cluster:
        progress = run_on(cluster, Batch("prompts.jsonl", out="batch", pictures="/shared"), max_in_flight=200)

Dask brings chunks to workers and rows back. How many lines are in flight on all workers is kept by its
`Semaphore`, whose leases a worker renews for as long as it lives. Everything else is `Batch.run_chunks`.
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
"""Chunks that are handed out at once at least, so that a cluster that grows finds work."""

_AHEAD = 2
"""Chunks for each thread of a worker: one that is made, and one that waits for its turn."""

_SHARE = 2
"""How many times its even share of the lines in flight a chunk may have, so that no slot lies idle."""


def run_on(cluster: Any, batch: Batch, *, chunk: int = 50, max_in_flight: int | None = None) -> Progress:
    """Run a batch on the workers of a Dask cluster, or go on where the last run ended.

    It blocks, may be called where an event loop runs, and ends as `Batch.run_sync` does: `batch.stop()` from
    another thread or Ctrl-C send nothing more, and what is in flight ends and is entered.

    Args:
        cluster: a `distributed.Client` that is not asynchronous.
        batch: what to run. The folder of its pictures has the same whole path here and on all workers; the key
            is in the environment of the workers, and nowhere else.
        chunk: lines that go to a worker in one go, 1 to 256.
        max_in_flight: lines in flight at once on all workers together; `max_concurrency` of the batch's
            limits when absent.

    Returns:
        What this run did, as `Batch.run`.

    Raises:
        ConfigurationError: a worker cannot work: it has another version of this package, no key, or not the
            batch's folder; or a setting cannot be right. Nothing was sent.
        ChunkError: Dask gave a chunk up, since its workers died time and again.
        StepFunError: as `Batch.run`.
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
        max_in_flight: lines in flight at once on all of them.
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
        """The rows of a chunk that one of the workers makes."""
        async with self._beginning:
            if self._semaphore is None:
                self._semaphore = await finished_in_thread(partial(self._begin, chunk))
        name = self._semaphore.name
        future = await finished_in_thread(partial(self._cluster.submit, _make, chunk, name, self._most, pure=False))
        try:
            await _ended(future)
            rows: Sequence[Row] = await finished_in_thread(future.result)
            return rows
        finally:
            future.release()

    def _begin(self, chunk: Chunk) -> Any:
        """Make sure that all workers can work, before anything is sent; then let so many lines be in flight.

        Raises:
            ConfigurationError: one cannot, and why.
        """
        found = self._cluster.run(check_worker, chunk.conditions, on_error="return")
        unfit = [f"{address}: {error}" for address, error in found.items() if error is not None]
        if unfit:
            raise ConfigurationError(
                f"{len(unfit)} of {len(found)} workers cannot work; nothing was sent:\n" + "\n".join(unfit)
            )
        semaphore = _semaphore(f"stepfun-{chunk.conditions.run}", self._most)
        semaphore.register()
        return semaphore

    def close(self) -> None:
        """Have the scheduler forget the slots, unless some are still held for workers that died."""
        if self._semaphore is None:
            return
        with suppress(OSError, RuntimeError):  # a cluster that is gone has forgotten
            if not self._semaphore.get_value():
                self._semaphore.close()


def _semaphore(name: str, most: int) -> Any:
    """Dask's semaphore of a name."""
    distributed: Any = importlib.import_module("distributed")
    return distributed.Semaphore(max_leases=most, name=name)


async def _ended(future: Any) -> None:
    """Wait until a future of Dask's is done, in whichever way."""
    loop: Any = current_token().native_token
    done = anyio.Event()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # nobody waits any more, and the loop is gone
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(tell)
    await done.wait()


# --- on a worker ----------------------------------------------------------------------------------


class _Slots:
    """The slots of all workers, as `run_chunk` takes them.

    Args:
        name: of Dask's semaphore.
        most: how many there are.
    """

    def __init__(self, name: str, most: int) -> None:
        self._semaphore = _semaphore(name, most)

    def acquire(self) -> None:
        """Wait for one. The question is put anew from time to time, or one of a dead worker would be answered."""
        while not self._semaphore.acquire(timeout=_PATIENCE):
            pass

    def release(self) -> None:
        """Give one back."""
        self._semaphore.release()


_PATIENCE = 5.0
"""Seconds for which the scheduler keeps a question for a slot."""


@lru_cache(maxsize=8)
def _slots(name: str, most: int) -> _Slots:
    """The slots of a run in this process, whose leases one place renews."""
    return _Slots(name, most)


def _make(chunk: Chunk, name: str, most: int) -> Sequence[Row]:
    """What a worker is sent."""
    return run_chunk(chunk, _slots(name, most))
