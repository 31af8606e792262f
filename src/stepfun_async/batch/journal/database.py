"""The database behind a journal: its tables, its version, who may write, and what is said when it cannot be used.

One process at a time writes. It holds an exclusive transaction on a second, empty database beside the
journal, which the system ends with the process, however that ends; reading goes on meanwhile.
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
"""The `application_id` by which a batch's journal differs from other SQLite databases: "StBA"."""

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
"""A job is a line's id with a request: a line that changes has another job, and what the first one bought stays its
own.

`stem` is where its image goes, and `reserved` how many of its attempts are in flight and may be billed. An image is
kept where `sha256` is not NULL. `own_state`, `own_error` and `own_message` are how the job stands by itself while its
line cannot be sent as it is now; NULL otherwise. `charges` has how many images and lost attempts of a job were bought
at which price; price and currency are empty where they are not known.
"""


class Tables:
    """Statements on the tables of a journal.

    Args:
        connection: to its database.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def do(self, sql: str, *values: object) -> sqlite3.Cursor:
        """Run a statement. Values that SQLite cannot hold are stored as `_storable` has them."""
        try:
            return self._connection.execute(sql, values)
        except (UnicodeEncodeError, OverflowError):
            return self._connection.execute(sql, [_storable(value) for value in values])

    def one(self, sql: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query; `None` if there is none."""
        row: sqlite3.Row | None = self.do(sql, *values).fetchone()
        return row

    def count(self, sql: str, *values: object) -> int:
        """The number that a query gives."""
        return int(self.do(sql, *values).fetchone()[0])


_LARGEST = 2**63
"""From here on SQLite has no whole numbers."""


def _storable(value: object) -> object:
    """Text with half a surrogate pair, as in names of files that are no UTF-8, with that escaped; no number that is
    too large.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return None
    return value


class Ids:
    """Which line has an id, for any number of them: in a database that goes to disk when it is large, and away when
    it is closed. It is used by one thread at a time.
    """

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, line INTEGER NOT NULL) WITHOUT ROWID")
        self._connection.execute("BEGIN")

    def first_line(self, id: str, line: int) -> int:
        """The line that had the id first: this one, unless it was asked about before."""
        if self._connection.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (id, line)).rowcount:
            return line
        return int(self._connection.execute("SELECT line FROM ids WHERE id = ?", (id,)).fetchone()[0])

    def close(self) -> None:
        """Forget them."""
        self._connection.close()


OWNER = "owner"
"""The fact that says which process opened the journal last."""


class JournalError(StepFunError, OSError):
    """The journal of a batch cannot be used: another process has it, it is of a newer version, the inputs are
    others than before, or it cannot be written. What it holds is as it was after the last committed step.
    """


def connected(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,  # transactions begin and end where this says so
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    return connection


_PATIENCE = 10.0
"""Seconds to wait for a reader that is at work on the journal."""


FILES = tuple(name + ending for name in (JOURNAL, _LOCK) for ending in ("", "-journal", "-wal", "-shm"))
"""All files that SQLite writes in the folder."""


def refuse_links(folder: Path) -> None:
    """Make sure that no file that SQLite writes is a link, which it would follow.

    Raises:
        JournalError: one is.
    """
    for name in FILES:
        if (folder / name).is_symlink():
            raise JournalError(
                f"{str(folder / name)!r} is a symbolic link, and none is followed where a batch writes: "
                "take it away, or choose another folder; nothing was sent"
            )


def opened(folder: Path) -> sqlite3.Connection:
    connection = connected(folder / JOURNAL, "rwc")
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
        raise JournalError(f"{str(folder / JOURNAL)!r} is no journal of a batch: choose another folder")
    if version != VERSION:
        raise JournalError(
            f"{str(folder / JOURNAL)!r} is of version {version}, and this package reads {VERSION}: "
            "update stepfun-async; nothing was changed"
        )


def locked(folder: Path, timeout: float = 1.0) -> sqlite3.Connection:
    """A transaction that only one process at a time can have.

    Args:
        folder: the batch's.
        timeout: seconds to wait for it, since `running_in` has it for a moment.

    Raises:
        JournalError: another one has it.
    """
    lock = sqlite3.connect(folder / _LOCK, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise JournalError(
            f"the batch in {str(folder)!r} is being run by {owner_of(folder) or 'another process'}: "
            "wait for its end, or choose another folder; nothing was sent"
        ) from None
    return lock


def running_in(folder: Path) -> str | None:
    """The process that runs the batch in a folder now, in words; `None` if there is none."""
    if not (folder / _LOCK).exists():
        return None
    try:
        locked(folder, timeout=0).close()
    except JournalError:
        return owner_of(folder) or "another process"
    except sqlite3.Error:  # who may not write there cannot ask
        return None
    return None


def owner_of(folder: Path) -> str | None:
    """Return the process that opened the journal last, in words."""
    try:
        with closing(connected(folder / JOURNAL, "ro")) as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (OWNER,)).fetchone()
        owner: Any = json.loads(row[0]) if row else None
    except (sqlite3.Error, ValueError):
        return None
    if not owner:
        return None
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
    return f"process {owner['pid']} on {owner['host']}, since {since}"


def this_process() -> str:
    """This process, for `owner_of` and `has_restarted_since`."""
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), "boot": _boot()})


def has_restarted_since(owner: str) -> bool:
    """Whether the machine may have lost its power since a process of `this_process`."""
    boot = json.loads(owner).get("boot")
    return boot is None or boot != _boot()


def _boot() -> str | None:
    """Return Linux's id of the current boot; `None` elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


@contextmanager
def translate_sqlite_errors(folder: Path) -> Generator[None]:
    """Raise errors of the disk and of SQLite as a `JournalError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, StepFunError):
            raise
        reason = why_of(error, folder) if isinstance(error, OSError) else str(error)
        raise JournalError(
            f"the journal in {str(folder)!r} cannot be used: {reason}; nothing that was committed is lost: "
            f"{_remedy(reason)} and run it again"
        ) from error


_REMEDIES = (
    ("unable to open", "let the folder and the files in it be written to"),
    ("readonly", "let the folder and the files in it be written to"),
    ("full", "make room on the disk"),
)
"""The remedies for SQLite's errors, which do not say which file could not be opened, or why."""


def _remedy(reason: str) -> str:
    return next((remedy for said, remedy in _REMEDIES if said in reason), "put that right")
