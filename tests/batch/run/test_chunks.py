"""Chunks of a batch, made by whoever runs them, once or several times, to the end or not."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import PIL.Image
import pytest

from stepfun_async import (
    AuthenticationError,
    Batch,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    Limits,
    RetryPolicy,
    SaveError,
    servers,
)
from stepfun_async.batch import Chunk, ChunkError, Records, Row, run_chunk
from stepfun_async.batch.run.claims import Claims
from stepfun_async.batch.run.remote_engine import RemoteEngine
from stepfun_async.batch.storage.folder import Folder
from stepfun_async.batch.storage.store import ImageStore, NewImage
from stepfun_async.embedded import Engine, Scenario, use
from stepfun_async.embedded.server import running

from ...support.object_store import BUCKET, ObjectStore

pytestmark = pytest.mark.anyio

KEY = "sk-of-the-environment-0123456789"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_API_KEY", KEY)


class Shop:
    """An engine with its bill, batches, and workers in threads of this process."""

    def __init__(self, out: Path) -> None:
        self.engine = Engine(plain=True)
        self.out = out
        self.chunks: list[Chunk] = []

    def fail(self, *faults: str) -> None:
        self.engine.scenario = Scenario(*faults)

    def batch(self, count: int, **settings: Any) -> Batch:
        lines = [{"prompt": f"lake {number}", "seed": number} for number in range(1, count + 1)]
        is_one_shot = RetryPolicy(max_attempts=1)
        return Batch(lines, **{"out": self.out, "base_url": "embedded", "retry": is_one_shot, **settings})

    async def submit(self, chunk: Chunk) -> Sequence[Row]:
        """As an engine of a cluster does: in another place, from a pickle."""
        self.chunks.append(chunk)
        return await anyio.to_thread.run_sync(lambda: pickle.loads(pickle.dumps(run_chunk(_travelled(chunk)))))

    @property
    def pictures(self) -> int:
        return self.engine.bill().images

    @property
    def unknown(self) -> int:
        return sum(item.maybe_billed - item.billed for item in Records(self.out).items())

    def states(self) -> Counter[str]:
        return Counter(item.state for item in Records(self.out).items())

    def assert_whole(self, pictures: int) -> None:
        """Each picture is there once, decodable, and nothing is left that was for the way alone."""
        items = [item for item in Records(self.out).items() if item.state == "done"]
        assert len(items) == len({item.path for item in items}) == pictures
        assert sorted(self.out.rglob("*.png")) == sorted(self.out / str(item.path) for item in items)
        for item in items:
            with PIL.Image.open(self.out / str(item.path)) as picture:
                picture.load()
        assert not (self.out / "sending").exists()


def _travelled(chunk: Chunk) -> Chunk:
    travelled: Chunk = pickle.loads(pickle.dumps(chunk))
    return travelled


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "out")
    with use(shop.engine):
        yield shop


async def test_every_line_becomes_a_picture_and_a_second_run_buys_nothing(shop: Shop) -> None:
    first = await shop.batch(20).run_chunks(shop.submit, chunk=6)
    assert (first.done, first.failed, first.lines, first.in_flight) == (20, 0, 20, 0)
    assert first.spent == {"USD": Decimal("0.060")}
    assert sorted(len(chunk) for chunk in shop.chunks) == [2, 6, 6, 6]
    shop.assert_whole(20)
    again = await shop.batch(20).run_chunks(shop.submit)
    assert (again.done, again.skipped, shop.pictures) == (0, 20, 20)
    assert (await shop.batch(25).run()).done == 5


def test_workers_may_be_the_processes_of_a_pool(tmp_path: Path) -> None:
    engine = Engine(plain=True)
    shop = Shop(tmp_path / "out")
    with (
        running(engine) as url,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):

        async def submit(chunk: Chunk) -> Sequence[Row]:
            return await anyio.to_thread.run_sync(pool.submit(run_chunk, chunk).result)

        assert shop.batch(5, base_url=url).run_chunks_sync(submit, chunk=2).done == 5
    shop.assert_whole(5)
    assert engine.bill().images == 5


async def test_neither_chunks_nor_rows_have_a_key_or_a_picture_in_them(shop: Shop) -> None:
    rows: list[Row] = []

    async def submit(chunk: Chunk) -> Sequence[Row]:
        assert KEY.encode() not in pickle.dumps(chunk)
        rows.extend(made := await shop.submit(chunk))
        assert KEY.encode() not in pickle.dumps(made)
        assert len(pickle.dumps(made)) < 1000 * len(made)
        return made

    await shop.batch(5).run_chunks(submit)
    assert len(rows) == 5


async def test_no_more_lines_are_in_flight_than_allowed(shop: Shop) -> None:
    at_once: list[int] = []

    async def submit(chunk: Chunk) -> Sequence[Row]:
        at_once.append(chunk.config.lines_at_once)
        return await shop.submit(chunk)

    await shop.batch(9).run_chunks(submit, chunk=3, chunks_at_once=3, max_in_flight=7)
    assert at_once == [2, 2, 2]
    await shop.batch(12).run_chunks(submit, chunk=3, chunks_at_once=3, max_in_flight=2)
    assert at_once[3:] == [1]


async def test_slots_are_taken_for_each_line_and_given_back(shop: Shop) -> None:
    class Slots(threading.BoundedSemaphore):
        taken = 0

        def acquire(self, *arguments: Any, **keywords: Any) -> bool:
            self.taken += 1
            return super().acquire(*arguments, **keywords)

    slots = Slots(2)
    shop.fail("451*1")

    async def submit(chunk: Chunk) -> Sequence[Row]:
        return await anyio.to_thread.run_sync(run_chunk, chunk, slots)

    progress = await shop.batch(9).run_chunks(submit, chunk=3, lines_at_once=3)
    assert (progress.done, progress.failed, slots.taken) == (8, 1, 9)
    assert all(slots.acquire(blocking=False) for _ in range(2))


async def test_pictures_to_edit_are_found_by_their_whole_path(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.batch(1).run()
    (picture,) = shop.out.rglob("*.png")
    (tmp_path / "cat.png").write_bytes(picture.read_bytes())
    monkeypatch.chdir(tmp_path)
    lines: list[dict[str, object]] = [
        {"image": "cat.png", "prompt": "by path"},
        {"image": Path("cat.png"), "prompt": "by a path of another kind"},
        {"image": picture.read_bytes(), "prompt": "by its bytes"},
        {"image": PIL.Image.open("cat.png"), "prompt": "by what only this process has"},
    ]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    async def submit(chunk: Chunk) -> Sequence[Row]:
        with monkeypatch.context() as patch:
            patch.chdir(elsewhere)
            return await shop.submit(chunk)

    progress = await Batch(lines, out=tmp_path / "edits", base_url="embedded").run_chunks(submit)
    assert (progress.done, progress.failed) == (4, 0)


# --- lost and run again ---------------------------------------------------------------------------


async def test_a_chunk_that_is_run_again_buys_nothing_again(shop: Shop) -> None:
    async def twice(chunk: Chunk) -> Sequence[Row]:
        await shop.submit(chunk)
        return await shop.submit(chunk)

    progress = await shop.batch(10).run_chunks(twice, chunk=5)
    assert (progress.done, shop.pictures, shop.unknown) == (10, 10, 0)
    shop.assert_whole(10)


async def test_a_chunk_that_runs_twice_at_once_buys_every_picture_once(shop: Shop) -> None:
    async def at_once(chunk: Chunk) -> Sequence[Row]:
        rows: list[Row] = []

        async def one() -> None:
            rows.extend(row for row in await shop.submit(chunk) if row.result)

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)
        return rows

    progress = await shop.batch(10).run_chunks(at_once, chunk=5)
    assert (progress.done, shop.pictures, shop.unknown) == (10, 10, 0)
    shop.assert_whole(10)


async def test_rows_that_are_lost_lose_no_picture(shop: Shop) -> None:
    async def lose(chunk: Chunk) -> Sequence[Row]:
        return (await shop.submit(chunk))[:1]

    progress = await shop.batch(10).run_chunks(lose, chunk=5)
    assert (progress.done, shop.pictures, shop.unknown) == (10, 10, 0)
    shop.assert_whole(10)


class Dying:
    """A worker that dies when it has just begun to send two lines of its first chunk; then another one takes over."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._died = False

    async def submit(self, chunk: Chunk) -> Sequence[Row]:
        if not self._died:
            self._died = True
            claims = Claims(chunk.config.folder)
            assert all(claims.acquire(line.claim) for line in chunk.lines[:2])
        return await self._shop.submit(chunk)


