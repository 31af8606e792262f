"""Matches the lines of the inputs with the jobs of the journal, also after lines were changed, moved or removed.

A job is an id with a request. So a line that is another one under its id becomes another job, and the one before it
leaves the inputs with all that it has bought; should the line be as it was again, it is that job again. A line that
cannot be sent as it is now makes no job of its own where its id has one that bought something: it is shown on that
one, which keeps its image.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from stepfun_async._core.errors import InvalidRequestError
from stepfun_async._core.json_text import json_writer
from stepfun_async._core.problems import Problem
from stepfun_async._core.text import described

from ..inputs.jobs import Job
from ..items import State
from .database import JournalError, Tables

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
"""Failures that would be the same again, or cost money again: retried only by `retry`."""

_BAD = InvalidRequestError.__name__


def settled(state: State, error: str | None, *, hold_unknown: bool) -> bool:
    """Whether a line stays as an earlier run left it."""
    if state == "failed":
        return error in FINAL
    return state == "done" or (state == "unknown" and hold_unknown)


@dataclass(frozen=True, slots=True)
class Task:
    """A job that is to be sent, with its place in the journal.

    Attributes:
        number: the row's.
        id: its id, the user's or ours.
        job: what to send.
        stem: where its image goes, below the folder and without its ending; empty until it is placed.
    """

    number: int
    id: str
    job: Job
    stem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The result of adding lines to the journal.

    Attributes:
        tasks: those to be sent.
        bad: the rows of those that failed here and now, since they are no valid requests.
        skipped: how many were settled before.
        unread: the line at which it ended, since that has to be read after all; `None` if it went to the end.
    """

    tasks: tuple[Task, ...]
    bad: tuple[int, ...]
    skipped: int
    unread: int | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """The row of a line, and what becomes of the line: a task, a failure here and now, or neither."""

    number: int
    id: str
    fate: str


_TASK, _FAILED, _SKIPPED = "task", "failed", "skipped"

_ITSELF = (
    "state = COALESCE(own_state, state), error = CASE WHEN own_state IS NULL THEN error ELSE own_error END, "
    "message = CASE WHEN own_state IS NULL THEN message ELSE own_message END, "
    "own_state = NULL, own_error = NULL, own_message = NULL"
)
"""A row shows how its job stands by itself again, and no longer that its line cannot be sent."""

_ROW = "SELECT number, line, state, error, message, fingerprint, request, sha256, own_state, own_error FROM jobs"


