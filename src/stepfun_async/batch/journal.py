"""The journal: what became of every line, so that a batch that was killed goes on where it was.

A SQLite database in write-ahead mode with `synchronous=FULL`: what was committed survives the loss of
power. Each step of a line is one small change, in this order:

    started (committed) -> sent -> picture durable in its file -> done (committed) -> told

so that a picture may be durable and not entered, which the next run finds out, but never entered and
not there. Everything here is plain and synchronous; `writer` calls it from one thread.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Self

from stepfun_async._core.capabilities import Money
from stepfun_async._core.errors import InvalidRequestError
from stepfun_async._core.problems import Problem

from .database import JOURNAL, OWNER, JournalError, check_version, connected, locked, opened, this_process, told
from .items import STATES, Item, State, Status
from .jobs import Job

FINAL = frozenset(
    {
        "BadRequestError",
        "ContentFilteredError",
        "ContentRejectedError",
        "InvalidRequestError",
        "OutputLostError",
        "SaveError",
    }
)
"""Failures that would be the same again, or cost money again: sent again only when `retry` says so."""

INTERRUPTED = "Interrupted"
"""The class of what was in flight when the process died, or was told to stop."""

SETTINGS = "settings"
"""The fact that says what the batch was begun with."""

OUTPUT_LOST = "OutputLostError"
"""The class of a picture whose file is no longer as it was written."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal knows of a line before it is read.

    Attributes:
        digest: of how it was written.
        state: how it stands.
        error: the class of its failure.
    """

    digest: bytes | None
    state: State
    error: str | None


@dataclass(frozen=True, slots=True)
class Task:
    """A job that is to be sent, with its place in the journal.

    Attributes:
        number: the row's.
        id: its id, the user's or ours.
        job: what to send.
        stem: where its picture goes, below the folder and without its ending; empty until it is placed.
    """

    number: int
    id: str
    job: Job
    stem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What came of putting lines in the journal.

    Attributes:
        tasks: those to be sent.
        bad: the rows of those that failed here and now, since they are no valid requests.
        skipped: how many were settled before.
    """

    tasks: tuple[Task, ...]
    bad: tuple[int, ...]
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an attempt at a line ended; the counts are those of this run."""

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


def settled(state: State, error: str | None, *, hold_unknown: bool) -> bool:
    """Whether a line stays as an earlier run left it."""
    if state == "failed":
        return error in FINAL
    return state == "done" or (state == "unknown" and hold_unknown)


class Journal:
    """An open journal. One process writes at a time; `Journal.reading` reads beside it.

    Args:
        connection: to the database.
        lock: the transaction that keeps others out; None for reading.
        folder: where it is written; None for reading.
    """

    def __init__(
        self, connection: sqlite3.Connection, lock: sqlite3.Connection | None, folder: Path | None = None
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._folder = folder
        self._file = None if folder is None else _file_of(folder)
        self._last_line = 0

    # --- opening ---

    @classmethod
    def writing(cls, folder: Path) -> Self:
        """The journal of a batch's folder, made where there is none, for this process alone.

        Raises:
            JournalError: another process has it, it cannot be written, or its version is newer.
        """
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = locked(folder)
            try:
                journal = cls(opened(folder), lock, folder)
            except BaseException:
                lock.close()
                raise
            try:
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
        with told(folder), closing(connected(path, "ro")) as connection:
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
        if self._folder is not None and _file_of(self._folder) != self._file:
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
        """A fact of the batch as a whole; None where it is not known."""
        row = self._one("SELECT value FROM facts WHERE name = ?", name)
        return None if row is None else str(row[0])

    def put_fact(self, name: str, value: str) -> None:
        """Set a fact."""
        self._do("INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)

    # --- reading the inputs ---

    def known(self, first: int, last: int) -> dict[int, Known]:
        """What is known of the lines from `first` to `last`, by line."""
        rows = self._connection.execute(
            "SELECT line, digest, state, error FROM jobs WHERE line BETWEEN ? AND ?", (first, last)
        )
        return {line: Known(digest, state, error) for line, digest, state, error in rows}

    def admit(self, lines: Iterable[Job | int], *, hold_unknown: bool, accept_changes: bool) -> Admitted:
        """Enter lines.

        Args:
            lines: in their order, those that were read, and the numbers of those that are as they were.
            hold_unknown: whether what may have been billed is left as it is.
            accept_changes: whether a line may be another one than before, though a picture was bought for it.

        Raises:
            JournalError: a line is another one than before, and a picture was bought for it; `accept_changes`
                keeps that picture, and goes on.
        """
        tasks: list[Task] = []
        bad: list[int] = []
        skipped = 0
        for job in lines:
            if isinstance(job, int):
                self._drop_between(job)
                self._last_line = job
                skipped += 1
                continue
            number, own_id, row = self._entered(job, accept_changes=accept_changes)
            if row is not None and settled(row.state, row.error, hold_unknown=hold_unknown):
                skipped += 1
            elif row is not None and row.error == "InvalidRequestError":
                bad.append(number)
            else:
                tasks.append(Task(number, own_id, job))
            self._last_line = job.line
        return Admitted(tasks=tuple(tasks), bad=tuple(bad), skipped=skipped)

    def finish_reading(self) -> int:
        """The inputs were read to their end: forget the lines behind it, and count the others."""
        self._do("UPDATE jobs SET line = NULL WHERE line > ?", self._last_line)
        row = self._one("SELECT COUNT(*) FROM jobs WHERE line IS NOT NULL")
        lines = int(row[0]) if row else 0
        self.put_fact("lines", str(lines))
        return lines

    # --- one line's way ---

    def start(self, number: int, stem: str, price: Money | None) -> None:
        """A line is about to be sent; `stem` is where its picture will be, without its ending."""
        amount, currency = (None, None) if price is None else (str(price.amount), price.currency)
        self._do(
            "UPDATE jobs SET state = 'started', path = ?, price = ?, currency = ?, started = ?, error = NULL, "
            "message = NULL WHERE number = ?",
            stem,
            amount,
            currency,
            time.time(),
            number,
        )

    def end(self, number: int, ended: Ended) -> None:
        """A line's end, of whichever kind; its counts are added to those of earlier runs."""
        sha256 = None if ended.sha256 is None else bytes.fromhex(ended.sha256)
        self._do(
            "UPDATE jobs SET state = ?, path = ?, sha256 = ?, bytes = ?, format = ?, width = ?, height = ?, seed = ?, "
            "finish_reason = ?, trace_id = ?, attempts = attempts + ?, billed = billed + ?, "
            "maybe_billed = maybe_billed + ?, error = ?, message = ?, ended = ?, elapsed = ? WHERE number = ?",
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
            ended.billed,
            ended.maybe_billed,
            ended.error,
            ended.message,
            time.time(),
            ended.elapsed,
            number,
        )

    def item(self, number: int) -> Item:
        """One row."""
        return next(self._items("WHERE number = ?", number))

    # --- asking ---

    def items(self) -> Iterator[Item]:
        """All rows, in the order of the inputs; those that the inputs no longer have come last."""
        return self._items("ORDER BY line IS NULL, line, number")

    def of_state(self, *states: State) -> list[tuple[int, Item]]:
        """The rows of some states, with their numbers."""
        marks = ", ".join("?" * len(states))
        rows = self._rows(f"WHERE state IN ({marks}) ORDER BY number", *states)
        return [(row["number"], _item(row)) for row in rows]

    def files(self) -> list[tuple[int, str, str]]:
        """The pictures that are there: the numbers of their rows, their paths and their SHA-256."""
        rows = self._connection.execute("SELECT number, path, sha256 FROM jobs WHERE state = 'done' ORDER BY number")
        return [(number, path, sha256.hex()) for number, path, sha256 in rows]

    def forget_digests(self) -> None:
        """Have every line read anew, since what holds for all of them has changed."""
        self._do("UPDATE jobs SET digest = NULL")

    def money(self) -> tuple[dict[str, Decimal], dict[str, Decimal], int]:
        """What was spent and what is held, by currency, and how many pictures have a price that is not known."""
        spent: dict[str, Decimal] = {}
        held: dict[str, Decimal] = {}
        unpriced = 0
        rows = self._connection.execute(
            "SELECT price, currency, SUM(billed), SUM(maybe_billed - billed) FROM jobs GROUP BY price, currency"
        )
        for price, currency, billed, lost in rows:
            if price is None:
                unpriced += billed
                continue
            spent[currency] = spent.get(currency, Decimal(0)) + Decimal(price) * billed
            held[currency] = held.get(currency, Decimal(0)) + Decimal(price) * lost
        return _without_zeros(spent), _without_zeros(held), unpriced

    def status(self) -> Status:
        """How the batch stands."""
        counts = dict(self._connection.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())
        failures = dict(
            self._connection.execute(
                "SELECT error, COUNT(*) FROM jobs WHERE state IN ('failed', 'unknown') GROUP BY 1 ORDER BY 2 DESC, 1"
            ).fetchall()
        )
        spent, held, unpriced = self.money()
        lines = self.fact("lines")
        removed = self._one("SELECT COUNT(*) FROM jobs WHERE line IS NULL")
        return Status(
            counts={state: counts.get(state, 0) for state in STATES},
            failures=failures,
            spent=spent,
            held=held,
            unpriced=unpriced,
            lines=None if lines is None else int(lines),
            removed=int(removed[0]) if removed else 0,
        )

    def reopen(self, errors: Iterable[str] | None, *, failed: bool, unknown: bool) -> int:
        """Make failed lines pending.

        Args:
            errors: the classes of their failures; None for all.
            failed: whether those count that are `failed`.
            unknown: whether those count that are `unknown`.

        Returns:
            How many they are.
        """
        states = [state for state, chosen in (("failed", failed), ("unknown", unknown)) if chosen]
        marks = ", ".join("?" * len(states))
        chosen = None if errors is None else tuple(errors)
        which = "" if chosen is None else f" AND error IN ({', '.join('?' * len(chosen))})"
        changed = self._connection.execute(
            f"UPDATE jobs SET state = 'pending' WHERE state IN ({marks}){which}",  # noqa: S608 - marks
            (*states, *(chosen or ())),
        )
        return changed.rowcount

    # --- inside ---

    def _entered(self, job: Job, *, accept_changes: bool) -> tuple[int, str, Known | None]:
        """The number and the id of the job's row, and how it stands; None where it is to be sent."""
        self._drop_between(job.line)
        own_id = self._id_for(job)
        row = self._one("SELECT number, line, state, error, fingerprint, request FROM jobs WHERE id = ?", own_id)
        if row is not None and job.id is not None and row["line"] is not None and row["line"] < job.line:
            taken = Problem("id", job.id, "an id of its own for each line", f"line {row['line']} has it already")
            job = replace(job, id=None, fingerprint=None, request=None, problems=(*job.problems, taken))
            return self._entered(job, accept_changes=accept_changes)
        self._displace(job, own_id, accept_changes=accept_changes or row is not None)  # one that moved buys nothing
        if row is None:
            return self._inserted(job, own_id)
        return self._met(job, own_id, row, accept_changes=accept_changes)

    def _inserted(self, job: Job, own_id: str) -> tuple[int, str, Known | None]:
        state, error, message = _verdict(job)
        cursor = self._connection.execute(
            "INSERT INTO jobs (id, line, digest, fingerprint, state, request, error, message) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (own_id, job.line, job.digest, _blob(job.fingerprint), state, _text(job.told), error, message),
        )
        known = None if error is None else Known(None, "pending", error)
        return int(cursor.lastrowid or 0), own_id, known

    def _met(self, job: Job, own_id: str, row: sqlite3.Row, *, accept_changes: bool) -> tuple[int, str, Known | None]:
        """A line whose id the journal has."""
        number, state, error = int(row["number"]), row["state"], row["error"]
        same = row["fingerprint"] == _blob(job.fingerprint)
        if not same and state in ("done", "unknown") and not accept_changes:
            raise _changed(job, f"under its id {own_id!r}", str(row["request"]), job.told)
        if (same and not job.problems) or (job.problems and state == "done"):
            self._do("UPDATE jobs SET line = ?, digest = ? WHERE number = ?", job.line, job.digest, number)
            return number, own_id, Known(None, state, error)
        now, error, message = _verdict(job)
        self._do(
            "UPDATE jobs SET line = ?, digest = ?, fingerprint = ?, request = ?, state = ?, error = ?, message = ? "
            "WHERE number = ?",
            job.line,
            job.digest,
            _blob(job.fingerprint),
            _text(job.told),
            now,
            error,
            message,
            number,
        )
        return number, own_id, None if error is None else Known(None, "pending", error)

    def _id_for(self, job: Job) -> str:
        """The user's id; else the fingerprint, numbered where earlier lines ask for the same."""
        if job.id is not None:
            return job.id
        if job.fingerprint is None:
            return f"line-{job.line}"
        row = self._one(
            "SELECT COUNT(*) FROM jobs WHERE fingerprint = ? AND line < ?", _blob(job.fingerprint), job.line
        )
        before = int(row[0]) if row else 0
        return f"{job.fingerprint}-{before + 1}" if before else job.fingerprint

    def _displace(self, job: Job, own_id: str, *, accept_changes: bool) -> None:
        """Take the line from the row that had it before, where that is another one."""
        row = self._one("SELECT number, state, request FROM jobs WHERE line = ? AND id <> ?", job.line, own_id)
        if row is None:
            return
        if row["state"] in ("done", "unknown") and not accept_changes:
            raise _changed(job, "there", str(row["request"]), job.told)
        self._do("UPDATE jobs SET line = NULL WHERE number = ?", row["number"])

    def _drop_between(self, line: int) -> None:
        """Forget the lines between the last one read and this one: they are blank now."""
        if line > self._last_line + 1:
            self._do("UPDATE jobs SET line = NULL WHERE line > ? AND line < ?", self._last_line, line)

    def _items(self, which: str, *values: object) -> Iterator[Item]:
        return (_item(row) for row in self._rows(which, *values))

    def _rows(self, which: str, *values: object) -> Iterator[sqlite3.Row]:
        return iter(self._connection.execute(f"SELECT * FROM jobs {which}", values))  # noqa: S608 - our own words

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def _do(self, sql: str, *values: object) -> None:
        try:
            self._connection.execute(sql, values)
        except UnicodeEncodeError:  # half a surrogate pair, as in names of files that are no UTF-8
            self._connection.execute(sql, [_sayable(value) for value in values])


