"""A run: a fixed number of workers that take lines from one source, and enter each step in the journal.

    admitted -> started (committed) -> sent -> image durable -> done (committed) -> reported

What is waited for is bounded at every place: lines are read `AHEAD` at a time and only when few are
left to be sent, so that a million of them cost no memory. A worker that is cancelled leaves its line
as what is known of it says, and an image that is paid for is kept and entered first.
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
from ..journal.admission import Admitted, Task, settled
from ..journal.charges import Charge
from ..journal.journal import JobResult, Journal, KnownJob
from ..journal.writer import Writer
from .job_runner import STOPPING, JobOutcome, JobRunner, interrupted, unfetched

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream

AHEAD = 256
"""Lines that are read at a time."""

_FEW = AHEAD // 2
"""Lines that are ready when the next ones are read: all workers would wait for those otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The options of a run: how it treats the results of earlier runs, and failures.

    Attributes:
        hold_unknown: leave lines that may have been billed, instead of sending them again.
        accept_changes: go on though lines or settings are others than before.
        verify: read every image and every line anew.
        max_failures: end the run with so many failures; `None` for any number.
    """

    hold_unknown: bool = False
    accept_changes: bool = False
    verify: bool = False
    max_failures: int | None = None


@dataclass(slots=True)
class _Tally:
    """The counts of a run, as they grow."""

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

    def pay(self, price: Money | None, ended: JobResult) -> None:
        """Add what a line has cost, and what it may have cost for nothing."""
        if price is None:
            self.unpriced += ended.billed
            return
        for sums, count in ((self.spent, ended.billed), (self.held, ended.maybe_billed - ended.billed)):
            if count:
                amount = times(price.amount, count)
                sums[price.currency] = total((sums.get(price.currency, NOTHING), amount))


@dataclass(slots=True)
class _Sending:
    """A line on its way.

    Attributes:
        task: what to send.
        price: of its image; `None` if unknown.
        is_started: whether the journal has that it is about to be sent.
    """

    task: Task
    price: Money | None
    is_started: bool = False


class Engine:
    """One run of a batch.

    Args:
        source: where lines come from.
        terms: what holds for all of them.
        maker: what makes their images.
        writer: of the journal.
        workers: how many lines are in flight at once.
        ways: how to deal with what is left of earlier runs.
        adopted: images that were found when the journal was opened.
        budget: what may be spent; `None` for any sum.
    """

    def __init__(
        self,
        source: Source,
        terms: JobDefaults,
        maker: JobRunner,
        writer: Writer,
        workers: int,
        ways: Ways,
        adopted: int,
        budget: Budget | None,
    ) -> None:
        self._source = source
        self._terms = terms
        self._maker = maker
        self._writer = writer
        self._workers = workers
        self._ways = ways
        self._budget = budget
        self._tally = _Tally(done=adopted, adopted=adopted)
        self._recovered = adopted
        self._ready: deque[Task] = deque()
        self._exhausted = False
        self._stopped: str | None = None
        self._failure: BaseException | None = None
        self._pulling = anyio.Lock()
        self._reading = anyio.CancelScope()
        self._working = anyio.CancelScope()
        self._loop: Any = current_token().native_token
        self._sink: MemoryObjectSendStream[Item] | None = None

    @property
    def progress(self) -> Progress:
        """The progress of the run."""
        tally = self._tally
        return Progress(
            done=tally.done,
            failed=tally.failed,
            unknown=tally.unknown,
            adopted=tally.adopted,
            skipped=max(0, tally.skipped - self._recovered),  # whose lines count as done from the beginning
            in_flight=tally.in_flight,
            lines=tally.lines,
            spent=dict(tally.spent),
            held=dict(tally.held),
            unpriced=tally.unpriced,
            reasons=tally.failures.reasons(),
            stopped=self._stopped,
        )

    def stop(self, why: str) -> None:
        """Take no further lines. What is in flight goes on to its end. Any thread may ask for it."""
        self._stopped = self._stopped or why
        soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
        with suppress(RuntimeError):  # the loop has ended, and the run with it
            soon(self._stop_reading)

    def _stop_reading(self) -> None:
        """Cancel the wait for a user's async iterable."""
        self._reading.cancel()

    async def work(self, sink: MemoryObjectSendStream[Item] | None = None) -> None:
        """Send all lines; return when the last one has ended.

        Args:
            sink: where each line goes when it has ended; `None` for nowhere. It is closed at the end.
        """
        self._sink = sink
        try:
            async with anyio.create_task_group() as group:
                self._working = group.cancel_scope
                for _ in range(self._workers):
                    group.start_soon(self._work)
        finally:
            if sink is not None:
                sink.close()

    def end(self) -> Progress:
        """Return the progress of the ended run, or raise the error that ended it.

        Raises:
            BaseException: what ended it before its inputs did.
        """
        if self._failure is not None:
            raise self._failure
        return self.progress

    # --- lines in ---

    async def _next(self) -> Task | None:
        """Return the next line to be sent; `None` at the end. A worker that finds few of them reads on."""
        if len(self._ready) <= _FEW and not (self._ready and self._pulling.locked()):
            async with self._pulling:
                await self._read_on()
        return self._ready.popleft() if self._ready and self._stopped is None else None

    async def _read_on(self) -> None:
        """Read lines ahead, though lines that are ready wait only for the next few."""
        if len(self._ready) > _FEW:
            return
        while not self._exhausted and self._stopped is None:
            await self._fill()
            if self._ready:
                return

    async def _fill(self) -> None:
        """Read on until there is something to send."""
        lines: list[InputLine] | None = None
        with anyio.CancelScope() as self._reading:
            lines = await self._source.take(AHEAD)
        if lines is None:
            return
        if not lines:
            self._exhausted = True
            if isinstance(self._source, FirstLines) and self._source.cut:
                return
            self._tally.lines = await self._writer.do(Journal.finish_reading)
            return
        admitted = await self._admit(lines, await self._known(lines))
        if admitted.unread is not None:  # a line before it has taken its row
            await self._admit([line for line in lines if line.number >= admitted.unread], set())

    async def _admit(self, lines: list[InputLine], as_it_was: set[int]) -> Admitted:
        """Enter lines, of which some stand as they did and are not read, and place those that are to be sent."""
        entries: list[Job | int] = [line.number for line in lines]
        if len(as_it_was) < len(lines):
            entries = await finished_in_thread(partial(read_jobs, lines, as_it_was, self._terms))
        admit = partial(
            Journal.admit,
            lines=entries,
            hold_unknown=self._ways.hold_unknown,
            accept_changes=self._ways.accept_changes,
        )
        admitted = await self._writer.do(admit)
        self._tally.skipped += admitted.skipped
        await self._report_bad(admitted.bad)
        await self._place(admitted.tasks)
        return admitted

    async def _known(self, lines: list[InputLine]) -> set[int]:
        """The numbers of the lines that are settled and stand as they did."""
        known = await self._writer.do(partial(Journal.known, first=lines[0].number, last=lines[-1].number))
        return {line.number for line in lines if self._is_as_it_was(line, known.get(line.number))}

    def _is_as_it_was(self, line: InputLine, known: KnownJob | None) -> bool:
        if known is None or self._ways.verify or line.digest is None or line.digest != known.digest:
            return False
        return settled(known.state, known.error, hold_unknown=self._ways.hold_unknown)

    async def _report_bad(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            item = await self._writer.do(partial(Journal.item, number=number))
            self._tally.failed += 1
            self._tally.failures.add(FailedLine.of(item))
            self._check_failures()
            await self._send_item(item)

    async def _place(self, tasks: tuple[Task, ...]) -> None:
        """Find a place for each image; those that are there already are entered."""
        for placed, task in zip(await finished_in_thread(partial(self._maker.place, tasks)), tasks, strict=True):
            if isinstance(placed, Task):
                self._ready.append(placed)
                continue
            await self._adopt(task, placed)

    async def _adopt(self, task: Task, found: JobResult) -> None:
        """Enter an image that is there already; one that is another line's is left alone, and this one's is made."""
        price = self._maker.price(task.job.request) if task.job.request else None
        added = await self._writer.do(partial(Journal.adopt, number=task.number, price=price, found=found))
        if added is None:
            stem = str(found.path).rpartition(".")[0]
            self._ready.append(await finished_in_thread(partial(self._maker.elsewhere, task, stem)))
            return
        await finished_in_thread(partial(self._maker.entered, task))
        self._pay(added)
        self._tally.done += 1
        self._tally.adopted += 1
        if self._sink is not None:
            await self._send_item(await self._writer.do(partial(Journal.item, number=task.number)))

    def _pay(self, charge: Charge) -> None:
        """Add the price of a recovered image to the budget."""
        if self._budget is None or charge.price is None or charge.price.currency != self._budget.currency:
            return
        spent, more = charge.billed, charge.maybe_billed - charge.billed
        self._budget.settle(spent=times(charge.price.amount, spent), held=times(charge.price.amount, more))

    # --- images out ---

    async def _work(self) -> None:
        try:
            sending = await self._next_sending()
            while sending is not None:
                self._tally.in_flight += 1
                try:
                    following = await self._one(sending)
                finally:
                    self._tally.in_flight -= 1
                sending = following or await self._next_sending()
        except Exception as error:  # noqa: BLE001 - it ends the run, and is raised at its end
            self._fail(error)
        except GeneratorExit:  # the event loop was closed over the run
            raise
        except BaseException as error:
            if anyio.current_effective_deadline() == -math.inf:  # the run is cancelled
                raise
            self._interrupt(error)

    async def _one(self, sending: _Sending) -> _Sending | None:
        """Process one line, from the journal to the journal. Return the next one if that is started already."""
        task, price = sending.task, sending.price
        record = CallRecord()
        try:
            if not sending.is_started:
                await self._writer.do(partial(self._start, sending))
            made = await self._maker.make(task, record)
        except Exception:
            raise
        except BaseException:
            await finished(partial(self._cut_off, task, price, record))
            raise
        following = self._following() if made.ended.state == "done" else None
        await self._send_item(await self._enter(task, price, made, following))
        return following

    async def _next_sending(self) -> _Sending | None:
        task = await self._next()
        return None if task is None else self._sending(task)

    def _sending(self, task: Task) -> _Sending:
        request = task.job.request
        return _Sending(task, self._maker.price(request) if request else None)

    def _following(self) -> _Sending | None:
        """The next line, to be started in the journal together with the end of another one.

        `None` where a worker has to read on for it, where the run is stopping, and where the end is reported to a
        reader, who may keep the next line waiting.
        """
        is_enough = len(self._ready) > _FEW or (self._exhausted and self._ready)
        if not is_enough or self._sink is not None or self._stopped is not None:
            return None
        return self._sending(self._ready.popleft())

    def _start(self, sending: _Sending, journal: Journal) -> None:
        """Enter that a line is about to be sent."""
        journal.start(sending.task.number, sending.task.stem, sending.price, self._maker.most_billed)
        sending.is_started = True

    async def _cut_off(self, task: Task, price: Money | None, record: CallRecord) -> None:
        """Enter how a line stands that was cancelled; a response that was there already is kept."""
        answer = record.response
        usable = next((image for image in answer.data if not image.filtered), None) if answer else None
        if answer is None or usable is None:
            made = JobOutcome(interrupted(record))
        elif usable.data is None:
            made = unfetched(answer, "the batch was stopped at once")
        else:
            made = await self._maker.keep(task, answer, usable)
        await self._enter(task, price, made)

    async def _enter(
        self, task: Task, price: Money | None, made: JobOutcome, following: _Sending | None = None
    ) -> Item | None:
        item = await self._writer.finish(partial(self._end, task, made.ended, following))
        self._maker.over(task)
        self._count(task, price, made.ended, made.error)
        return item

    def _end(self, task: Task, ended: JobResult, following: _Sending | None, journal: Journal) -> Item | None:
        """Enter a line's end, and the start of the following one; return the line's row if that is reported."""
        journal.end(task.number, ended)
        if following is not None:
            self._start(following, journal)
        return journal.item(task.number) if self._sink is not None else None

    def _count(self, task: Task, price: Money | None, ended: JobResult, error: Exception | None) -> None:
        state = ended.state
        self._tally.pay(price, ended)
        self._tally.done += state == "done"
        self._tally.failed += state == "failed"
        self._tally.unknown += state == "unknown"
        if state in ("failed", "unknown"):
            why, message = ended.error or state, ended.message or ""
            self._tally.failures.add(
                FailedLine(line=task.job.line, id=task.id, state=state, error=why, message=message)
            )
        if isinstance(error, STOPPING):
            self._fail(error)
        self._check_failures()

    def _check_failures(self) -> None:
        most, failures = self._ways.max_failures, self._tally.failed + self._tally.unknown
        if most is not None and failures >= most:
            self.stop(f"{failures} lines failed, and max_failures is {most}")

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self.stop(str(error))

    def _interrupt(self, error: BaseException) -> None:
        """End the run at once, and raise at its end, as it is, what `on_event` or the log raised.

        A task group would wrap it, or take it for a cancellation of its own.
        """
        self._failure = error
        self.stop(f"on_event or the log raised {reason(error)}")
        self._working.cancel()

    async def _send_item(self, item: Item | None) -> None:
        if self._sink is not None and item is not None:
            with suppress(anyio.BrokenResourceError):  # the reader has left
                await self._sink.send(item)
