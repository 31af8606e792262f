"""The database of a journal: its tables, its version, its lock, and the messages for when it cannot be used.

One process at a time writes. It holds an exclusive transaction on a second, empty database beside the journal. The
system releases it when the process ends in any way; other processes can read in the meantime.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from stepfun_async._core.errors import StepFunError
from stepfun_async._runtime.files import why_of

JOURNAL = "journal.sqlite3"
_LOCK = "journal.lock"

VERSION = 1
"""The version of the tables below, as `user_version` of the database."""

_APPLICATION = 0x53744241
"""The `application_id` that distinguishes a batch's journal from other SQLite databases: "StBA"."""

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    line INTEGER UNIQUE,
    digest BLOB,
    fingerprint BLOB,
    state TEXT NOT NULL,
    request TEXT NOT NULL,
    stem TEXT,
    path TEXT,
    sha256 BLOB,
    bytes INTEGER,
    format TEXT,
    width INTEGER,
    height INTEGER,
    seed INTEGER,
    finish_reason TEXT,
    price TEXT,
    currency TEXT,
    trace_id TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    reserved INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    message TEXT,
    own_state TEXT,
    own_error TEXT,
    own_message TEXT,
    started REAL,
    ended REAL,
    elapsed REAL
);
CREATE INDEX jobs_of_id ON jobs (id);
CREATE INDEX equal_jobs ON jobs (fingerprint, line);
CREATE INDEX open_jobs ON jobs (state) WHERE state <> 'done';
CREATE TABLE charges (
    number INTEGER NOT NULL,
    price TEXT NOT NULL,
    currency TEXT NOT NULL,
    billed INTEGER NOT NULL,
    maybe_billed INTEGER NOT NULL,
    PRIMARY KEY (number, price, currency)
) WITHOUT ROWID;
"""
"""A job is a line's id with a request: if a line changes, it has another job, and the first one keeps what it bought.

`stem` is the path of its image without the extension, and `reserved` the number of its attempts in flight that may be
billed. A job with an image has a `sha256`. While its line cannot be sent, `own_state`, `own_error` and `own_message`
store the state of the job itself; otherwise they are NULL. `charges` counts the images and lost attempts of a job by
the price at which they were bought; an unknown price has an empty price and currency.
"""


class Tables:
    """Executes statements on the tables of a journal.

    Args:
        connection: the connection to its database.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        """Execute a statement. Values that SQLite cannot store are converted by `_storable`."""
        try:
            return self._connection.execute(sql, values)
        except (UnicodeEncodeError, OverflowError):
            return self._connection.execute(sql, [_storable(value) for value in values])

    def fetch_one(self, sql: str, *values: object) -> sqlite3.Row | None:
        """Return the first row of a query; `None` if there is none."""
        row: sqlite3.Row | None = self.execute(sql, *values).fetchone()
        return row

    def count(self, sql: str, *values: object) -> int:
        """Return the single number that a query selects."""
        return int(self.execute(sql, *values).fetchone()[0])


_LARGEST = 2**63
"""The first integer that SQLite cannot store."""


