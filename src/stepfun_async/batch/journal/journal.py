"""The journal: the state of every line, so that a batch that was killed can be resumed.

It is a SQLite database in write-ahead mode with `synchronous=FULL`, so what was committed survives a power failure.
Each step of a line is one small change, in this order:

    started (committed) -> sent -> image durable in its file -> done (committed) -> reported

An image may thus be durable and not in the journal, which the next run detects, but never the other way round.
Everything here is synchronous; `writer` calls it from one thread.
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
from .admission import Admission, AdmissionResult
from .charges import CHARGES_OF_JOB, Charge, Charges, Sums, parse_charges, price_key
from .database import (
    JOURNAL,
    OWNER,
    JournalError,
    Tables,
    acquire_lock,
    check_version,
    connect,
    current_process,
    has_rebooted_since,
    open_database,
    refuse_links,
    translate_sqlite_errors,
)

INTERRUPTED = "Interrupted"
"""The error class of lines that were in flight when the process died or was stopped at once."""

SETTINGS = "settings"
"""The fact with the settings of the batch."""

OUTPUT_LOST = "OutputLostError"
"""The error class of images whose file is missing or has changed."""


@dataclass(frozen=True, slots=True)
class KnownJob:
    """The state in the journal of a line that has not been read yet.

    Attributes:
        digest: the digest of its text.
        state: its state.
        error: the class of its error.
    """

    digest: bytes | None
    state: State
    error: str | None


@dataclass(frozen=True, slots=True)
class UnsettledJob:
    """A job of an earlier run that `recovery` has to settle.

    Attributes:
        number: the number of its row.
        stem: the path of its image, without the extension.
        reserved: the maximum number of attempts that were in flight and may have been billed.
        item: its row.
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
        connection: the connection to the database.
        lock: the transaction that excludes other writers; `None` for reading.
        folder: the folder of the batch; `None` for reading.

    Attributes:
        may_lack_writes: whether the machine may have lost power since the last run, and unflushed files with it.
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
        """Open the journal of a folder for writing, and lock out other writers. It is created if it does not exist.

        Raises:
            JournalError: another process is using it, it cannot be written, or its version is newer.
        """
        with translate_sqlite_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            refuse_links(folder)
            lock = acquire_lock(folder)
            try:
                journal = cls(open_database(folder), lock, folder)
            except BaseException:
                lock.close()
                raise
            try:
                owner = journal.fact(OWNER)
                journal.may_lack_writes = owner is not None and has_rebooted_since(owner)
                journal.put_fact(OWNER, current_process())
            except BaseException:
                journal.close()
                raise
        return journal

    @classmethod
    @contextmanager
    def reading(cls, folder: Path) -> Generator[Self]:
        """Open the journal of a folder for reading, while another process may write.

        Raises:
            JournalError: it does not exist, or its version is newer.
        """
        path = folder / JOURNAL
        if not path.is_file():
            raise JournalError(f"there is no batch in {str(folder)!r}: it has no {JOURNAL}")
        refuse_links(folder)
        with translate_sqlite_errors(folder), closing(connect(path, "ro")) as connection:
            check_version(connection, folder)
            yield cls(connection, None)

    def begin(self) -> None:
        """Begin a transaction."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit the transaction; its changes are durable.

        Raises:
            JournalError: the journal is no longer in its folder, where the next run would look for it.
        """
        self._connection.commit()
        if self._path and _file_of(self._path) != self._file:
            raise JournalError(
                f"the journal of {str(self._folder)!r} is no longer there: the folder was moved or deleted "
                "while the batch was running, so nothing more is sent; put it back, or start over"
            )

    def rollback(self) -> None:
        """Roll back the transaction."""
        self._connection.rollback()

    def close(self) -> None:
        """Close the journal, and release the lock."""
        try:
            self._connection.close()
        finally:
            if self._lock is not None:
                self._lock.close()

    # --- facts about the batch ---

    def fact(self, name: str) -> str | None:
        """Return a fact about the batch as a whole; `None` if it is not set."""
        row = self._tables.fetch_one("SELECT value FROM facts WHERE name = ?", name)
        return None if row is None else str(row[0])

    def put_fact(self, name: str, value: str) -> None:
        """Set a fact."""
        self._tables.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
        )

    # --- reading the inputs ---

    def known(self, first: int, last: int) -> dict[int, KnownJob]:
        """Return the states of the lines from `first` to `last`, by line."""
        rows = self._connection.execute(
            "SELECT line, digest, state, error FROM jobs WHERE line BETWEEN ? AND ?", (first, last)
        )
        return {line: KnownJob(digest, state, error) for line, digest, state, error in rows}

    def admit(self, lines: Iterable[Job | int], *, hold_unknown: bool, accept_changes: bool) -> AdmissionResult:
        """Add lines to the journal.

        Args:
            lines: the jobs of the lines that were read, and the numbers of the lines that are unchanged, in order.
            hold_unknown: whether lines that may have been billed are skipped.
            accept_changes: whether a line for which an image was bought may have changed.

        Raises:
            JournalError: a line for which an image was bought has changed; with `accept_changes` that image is kept.
        """
        return self._admission.admit(lines, hold_unknown=hold_unknown, accept_changes=accept_changes)

    def finish_reading(self) -> int:
        """Remove the lines after the end of the inputs. Return the number of the others."""
        self._admission.finish()
        lines = self._tables.count("SELECT COUNT(*) FROM jobs WHERE line IS NOT NULL")
        self.put_fact("lines", str(lines))
        return lines

    # --- the steps of a line ---

    def start(self, number: int, stem: str, price: Money | None, attempts: int) -> None:
        """Record that a line is about to be sent. All of its attempts count as maybe billed until `end` is called.

        Args:
            number: the number of its row.
            stem: the path of its image, without the extension.
            price: the price of its image; `None` if unknown.
            attempts: the maximum number of attempts that may be billed.
        """
        amount, currency = (None, None) if price is None else (str(price.amount), price.currency)
        self._tables.execute(
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

    def end(self, number: int, result: JobResult) -> None:
        """Record the result of a line. Its counts are added to those of earlier runs, at the price given to `start`."""
        row = self._tables.fetch_one("SELECT price, currency, reserved FROM jobs WHERE number = ?", number)
        assert row is not None  # noqa: S101 - no row in flight is deleted
        self.charges.add(
            number, _price(row), billed=result.billed, maybe_billed=result.maybe_billed - int(row["reserved"])
        )
        sha256 = None if result.sha256 is None else bytes.fromhex(result.sha256)
        self._tables.execute(
            "UPDATE jobs SET state = ?, path = ?, sha256 = ?, bytes = ?, format = ?, width = ?, height = ?, seed = ?, "
            "finish_reason = ?, trace_id = ?, attempts = attempts + ?, reserved = 0, error = ?, message = ?, "
            "ended = ?, elapsed = ?, stem = CASE WHEN ? THEN NULL ELSE stem END WHERE number = ?",
            result.state,
            result.path,
            sha256,
            result.bytes,
            result.format,
            result.width,
            result.height,
            result.seed,
            result.finish_reason,
            result.trace_id,
            result.attempts,
            result.error,
            result.message,
            time.time(),
            result.elapsed,
            result.state == "done",  # its path contains the stem
            number,
        )

    def adopt(self, number: int, price: Money | None, found: JobResult) -> Charge | None:
        """Record an image that was found at the path of a line's image.

        Args:
            number: the number of the line's row.
            price: the current price of an image.
            found: the image.

        Returns:
            The counts that were added, and their price; `None` if the image belongs to another row.
        """
        if self.belongs_to_another(number, str(found.path)):
            return None
        charge = self.charges.count_found(number, price)
        if charge.billed and charge.price is not None:
            self._tables.execute(
                "UPDATE jobs SET price = ?, currency = ? WHERE number = ?", *price_key(charge.price), number
            )
        self.end(number, replace(found, attempts=charge.maybe_billed, billed=0, maybe_billed=0))
        return charge

    def belongs_to_another(self, number: int, path: str) -> bool:
        """Whether an image belongs to another row than `number`."""
        # Only needed for images found after a kill or without their journal, so most batches have no index.
        self._tables.execute("CREATE INDEX IF NOT EXISTS kept_images ON jobs (path) WHERE sha256 IS NOT NULL")
        which = "path = ? AND sha256 IS NOT NULL AND number <> ?"
        return self._tables.fetch_one(f"SELECT 1 FROM jobs WHERE {which}", path, number) is not None  # noqa: S608

    def item(self, number: int) -> Item:
        """Return one row."""
        return next(self._items("WHERE number = ?", number))

    # --- queries ---

    def items(self) -> Iterator[Item]:
        """Yield all rows, in the order of the inputs; those that are no longer in the inputs come last."""
        return self._items("ORDER BY line IS NULL, line, number")

    def done_last(self, seconds: float) -> Iterator[Item]:
        """Yield the rows that were done in the `seconds` up to the last one that was."""
        return self._items(
            "WHERE state = 'done' AND ended >= (SELECT MAX(ended) FROM jobs WHERE state = 'done') - ?", seconds
        )

    def in_flight(self) -> list[UnsettledJob]:
        """Return the jobs that were in flight when a process was killed."""
        return self._unsettled("state = 'started'")

    def saved_to_fallback(self) -> list[UnsettledJob]:
        """Return the jobs whose paid image was saved to a fallback path."""
        return self._unsettled("state = 'failed' AND error = ? AND sha256 IS NOT NULL", SaveError.__name__)

    def _unsettled(self, which: str, *values: object) -> list[UnsettledJob]:
        rows = self._rows(f"WHERE {which} ORDER BY number", *values)
        return [UnsettledJob(row["number"], row["stem"] or "", row["reserved"], _item(row)) for row in rows]

    def files(self) -> list[tuple[int, str, str]]:
        """Return the images: the number of each row, its path and its SHA-256."""
        rows = self._connection.execute("SELECT number, path, sha256 FROM jobs WHERE state = 'done' ORDER BY number")
        return [(number, path, sha256.hex()) for number, path, sha256 in rows]

    def clear_digests(self) -> None:
        """Clear the digests, so that every line is read again, since the defaults have changed."""
        self._tables.execute("UPDATE jobs SET digest = NULL")

    def money(self) -> Sums:
        """Return the sums spent and held, and the number of images with an unknown price."""
        return self.charges.sums()

    def status(self) -> Status:
        """Return the status of the batch."""
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
        """Yield the lines without an image, in the order of the inputs."""
        rows = self._tables.execute(
            "SELECT line, id, state, error, message FROM jobs WHERE state IN ('failed', 'unknown') "
            "ORDER BY line IS NULL, line"
        )
        for line, name, state, error, message in rows:
            yield FailedLine(line=line, id=name, state=state, error=error or state, message=message or "")

    def reopen(self, errors: Iterable[str] | None, *, failed: bool, unknown: bool) -> int:
        """Make failed lines pending, except those whose paid image is at a fallback path, where the next run finds it.

        Args:
            errors: the classes of their errors; `None` for all. If `SaveError` is among them, this includes lines
                whose image is no longer at its fallback path.
            failed: include lines whose state is `failed`.
            unknown: include lines whose state is `unknown`.

        Returns:
            The number of lines.
        """
        names = None if errors is None else tuple(errors)
        if names is not None and SaveError.__name__ in names:
            self._clear_lost_fallbacks()
        states = [state for state, included in (("failed", failed), ("unknown", unknown)) if included]
        which = f"state IN ({_placeholders(states)}) AND (sha256 IS NULL OR own_state IS NOT NULL)"
        if names is not None:
            which += f" AND error IN ({_placeholders(names)})"
        changed = self._tables.execute(f"UPDATE jobs SET state = 'pending' WHERE {which}", *states, *(names or ()))  # noqa: S608
        return changed.rowcount

    def _clear_lost_fallbacks(self) -> None:
        for job in self.saved_to_fallback():
            if not os.path.lexists(str(job.item.path)):
                self._tables.execute("UPDATE jobs SET path = NULL, sha256 = NULL WHERE number = ?", job.number)

    # --- private ---

    def _items(self, which: str, *values: object) -> Iterator[Item]:
        return (_item(row) for row in self._rows(which, *values))

    def _rows(self, which: str, *values: object) -> Iterator[sqlite3.Row]:
        return iter(self._tables.execute(f"SELECT jobs.*, {CHARGES_OF_JOB} AS charges FROM jobs {which}", *values))  # noqa: S608


# --- rows ---------------------------------------------------------------------------------------


def _file_of(path: str) -> tuple[int, int] | None:
    """Return the device and inode of the journal at a path; `None` if there is none."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def _placeholders(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


_CONVERTED = ("request", "fingerprint", "sha256", "price", "billed", "maybe_billed", "spent", "held")
"""The fields of an item that the table stores in another form."""

_COPIED = tuple(field.name for field in fields(Item) if field.name not in _CONVERTED)


def _item(row: sqlite3.Row) -> Item:
    charges = parse_charges(row["charges"])
    money = Sums.of(charges)
    return Item(
        **{name: row[name] for name in _COPIED},
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