class Admission:
    """One reading of the inputs, from their first line to their last.

    Args:
        tables: of the journal.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._last_line = 0
        self._highest: int | None = None
        self._hold_unknown = False
        self._accept_changes = False

    def admit(self, lines: Iterable[Job | int], *, hold_unknown: bool, accept_changes: bool) -> Admitted:
        """Enter lines; see `Journal.admit`."""
        self._hold_unknown, self._accept_changes = hold_unknown, accept_changes
        tasks: list[Task] = []
        bad: list[int] = []
        skipped = 0
        read = False
        if self._highest is None:
            self._highest = self._tables.count("SELECT COALESCE(MAX(line), 0) FROM jobs")
        for job in lines:
            line = job if isinstance(job, int) else job.line
            self._drop_between(line)
            if isinstance(job, int):
                if read and not self._has_row(line):
                    return Admitted(tasks=tuple(tasks), bad=tuple(bad), skipped=skipped, unread=line)
                skipped += 1
            else:
                read = True
                entry = self._enter(job)
                skipped += entry.fate is _SKIPPED
                if entry.fate is _FAILED:
                    bad.append(entry.number)
                elif entry.fate is _TASK:
                    tasks.append(Task(entry.number, entry.id, job))
            self._last_line = line
            self._highest = max(self._highest, line)
        return Admitted(tasks=tuple(tasks), bad=tuple(bad), skipped=skipped)

    def finish(self) -> None:
        """The inputs were read to their end: forget the lines behind it."""
        self._drop("line > ?", self._last_line)

    # --- which row ---

    def _enter(self, job: Job) -> _Entry:
        if job.id is not None:
            twin = self._tables.one("SELECT line FROM jobs WHERE id = ? AND line < ?", job.id, job.line)
            if twin is not None:
                return self._enter(_doubled(job, int(twin["line"])))
        if job.fingerprint is None:
            return self._enter_bad(job)
        own_id, row = self._named(job) if job.id is not None else self._unnamed(job, job.fingerprint)
        self._displace(job, row)
        if row is None:
            return self._insert(job, own_id)
        return self._meet(job, own_id, row)

    def _unnamed(self, job: Job, fingerprint: str) -> tuple[str, sqlite3.Row | None]:
        """The id of a line without one, and its row: the fingerprint, numbered where earlier lines ask for the same."""
        blob = _blob(fingerprint)
        if self._tables.one("SELECT 1 FROM jobs WHERE fingerprint = ?", blob) is None:
            return fingerprint, None
        before = self._tables.count(
            "SELECT COUNT(*) FROM jobs WHERE fingerprint = ? AND line < ? AND substr(id, 1, ?) = ?",
            blob,
            job.line,
            len(fingerprint),
            fingerprint,
        )
        while True:
            own_id = f"{fingerprint}-{before + 1}" if before else fingerprint
            row = self._tables.one(f"{_ROW} WHERE id = ? AND fingerprint = ?", own_id, blob)
            if row is None or row["line"] is None or row["line"] >= job.line:
                return own_id, row
            before += 1  # an id that a user gave looks like this one

    def _named(self, job: Job) -> tuple[str, sqlite3.Row | None]:
        """The id that the user gave, and its row for this very request. What stood under the id leaves the inputs.

        Raises:
            JournalError: something else was bought under the id, and that is not accepted.
        """
        own_id = str(job.id)
        rows = self._of_id(own_id)
        own = next((row for row in rows if row["fingerprint"] == _blob(job.fingerprint)), None)
        stays = own is not None and self._is_settled(own)
        for row in rows:
            if row is own or (own is not None and row["line"] is None):
                continue
            if not stays:
                self._check_change(job, row, f"under its id {own_id!r}")
        for row in rows:
            if row is not own and row["line"] is not None:
                self._retire(row)
        return own_id, own

    def _of_id(self, own_id: str) -> list[sqlite3.Row]:
        """The rows of an id, that of the inputs first, then the newest."""
        return self._tables.do(f"{_ROW} WHERE id = ? ORDER BY line IS NULL, number DESC", own_id).fetchall()

    # --- good lines ---

    def _insert(self, job: Job, own_id: str) -> _Entry:
        number = self._inserted(job, own_id, "pending", None, None)
        return _Entry(number, own_id, _TASK)

    def _inserted(self, job: Job, own_id: str, state: State, error: str | None, message: str | None) -> int:
        cursor = self._tables.do(
            "INSERT INTO jobs (id, line, digest, fingerprint, state, request, error, message) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            own_id,
            job.line,
            job.digest,
            _blob(job.fingerprint),
            state,
            request_text(job.described),
            error,
            message,
        )
        return int(cursor.lastrowid or 0)

    def _meet(self, job: Job, own_id: str, row: sqlite3.Row) -> _Entry:
        """A line whose job the journal has."""
        self._tables.do(
            f"UPDATE jobs SET line = ?, digest = ?, {_ITSELF} WHERE number = ?",  # noqa: S608 - our own words
            job.line,
            job.digest,
            row["number"],
        )
        return _Entry(int(row["number"]), own_id, _SKIPPED if self._is_settled(row) else _TASK)

    def _is_settled(self, row: sqlite3.Row) -> bool:
        own = row["own_state"] is not None
        state, error = (row["own_state"], row["own_error"]) if own else (row["state"], row["error"])
        return settled(state, error, hold_unknown=self._hold_unknown)

    # --- bad lines ---

    def _enter_bad(self, job: Job) -> _Entry:
        """A line that cannot be sent: shown on what its id has bought, where it has; else with a row of its own."""
        error = InvalidRequestError.of(f"line {job.line}", job.problems)
        own_id = job.id or f"line-{job.line}"
        row = self._of_bad(job, own_id)
        if row is not None and not (row["fingerprint"] is None or row["own_state"] is not None):
            self._check_change(job, row, f"under its id {own_id!r}")
        self._displace(job, row)
        if row is None:
            return _Entry(self._inserted(job, own_id, "failed", _BAD, error.message), own_id, _FAILED)
        keeps = self._has_bought(row)
        message = f"{error.message}; {_KEPT}" if keeps else error.message
        known = row["state"] == "failed" and row["error"] == _BAD and row["message"] == message
        if keeps:
            self._show_bad(job, row, message)
        else:
            self._tables.do(
                "UPDATE jobs SET line = ?, digest = ?, fingerprint = NULL, request = ?, state = 'failed', error = ?, "
                "message = ? WHERE number = ?",
                job.line,
                job.digest,
                request_text(job.described),
                _BAD,
                message,
                row["number"],
            )
        return _Entry(int(row["number"]), own_id, _SKIPPED if known else _FAILED)

    def _of_bad(self, job: Job, own_id: str) -> sqlite3.Row | None:
        """The row on which a bad line is shown."""
        if job.id is None:
            return self._tables.one(f"{_ROW} WHERE line = ? AND id = ? AND fingerprint IS NULL", job.line, own_id)
        return next(iter(self._of_id(own_id)), None)

    def _show_bad(self, job: Job, row: sqlite3.Row, message: str) -> None:
        """Mark a row whose line cannot be sent as it is now, and remember its own state."""
        self._tables.do(
            "UPDATE jobs SET own_error = CASE WHEN own_state IS NULL THEN error ELSE own_error END, "
            "own_message = CASE WHEN own_state IS NULL THEN message ELSE own_message END, "
            "own_state = COALESCE(own_state, state), "
            "line = ?, digest = ?, state = 'failed', error = ?, message = ? WHERE number = ?",
            job.line,
            job.digest,
            _BAD,
            message,
            row["number"],
        )

    # --- rows that leave ---

    def _displace(self, job: Job, own: sqlite3.Row | None) -> None:
        """Take the line from the row that had it before, where that is another one. A line that moved buys nothing."""
        if self._highest is not None and job.line > self._highest:  # no row has such a line yet
            return
        row = self._tables.one(f"{_ROW} WHERE line = ?", job.line)
        if row is None or (own is not None and row["number"] == own["number"]):
            return
        if own is None:
            self._check_change(job, row, "there")
        self._drop("line = ?", job.line)

    def _retire(self, row: sqlite3.Row) -> None:
        """Another request stands under the id of a row. What has bought nothing is forgotten."""
        if self._has_bought(row):
            self._drop("number = ?", row["number"])
        else:
            self._tables.do("DELETE FROM jobs WHERE number = ?", row["number"])

    def _drop_between(self, line: int) -> None:
        """Forget the lines between the last one read and this one: they are blank now."""
        if line > self._last_line + 1:
            self._drop("line > ? AND line < ?", self._last_line, line)

    def _drop(self, which: str, *values: object) -> None:
        """Rows leave the inputs; those of bad lines have nothing to be kept for."""
        self._tables.do(f"DELETE FROM jobs WHERE fingerprint IS NULL AND {which}", *values)  # noqa: S608 - our own words
        self._tables.do(f"UPDATE jobs SET line = NULL, {_ITSELF} WHERE {which}", *values)  # noqa: S608 - our own words

    def _has_row(self, line: int) -> bool:
        return self._tables.one("SELECT 1 FROM jobs WHERE line = ?", line) is not None

    def _has_bought(self, row: sqlite3.Row) -> bool:
        """Whether a row has an image, or has cost something, or may have."""
        if row["sha256"] is not None:
            return True
        return self._tables.one("SELECT 1 FROM charges WHERE number = ?", row["number"]) is not None

    def _check_change(self, job: Job, row: sqlite3.Row, where: str) -> None:
        """Make sure that a line may be another one than the row.

        Raises:
            JournalError: something was bought for the row, and that it is another one is not accepted.
        """
        if self._accept_changes:
            return
        if row["sha256"] is not None or (row["own_state"] or row["state"]) in ("done", "unknown"):
            raise _changed(job, where, str(row["request"]))


_KEPT = "the image that was bought for what the line was before is kept"


def _doubled(job: Job, line: int) -> Job:
    """A line whose id another line has. It is read anew in each run, since that may change."""
    taken = Problem("id", job.id, "an id of its own for each line", f"line {line} has it already")
    return replace(job, id=None, fingerprint=None, request=None, digest=None, problems=(*job.problems, taken))


def _changed(job: Job, where: str, before: str) -> JournalError:
    return JournalError(
        f"line {job.line} of the inputs is not what it was, and an image was bought for what stood {where}. "
        f"Before: {_shortened(before)}. Now: {_shortened(request_text(job.described))}. With "
        "accept_changes=True that image is kept, and the line as it is now is one more; or choose another folder. "
        "Nothing of this line was sent"
    )


_SHOWN = 300


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _blob(digits: str | None) -> bytes | None:
    return None if digits is None else bytes.fromhex(digits)


_write_json = json_writer(default=described)


def request_text(fields: Mapping[str, object]) -> str:
    """A request for the journal; without its fields where JSON cannot say them, as those of bad lines may be."""
    try:
        text = _write_json(fields)
    except (TypeError, ValueError, RecursionError):
        text = "{}"
    return text.encode("utf-8", "backslashreplace").decode()
