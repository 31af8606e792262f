"""Trouble that lasts: no network, a server in a storm, faults of every kind, a folder that is taken away.

A batch ends right or stops with a reason, and goes on; the bill agrees all the while. In virtual time.
"""

from __future__ import annotations

import math
import os
import shutil
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepfun_async import (
    APIConnectionError,
    AuthenticationError,
    InsufficientBalanceError,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    RetryPolicy,
    SaveError,
)
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async.batch import JournalError, Records
from stepfun_async.batch.journal.journal import Journal
from stepfun_async.embedded import EmbeddedTransport
from stepfun_async.embedded.faults import KINDS
from stepfun_async.testing import virtual_backend
from tests.support.scripted import IMAGE, Scripted

from .shop import Shop, prompts

pytestmark = pytest.mark.anyio

PATIENT = RetryPolicy(max_attempts=1000, base=1.0, connect_base=1.0, quota=None)
"""Goes on for minutes."""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both, in virtual time."""
    return virtual_backend(request.param)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "out")


# --- the network --------------------------------------------------------------------------------


class Unreachable:
    """A server that answers some calls, each after a second, and whose connections are refused for a minute then."""

    def __init__(self, shop: Shop, calls: int) -> None:
        self._inner = EmbeddedTransport(shop.engine)
        self._left = calls
        self._back = math.inf
        self.refused = 0

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        self._left -= 1
        if self._left == 0:
            self._back = anyio.current_time() + 60
        if self._left <= 0 and anyio.current_time() < self._back:
            self.refused += 1
            raise APIConnectionError("connection refused", billing="not_sent")
        reply = await self._inner.send(call, progress)
        await anyio.sleep(1)
        return reply

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_a_minute_without_network_is_sat_out(shop: Shop) -> None:
    shop.transport = network = Unreachable(shop, 31)
    progress = await shop.batch(prompts(100), retry=PATIENT, timeout=600.0).run()
    assert (progress.done, progress.failed, shop.pictures) == (100, 0, 100)
    assert network.refused > 4
    shop.assert_whole(100)
    assert all(item.maybe_billed == 1 for item in Records(shop.out).items())


async def test_without_patience_nothing_is_billed_meanwhile_and_the_next_run_makes_the_rest(shop: Shop) -> None:
    shop.transport = Unreachable(shop, 31)
    first = await shop.batch(prompts(100)).run()
    assert (first.done, first.failed, first.unknown) == (30, 70, 0)
    assert Records(shop.out).status().failures == {"APIConnectionError": 70}
    assert shop.pictures == 30
    await anyio.sleep(60)
    assert (await shop.batch(prompts(100)).run()).done == 70
    assert shop.pictures == 100
    shop.assert_whole(100)


async def test_so_many_failures_stop_a_run_without_network(shop: Shop) -> None:
    shop.transport = Unreachable(shop, 31)
    stopped = await shop.batch(prompts(1000), max_failures=8).run()
    assert stopped.stopped == "8 lines failed, and max_failures is 8"
    assert (stopped.done, shop.pictures) == (30, 30)
    assert Records(shop.out).status().counts["pending"] > 100


# --- the server ---------------------------------------------------------------------------------


async def test_a_storm_of_429_costs_time_and_no_money(shop: Shop) -> None:
    shop.fail("429=5*150%80", "429=1*200%50")
    progress = await shop.batch(prompts(60), retry=PATIENT, timeout=3600.0).run()
    assert (progress.done, progress.failed, shop.pictures) == (60, 0, 60)
    attempts = sum(item.attempts for item in Records(shop.out).items())
    assert attempts > 200
    shop.assert_whole(60)


async def test_after_a_storm_of_429_that_was_not_waited_for_the_rest_is_made(shop: Shop) -> None:
    shop.fail("429*40")
    first = await shop.batch(prompts(60)).run()
    assert (first.done, first.failed, first.spent) == (20, 40, {"USD": 20 * shop.price})
    assert (await shop.batch(prompts(60)).run()).done == 40
    assert shop.pictures == 60


ENDING = ("401", "402", "403", "404")
"""What ends a run."""

GOING_ON = (
    *("400", "429=0.1", "451", "500", "502", "503=0.1", "504", "delay=1", "drip=0.1"),
    *sorted(set(KINDS) - {"status", "delay", "drip"}),
)
"""Every other fault that the engine has."""


@pytest.mark.parametrize("faults", [ENDING, GOING_ON], ids=["those that end a run", "all others"])
async def test_five_in_a_hundred_meet_each_fault_and_in_the_end_every_picture_is_there(
    shop: Shop, faults: tuple[str, ...]
) -> None:
    shop.fail(*(f"{fault}*100000%5" for fault in faults))
    count, runs = 60, 0
    while runs == 0 or Records(shop.out).status().counts["done"] < count:
        runs += 1
        assert runs < 100
        await one_run(shop, count)
        Records(shop.out).retry()  # also those that would not be sent again by themselves
    items = list(Records(shop.out).items())
    assert count <= shop.pictures <= sum(item.maybe_billed for item in items)
    assert sum(item.billed for item in items) <= shop.pictures
    status = Records(shop.out).status()
    assert status.spent["USD"] == sum(item.billed for item in items) * shop.price
    assert runs > 2
    shop.assert_whole(count)


async def one_run(shop: Shop, count: int) -> None:
    """Ends with all lines settled, or with the error that ended it."""
    before, reason = shop.pictures, None
    batch = shop.batch(prompts(count))
    try:
        await batch.run()
    except (AuthenticationError, InsufficientBalanceError, NotFoundError, PermissionDeniedError) as error:
        reason = str(error)
    progress = batch.progress
    assert progress.stopped == reason
    assert progress.lines == count or reason
    assert progress.in_flight == 0
    assert progress.done <= shop.pictures - before
    assert Records(shop.out).status().counts["started"] == 0


# --- the folder ---------------------------------------------------------------------------------

_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _FS_IMMUTABLE = 0x80086601, 0x40086602, 0x10


@contextmanager
def sealed(folder: Path) -> Iterator[None]:
    """Nothing can be made in a folder or in those below it; for the superuser that is a flag of the file system."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    seal = _flag if os.geteuid() == 0 else _chmod
    try:
        for path in folders:
            seal(path, on=True)
        yield
    finally:
        for path in folders:
            seal(path, on=False)


