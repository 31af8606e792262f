"""A run whose lines are sent by other processes, which receive chunks and return rows for the journal.

    admitted -> price reserved -> claims created -> started (committed) -> handed out
             -> image durable in the shared folder -> row back -> done (committed) -> claim gone -> reported

The journal, the budget and the inputs stay here. A limited number of chunks run at once, and no more lines are read
than they need. If a chunk returns no row for a line, the line's claim decides: if no worker acquired it, the line was
never sent; otherwise its image is in the folder, or its state is `unknown`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import anyio

from stepfun_async._core.errors import BudgetExceededError, StepFunError
from stepfun_async._core.money import Money
from stepfun_async._core.requests import ImageRequest
from stepfun_async._limits.budget import Budget, Reservation
from stepfun_async._runtime.event_loop import finished, finished_in_thread

from ..inputs.jobs import JobDefaults
from ..inputs.sources import Source
from ..items import Item
from ..journal.admission import Task
from ..journal.database import translate_sqlite_errors
from ..journal.journal import INTERRUPTED, JobResult, Journal
from ..journal.writer import Writer
from .chunks import Chunk, ChunkError, Row, WorkerConfig, portable_lines
from .claims import Claims
from .engine import Engine
from .job_results import JobOutcome, adopted_result, killed_result
from .job_runner import JobRunner
from .options import RunOptions

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream

Submit: TypeAlias = Callable[[Chunk], Awaitable[Sequence[Row]]]
"""Runs `run_chunk` with a chunk somewhere, and returns its rows."""

_MOST_SENDS = 3
"""The number of times that this run sends a line whose workers die; after that, the next run decides."""

_GRACE = 60.0
"""Seconds to wait for a chunk, beyond the timeout of its lines, when the run is stopping."""


@dataclass(frozen=True, slots=True)
class _ReservedTask:
    """A task with the price of its image and the reservation for it; `None` if there is no budget."""

    task: Task
    price: Money | None
    reservation: Reservation | None


@dataclass(slots=True)
class _ChunkInFlight:
    """A chunk that is being run by a worker.

    Attributes:
        scope: limits the time to wait for it.
        claims: the claims of its lines.
    """

    scope: anyio.CancelScope
    claims: list[str]


class RemoteEngine(Engine):
    """One run of a batch on other processes.

    Args:
        source: the lines.
        defaults: the settings for all lines.
        runner: for prices and stems; it sends nothing.
        writer: writes the journal.
        options: the options of the run.
        adopted: the number of images that were adopted when the journal was opened.
        submit: runs a chunk somewhere.
        chunk_size: the maximum number of lines in a chunk.
        chunks_at_once: the maximum number of chunks in flight.
        config: the settings of the workers.
        budget: the budget; `None` for no limit.
    """

    def __init__(
        self,
        source: Source,
        defaults: JobDefaults,
        runner: JobRunner,
        writer: Writer,
        options: RunOptions,
        adopted: int,
        *,
        submit: Submit,
        chunk_size: int,
        chunks_at_once: int,
        config: WorkerConfig,
        budget: Budget | None,
    ) -> None:
        super().__init__(source, defaults, runner, writer, chunks_at_once, options, adopted, budget)
        self._submit = submit
        self._chunk_size = chunk_size
        self._config = config
        self._store = config.location.store()
        self._claims = Claims(config.folder)
        self._chunks: dict[int, _ChunkInFlight] = {}
        self._losses: Counter[int] = Counter()
        self._stopping = anyio.Event()
        self._chunk_finished = anyio.Event()

    async def run(self, sink: MemoryObjectSendStream[Item] | None = None) -> None:
        """Send all lines in chunks, and return when the last one has ended."""
        with translate_sqlite_errors(self._config.folder):
            await finished_in_thread(partial(self._claims.begin, self._config.run))
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._revoke_when_stopped)
                await super().run(sink)
                group.cancel_scope.cancel()
        finally:
            await finished_in_thread(self._claims.end)

    def _stop_reading(self) -> None:
        super()._stop_reading()
        self._stopping.set()

    async def _revoke_when_stopped(self) -> None:
        """When the run is stopped, revoke the claims of lines that no worker has sent; those in flight finish."""
        try:
            await self._stopping.wait()
        finally:
            deadline = anyio.current_time() + self._config.timeout + _GRACE
            for chunk in self._chunks.values():
                chunk.scope.deadline = deadline
            claims = [claim for chunk in self._chunks.values() for claim in chunk.claims]
            await finished_in_thread(partial(self._revoke, claims))

    def _revoke(self, claims: Iterable[str]) -> None:
        for claim in claims:
            self._claims.revoke(claim)

    # --- sending chunks ---

    async def _run_worker(self) -> None:
        try:
            while tasks := await self._next_tasks():
                if reserved := await self._reserve(tasks):
                    await self._run_chunk(reserved)
        except Exception as error:  # noqa: BLE001 - it ends the run, and `result` raises it
            self._fail(error)

    async def _next_tasks(self) -> list[Task]:
        """Return the next tasks, up to a chunk of those that are ready; none at the end."""
        first = await self._next_task()
        if first is None:
            return []
        more = min(self._chunk_size - 1, len(self._ready))
        return [first, *(self._ready.popleft() for _ in range(more))]

    async def _run_chunk(self, reserved: Sequence[_ReservedTask]) -> None:
        """Have a chunk run by a worker, and record its start and its results."""
        numbers = [each.task.number for each in reserved]
        chunk = _ChunkInFlight(anyio.CancelScope(shield=True), [])
        self._chunks[id(chunk)] = chunk
        self._stats.in_flight += len(reserved)
        rows: Sequence[Row] = ()
        try:
            with translate_sqlite_errors(self._config.folder):
                chunk.claims = await finished_in_thread(partial(self._claims.create, numbers))
            await self._writer.do(partial(_write_starts, tasks=reserved, attempts=self._runner.max_billed))
            rows = await self._submit_chunk(reserved, chunk)
        finally:
            await finished(partial(self._finish_chunk, reserved, chunk, rows))

    async def _submit_chunk(self, reserved: Sequence[_ReservedTask], chunk: _ChunkInFlight) -> Sequence[Row]:
        """Return the rows of a chunk; none if they are lost, or the run is stopped before it is submitted."""
        rows: Sequence[Row] = ()
        lines = await finished_in_thread(partial(portable_lines, [each.task for each in reserved], chunk.claims))
        with chunk.scope:  # shielded: lines in flight finish
            if self._stopped is None:
                try:
                    rows = await self._submit(Chunk(self._config, lines))
                except StepFunError as error:
                    self._fail(error)
                except Exception as error:  # noqa: BLE001 - whatever the engine of a cluster raises
                    why = f"{type(error).__name__}: {error}"
                    self._fail(ChunkError(f"a chunk of {len(lines)} lines was lost: {why}"))
        return rows

    # --- money ---

    async def _reserve(self, tasks: Sequence[Task]) -> list[_ReservedTask]:
        """Reserve the prices of the first tasks, as many as the budget allows. The others are ready again.

        Raises:
            BudgetExceededError: it does not allow one task, and no chunk in flight may release money.
            ConfigurationError: a price is unknown.
        """
        reserved: list[_ReservedTask] = []
        try:
            reserved.extend(map(self._reserve_task, tasks))
        except BudgetExceededError:
            if not reserved and not self._chunks:
                raise
            self._ready.extendleft(reversed(tasks[len(reserved) :]))
            if not reserved:
                await self._chunk_finished.wait()
        except BaseException:
            for each in reserved:
                _settle(each, JobResult(state="pending"))
            raise
        return reserved

    def _reserve_task(self, task: Task) -> _ReservedTask:
        request = task.job.request
        assert request is not None  # noqa: S101 - only good lines become tasks
        price = self._runner.price(request)
        if self._budget is None:
            return _ReservedTask(task, price, None)
        return _ReservedTask(task, price, _reserve_attempts(self._budget, request, price, self._runner.max_billed))

    # --- receiving rows ---

    async def _finish_chunk(
        self, reserved: Sequence[_ReservedTask], chunk: _ChunkInFlight, rows: Sequence[Row]
    ) -> None:
        """Settle the reservations of a chunk, record its results, and report them."""
        try:
            outcomes = await finished_in_thread(partial(self._outcomes, reserved, chunk.claims, rows))
            results = [outcome.result for outcome in outcomes]
            for each, result in zip(reserved, results, strict=True):
                _settle(each, result)
            write = partial(_write_results, tasks=reserved, results=results, with_items=self._sink is not None)
            items = await self._writer.do(write)
            await finished_in_thread(partial(self._claims.discard, chunk.claims))
        finally:
            self._stats.in_flight -= len(reserved)
            del self._chunks[id(chunk)]
            self._chunk_finished.set()
            self._chunk_finished = anyio.Event()
        for each, outcome, item in zip(reserved, outcomes, items, strict=True):
            if self._will_resend(each.task, outcome):
                self._stats.add_cost(each.price, outcome.result)
                self._ready.append(each.task)
            else:
                self._runner.release_stem(each.task)
                self._count_result(each.task, each.price, outcome.result, outcome.error)
                await self._report_item(item)

    def _outcomes(
        self, reserved: Sequence[_ReservedTask], claims: Sequence[str], rows: Sequence[Row]
    ) -> list[JobOutcome]:
        """Return the outcome of each line: from its row, or else from its claim and the folder."""
        by_number = {row.number: row for row in rows}
        return [
            self._outcome(each.task, claim, by_number.get(each.task.number))
            for each, claim in zip(reserved, claims or [""] * len(reserved), strict=True)
        ]

    def _outcome(self, task: Task, claim: str, row: Row | None) -> JobOutcome:
        error = row.error if row else None
        if row is not None and row.result is not None:
            return JobOutcome(row.result, error)
        if not claim or self._claims.revoke(claim):
            return JobOutcome(JobResult(state="pending"), error)
        self._store.remove_leftovers(task.stem)
        stored = self._store.find(task.stem)
        attempts = self._runner.max_billed
        return JobOutcome(_lost_result(attempts) if stored is None else adopted_result(stored, attempts), error)

    def _will_resend(self, task: Task, outcome: JobOutcome) -> bool:
        """Whether this run sends a line again that was not sent, or was in flight when its worker died."""
        result = outcome.result
        is_lost = result.state == "unknown" and result.error == INTERRUPTED and not self._options.hold_unknown
        if outcome.error is not None or not (is_lost or result.state == "pending"):
            return False
        self._losses[task.number] += 1
        return self._stopped is None and self._losses[task.number] < _MOST_SENDS


_LOST = "it was in flight when its worker died or was given up; it may have been billed"


def _lost_result(attempts: int) -> JobResult:
    """Return the result of a line that was in flight when its worker died.

    Args:
        attempts: the number of attempts that may have been billed.
    """
    return replace(killed_result(attempts), message=_LOST)


def _settle(reserved: _ReservedTask, result: JobResult) -> None:
    if reserved.reservation is not None:
        reserved.reservation.settle(billed=result.billed, unknown=result.maybe_billed - result.billed)


def _reserve_attempts(budget: Budget, request: ImageRequest, price: Money | None, attempts: int) -> Reservation:
    """Reserve the price of all attempts that may be billed.

    Raises:
        ConfigurationError: the price is unknown.
        BudgetExceededError: it is more than what is left of the budget.
    """
    reservation = budget.reserve(request.model, price, 1)
    try:
        for _ in range(attempts - 1):
            reservation.add_attempt()
    except BudgetExceededError:
        reservation.settle(billed=0, unknown=0)
        raise
    return reservation


def _write_starts(journal: Journal, tasks: Sequence[_ReservedTask], attempts: int) -> None:
    for each in tasks:
        journal.start(each.task.number, each.task.stem, each.price, attempts)


def _write_results(
    journal: Journal, tasks: Sequence[_ReservedTask], results: Sequence[JobResult], *, with_items: bool
) -> list[Item | None]:
    """Record the results of tasks. Return their rows if `with_items`."""
    for each, result in zip(tasks, results, strict=True):
        journal.end(each.task.number, result)
    return [journal.item(each.task.number) if with_items else None for each in tasks]