def _storable(value: object) -> object:
    """Return text with lone surrogates escaped, which occur in file names that are not UTF-8; `None` for a number that
    is too large.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return None
    return value


class IdIndex:
    """The first line with each id, for any number of ids: a temporary database, which SQLite writes to disk if it is
    large. It is used by one thread at a time.
    """

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, line INTEGER NOT NULL) WITHOUT ROWID")
        self._connection.execute("BEGIN")

    def first_line(self, id: str, line: int) -> int:
        """Return the first line with this id: `line`, unless the id was passed before."""
        if self._connection.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (id, line)).rowcount:
            return line
        return int(self._connection.execute("SELECT line FROM ids WHERE id = ?", (id,)).fetchone()[0])

    def close(self) -> None:
        """Delete the database."""
        self._connection.close()


OWNER = "owner"
"""The fact that identifies the process that opened the journal last."""


class JournalError(StepFunError, OSError):
    """The journal of a batch cannot be used: another process is using it, its version is newer, the inputs have
    changed, or it cannot be written. Everything committed before is kept.
    """


def connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,  # transactions are explicit
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    return connection


_PATIENCE = 10.0
"""Seconds to wait for a reader of the journal."""


FILES = tuple(name + ending for name in (JOURNAL, _LOCK) for ending in ("", "-journal", "-wal", "-shm"))
"""All files that SQLite writes in the folder."""


def refuse_links(folder: Path) -> None:
    """Check that no file that SQLite writes is a symbolic link, which it would follow.

    Raises:
        JournalError: one of them is.
    """
    for name in FILES:
        if (folder / name).is_symlink():
            raise JournalError(
                f"{str(folder / name)!r} is a symbolic link, and a batch follows none where it writes: "
                "remove it, or choose another folder; nothing was sent"
            )


def open_database(folder: Path) -> sqlite3.Connection:
    connection = connect(folder / JOURNAL, "rwc")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if not connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            _create(connection)
        check_version(connection, folder)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    pragmas = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {VERSION};"
    connection.executescript(f"BEGIN; {_TABLES} {pragmas} COMMIT;")


def check_version(connection: sqlite3.Connection, folder: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION:
        raise JournalError(f"{str(folder / JOURNAL)!r} is not the journal of a batch: choose another folder")
    if version != VERSION:
        raise JournalError(
            f"{str(folder / JOURNAL)!r} has version {version}, and this package reads {VERSION}: "
            "update stepfun-async; nothing was changed"
        )


def acquire_lock(folder: Path, timeout: float = 1.0) -> sqlite3.Connection:
    """Begin a transaction that only one process at a time can hold.

    Args:
        folder: the folder of the batch.
        timeout: seconds to wait for it, since `running_in` holds it for a moment.

    Raises:
        JournalError: another process holds it.
    """
    lock = sqlite3.connect(folder / _LOCK, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise JournalError(
            f"the batch in {str(folder)!r} is being run by {describe_owner(folder) or 'another process'}: "
            "wait until it ends, or choose another folder; nothing was sent"
        ) from None
    return lock


def running_in(folder: Path) -> str | None:
    """Return a description of the process that is running the batch in a folder; `None` if there is none."""
    if not (folder / _LOCK).exists():
        return None
    try:
        acquire_lock(folder, timeout=0).close()
    except JournalError:
        return describe_owner(folder) or "another process"
    except sqlite3.Error:  # without write access, the lock cannot be tested
        return None
    return None


def describe_owner(folder: Path) -> str | None:
    """Return a description of the process that opened the journal last."""
    try:
        with closing(connect(folder / JOURNAL, "ro")) as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (OWNER,)).fetchone()
        owner: Any = json.loads(row[0]) if row else None
    except (sqlite3.Error, ValueError):
        return None
    if not owner:
        return None
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
    return f"process {owner['pid']} on {owner['host']}, since {since}"


def current_process() -> str:
    """Return this process as JSON, for `describe_owner` and `has_rebooted_since`."""
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), "boot": _boot_id()})


def has_rebooted_since(owner: str) -> bool:
    """Whether the machine may have lost power since `current_process` returned `owner`."""
    boot = json.loads(owner).get("boot")
    return boot is None or boot != _boot_id()


def _boot_id() -> str | None:
    """Return Linux's id of the current boot; `None` elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


@contextmanager
def translate_sqlite_errors(folder: Path) -> Generator[None]:
    """Raise errors of the disk and of SQLite as `JournalError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, StepFunError):
            raise
        reason = why_of(error, folder) if isinstance(error, OSError) else str(error)
        raise JournalError(
            f"the journal in {str(folder)!r} cannot be used: {reason}; nothing that was committed is lost: "
            f"{_remedy(reason)}, and run it again"
        ) from error


_REMEDIES = (
    ("unable to open", "make the folder and its files writable"),
    ("readonly", "make the folder and its files writable"),
    ("full", "free some space on the disk"),
)
"""The remedies for SQLite's errors, which name neither the file nor the cause."""


def _remedy(reason: str) -> str:
    return next((remedy for text, remedy in _REMEDIES if text in reason), "fix that")