def _sayable(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


# --- rows ---------------------------------------------------------------------------------------


def _file_of(folder: Path) -> tuple[int, int] | None:
    """Which file the journal of a folder is; None where there is none."""
    try:
        facts = os.stat(folder / JOURNAL)
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def _verdict(job: Job) -> tuple[State, str | None, str | None]:
    """State, class and message of a line that was just read."""
    if not job.problems:
        return "pending", None, None
    error = InvalidRequestError.of(f"line {job.line}", job.problems)
    return "failed", type(error).__name__, error.message


def _changed(job: Job, where: str, before: str, now: Mapping[str, object]) -> JournalError:
    return JournalError(
        f"line {job.line} of the inputs is not what it was, and a picture was bought for what stood {where}. "
        f"Before: {_shortened(before)}. Now: {_shortened(_text(now))}. With accept_changes=True that picture is kept, "
        "and the line as it is now is one more; or choose another folder. Nothing of this line was sent"
    )


_SHOWN = 300


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _blob(digits: str | None) -> bytes | None:
    return None if digits is None else bytes.fromhex(digits)


def _text(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()


def _without_zeros(sums: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {currency: amount for currency, amount in sums.items() if amount}


_READ = ("request", "fingerprint", "sha256", "price")
"""The fields of an item that the table has in another form."""

_PLAIN = tuple(field.name for field in fields(Item) if field.name not in _READ)


def _item(row: sqlite3.Row) -> Item:
    price = None if row["price"] is None else Money(Decimal(row["price"]), row["currency"])
    return Item(
        **{name: row[name] for name in _PLAIN},
        request=json.loads(row["request"]),
        fingerprint=None if row["fingerprint"] is None else row["fingerprint"].hex(),
        sha256=None if row["sha256"] is None else row["sha256"].hex(),
        price=price,
    )