def _chmod(path: Path, *, on: bool) -> None:
    path.chmod(0o555 if on else 0o755)


def _flag(path: Path, *, on: bool) -> None:
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8)))
        flags = flags | _FS_IMMUTABLE if on else flags & ~_FS_IMMUTABLE
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("l", flags))
    except OSError as error:
        pytest.skip(f"the superuser can write everywhere on this file system: {error}")
    finally:
        os.close(descriptor)


posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are of POSIX")


class Watching:
    """Does something when so many calls have come, before they are answered."""

    def __init__(self, shop: Shop, calls: int, then: Any) -> None:
        self._inner = EmbeddedTransport(shop.engine)
        self._left = calls
        self._then = then

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        self._left -= 1
        if self._left == 0:
            self._then()
        return await self._inner.send(call, progress)

    async def aclose(self) -> None:
        """Nothing to close."""


@posix
async def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_sent(shop: Shop) -> None:
    shop.out.mkdir()
    with sealed(shop.out), pytest.raises(JournalError, match="make the folder and its files writable"):
        await shop.batch(prompts(5)).run()
    assert shop.pictures == 0
    assert (await shop.batch(prompts(5)).run()).done == 5


@posix
async def test_permission_that_is_lost_ends_the_run_and_loses_no_paid_picture(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "refuge").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "refuge"))
    seal = sealed(shop.out)
    shop.transport = Watching(shop, 30, seal.__enter__)
    try:
        with pytest.raises(SaveError, match=r"not written: .*; it is in .*, and the next run takes it from there"):
            await shop.batch(prompts(100)).run()
    finally:
        seal.__exit__(None, None, None)
    bought, counts = shop.pictures, Records(shop.out).status().counts
    assert 30 <= bought < 100
    assert counts["done"] + counts["failed"] == bought
    assert 1 <= counts["failed"] <= 4
    shop.transport = EmbeddedTransport(shop.engine)
    progress = await shop.batch(prompts(100)).run()
    assert progress.adopted == counts["failed"]
    assert shop.pictures == 100
    shop.assert_whole(100)
    assert list((tmp_path / "refuge").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="there files that are open cannot be taken away")
async def test_a_folder_that_is_taken_away_ends_the_run_before_more_is_bought(shop: Shop) -> None:
    shop.transport = Watching(shop, 30, lambda: shutil.rmtree(shop.out))
    with pytest.raises(JournalError, match="is no longer there: the folder was moved"):
        await shop.batch(prompts(1000)).run()
    bought = shop.pictures
    assert bought <= 30 + 4
    shop.transport = EmbeddedTransport(shop.engine)
    progress = await shop.batch(prompts(100)).run()
    assert progress.done == 100
    assert shop.pictures == bought + 100 - progress.adopted
    shop.assert_whole(100)


# --- what no file can hold ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400])
async def test_half_a_character_in_the_servers_text_ends_no_run(shop: Shop, status: int) -> None:
    """SQLite and files hold UTF-8, which cannot say it; JSON can."""
    refused = HTTPResponse(400, {}, b'{"error": {"message": "bad \\ud800 prompt", "type": "t\\ud800"}}')
    paid = HTTPResponse(200, {}, IMAGE.body.replace(b'"success"', b'"\\ud800x"'))
    replies = iter([paid if status == 200 else refused])

    async def answer(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        return next(replies, IMAGE)

    progress = await shop.batch(prompts(3), transport=Scripted(answer), limits=Limits(1)).run()
    assert (progress.done, progress.failed) == ((3, 0) if status == 200 else (2, 1))
    first = next(iter(Records(shop.out).items()))
    assert "\\ud800" in str(first.finish_reason if status == 200 else first.message)


async def test_an_error_of_whatever_kind_while_the_journal_is_written_ends_the_run(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Journal.commit

    def commit(journal: Journal) -> None:
        if threading.current_thread().name == "stepfun-journal":  # it is opened by another one
            raise MemoryError
        real(journal)

    monkeypatch.setattr(Journal, "commit", commit)
    with pytest.raises(JournalError, match="MemoryError"):
        await shop.batch(prompts(3)).run()
