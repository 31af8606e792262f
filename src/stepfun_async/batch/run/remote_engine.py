"""A run whose lines are sent by other processes: they get chunks, and return rows for the journal.

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
from .chunks import Chunk, ChunkError, Conditions, Row, shipped
from .claims import Claims
from .engine import Engine, Ways
from .job_runner import JobOutcome, JobRunner, adopted, killed

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream

Submit: TypeAlias = Callable[[Chunk], Awaitable[Sequence[Row]]]
"""Has a chunk run by `run_chunk` somewhere, and gives its rows."""

_MOST_LOSSES = 3
"""The number of times that a line is sent whose worker died, before the next run has to decide."""

_GRACE = 60.0
"""Seconds beyond what its lines may take for which a chunk is waited for when the run is to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The options of chunks.

    Attributes:
        chunk: lines in a chunk at most.
        chunks_at_once: chunks that are out at once.
    """

    chunk: int
    chunks_at_once: int


@dataclass(frozen=True, slots=True)
class _Charged:
    """A task with the price of its image and the reservation for it; `None` if there is no budget."""

    task: Task
    price: Money | None
    reservation: Reservation | None


@dataclass(slots=True)
class _Out:
    """A chunk that is being run by a worker.

    Attributes:
        scope: ends the wait for it.
        claims: the claims of its lines.
    """

    scope: anyio.CancelScope
    claims: list[str]


class RemoteEngine(Engine):
    """One run of a batch on other processes.

    Args:
        source: where lines come from.
        terms: what holds for all of them.
        maker: for prices and places; it sends nothing.
        writer: of the journal.
        ways: how to deal with what is left of earlier runs.
        adopted: images that were found when the journal was opened.
        submit: has a chunk run somewhere.
        spread: how lines are spread.
        conditions: what holds for all chunks.
        budget: what may be spent; `None` for any sum.
    """

    def __init__(
        self,
        source: Source,
        terms: JobDefaults,
        maker: JobRunner,
        writer: Writer,
        ways: Ways,
        adopted: int,
        *,
        submit: Submit,
        spread: Spread,
        conditions: Conditions,
        budget: Budget | None,
    ) -> None:
        super().__init__(source, terms, maker, writer, spread.chunks_at_once, ways, adopted, budget)
        self._submit = submit
        self._spread = spread
        self._conditions = conditions
        self._store = conditions.keeping.store()
        self._claims = Claims(conditions.folder)
        self._out: dict[int, _Out] = {}
        self._losses: Counter[int] = Counter()
        self._stopping = anyio.Event()
        self._came_back = anyio.Event()

    async def work(self, sink: MemoryObjectSendStream[Item] | None = None) -> None:
        """Hand out all lines; return when the last one has come back."""
        with translate_sqlite_errors(self._conditions.folder):
            await finished_in_thread(partial(self._claims.begin, self._conditions.run))
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._revoke_when_stopped)
                await super().work(sink)
                group.cancel_scope.cancel()
        finally:
            await finished_in_thread(self._claims.end)

    def _stop_reading(self) -> None:
        super()._stop_reading()
        self._stopping.set()

    async def _revoke_when_stopped(self) -> None:
        """Revoke the lines that no worker has sent when the run is stopped; those in flight end."""
        try:
            await self._stopping.wait()
        finally:
            until = anyio.current_time() + self._conditions.timeout + _GRACE
            for out in self._out.values():
                out.scope.deadline = until
            claims = [claim for out in self._out.values() for claim in out.claims]
            await finished_in_thread(partial(self._revoke, claims))

    def _revoke(self, claims: Iterable[str]) -> None:
        for claim in claims:
            self._claims.revoke(claim)

    # --- chunks out ---

    async def _work(self) -> None:
        try:
            while tasks := await self._next_tasks():
                if charged := await self._charged(tasks):
                    await self._hand_out(charged)
        except Exception as error:  # noqa: BLE001 - it ends the run, and is raised at its end
            self._fail(error)

    async def _next_tasks(self) -> list[Task]:
        """The next lines, as many as a chunk takes and are there; none at the end."""
        first = await self._next()
        if first is None:
            return []
        more = min(self._spread.chunk - 1, len(self._ready))
        return [first, *(self._ready.popleft() for _ in range(more))]

    async def _hand_out(self, charged: Sequence[_Charged]) -> None:
        """A chunk's way from the journal to the journal."""
        numbers = [each.task.number for each in charged]
        out = _Out(anyio.CancelScope(shield=True), [])
        self._out[id(out)] = out
        self._tally.in_flight += len(charged)
        rows: Sequence[Row] = ()
        try:
            with translate_sqlite_errors(self._conditions.folder):
                out.claims = await finished_in_thread(partial(self._claims.create, numbers))
            await self._writer.do(partial(_start, lines=charged, attempts=self._maker.most_billed))
            rows = await self._rows_of(charged, out)
        finally:
            await finished(partial(self._take_in, charged, out, rows))

    async def _rows_of(self, charged: Sequence[_Charged], out: _Out) -> Sequence[Row]:
        """Return the rows of a chunk; none if they are lost, or the run is to end before it was handed out."""
        rows: Sequence[Row] = ()
        lines = await finished_in_thread(partial(shipped, [each.task for each in charged], out.claims))
        with out.scope:  # shielded: what is in flight ends
            if self._stopped is None:
                try:
                    rows = await self._submit(Chunk(self._conditions, lines))
                except StepFunError as error:
                    self._fail(error)
                except Exception as error:  # noqa: BLE001 - whatever the engine of a cluster raises
                    why = f"{type(error).__name__}: {error}"
                    message = f"a chunk of {len(lines)} lines came back without a response: {why}"
                    self._fail(ChunkError(message))
        return rows

    # --- money ---

    async def _charged(self, tasks: Sequence[Task]) -> list[_Charged]:
        """The first of the tasks, as many as the budget has room for; the others go back to those that wait.

        Raises:
            BudgetExceededError: it has no room for one, though nothing is out that may give some back.
            ConfigurationError: a price is not known.
        """
        charged: list[_Charged] = []
        try:
            charged.extend(map(self._charge, tasks))
        except BudgetExceededError:
            if not charged and not self._out:
                raise
            self._ready.extendleft(reversed(tasks[len(charged) :]))
            if not charged:
                await self._came_back.wait()
        except BaseException:
            for each in charged:
                _settle(each, JobResult(state="pending"))
            raise
        return charged

    def _charge(self, task: Task) -> _Charged:
        request = task.job.request
        assert request is not None  # noqa: S101 - only good lines become tasks
        price = self._maker.price(request)
        if self._budget is None:
            return _Charged(task, price, None)
        return _Charged(task, price, _reserve(self._budget, request, price, self._maker.most_billed))

    # --- rows in ---

    async def _take_in(self, charged: Sequence[_Charged], out: _Out, rows: Sequence[Row]) -> None:
        """Give back what money is left, enter the results of a chunk, and then report it."""
        try:
            made = await finished_in_thread(partial(self._fates, charged, out.claims, rows))
            for each, one in zip(charged, made, strict=True):
                _settle(each, one.ended)
            items = await self._writer.do(partial(_end, lines=charged, made=made, asked=self._sink is not None))
            await finished_in_thread(partial(self._claims.discard, out.claims))
        finally:
            self._tally.in_flight -= len(charged)
            del self._out[id(out)]
            self._came_back.set()
            self._came_back = anyio.Event()
        for each, one, item in zip(charged, made, items, strict=True):
            if self._is_to_go_again(each.task, one):
                self._tally.pay(each.price, one.ended)
                self._ready.append(each.task)
            else:
                self._maker.over(each.task)
                self._count(each.task, each.price, one.ended, one.error)
                await self._send_item(item)

    def _fates(self, charged: Sequence[_Charged], claims: Sequence[str], rows: Sequence[Row]) -> list[JobOutcome]:
        """Return the result of each line: from its row, or else from its claim and the folder."""
        by_number = {row.number: row for row in rows}
        return [
            self._fate(each.task, claim, by_number.get(each.task.number))
            for each, claim in zip(charged, claims or [""] * len(charged), strict=True)
        ]

    def _fate(self, task: Task, claim: str, row: Row | None) -> JobOutcome:
        error = row.error if row else None
        if row is not None and row.ended is not None:
            return JobOutcome(row.ended, error)
        if not claim or self._claims.revoke(claim):
            return JobOutcome(JobResult(state="pending"), error)
        self._store.sweep(task.stem)
        saved = self._store.find(task.stem)
        most = self._maker.most_billed
        return JobOutcome(_lost(most) if saved is None else adopted(saved, most), error)

    def _is_to_go_again(self, task: Task, made: JobOutcome) -> bool:
        """Whether a line came back unsent, or was in flight when its worker died, and this run sends it once more."""
        ended = made.ended
        lost = ended.state == "unknown" and ended.error == INTERRUPTED and not self._ways.hold_unknown
        if made.error is not None or not (lost or ended.state == "pending"):
            return False
        self._losses[task.number] += 1
        return self._stopped is None and self._losses[task.number] < _MOST_LOSSES


_LOST = "it was in flight when its worker died or was given up; it may have been billed"


def _lost(attempts: int) -> JobResult:
    """The row of what was in flight when a worker died, with so many attempts that may have been billed."""
    return replace(killed(attempts), message=_LOST)


def _settle(charged: _Charged, ended: JobResult) -> None:
    if charged.reservation is not None:
        charged.reservation.settle(billed=ended.billed, unknown=ended.maybe_billed - ended.billed)


def _reserve(budget: Budget, request: ImageRequest, price: Money | None, attempts: int) -> Reservation:
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


def _start(journal: Journal, lines: Sequence[_Charged], attempts: int) -> None:
    for line in lines:
        journal.start(line.task.number, line.task.stem, line.price, attempts)


def _end(journal: Journal, lines: Sequence[_Charged], made: Sequence[JobOutcome], *, asked: bool) -> list[Item | None]:
    """Enter the ends of lines; return their whole rows if `asked`."""
    for line, one in zip(lines, made, strict=True):
        journal.end(line.task.number, one.ended)
    return [journal.item(line.task.number) if asked else None for line in lines]
