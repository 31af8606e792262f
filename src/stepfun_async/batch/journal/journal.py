"""The journal: what became of every line, so that a batch that was killed goes on where it was.

A SQLite database in write-ahead mode with `synchronous=FULL`: what was committed survives the loss of
power. Each step of a line is one small change, in this order:

    started (committed) -> sent -> image durable in its file -> done (committed) -> reported

so that an image may be durable and not entered, which the next run finds out, but never entered and
not there. Everything here is plain and synchronous; `writer` calls it from one thread.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Self

from stepfun_async._core.money import Money
from stepfun_async._core.results import SaveError

from ..inputs.jobs import Job
from ..items import STATES, FailedLine, FailureCounts, Item, State, Status
from .admission import Admission, Admitted
from .charges import OF_JOB, Charge, Charges, Sums, key_of, parsed
from .database import (
    JOURNAL,
    OWNER,
    JournalError,
    Tables,
    check_version,
    connected,
    has_restarted_since,
    locked,
    opened,
    refuse_links,
    this_process,
    translate_sqlite_errors,
)

INTERRUPTED = "Interrupted"
"""The class of what was in flight when the process died, or was stopped at once."""

SETTINGS = "settings"
"""The fact that says what the batch was begun with."""

OUTPUT_LOST = "OutputLostError"
"""The class of an image whose file is no longer as it was written."""


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A line's state in the journal, for a line that has not been read yet.

    Attributes:
        digest: of how it was written.
        state: how it stands.
        error: the class of its failure.
    """

    digest: bytes | None
    state: State
    error: str | None