async def test_what_was_in_flight_is_named_and_sent_again(shop: Shop) -> None:
    budget = Budget("0.036")
    progress = await shop.batch(10, budget=budget).run_chunks(Dying(shop).submit, chunk=5)
    assert (progress.done, progress.unknown, progress.held) == (10, 0, {"USD": Decimal("0.006")})
    assert (shop.pictures, shop.unknown) == (10, 2)
    assert (budget.spent, budget.held) == (Decimal("0.030"), Decimal("0.006"))
    shop.assert_whole(10)


async def test_what_was_in_flight_is_named_with_all_attempts_that_may_be_billed(shop: Shop) -> None:
    budget = Budget("0.1")
    retry = RetryPolicy(max_attempts=3, retry_unknown=True)
    await shop.batch(10, budget=budget, retry=retry).run_chunks(Dying(shop).submit, chunk=5)
    assert (shop.pictures, shop.unknown) == (10, 6)
    assert (budget.spent, budget.held) == (Decimal("0.030"), Decimal("0.018"))
    assert Records(shop.out).status().held == {"USD": Decimal("0.018")}


async def test_what_was_in_flight_can_be_held(shop: Shop) -> None:
    progress = await shop.batch(10, hold_unknown=True).run_chunks(Dying(shop).submit, chunk=5)
    assert (progress.done, progress.unknown, shop.pictures) == (8, 2, 8)
    assert shop.states() == {"done": 8, "unknown": 2}


