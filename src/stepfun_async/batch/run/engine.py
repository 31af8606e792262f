"""A run: a fixed number of workers that take lines from one source, and record each step in the journal.

    admitted -> started (committed) -> sent -> image durable -> done (committed) -> reported

Memory is bounded: `AHEAD` lines are read at a time, and only when few are waiting to be sent. A worker that is
cancelled records the state of its line, and first saves an image that is paid for.
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import current_token

from stepfun_async._call.record import CallRecord
from stepfun_async._core.money import NOTHING, Money, times, total
from stepfun_async._core.text import reason
from stepfun_async._limits.budget import Budget
from stepfun_async._runtime.event_loop import finished, finished_in_thread

from ..inputs.job_reader import read_jobs
from ..inputs.jobs import Job, JobDefaults
from ..inputs.lines import InputLine
from ..inputs.sources import FirstLines, Source
from ..items import FailedLine, FailureCounts, Item, Progress
from ..journal.admission import AdmissionResult, Task, is_settled
from ..journal.charges import Charge
from ..journal.journal import JobResult, Journal, KnownJob
from ..journal.writer import Writer
from .job_results import STOPPING_ERRORS, JobOutcome, cancelled_result, not_downloaded
from .job_runner import JobRunner
from .options import RunOptions

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream

AHEAD = 256
"""Lines that are read at a time."""

_REFILL_AT = AHEAD // 2
"""The number of ready lines at which the next ones are read, so that the workers do not wait for them."""


@dataclass(slots=True)
class _RunStats:
    """The counts and costs of a run so far."""

    done: int = 0
    failed: int = 0
    unknown: int = 0
    adopted: int = 0
    skipped: int = 0
    in_flight: int = 0
    lines: int | None = None
    spent: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    held: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    unpriced: int = 0
    failures: FailureCounts = field(default_factory=FailureCounts)

    def add_cost(self, price: Money | None, result: JobResult) -> None:
        """Add the cost of a line, and the possible cost of its attempts without an image."""
        if price is None:
            self.unpriced += result.billed
            return
        for sums, count in ((self.spent, result.billed), (self.held, result.maybe_billed - result.billed)):
            if count:
                amount = times(price.amount, count)
                sums[price.currency] = total((sums.get(price.currency, NOTHING), amount))


@dataclass(slots=True)
class _PricedTask:
    """A task with the price of its image.

    Attributes:
        task: the task.
        price: the price; `None` if unknown.
        is_started: whether the journal already has that it is about to be sent.
    """

    task: Task
    price: Money | None
    is_started: bool = False


class Engine:
    """One run of a batch.

    Args:
        source: the lines.
        defaults: the settings for all lines.
        runner: runs the jobs.
        writer: writes the journal.
        workers: the number of lines in flight at once.
        options: the options of the run.
        adopted: the number of images that were adopted when the journal was opened.
        budget: the budget; `None` for no limit.
    """

    def __init__(
        self,
        source: Source,
        defaults: JobDefaults,
        runner: JobRunner,
        writer: Writer,
        workers: int,
        options: RunOptions,
        adopted: int,
        budget: Budget | None,
    ) -> None:
        self._source = source
        self._defaults = defaults
        self._runner = runner
        self._writer = writer
        self._workers = workers
        self._options = options
        self._budget = budget
        self._stats = _RunStats(done=adopted, adopted=adopted)
        self._adopted = adopted
        self._ready: deque[Task] = deque()
        self._exhausted = False
        self._stopped: str | None = None
        self._failure: BaseException | None = None
        self._read_lock = anyio.Lock()
        self._read_scope = anyio.CancelScope()
        self._work_scope = anyio.CancelScope()
        self._loop: Any = current_token().native_token
        self._sink: MemoryObjectSendStream[Item] | None = None

    @property
    def progress(self) -> Progress:
        """The progress of the run."""
        stats = self._stats
        return Progress(
            done=stats.done,
            failed=stats.failed,
            unknown=stats.unknown,
            adopted=stats.adopted,
            skipped=max(0, stats.skipped - self._adopted),  # lines adopted at the start are read and skipped, too
            in_flight=stats.in_flight,
            lines=stats.lines,
            spent=dict(stats.spent),
            held=dict(stats.held),
            unpriced=stats.unpriced,
            reasons=stats.failures.reasons(),
            stopped=self._stopped,
        )

    def stop(self, why: str) -> None:
        """Send no further lines; those in flight finish. May be called from any thread."""
        self._stopped = self._stopped or why
        soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
        with suppress(RuntimeError):  # the loop has ended, and the run with it
            soon(self._stop_reading)

    def _stop_reading(self) -> None:
        """Cancel the wait for a user's async iterable."""
        self._read_scope.cancel()

    async def run(self, sink: MemoryObjectSendStream[Item] | None = None) -> None:
        """Send all lines, and return when the last one has ended.

        Args:
            sink: the stream to which each ended line is sent; `None` for none. It is closed at the end.
        """
        self._sink = sink
        try:
            async with anyio.create_task_group() as group:
                self._work_scope = group.cancel_scope
                for _ in range(self._workers):
                    group.start_soon(self._run_worker)
        finally:
            if sink is not None:
                sink.close()

    def result(self) -> Progress:
        """Return the progress of the ended run, or raise the error that ended it.

        Raises:
            BaseException: the error that ended the run early.
        """
        if self._failure is not None:
            raise self._failure
        return self.progress

    # --- reading lines ---

    async def _next_task(self) -> Task | None:
        """Return the next line to be sent; `None` at the end. If few are ready, read more of them."""
        if len(self._ready) <= _REFILL_AT and not (self._ready and self._read_lock.locked()):
            async with self._read_lock:
                await self._read_ahead()
        return self._ready.popleft() if self._ready and self._stopped is None else None

    async def _read_ahead(self) -> None:
        """Read lines until some are ready, unless enough are ready already."""
        if len(self._ready) > _REFILL_AT:
            return
        while not self._exhausted and self._stopped is None:
            await self._read_lines()
            if self._ready:
                return

    async def _read_lines(self) -> None:
        """Read the next lines, and add those that are to be sent to the ready ones."""
        lines: list[InputLine] | None = None
        with anyio.CancelScope() as self._read_scope:
            lines = await self._source.take(AHEAD)
        if lines is None:
            return
        if not lines:
            self._exhausted = True
            if isinstance(self._source, FirstLines) and self._source.is_truncated:
                return
            self._stats.lines = await self._writer.do(Journal.finish_reading)
            return
        admitted = await self._admit(lines, await self._unchanged(lines))
        if admitted.unread is not None:  # an earlier line has taken its row
            await self._admit([line for line in lines if line.number >= admitted.unread], set())

    async def _admit(self, lines: list[InputLine], unchanged: set[int]) -> AdmissionResult:
        """Add lines to the journal, without reading those that are unchanged, and assign stems to those to be sent."""
        entries: list[Job | int] = [line.number for line in lines]
        if len(unchanged) < len(lines):
            entries = await finished_in_thread(partial(read_jobs, lines, unchanged, self._defaults))
        admit = partial(
            Journal.admit,
            lines=entries,
            hold_unknown=self._options.hold_unknown,
            accept_changes=self._options.accept_changes,
        )
        admitted = await self._writer.do(admit)
        self._stats.skipped += admitted.skipped
        await self._report_bad(admitted.bad)
        await self._assign_stems(admitted.tasks)
        return admitted

    async def _unchanged(self, lines: list[InputLine]) -> set[int]:
        """Return the numbers of the lines that are settled and whose text has not changed."""
        known = await self._writer.do(partial(Journal.known, first=lines[0].number, last=lines[-1].number))
        return {line.number for line in lines if self._is_unchanged(line, known.get(line.number))}

    def _is_unchanged(self, line: InputLine, known: KnownJob | None) -> bool:
        if known is None or self._options.verify or line.digest is None or line.digest != known.digest:
            return False
        return is_settled(known.state, known.error, hold_unknown=self._options.hold_unknown)

    async def _report_bad(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            item = await self._writer.do(partial(Journal.item, number=number))
            self._stats.failed += 1
            self._stats.failures.add(FailedLine.of(item))
            self._check_failures()
            await self._report_item(item)

    async def _assign_stems(self, tasks: tuple[Task, ...]) -> None:
        """Assign a stem to each image, and adopt the images that exist already."""
        assigned = await finished_in_thread(partial(self._runner.assign_stems, tasks))
        for task, task_or_result in zip(tasks, assigned, strict=True):
            if isinstance(task_or_result, Task):
                self._ready.append(task_or_result)
            else:
                await self._adopt(task, task_or_result)

    async def _adopt(self, task: Task, found: JobResult) -> None:
        """Record an image that exists already. If it belongs to another line, send this one under another stem."""
        price = self._runner.price(task.job.request) if task.job.request else None
        charge = await self._writer.do(partial(Journal.adopt, number=task.number, price=price, found=found))
        if charge is None:
            stem = str(found.path).rpartition(".")[0]
            self._ready.append(await finished_in_thread(partial(self._runner.assign_next_stem, task, stem)))
            return
        await finished_in_thread(partial(self._runner.delete_fallback, task))
        self._settle_budget(charge)
        self._stats.done += 1
        self._stats.adopted += 1
        if self._sink is not None:
            await self._report_item(await self._writer.do(partial(Journal.item, number=task.number)))

    def _settle_budget(self, charge: Charge) -> None:
        """Add the cost of an adopted image to the budget."""
        if self._budget is None or charge.price is None or charge.price.currency != self._budget.currency:
            return
        amount = charge.price.amount
        self._budget.settle(spent=times(amount, charge.billed), held=times(amount, charge.maybe_billed - charge.billed))

    # --- sending lines ---

    async def _run_worker(self) -> None:
        try:
            priced = await self._next_priced()
            while priced is not None:
                self._stats.in_flight += 1
                try:
                    following = await self._run_task(priced)
                finally:
                    self._stats.in_flight -= 1
                priced = following or await self._next_priced()
        except Exception as error:  # noqa: BLE001 - it ends the run, and `result` raises it
            self._fail(error)
        except GeneratorExit:  # the event loop was closed during the run
            raise
        except BaseException as error:
            if anyio.current_effective_deadline() == -math.inf:  # the run is cancelled
                raise
            self._abort(error)

    async def _run_task(self, priced: _PricedTask) -> _PricedTask | None:
        """Send one line and record its result. Return the following task if it was started in the same commit."""
        task, price = priced.task, priced.price
        record = CallRecord()
        try:
            if not priced.is_started:
                await self._writer.do(partial(self._write_start, priced))
            outcome = await self._runner.run(task, record)
        except Exception:
            raise
        except BaseException:
            await finished(partial(self._finish_cancelled, task, price, record))
            raise
        following = self._pop_ready() if outcome.result.state == "done" else None
        await self._report_item(await self._record(task, price, outcome, following))
        return following

    async def _next_priced(self) -> _PricedTask | None:
        task = await self._next_task()
        return None if task is None else self._price_task(task)

    def _price_task(self, task: Task) -> _PricedTask:
        request = task.job.request
        return _PricedTask(task, self._runner.price(request) if request else None)

    def _pop_ready(self) -> _PricedTask | None:
        """Return the next task, whose start is recorded in the same commit as the result of another one.

        `None` if more lines must be read first, if the run is stopping, and if results are reported to a reader, which
        might delay the next line.
        """
        is_enough = len(self._ready) > _REFILL_AT or (self._exhausted and self._ready)
        if not is_enough or self._sink is not None or self._stopped is not None:
            return None
        return self._price_task(self._ready.popleft())

    def _write_start(self, priced: _PricedTask, journal: Journal) -> None:
        """Record that a line is about to be sent."""
        journal.start(priced.task.number, priced.task.stem, priced.price, self._runner.max_billed)
        priced.is_started = True

    async def _finish_cancelled(self, task: Task, price: Money | None, record: CallRecord) -> None:
        """Record the result of a line that was cancelled. If its response has arrived, the image is saved."""
        response = record.response
        image = next((image for image in response.data if not image.filtered), None) if response else None
        if response is None or image is None:
            outcome = JobOutcome(cancelled_result(record))
        elif image.data is None:
            outcome = not_downloaded(response, "the batch was stopped at once")
        else:
            outcome = await self._runner.save(task, response, image)
        await self._record(task, price, outcome)

    async def _record(
        self, task: Task, price: Money | None, outcome: JobOutcome, following: _PricedTask | None = None
    ) -> Item | None:
        item = await self._writer.finish(partial(self._write_result, task, outcome.result, following))
        self._runner.release_stem(task)
        self._count_result(task, price, outcome.result, outcome.error)
        return item

    def _write_result(
        self, task: Task, result: JobResult, following: _PricedTask | None, journal: Journal
    ) -> Item | None:
        """Record the result of a line, and the start of the following one. Return the line's row if it is reported."""
        journal.end(task.number, result)
        if following is not None:
            self._write_start(following, journal)
        return journal.item(task.number) if self._sink is not None else None

    def _count_result(self, task: Task, price: Money | None, result: JobResult, error: Exception | None) -> None:
        state = result.state
        self._stats.add_cost(price, result)
        self._stats.done += state == "done"
        self._stats.failed += state == "failed"
        self._stats.unknown += state == "unknown"
        if state in ("failed", "unknown"):
            name, message = result.error or state, result.message or ""
            self._stats.failures.add(
                FailedLine(line=task.job.line, id=task.id, state=state, error=name, message=message)
            )
        if isinstance(error, STOPPING_ERRORS):
            self._fail(error)
        self._check_failures()

    def _check_failures(self) -> None:
        most, failures = self._options.max_failures, self._stats.failed + self._stats.unknown
        if most is not None and failures >= most:
            self.stop(f"{failures} lines failed, and max_failures is {most}")

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self.stop(str(error))

    def _abort(self, error: BaseException) -> None:
        """End the run at once because of an error from `on_event` or the log; `result` raises it.

        A task group would wrap it, or mistake it for its own cancellation.
        """
        self._failure = error
        self.stop(f"on_event or the log raised {reason(error)}")
        self._work_scope.cancel()

    async def _report_item(self, item: Item | None) -> None:
        if self._sink is not None and item is not None:
            with suppress(anyio.BrokenResourceError):  # the reader has left
                await self._sink.send(item)
