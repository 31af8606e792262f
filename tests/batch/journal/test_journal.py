"""The journal holds what was committed, and tells when it cannot be used."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepfun_async import Money
from stepfun_async.batch import JournalError, Records
from stepfun_async.batch.inputs.jobs import Job, JobDefaults, parse_job
from stepfun_async.batch.journal.admission import AdmissionResult, is_settled
from stepfun_async.batch.journal.database import JOURNAL, VERSION
from stepfun_async.batch.journal.journal import JobResult, Journal

PRICE = Money(Decimal("0.003"), "USD")


def job(line: int, prompt: str = "a", **fields: object) -> Job:
    digest = f"{prompt}{fields}".encode()
    return parse_job(line, {"prompt": prompt, **fields}, JobDefaults({}), digest)


def admit(journal: Journal, *lines: Job | int, accept: bool = False, hold: bool = False) -> AdmissionResult:
    return journal.admit(lines, hold_unknown=hold, accept_changes=accept)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Journal]:
    journal = Journal.writing(folder)
    try:
        yield journal
    finally:
        journal.close()


def finish(journal: Journal, number: int, state: Any = "done", **fields: Any) -> None:
    journal.start(number, f"ab/{number}", PRICE, 1)
    file = {"path": f"ab/{number}.png", "sha256": "ab" * 32}
    done: dict[str, Any] = {"attempts": 1, "billed": 1, "maybe_billed": 1, **file} if state == "done" else {}
    journal.end(number, JobResult(state=state, **{**done, **fields}))


def test_equal_lines_are_numbered_and_known_again(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        first = admit(journal, job(1), job(2, "b"), job(3), job(5))
        ids = [task.id for task in first.tasks]
        assert ids[2:] == [f"{ids[0]}-2", f"{ids[0]}-3"]
        for task in first.tasks[:2]:
            finish(journal, task.number)
    with opened(tmp_path) as journal:
        again = admit(journal, job(1), job(2, "b"), job(3), job(5))
        assert [task.id for task in again.tasks] == ids[2:]
        assert again.skipped == 2
        assert journal.finish_reading() == 4


def test_lines_that_move_keep_their_pictures(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for task in admit(journal, job(1), job(2, "b"), job(3)).tasks:
            finish(journal, task.number)
    with opened(tmp_path) as journal:
        moved = admit(journal, job(1, "new"), job(2), job(3, "b"), job(4), accept=True)
        assert [task.job.line for task in moved.tasks] == [1]
        assert journal.finish_reading() == 4
        assert journal.status().removed == 0


def test_lines_that_change_places_are_the_same_lines(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for task in admit(journal, job(1), job(2, "b"), job(3, "c")).tasks:
            finish(journal, task.number)
    with opened(tmp_path) as journal:
        assert admit(journal, job(1, "c"), job(2), job(3, "b")).skipped == 3
        assert journal.finish_reading() == 3


def test_lines_that_are_gone_are_counted_apart(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for task in admit(journal, job(1), job(2, "b"), job(3, "c")).tasks:
            finish(journal, task.number)
    with opened(tmp_path) as journal:
        admit(journal, 1, 3)
        assert journal.finish_reading() == 2
        assert journal.status().removed == 1


def test_a_line_that_was_bought_and_is_another_one_now_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        finish(journal, admit(journal, job(1, "a lake")).tasks[0].number)
    with opened(tmp_path) as journal:
        with pytest.raises(JournalError, match=r"(?s)line 1 .* has changed.*a lake.*a fox.*accept_changes"):
            admit(journal, job(1, "a fox"))
        assert len(admit(journal, job(1, "a fox"), accept=True).tasks) == 1


def test_an_id_of_the_user_means_one_picture(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        first = admit(journal, job(1, "a", id="cat"), job(2, "b", id="cat"))
        assert [task.id for task in first.tasks] == ["cat"]
        assert "line 1 has it already" in str(journal.item(first.bad[0]).message)
        finish(journal, first.tasks[0].number)
    with opened(tmp_path) as journal, pytest.raises(JournalError, match="'cat'"):
        admit(journal, job(1, "c", id="cat"))


def test_a_bad_line_fails_once_and_is_sent_when_it_is_mended(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        assert len(admit(journal, job(1, steps=99)).bad) == 1
        assert journal.status().failures == {"InvalidRequestError": 1}
    with opened(tmp_path) as journal:
        assert len(admit(journal, job(1, steps=9)).tasks) == 1


@pytest.mark.parametrize(
    ("state", "error", "hold", "stays"),
    [
        ("done", None, False, True),
        ("pending", None, False, False),
        ("unknown", "APITimeoutError", False, False),
        ("unknown", "APITimeoutError", True, True),
        ("failed", "ContentFilteredError", False, True),
        ("failed", "ContentRejectedError", False, True),
        ("failed", "BadRequestError", False, True),
        ("failed", "RateLimitError", False, False),
        ("failed", "APIConnectionError", False, False),
    ],
)
def test_what_is_sent_again(tmp_path: Path, state: Any, error: str | None, hold: bool, stays: bool) -> None:
    assert is_settled(state, error, hold_unknown=hold) is stays
    with opened(tmp_path) as journal:
        finish(journal, admit(journal, job(1)).tasks[0].number, state, error=error)
        assert admit(journal, job(1), hold=hold).skipped == stays


def test_retry_reopens_failures_by_class(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        tasks = admit(journal, *(job(line, str(line)) for line in range(1, 5))).tasks
        for task, error in zip(tasks, ("ContentFilteredError", "BadRequestError", "APITimeoutError"), strict=False):
            finish(journal, task.number, "unknown" if error == "APITimeoutError" else "failed", error=error)
    records = Records(tmp_path)
    assert records.retry(["ContentFilteredError"]) == 1
    assert records.retry() == 1
    assert records.retry(unknown=True) == 1
    assert records.status().counts["pending"] == 4


def test_money_counts_pictures_and_what_may_have_been_paid_for_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        one, two, three = admit(journal, job(1), job(2, "b"), job(3, "c")).tasks
        finish(journal, one.number, attempts=2, billed=1, maybe_billed=2)
        finish(journal, two.number, "unknown", maybe_billed=1)
        journal.start(three.number, "x", None, 1)
        journal.end(three.number, JobResult(state="done", path="x.png", billed=1, maybe_billed=1))
        status = journal.status()
        assert (status.spent, status.held) == ({"USD": Decimal("0.003")}, {"USD": Decimal("0.006")})
        assert status.unpriced == 1


def test_counts_of_several_runs_are_added(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        number = admit(journal, job(1)).tasks[0].number
        finish(journal, number, "unknown", attempts=3, maybe_billed=1, error="InternalServerError")
        finish(journal, number)
        item = journal.item(number)
    assert (item.attempts, item.maybe_billed, item.billed, item.error) == (4, 2, 1, None)
    assert item.price == PRICE
    assert list(Records(tmp_path).items()) == [item]


# --- who may write ------------------------------------------------------------------------------


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with opened(tmp_path):
        with pytest.raises(JournalError, match=f"process {os.getpid()} on "):
            Journal.writing(tmp_path)
        assert f"process {os.getpid()}" in str(Records(tmp_path).status().running)
        with pytest.raises(JournalError, match="being run"):
            Records(tmp_path).retry()
    assert Records(tmp_path).status().running is None


def test_a_process_that_was_killed_keeps_nobody_out(tmp_path: Path) -> None:
    code = f"""