async def test_a_line_whose_workers_die_each_time_is_left_to_the_next_run(shop: Shop) -> None:
    sent: Counter[str] = Counter()

    async def deadly(chunk: Chunk) -> Sequence[Row]:
        claims = Claims(chunk.config.folder)
        for line in chunk.lines:
            if line.task.job.line == 1:
                sent["deadly"] += claims.acquire(line.claim)
        return await shop.submit(chunk)

    progress = await shop.batch(4).run_chunks(deadly, chunk=2)
    assert (progress.done, progress.unknown, sent["deadly"], shop.unknown) == (3, 1, 3, 3)


async def test_an_engine_that_gives_up_ends_the_run_and_nothing_is_lost(shop: Shop) -> None:
    async def fail(chunk: Chunk) -> Sequence[Row]:
        if len(shop.chunks) == 1:
            raise RuntimeError("four workers died")
        return await shop.submit(chunk)

    with pytest.raises(ChunkError, match="four workers died"):
        await shop.batch(20).run_chunks(fail, chunk=5, chunks_at_once=1)
    assert shop.states() == {"done": 5, "pending": 15}
    assert (await shop.batch(20).run_chunks(shop.submit)).done == 15
    assert shop.pictures == 20


async def test_a_run_that_was_killed_knows_what_was_sent(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def killed(*_: object) -> None:
        raise ZeroDivisionError

    async def submit(chunk: Chunk) -> Sequence[Row]:
        claims = Claims(chunk.config.folder)
        claims.acquire(chunk.lines[0].claim)
        one_more = replace(chunk, lines=chunk.lines[1:2])
        return await shop.submit(one_more)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteEngine, "_finish_chunk", killed)
        with pytest.raises(ZeroDivisionError):
            await shop.batch(10).run_chunks(submit, chunk=5, chunks_at_once=1)
    assert shop.states()["started"] == 5
    late = shop.chunks[0]
    progress = await shop.batch(10, hold_unknown=True).run()
    assert (progress.adopted, progress.done, shop.pictures) == (1, 9, 9)
    assert shop.states() == {"done": 9, "unknown": 1}
    with pytest.raises(ConfigurationError, match="is not the folder of the batch"):
        run_chunk(late)
    assert (await shop.batch(10).run()).done == 1
    shop.assert_whole(10)