@dataclass(frozen=True, slots=True)
class Left:
    """A row that an earlier run left to be put in order.

    Attributes:
        number: the row's.
        stem: where its image was to go, without its ending.
        reserved: how many attempts were in flight at most that may have been billed.
        item: the row.
    """

    number: int
    stem: str
    reserved: int
    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The result of one line; the counts are those of this run."""

    state: State
    path: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    finish_reason: str | None = None
    trace_id: str | None = None
    attempts: int = 0
    billed: int = 0
    maybe_billed: int = 0
    error: str | None = None
    message: str | None = None
    elapsed: float | None = None


class Journal:
    """An open journal. One process writes at a time; `Journal.reading` reads beside it.

    Args:
        connection: to the database.
        lock: the transaction that keeps others out; `None` for reading.
        folder: where it is written; `None` for reading.

    Attributes:
        may_lack_writes: whether the machine may have stopped since the last run before it had written all to its disk.
    """

    may_lack_writes = False

    def __init__(
        self, connection: sqlite3.Connection, lock: sqlite3.Connection | None, folder: Path | None = None
    ) -> None:
        self._connection = connection
        self._tables = Tables(connection)
        self._admission = Admission(self._tables)
        self._lock = lock
        self._folder = folder
        self._path = "" if folder is None else str(folder / JOURNAL)
        self._file = _file_of(self._path) if self._path else None
        self.charges = Charges(self._tables)

    # --- opening ---

    @classmethod
    def writing(cls, folder: Path) -> Self:
        """The journal of a batch's folder, made where there is none, for this process alone.

        Raises:
            JournalError: another process has it, it cannot be written, or its version is newer.
        """
        with translate_sqlite_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            refuse_links(folder)
            lock = locked(folder)
            try:
                journal = cls(opened(folder), lock, folder)
            except BaseException:
                lock.close()
                raise
            try:
                owner = journal.fact(OWNER)
                journal.may_lack_writes = owner is not None and has_restarted_since(owner)
                journal.put_fact(OWNER, this_process())
            except BaseException:
                journal.close()
                raise
        return journal

    @classmethod
    @contextmanager
    def reading(cls, folder: Path) -> Generator[Self]:
        """The journal of a folder, for reading, while another process may write.

        Raises:
            JournalError: there is none, or its version is newer.
        """
        path = folder / JOURNAL
        if not path.is_file():
            raise JournalError(f"there is no batch in {str(folder)!r}: it has no {JOURNAL}")
        refuse_links(folder)
        with translate_sqlite_errors(folder), closing(connected(path, "ro")) as connection:
            check_version(connection, folder)
            yield cls(connection, None)

    def begin(self) -> None:
        """Begin a group of changes."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the group's changes durable.

        Raises:
            JournalError: its file is no longer in its folder, where the next run would look for it.
        """
        self._connection.commit()
        if self._path and _file_of(self._path) != self._file:
            raise JournalError(
                f"the journal of {str(self._folder)!r} is no longer where it was: the folder was moved or deleted "
                "while the batch was running, and nothing more is sent; put it back, or begin anew"
            )

    def rollback(self) -> None:
        """Forget the group's changes."""
        self._connection.rollback()

    def close(self) -> None:
        """Close it, and let others write."""
        try:
            self._connection.close()
        finally:
            if self._lock is not None:
                self._lock.close()

    # --- facts of the whole ---

    def fact(self, name: str) -> str | None:
        """A fact of the batch as a whole; `None` if unknown."""
        row = self._tables.one("SELECT value FROM facts WHERE name = ?", name)
        return None if row is None else str(row[0])

    def put_fact(self, name: str, value: str) -> None:
        """Set a fact."""
        self._tables.do(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
        )

    # --- reading the inputs ---

    def known(self, first: int, last: int) -> dict[int, KnownJob]:
        """Return the states of the lines from `first` to `last`, by line."""
        rows = self._connection.execute(
            "SELECT line, digest, state, error FROM jobs WHERE line BETWEEN ? AND ?", (first, last)
        )
        return {line: KnownJob(digest, state, error) for line, digest, state, error in rows}

    def admit(self, lines: Iterable[Job | int], *, hold_unknown: bool, accept_changes: bool) -> Admitted:
        """Enter lines.

        Args:
            lines: in their order, those that were read, and the numbers of those that are as they were.
            hold_unknown: whether what may have been billed is left as it is.
            accept_changes: whether a line may be another one than before, though an image was bought for it.

        Raises:
            JournalError: a line is another one than before, and an image was bought for it; `accept_changes`
                keeps that image, and goes on.
        """
        return self._admission.admit(lines, hold_unknown=hold_unknown, accept_changes=accept_changes)

    def finish_reading(self) -> int:
        """The inputs were read to their end: forget the lines behind it, and count the others."""
        self._admission.finish()
        lines = self._tables.count("SELECT COUNT(*) FROM jobs WHERE line IS NOT NULL")
        self.put_fact("lines", str(lines))
        return lines

    # --- one line's way ---

    def start(self, number: int, stem: str, price: Money | None, attempts: int) -> None:
        """A line is about to be sent. All of its attempts count as possibly billed until `end` says how many were.

        Args:
            number: its row.
            stem: where its image will be, without its ending.
            price: of its image; `None` if unknown.
            attempts: how many attempts may be billed.
        """
        amount, currency = (None, None) if price is None else (str(price.amount), price.currency)
        self._tables.do(
            "UPDATE jobs SET state = 'started', stem = ?, price = ?, currency = ?, reserved = ?, started = ?, "
            "path = NULL, sha256 = NULL, error = NULL, message = NULL WHERE number = ?",
            stem,
            amount,
            currency,
            attempts,
            time.time(),
            number,
        )
        self.charges.add(number, price, billed=0, maybe_billed=attempts)

    def end(self, number: int, ended: JobResult) -> None:
        """A line's end, of whichever kind. Its counts are added to those of earlier runs, at the price of its start."""
        row = self._tables.one("SELECT price, currency, reserved FROM jobs WHERE number = ?", number)
        assert row is not None  # noqa: S101 - no row in flight is deleted
        self.charges.add(
            number, _price(row), billed=ended.billed, maybe_billed=ended.maybe_billed - int(row["reserved"])
        )
        sha256 = None if ended.sha256 is None else bytes.fromhex(ended.sha256)
        self._tables.do(
            "UPDATE jobs SET state = ?, path = ?, sha256 = ?, bytes = ?, format = ?, width = ?, height = ?, seed = ?, "
            "finish_reason = ?, trace_id = ?, attempts = attempts + ?, reserved = 0, error = ?, message = ?, "
            "ended = ?, elapsed = ?, stem = CASE WHEN ? THEN NULL ELSE stem END WHERE number = ?",
            ended.state,
            ended.path,
            sha256,
            ended.bytes,
            ended.format,
            ended.width,
            ended.height,
            ended.seed,
            ended.finish_reason,
            ended.trace_id,
            ended.attempts,
            ended.error,
            ended.message,
            time.time(),
            ended.elapsed,
            ended.state == "done",  # its path says it
            number,
        )

    def adopt(self, number: int, price: Money | None, found: JobResult) -> Charge | None:
        """Enter an image that was found where a line's own would be.

        Args:
            number: the line's row.
            price: what it would cost now.
            found: the image.

        Returns:
            What was added to the counts of which price; `None` if another row has the image, and nothing is entered.
        """
        if self.is_of_another(number, str(found.path)):
            return None
        added = self.charges.found(number, price)
        if added.billed and added.price is not None:
            self._tables.do("UPDATE jobs SET price = ?, currency = ? WHERE number = ?", *key_of(added.price), number)
        self.end(number, replace(found, attempts=added.maybe_billed, billed=0, maybe_billed=0))
        return added

    def is_of_another(self, number: int, path: str) -> bool:
        """Whether an image belongs to another row than `number`."""
        # Only used for images found after a kill or without their journal, so most batches need no index.
        self._tables.do("CREATE INDEX IF NOT EXISTS kept_images ON jobs (path) WHERE sha256 IS NOT NULL")
        which = "path = ? AND sha256 IS NOT NULL AND number <> ?"
        return self._tables.one(f"SELECT 1 FROM jobs WHERE {which}", path, number) is not None  # noqa: S608

    def item(self, number: int) -> Item:
        """One row."""
        return next(self._items("WHERE number = ?", number))

    # --- asking ---

    def items(self) -> Iterator[Item]:
        """All rows, in the order of the inputs; those that the inputs no longer have come last."""
        return self._items("ORDER BY line IS NULL, line, number")

    def done_last(self, seconds: float) -> Iterator[Item]:
        """The rows of the images that were done in the last `seconds` before the last one was."""
        return self._items(
            "WHERE state = 'done' AND ended >= (SELECT MAX(ended) FROM jobs WHERE state = 'done') - ?", seconds
        )

    def in_flight(self) -> list[Left]:
        """The rows that a process left that was killed."""
        return self._left("state = 'started'")

    def rescued(self) -> list[Left]:
        """The rows whose image was paid for and put elsewhere."""
        return self._left("state = 'failed' AND error = ? AND sha256 IS NOT NULL", SaveError.__name__)

    def _left(self, which: str, *values: object) -> list[Left]:
        rows = self._rows(f"WHERE {which} ORDER BY number", *values)
        return [Left(row["number"], row["stem"] or "", row["reserved"], _item(row)) for row in rows]

    def files(self) -> list[tuple[int, str, str]]:
        """The images that are there: the numbers of their rows, their paths and their SHA-256."""
        rows = self._connection.execute("SELECT number, path, sha256 FROM jobs WHERE state = 'done' ORDER BY number")
        return [(number, path, sha256.hex()) for number, path, sha256 in rows]

    def forget_digests(self) -> None:
        """Discard the digests, so that every line is read again, since the defaults have changed."""
        self._tables.do("UPDATE jobs SET digest = NULL")

    def money(self) -> Sums:
        """Return the sums that are spent and held, and the number of images without a known price."""
        return self.charges.sums()

    def status(self) -> Status:
        """Return the state of the batch."""
        counts = dict(self._connection.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())
        failures = dict(
            self._connection.execute(
                "SELECT error, COUNT(*) FROM jobs WHERE state IN ('failed', 'unknown') GROUP BY 1 ORDER BY 2 DESC, 1"
            ).fetchall()
        )
        counts_of_failures = FailureCounts()
        for failed in self._failed():
            counts_of_failures.add(failed)
        money = self.money()
        billed, maybe_billed, maybe_twice = self.charges.counts()
        lines = self.fact("lines")
        return Status(
            counts={state: counts.get(state, 0) for state in STATES},
            failures=failures,
            reasons=counts_of_failures.reasons(),
            attempts=self._tables.count("SELECT COALESCE(SUM(attempts), 0) FROM jobs"),
            billed=billed,
            maybe_billed=maybe_billed,
            maybe_twice=maybe_twice,
            spent=money.spent,
            held=money.held,
            unpriced=money.unpriced,
            lines=None if lines is None else int(lines),
            removed=self._tables.count("SELECT COUNT(*) FROM jobs WHERE line IS NULL"),
        )

    def _failed(self) -> Iterator[FailedLine]:
        """The lines that brought no image, in the order of the inputs."""
        rows = self._tables.do(
            "SELECT line, id, state, error, message FROM jobs WHERE state IN ('failed', 'unknown') "
            "ORDER BY line IS NULL, line"
        )
        for line, name, state, error, message in rows:
            yield FailedLine(line=line, id=name, state=state, error=error or state, message=message or "")

    def reopen(self, errors: Iterable[str] | None, *, failed: bool, unknown: bool) -> int:
        """Make failed lines pending, but for those whose image was paid for and put elsewhere: the next run has that.

        Args:
            errors: the classes of their failures; `None` for all. Where `SaveError` is among them, lines whose image
                is no longer where it was put are made pending too.
            failed: whether those count that are `failed`.
            unknown: whether those count that are `unknown`.

        Returns:
            How many they are.
        """
        chosen = None if errors is None else tuple(errors)
        if chosen is not None and SaveError.__name__ in chosen:
            self._forget_lost_rescues()
        states = [state for state, asked in (("failed", failed), ("unknown", unknown)) if asked]
        which = f"state IN ({_marks(states)}) AND (sha256 IS NULL OR own_state IS NOT NULL)"
        if chosen is not None:
            which += f" AND error IN ({_marks(chosen)})"
        changed = self._tables.do(f"UPDATE jobs SET state = 'pending' WHERE {which}", *states, *(chosen or ()))  # noqa: S608
        return changed.rowcount

    def _forget_lost_rescues(self) -> None:
        for left in self.rescued():
            if not os.path.lexists(str(left.item.path)):
                self._tables.do("UPDATE jobs SET path = NULL, sha256 = NULL WHERE number = ?", left.number)

    # --- inside ---

    def _items(self, which: str, *values: object) -> Iterator[Item]:
        return (_item(row) for row in self._rows(which, *values))

    def _rows(self, which: str, *values: object) -> Iterator[sqlite3.Row]:
        return iter(self._tables.do(f"SELECT jobs.*, {OF_JOB} AS charges FROM jobs {which}", *values))  # noqa: S608


# --- rows ---------------------------------------------------------------------------------------


def _file_of(path: str) -> tuple[int, int] | None:
    """Return the device and inode of the journal at a path; `None` if there is none."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


_READ = ("request", "fingerprint", "sha256", "price", "billed", "maybe_billed", "spent", "held")
"""The fields of an item that the table has in another form."""

_PLAIN = tuple(field.name for field in fields(Item) if field.name not in _READ)


def _item(row: sqlite3.Row) -> Item:
    charges = parsed(row["charges"])
    money = Sums.of(charges)
    return Item(
        **{name: row[name] for name in _PLAIN},
        request=json.loads(row["request"]),
        fingerprint=None if row["fingerprint"] is None else row["fingerprint"].hex(),
        sha256=None if row["sha256"] is None else row["sha256"].hex(),
        price=_price(row),
        billed=sum(charge.billed for charge in charges),
        maybe_billed=sum(charge.maybe_billed for charge in charges),
        spent=money.spent,
        held=money.held,
    )


def _price(row: sqlite3.Row) -> Money | None:
    return Money(Decimal(row["price"]), row["currency"]) if row["price"] else None