import os, pathlib
from stepfun_async.batch.journal.journal import Journal
journal = Journal.writing(pathlib.Path({str(tmp_path)!r}))
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with opened(tmp_path):
        pass


def test_a_newer_journal_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / JOURNAL)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    for use in (lambda: Journal.writing(tmp_path).close(), Records(tmp_path).status):
        with pytest.raises(JournalError, match="update stepfun-async"):
            use()


def test_another_file_is_no_journal(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / JOURNAL)) as connection:
        connection.execute("CREATE TABLE things (name)")
        connection.commit()
    with pytest.raises(JournalError, match="is not the journal of a batch"):
        Journal.writing(tmp_path)
    (tmp_path / JOURNAL).write_text("not a database, but long enough to be looked at " * 100)
    with pytest.raises(JournalError, match="cannot be used"):
        Journal.writing(tmp_path)


def test_a_folder_without_a_batch_says_so_and_stays_empty(tmp_path: Path) -> None:
    for use in (Records(tmp_path).status, Records(tmp_path).retry, lambda: list(Records(tmp_path).items())):
        with pytest.raises(JournalError, match="no batch in"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be used"):
        Journal.writing(tmp_path / "file" / "out")


# --- what a crash leaves ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that was killed in the midst of its work, with all of its changes still in the write-ahead log."""
    folder = tmp_path_factory.mktemp("crashed")
    code = f"""
import os, pathlib
from tests.batch.journal.test_journal import admit, finish, job
from stepfun_async.batch.journal.journal import Journal
journal = Journal.writing(pathlib.Path({str(folder)!r}))
journal._connection.execute("PRAGMA wal_autocheckpoint = 0")
for line in range(1, 13):
    journal.begin()
    task = admit(journal, job(line, str(line))).tasks[0]
    journal.commit()
    journal.begin()
    journal.start(task.number, f"s/{{line}}", None, 1)
    journal.commit()
    journal.begin()
    finish(journal, task.number)
    journal.commit()
os.kill(os.getpid(), 9)
"""
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), *sys.path])
    done = subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == -9
    return folder


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1), noise=st.binary(max_size=40))
def test_any_prefix_of_the_log_opens_to_a_state_that_was(
    crashed: Path, tmp_path_factory: pytest.TempPathFactory, share: float, noise: bytes
) -> None:
    """Cut at any byte, with anything behind: lines one after another done, one on its way, none after it."""
    folder = tmp_path_factory.mktemp("prefix")
    log = (crashed / f"{JOURNAL}-wal").read_bytes()
    shutil.copy(crashed / JOURNAL, folder / JOURNAL)
    (folder / f"{JOURNAL}-wal").write_bytes(log[: int(len(log) * share)] + noise)
    with opened(folder) as journal:
        assert journal._connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        items = list(journal.items())
    assert [item.line for item in items] == list(range(1, len(items) + 1))
    assert all(item.state == "done" and item.sha256 for item in items[:-1])
    assert all(item.state != "done" or item.sha256 for item in items)