# --- pictures elsewhere ---------------------------------------------------------------------------


async def test_only_the_pictures_folder_has_to_be_shared(shop: Shop, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    homes: list[Path] = []

    async def submit(chunk: Chunk) -> Sequence[Row]:
        homes.append(chunk.config.folder)
        assert not (shop.out / "sending").exists()
        return await shop.submit(chunk)

    assert (await shop.batch(6, pictures=shared).run_chunks(submit)).done == 6
    assert homes == [shared]
    assert len(list(shared.rglob("*.png"))) == 6
    assert not (shared / "sending").exists()
    assert sorted(path.suffix for path in shop.out.iterdir()) == [".lock", ".sqlite3"]


async def test_workers_write_to_a_bucket_and_what_was_in_flight_is_named(shop: Shop, bucket: ObjectStore) -> None:
    progress = await shop.batch(6, pictures=f"s3://{BUCKET}/lakes").run_chunks(Dying(shop).submit, chunk=3)
    assert (progress.done, shop.pictures, shop.unknown) == (6, 6, 2)
    assert len([name for name in bucket.names() if name.endswith(".png")]) == 6
    assert not (shop.out / "sending").exists()


async def test_a_worker_that_may_not_write_to_the_bucket_says_so(
    shop: Shop, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def submit(chunk: Chunk) -> Sequence[Row]:
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
            return await shop.submit(chunk)

    with pytest.raises(ConfigurationError, match=r"cannot work: s3://.* cannot be reached"):
        await shop.batch(2, pictures=f"s3://{BUCKET}/lakes").run_chunks(submit)
    assert (shop.states(), shop.pictures) == ({"pending": 2}, 0)


# --- stopping -------------------------------------------------------------------------------------


class Narrow:
    """Slots of which four are there until the gate opens, and pictures that are not written before that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0
        self._writing = 0
        self.full = threading.Event()
        self.gate = threading.Event()

    def acquire(self) -> None:
        with self._lock:
            self._asked += 1
            over = self._asked > 4
            self._look()
        assert not over or self.gate.wait(60)

    def release(self) -> None:
        """Nobody else gets it before the gate opens."""

    def put_all(self, store: ImageStore, images: Sequence[NewImage]) -> Any:
        with self._lock:
            self._writing += len(images)
            self._look()
        assert self.gate.wait(60)
        return _put_all(store, images)

    def _look(self) -> None:
        if (self._asked, self._writing) == (8, 4):
            self.full.set()


_put_all = ImageStore.put_all
_revoke = RemoteEngine._revoke


async def _stopped(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, stop: Callable[[Batch, anyio.CancelScope], None]
) -> Batch:
    """A batch that was told to stop with four lines in flight, and four in chunks that nobody has sent."""
    narrow = Narrow()

    def revoke(self: RemoteEngine, claims: Sequence[str]) -> None:
        _revoke(self, claims)
        narrow.gate.set()

    monkeypatch.setattr(RemoteEngine, "_revoke", revoke)
    monkeypatch.setattr(Folder, "threads", 4)  # so that all four are being written, and none waits for a thread
    monkeypatch.setattr(ImageStore, "put_all", lambda store, images: narrow.put_all(store, images))
    batch = shop.batch(20)

    async def submit(chunk: Chunk) -> Sequence[Row]:
        return await anyio.to_thread.run_sync(run_chunk, chunk, narrow, abandon_on_cancel=True)

    async with anyio.create_task_group() as group:
        group.start_soon(partial(batch.run_chunks, submit, chunk=2, chunks_at_once=4, lines_at_once=2, max_in_flight=8))
        await anyio.to_thread.run_sync(narrow.full.wait)
        stop(batch, group.cancel_scope)
    return batch


async def test_stop_lets_what_is_in_flight_end_and_takes_the_rest_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await _stopped(shop, monkeypatch, lambda batch, _: batch.stop())
    assert (batch.progress.done, batch.progress.stopped) == (4, "stop() was called")
    assert shop.states() == {"done": 4, "pending": 16}
    assert shop.pictures == 4
    assert (await shop.batch(20).run_chunks(shop.submit)).done == 16
    shop.assert_whole(20)


async def test_cancelling_enters_what_was_in_flight(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await _stopped(shop, monkeypatch, lambda _, scope: scope.cancel())
    assert shop.states() == {"done": 4, "pending": 16}
    assert shop.pictures == 4
    assert (await shop.batch(20).run()).done == 16
    shop.assert_whole(20)


# --- money ----------------------------------------------------------------------------------------


async def test_a_budget_is_never_exceeded_and_is_used_up(shop: Shop) -> None:
    shop.fail("503*2", "drop-after*1")
    budget = Budget("0.024")
    with pytest.raises(BudgetExceededError):
        await shop.batch(40, budget=budget).run_chunks(shop.submit, chunk=3)
    assert (budget.spent, budget.held) == (Decimal("0.021"), Decimal("0.003"))
    assert shop.pictures == 8
    with pytest.raises(BudgetExceededError):
        await shop.batch(40, budget=Budget("0.030")).run_chunks(shop.submit, chunk=3)
    assert shop.pictures == 10


async def test_money_is_set_aside_for_all_attempts_that_may_be_billed(shop: Shop) -> None:
    shop.fail("drop-after*100")
    again = RetryPolicy(max_attempts=3, retry_unknown=True, base=0.0)
    budget = Budget("0.012")
    with pytest.raises(BudgetExceededError):
        await shop.batch(9, budget=budget, retry=again).run_chunks(shop.submit, chunk=3)
    assert shop.pictures <= 4
    assert budget.held == Decimal("0.003") * shop.pictures


async def test_a_price_that_is_not_known_is_refused_and_nothing_stays_aside(shop: Shop) -> None:
    lines = [{"prompt": "a"}, {"prompt": "b", "model": "step-2x-large"}]
    budget = Budget("9.00", "CNY", prices={"step-image-edit-2": "1.00"})
    with pytest.raises(ConfigurationError, match="the budget is in CNY"):
        await Batch(lines, out=shop.out, base_url="embedded", budget=budget).run_chunks(shop.submit)
    assert (budget.left, shop.pictures) == (budget.limit, 0)


# --- trouble --------------------------------------------------------------------------------------


async def test_a_wrong_key_ends_the_run_and_every_line_stays_to_be_sent(shop: Shop) -> None:
    shop.fail("401*100")
    with pytest.raises(AuthenticationError):
        await shop.batch(50).run_chunks(shop.submit, chunk=5, max_in_flight=4)
    assert set(shop.states()) == {"pending"}
    assert shop.engine.bill().calls <= 4


async def test_a_full_disk_ends_the_run_and_says_where_the_picture_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("stepfun_async.batch.storage.group_write.FileWrite.write", full)
        with pytest.raises(SaveError, match=r"No space left on device.* it is in .* \(on ") as caught:
            await shop.batch(8).run_chunks(shop.submit, chunk=2, chunks_at_once=1, max_in_flight=1)
    assert caught.value.response.data[0].data is None
    assert shop.pictures == 1
    assert (await shop.batch(8).run_chunks(shop.submit)).adopted == 1
    assert shop.pictures == 8


async def test_so_many_failures_end_the_run(shop: Shop) -> None:
    shop.fail("451*100")
    progress = await shop.batch(100, max_failures=5).run_chunks(shop.submit, chunk=2)
    assert progress.failed < 5 + 8
    assert "max_failures is 5" in str(progress.stopped)


async def test_a_late_picture_of_a_worker_that_was_given_up_is_taken(shop: Shop) -> None:
    """It came after its line was entered as `unknown`, and before the line was sent again."""
    late: list[Chunk] = []

    async def submit(chunk: Chunk) -> Sequence[Row]:
        if not late:
            late.append(chunk)
            Claims(chunk.config.folder).acquire(chunk.lines[0].claim)
            return ()
        image = await _picture(shop)
        task = chunk.lines[0].task
        chunk.config.location.store().put(task.stem, image, {"fingerprint": task.job.fingerprint})
        return await shop.submit(chunk)

    progress = await shop.batch(1).run_chunks(submit)
    assert (progress.done, shop.unknown) == (1, 0)
    assert shop.pictures == 1
    shop.assert_whole(1)


async def _picture(shop: Shop) -> Any:
    from stepfun_async import AsyncClient

    async with AsyncClient(base_url="embedded") as client:
        return (await client.images.generate("lake 1")).image


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"api_key": "sk-given"}, "api_key would have to be sent"),
        ({"default_headers": {"X-Key": "a"}, "proxy": "http://u:p@127.0.0.1:1"}, "default_headers, proxy would"),
        ({"limits": Limits(requests_per_minute=9)}, "requests_per_minute=9 would hold in each worker"),
    ],
)
async def test_what_cannot_go_to_workers_is_refused(shop: Shop, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        await shop.batch(1, **settings).run_chunks(shop.submit)
    assert "sk-given" not in str(caught.value)
    assert not shop.chunks


@pytest.mark.parametrize(
    "numbers", [{"chunk": 0}, {"chunk": 257}, {"chunks_at_once": True}, {"max_in_flight": 0}, {"lines_at_once": 1.5}]
)
async def test_numbers_that_cannot_be_right_are_refused(shop: Shop, numbers: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(numbers))):
        await shop.batch(1).run_chunks(shop.submit, **numbers)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.0.1"}, r"it has stepfun-async \S+, and the batch runs with 0\.0\.1"),
        ({"folder": Path("/nowhere/at/all")}, "is not the folder of the batch there; it has to be shared"),
        ({"run": "another"}, "another run is using"),
        (
            {"base_url": "https://api.stepfun.ai/v1", "server": servers("stepfun")},
            "no API key.*from its own environment",
        ),
    ],
)
async def test_a_worker_that_cannot_work_says_why_and_sends_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.delenv("STEP_API_KEY")

    async def submit(chunk: Chunk) -> Sequence[Row]:
        return await shop.submit(replace(chunk, config=replace(chunk.config, **changes)))

    with pytest.raises(ConfigurationError, match=said):
        await shop.batch(5).run_chunks(submit)
    assert (shop.states(), shop.pictures) == ({"pending": 5}, 0)


async def test_a_worker_that_lacks_a_picture_to_edit_says_so(shop: Shop, tmp_path: Path) -> None:
    await shop.batch(1).run()
    (picture,) = shop.out.rglob("*.png")
    cat = tmp_path / "cat.png"
    cat.write_bytes(picture.read_bytes())

    async def submit(chunk: Chunk) -> Sequence[Row]:
        cat.unlink()
        return await shop.submit(chunk)

    with pytest.raises(ConfigurationError, match="its image may be missing"):
        await Batch([{"image": cat, "prompt": "night"}], out=tmp_path / "edits", base_url="embedded").run_chunks(submit)
    assert Records(tmp_path / "edits").status().counts["pending"] == 1
