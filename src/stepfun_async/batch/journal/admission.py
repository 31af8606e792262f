"""Matches the lines of the inputs with the jobs of the journal, also after lines were changed, moved or removed.

A job is an id with a request. A line with another request under its id is therefore another job, and the earlier job is
no longer in the inputs, but keeps what it has bought; if the line changes back, it is the earlier job again. A line
that cannot be sent gets no job of its own if a job with its id has bought something: that job shows the error, and
keeps its image.
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

PERMANENT_ERRORS = frozenset(
    {
        "BadRequestError",
        "ContentFilteredError",
        "ContentRejectedError",
        "InvalidRequestError",
        "OutputLostError",
        "SaveError",
    }
)
"""Failures that would happen again, or cost money again: only `retry` resends their lines."""

_BAD = InvalidRequestError.__name__


def is_settled(state: State, error: str | None, *, hold_unknown: bool) -> bool:
    """Whether a run skips a line with this state."""
    if state == "failed":
        return error in PERMANENT_ERRORS
    return state == "done" or (state == "unknown" and hold_unknown)


@dataclass(frozen=True, slots=True)
class Task:
    """A job that is to be sent, with its row in the journal.

    Attributes:
        number: the number of its row.
        id: its id, from the user or generated.
        job: what to send.
        stem: the path of its image in the file store, without the extension; empty until one is assigned.
    """

    number: int
    id: str
    job: Job
    stem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionResult:
    """The result of adding lines to the journal.

    Attributes:
        tasks: the jobs to be sent.
        bad: the numbers of the rows that are newly failed, since their requests are invalid.
        skipped: the number of lines that were settled before.
        unread: the line at which it stopped, since that must be read after all; `None` if it did not stop.
    """

    tasks: tuple[Task, ...]
    bad: tuple[int, ...]
    skipped: int
    unread: int | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """The row of a line, and what happens with the line: it is sent, newly failed, or skipped."""

    number: int
    id: str
    action: str


_TASK, _FAILED, _SKIPPED = "task", "failed", "skipped"

_RESTORE_OWN_STATE = (
    "state = COALESCE(own_state, state), error = CASE WHEN own_state IS NULL THEN error ELSE own_error END, "
    "message = CASE WHEN own_state IS NULL THEN message ELSE own_message END, "
    "own_state = NULL, own_error = NULL, own_message = NULL"
)
"""Restores the state of a job whose row showed that its line cannot be sent."""

_ROW = "SELECT number, line, state, error, message, fingerprint, request, sha256, own_state, own_error FROM jobs"


class Admission:
    """One pass over the inputs, from the first line to the last.

    Args:
        tables: the tables of the journal.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._last_line = 0
        self._highest: int | None = None
        self._hold_unknown = False
        self._accept_changes = False

    def admit(self, lines: Iterable[Job | int], *, hold_unknown: bool, accept_changes: bool) -> AdmissionResult:
        """Add lines to the journal; see `Journal.admit`."""
        self._hold_unknown, self._accept_changes = hold_unknown, accept_changes
        tasks: list[Task] = []
        bad: list[int] = []
        skipped = 0
        has_read = False
        if self._highest is None:
            self._highest = self._tables.count("SELECT COALESCE(MAX(line), 0) FROM jobs")
        for job in lines:
            line = job if isinstance(job, int) else job.line
            self._drop_between(line)
            if isinstance(job, int):
                if has_read and not self._has_row(line):
                    return AdmissionResult(tasks=tuple(tasks), bad=tuple(bad), skipped=skipped, unread=line)
                skipped += 1
            else:
                has_read = True
                entry = self._enter(job)
                skipped += entry.action is _SKIPPED
                if entry.action is _FAILED:
                    bad.append(entry.number)
                elif entry.action is _TASK:
                    tasks.append(Task(entry.number, entry.id, job))
            self._last_line = line
            self._highest = max(self._highest, line)
        return AdmissionResult(tasks=tuple(tasks), bad=tuple(bad), skipped=skipped)

    def finish(self) -> None:
        """Remove the lines after the end of the inputs."""
        self._drop("line > ?", self._last_line)

    # --- the row of a line ---

    def _enter(self, job: Job) -> _Entry:
        if job.id is not None:
            earlier = self._tables.fetch_one("SELECT line FROM jobs WHERE id = ? AND line < ?", job.id, job.line)
            if earlier is not None:
                return self._enter(_with_duplicate_id(job, int(earlier["line"])))
        if job.fingerprint is None:
            return self._enter_bad(job)
        own_id, row = self._find_by_id(job) if job.id is not None else self._find_by_fingerprint(job, job.fingerprint)
        self._free_line(job, row)
        if row is None:
            return self._insert(job, own_id)
        return self._update(job, own_id, row)

    def _find_by_fingerprint(self, job: Job, fingerprint: str) -> tuple[str, sqlite3.Row | None]:
        """Return the generated id of a line without one, and its row: the fingerprint, numbered for equal lines."""
        blob = _blob(fingerprint)
        if self._tables.fetch_one("SELECT 1 FROM jobs WHERE fingerprint = ?", blob) is None:
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
            row = self._tables.fetch_one(f"{_ROW} WHERE id = ? AND fingerprint = ?", own_id, blob)
            if row is None or row["line"] is None or row["line"] >= job.line:
                return own_id, row
            before += 1  # an id that a user gave looks like this one

    def _find_by_id(self, job: Job) -> tuple[str, sqlite3.Row | None]:
        """Return the id that the user gave, and its row for this request. Other rows of the id leave the inputs.

        Raises:
            JournalError: another request has bought something under the id, and changes are not accepted.
        """
        own_id = str(job.id)
        rows = self._rows_of_id(own_id)
        row_of_request = next((row for row in rows if row["fingerprint"] == _blob(job.fingerprint)), None)
        is_kept = row_of_request is not None and self._is_settled(row_of_request)
        for row in rows:
            if row is row_of_request or (row_of_request is not None and row["line"] is None):
                continue
            if not is_kept:
                self._check_change(job, row, f"under its id {own_id!r}")
        for row in rows:
            if row is not row_of_request and row["line"] is not None:
                self._remove_from_inputs(row)
        return own_id, row_of_request

    def _rows_of_id(self, own_id: str) -> list[sqlite3.Row]:
        """Return the rows of an id: the one in the inputs first, then the newest."""
        return self._tables.execute(f"{_ROW} WHERE id = ? ORDER BY line IS NULL, number DESC", own_id).fetchall()

    # --- good lines ---

    def _insert(self, job: Job, own_id: str) -> _Entry:
        number = self._insert_row(job, own_id, "pending", None, None)
        return _Entry(number, own_id, _TASK)

    def _insert_row(self, job: Job, own_id: str, state: State, error: str | None, message: str | None) -> int:
        cursor = self._tables.execute(
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

    def _update(self, job: Job, own_id: str, row: sqlite3.Row) -> _Entry:
        """Update the row of a line whose job is in the journal."""
        self._tables.execute(
            f"UPDATE jobs SET line = ?, digest = ?, {_RESTORE_OWN_STATE} WHERE number = ?",  # noqa: S608 - our own words
            job.line,
            job.digest,
            row["number"],
        )
        return _Entry(int(row["number"]), own_id, _SKIPPED if self._is_settled(row) else _TASK)

    def _is_settled(self, row: sqlite3.Row) -> bool:
        has_own = row["own_state"] is not None
        state, error = (row["own_state"], row["own_error"]) if has_own else (row["state"], row["error"])
        return is_settled(state, error, hold_unknown=self._hold_unknown)

    # --- bad lines ---

    def _enter_bad(self, job: Job) -> _Entry:
        """Add a line that cannot be sent: to the row of its id if that has bought something, or else to its own."""
        error = InvalidRequestError.of(f"line {job.line}", job.problems)
        own_id = job.id or f"line-{job.line}"
        row = self._row_of_bad(job, own_id)
        if row is not None and not (row["fingerprint"] is None or row["own_state"] is not None):
            self._check_change(job, row, f"under its id {own_id!r}")
        self._free_line(job, row)
        if row is None:
            return _Entry(self._insert_row(job, own_id, "failed", _BAD, error.message), own_id, _FAILED)
        has_bought = self._has_bought(row)
        message = f"{error.message}; {_IMAGE_KEPT}" if has_bought else error.message
        is_known = row["state"] == "failed" and row["error"] == _BAD and row["message"] == message
        if has_bought:
            self._mark_bad(job, row, message)
        else:
            self._tables.execute(
                "UPDATE jobs SET line = ?, digest = ?, fingerprint = NULL, request = ?, state = 'failed', error = ?, "
                "message = ? WHERE number = ?",
                job.line,
                job.digest,
                request_text(job.described),
                _BAD,
                message,
                row["number"],
            )
        return _Entry(int(row["number"]), own_id, _SKIPPED if is_known else _FAILED)

    def _row_of_bad(self, job: Job, own_id: str) -> sqlite3.Row | None:
        """Return the row that shows a bad line."""
        if job.id is None:
            return self._tables.fetch_one(f"{_ROW} WHERE line = ? AND id = ? AND fingerprint IS NULL", job.line, own_id)
        return next(iter(self._rows_of_id(own_id)), None)

    def _mark_bad(self, job: Job, row: sqlite3.Row, message: str) -> None:
        """Mark a row whose line cannot be sent, and store the state of its job."""
        self._tables.execute(
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

    # --- rows that leave the inputs ---

    def _free_line(self, job: Job, row_of_request: sqlite3.Row | None) -> None:
        """Remove the line number from another row that has it. A line that only moved buys nothing."""
        if self._highest is not None and job.line > self._highest:  # no row has such a line yet
            return
        row = self._tables.fetch_one(f"{_ROW} WHERE line = ?", job.line)
        if row is None or (row_of_request is not None and row["number"] == row_of_request["number"]):
            return
        if row_of_request is None:
            self._check_change(job, row, "there")
        self._drop("line = ?", job.line)

    def _remove_from_inputs(self, row: sqlite3.Row) -> None:
        """Remove a row whose id has another request now. It is deleted if it has bought nothing."""
        if self._has_bought(row):
            self._drop("number = ?", row["number"])
        else:
            self._tables.execute("DELETE FROM jobs WHERE number = ?", row["number"])

    def _drop_between(self, line: int) -> None:
        """Remove the lines between the last one read and this one, which are blank now."""
        if line > self._last_line + 1:
            self._drop("line > ? AND line < ?", self._last_line, line)

    def _drop(self, which: str, *values: object) -> None:
        """Remove rows from the inputs. Rows of bad lines are deleted."""
        self._tables.execute(f"DELETE FROM jobs WHERE fingerprint IS NULL AND {which}", *values)  # noqa: S608 - our own words
        self._tables.execute(f"UPDATE jobs SET line = NULL, {_RESTORE_OWN_STATE} WHERE {which}", *values)  # noqa: S608 - our own words

    def _has_row(self, line: int) -> bool:
        return self._tables.fetch_one("SELECT 1 FROM jobs WHERE line = ?", line) is not None

    def _has_bought(self, row: sqlite3.Row) -> bool:
        """Whether a row has an image, or has cost something, or may have."""
        if row["sha256"] is not None:
            return True
        return self._tables.fetch_one("SELECT 1 FROM charges WHERE number = ?", row["number"]) is not None

    def _check_change(self, job: Job, row: sqlite3.Row, where: str) -> None:
        """Check that a line may differ from a row.

        Raises:
            JournalError: something was bought for the row, and changes are not accepted.
        """
        if self._accept_changes:
            return
        if row["sha256"] is not None or (row["own_state"] or row["state"]) in ("done", "unknown"):
            raise _line_changed(job, where, str(row["request"]))


_IMAGE_KEPT = "the image that was bought for the earlier line is kept"


def _with_duplicate_id(job: Job, line: int) -> Job:
    """Return a line whose id another line has. It is read in each run, since the other line may change."""
    taken = Problem("id", job.id, "an id of its own for each line", f"line {line} has it already")
    return replace(job, id=None, fingerprint=None, request=None, digest=None, problems=(*job.problems, taken))


def _line_changed(job: Job, where: str, before: str) -> JournalError:
    return JournalError(
        f"line {job.line} of the inputs has changed, and an image was bought for the request that was {where}. "
        f"Before: {_truncate(before)}. Now: {_truncate(request_text(job.described))}. With "
        "accept_changes=True that image is kept, and the line is sent in addition; or choose another folder. "
        "This line was not sent"
    )


_MOST_SHOWN = 300


def _truncate(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."


def _blob(digits: str | None) -> bytes | None:
    return None if digits is None else bytes.fromhex(digits)


_write_json = json_writer(default=described)


def request_text(fields: Mapping[str, object]) -> str:
    """Encode a request for the journal; as an empty object if it cannot be JSON, which bad lines may not be."""
    try:
        text = _write_json(fields)
    except (TypeError, ValueError, RecursionError):
        text = "{}"
    return text.encode("utf-8", "backslashreplace").decode()
