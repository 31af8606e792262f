"""A batch makes each picture once, whatever ends it, and says what it did."""

from __future__ import annotations

import errno
import json
import sqlite3
import sys
import tarfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepfun_async import (
    AuthenticationError,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    ImageEdit,
    InvalidRequestError,
    Limits,
    SaveError,
    TextToImage,
)
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async.batch import JournalError, Records
from stepfun_async.batch.journal.database import JOURNAL
from stepfun_async.batch.journal.journal import Journal
from stepfun_async.embedded import EmbeddedTransport, Engine

from ..support.terminal import Terminal
from .shop import Shop, prompts

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "out")


async def test_every_line_becomes_a_picture_and_a_second_run_buys_nothing(shop: Shop) -> None:
    first = await shop.batch(prompts(20)).run()
    assert (first.done, first.failed, first.lines, first.stopped) == (20, 0, 20, None)
    assert first.spent == {"USD": Decimal("0.060")}
    shop.assert_whole(20)
    again = await shop.batch(prompts(20)).run()
    assert (again.done, again.skipped, shop.pictures) == (0, 20, 20)


async def test_what_was_added_is_made_and_nothing_else(shop: Shop) -> None:
    await shop.batch(prompts(5)).run()
    progress = await shop.batch(prompts(8)).run()
    assert (progress.done, progress.skipped, shop.pictures) == (3, 5, 8)


async def test_equal_lines_are_as_many_pictures(shop: Shop) -> None:
    await shop.batch([{"prompt": "a lake"}] * 3).run()
    shop.assert_whole(3)
    ids = [item.id for item in Records(shop.out).items()]
    assert ids[1:] == [f"{ids[0]}-2", f"{ids[0]}-3"]


async def test_a_note_beside_the_picture_says_how_to_make_it_again(shop: Shop) -> None:
    await shop.batch([{"id": "cat/1", "prompt": "a cat", "size": "16:9"}], name="pictures/{id}").run()
    item = next(iter(Records(shop.out).items()))
    assert item.path is not None
    assert item.path.startswith("pictures/cat1~")
    note = json.loads((shop.out / item.path).with_suffix(".json").read_text())
    assert note["request"] == {
        "operation": "text_to_image",
        "model": "step-image-edit-2",
        "prompt": "a cat",
        "size": "16:9",
        "response_format": "b64_json",
    }
    assert (note["seed"], note["fingerprint"], note["sha256"]) == (item.seed, item.fingerprint, item.sha256)


async def test_pictures_are_edited_by_path_and_by_value(shop: Shop, tmp_path: Path) -> None:
    await shop.batch(prompts(1)).run()
    (picture,) = shop.files()
    (tmp_path / "cat.png").write_bytes(picture.read_bytes())
    file = tmp_path / "edits.jsonl"
    file.write_text('{"image": "cat.png", "prompt": "night"}\n{"image": "missing.png", "prompt": "night"}\n')
    progress = await shop.batch(file, out=tmp_path / "edits").run()
    assert (progress.done, progress.failed) == (1, 1)
    value = ImageEdit(image=picture, prompt="day")
    assert (await shop.batch([value], out=tmp_path / "more").run()).done == 1


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "state", "again", "bought"),
    [
        ("filtered", "ContentFilteredError", "failed", False, 1),
        ("451", "ContentRejectedError", "failed", False, 0),
        ("400", "BadRequestError", "failed", False, 0),
        ("429", "RateLimitError", "failed", True, 0),
        ("503", "InternalServerError", "failed", True, 0),
        ("500", "InternalServerError", "unknown", True, 0),
        ("drop-before", "APIConnectionError", "unknown", True, 0),
        ("drop-after", "APIConnectionError", "unknown", True, 1),
        ("bad-json", "MalformedResponseError", "unknown", True, 1),
        ("truncated", "APIConnectionError", "unknown", True, 1),
        ("envoy-503", "InternalServerError", "unknown", True, 1),
        ("varnish-503=0.001", "InternalServerError", "unknown", True, 1),
        ("litellm-408", "APIStatusError", "unknown", True, 1),
        ("error-in-200", "MalformedResponseError", "unknown", True, 0),
        ("mid-upload", "APIStatusError", "failed", True, 0),
    ],
)
async def test_a_failed_line_ends_nothing_and_is_sent_again_where_that_may_help(
    shop: Shop, fault: str, error: str, state: str, again: bool, bought: int
) -> None:
    shop.fail(fault)
    progress = await shop.batch(prompts(6)).run()
    assert progress.done == 5
    assert shop.pictures == 5 + bought
    (item,) = [item for item in Records(shop.out).items() if item.state != "done"]
    assert (item.error, item.state) == (error, state)
    assert item.maybe_billed == (state == "unknown") + (fault == "filtered")
    second = await shop.batch(prompts(6)).run()
    assert second.done == again
    assert shop.pictures == 5 + bought + again


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("envoy-503", "connection termination (from envoy); it may have been billed"),
        ("litellm-408", "LiteLLM, which responded, resends requests by itself"),
        ("error-in-200", "no image in it: the scenario of the embedded engine says error-in-200"),
        ("accepted", "202, accepted as the task 'embedded-task'"),
        ("empty", "perhaps the content filter withheld it"),
    ],
)
async def test_the_reason_of_a_failure_is_in_the_journal_and_the_manifest(shop: Shop, fault: str, said: str) -> None:
    shop.fail(fault)
    await shop.batch(prompts(2)).run()
    records = Records(shop.out)
    (item,) = [item for item in records.items() if item.state != "done"]
    assert said in (item.message or "")
    manifest = Path(records.write_manifest()).read_text(encoding="utf-8")
    assert said in "".join(json.loads(line)["message"] or "" for line in manifest.splitlines())


async def test_what_may_have_been_billed_can_be_held(shop: Shop) -> None:
    shop.fail("drop-after")
    await shop.batch(prompts(3)).run()
    held = await shop.batch(prompts(3), hold_unknown=True).run()
    assert (held.done, held.skipped, shop.pictures) == (0, 3, 3)
    status = Records(shop.out).status()
    assert status.held == {"USD": Decimal("0.003")}
    assert (await shop.batch(prompts(3)).run()).done == 1


async def test_final_failures_are_sent_again_when_asked_by_class(shop: Shop) -> None:
    shop.fail("filtered", "451")
    batch = shop.batch(prompts(4))
    await batch.run()
    assert batch.retry(["ContentFilteredError"]) == 1
    assert (await batch.run()).done == 1
    assert batch.status().failures == {"ContentRejectedError": 1}


async def test_bad_lines_fail_with_their_problems_and_the_others_go_on(shop: Shop) -> None:
    progress = await shop.batch([{"promt": "a"}, {"prompt": "b"}, 7]).run()
    assert (progress.done, progress.failed, shop.pictures) == (1, 2, 1)
    assert "Did you mean 'prompt'?" in str(next(iter(Records(shop.out).items())).message)


async def test_progress_and_status_say_why_lines_failed(shop: Shop) -> None:
    lines = [{"prompt": "a", "steps": 99}, *[{"id": f"cat-{n}", "prompt": "b", "seed": -1} for n in range(5)]]
    progress = await shop.batch(lines).run()
    for reasons in (progress.reasons, Records(shop.out).status().reasons):
        common, rare = reasons
        assert (common.error, common.count) == ("InvalidRequestError", 5)
        assert common.reason.startswith("seed: got -1; allowed: ")
        assert [(line.line, line.id) for line in common.first] == [(2, "cat-0"), (3, "cat-1"), (4, "cat-2")]
        assert [str(line) for line in rare.first] == [f"line 1: {rare.reason}"]


async def test_progress_is_shown_when_asked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    await shop.batch(prompts(4)).run()
    assert terminal.lines == []
    shop.fail("451")
    await shop.batch(prompts(9), limit=8).run(progress=True)
    (said,) = terminal.lines
    assert said.startswith("8 of 8 (100 %) \N{MIDDLE DOT} 1 failed \N{MIDDLE DOT} ")
    assert said.endswith(" \N{MIDDLE DOT} 0.009 USD")


def test_progress_is_shown_without_a_loop_and_for_inputs_that_are_read_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    shop.batch(iter(prompts(3))).run_sync(progress=True)
    assert terminal.lines[0].startswith("3 of 3 (100 %)")


async def test_reasons_without_number_cost_no_memory(shop: Shop) -> None:
    progress = await shop.batch([{"prompt": "a", "steps": 100 + n} for n in range(150)]).run()
    assert len(progress.reasons) == 101
    assert progress.reasons[0].reason == "other reasons"
    assert sum(why.count for why in progress.reasons) == 150


@pytest.mark.parametrize(
    ("model", "defaults", "said"),
    [
        (None, {"sise": "16:9"}, "Did you mean 'size'?"),
        (None, {"steps": 500}, "Did you mean 50?"),
        (None, {"size": "7:1"}, "no size of this model has that ratio"),
        (None, {"width": 1360}, "width and height in pixels, both"),
        (None, {"operation": "edt"}, "Did you mean 'edit'?"),
        ("step-image-edit-2", {"steps": 99}, "Did you mean 50?"),
        ("step-2x-large", {"negative_prompt": "fog"}, "step-2x-large has no negative_prompt"),
        ("step-2x-lrge", {}, "Did you mean 'step-2x-large'?"),
    ],
)
async def test_defaults_that_are_right_for_no_line_end_it_before_the_first(
    shop: Shop, model: str | None, defaults: dict[str, Any], said: str
) -> None:
    batch = shop.batch(prompts(3), model=model, defaults=defaults)
    for judged in (batch.check, batch.run):
        with pytest.raises(InvalidRequestError) as caught:
            await judged()
        assert said in str(caught.value)
    assert not shop.out.exists()


@pytest.mark.parametrize("defaults", [{"steps": 99}, {"width": 1360, "height": 768}, {"source_weight": 0.5}])
async def test_defaults_that_some_line_can_have_are_left_to_the_lines(shop: Shop, defaults: dict[str, Any]) -> None:
    assert (await shop.batch(prompts(2), defaults=defaults).check()).lines == 2


async def test_a_limit_reads_the_first_lines_alone(shop: Shop) -> None:
    def endless() -> Iterator[str]:
        yield "a lake"
        yield "a fox"
        raise AssertionError("read on")

    progress = await shop.batch(endless(), limit=2).run()
    assert (progress.done, progress.lines) == (2, None)
    assert (await shop.batch(["a lake", "a fox", "a cat"], limit=2).check()).lines == 2


async def test_variations_have_seeds_and_lines_of_their_own_and_none_is_bought_twice(shop: Shop) -> None:
    lines = [{"prompt": "a lake", "id": "lake", "seed": 5}, {"prompt": "a fox"}, {"prompt": "a fox", "seed": 7}]
    varied: dict[str, Any] = {"variations": 3, "limits": Limits(max_concurrency=1)}
    checked = await shop.batch(lines, **varied).check()
    assert (checked.lines, checked.bad, checked.price) == (9, 0, {"USD": Decimal("0.027")})
    assert (await shop.batch(iter(lines), **varied, limit=1).run()).done == 3
    shop.fail("401")  # which ends the run
    with pytest.raises(AuthenticationError):
        await shop.batch(iter(lines), **varied).run()
    progress = await shop.batch(iter(lines), **varied).run()
    assert (progress.done, progress.skipped, progress.lines, shop.pictures) == (6, 3, 9, 9)
    shop.assert_whole(9)
    items = list(Records(shop.out).items())
    assert [item.line for item in items] == list(range(1, 10))
    assert [item.id for item in items[:3]] == ["lake", "lake-v2", "lake-v3"]
    assert [item.request.get("seed") for item in items] == [5, 6, 7, None, None, None, 7, 8, 9]
    assert len({item.sha256 for item in items}) == 9
    assert None not in {item.seed for item in items}


async def test_readable_names_are_kept_by_later_runs_even_without_the_journal(shop: Shop) -> None:
    lines = ["A serene alpine lake", "\u96ea\u4e2d\u7684\u7ea2\u72d0", "A serene alpine lake"]
    for found in (0, 3):
        progress = await shop.batch(lines, name="readable").run()
        assert (progress.done, progress.adopted, shop.pictures) == (3, found, 3)
        names = ["0001-a-serene-alpine-lake.png", "0002-\u96ea\u4e2d\u7684\u7ea2\u72d0.png"]
        assert [item.path for item in Records(shop.out).items()] == [*names, "0003-a-serene-alpine-lake.png"]
        for journal in shop.out.glob("journal*"):
            journal.unlink()


async def test_another_number_of_variations_keeps_what_was_bought(shop: Shop) -> None:
    lines = [{"prompt": "a lake", "seed": 5}] * 2
    await shop.batch(lines).run()
    with pytest.raises(JournalError, match="variations was 1, and is 3"):
        await shop.batch(lines, variations=3).run()
    await shop.batch(lines, variations=3, accept_changes=True).run()
    assert (shop.pictures, Records(shop.out).status().counts["done"], Records(shop.out).status().removed) == (6, 6, 0)


async def test_a_bad_line_is_reported_once_whatever_the_number_of_its_variations(shop: Shop) -> None:
    largest = 2**31 - 1
    bad = [{"prompt": ""}, {"prompt": "a fox", "seed": largest - 1}, {"prompt": "a cat", "seed": 7}]
    varied: dict[str, Any] = {"variations": 3}
    checked = await shop.batch(bad, **varied).check()
    assert (checked.lines, checked.bad) == (7, 2)
    assert [line.line for line in checked.bad_lines] == [1, 6]  # the seed of the second line counts up twice
    progress = await shop.batch(bad, **varied).run()
    assert (progress.done, progress.failed, progress.lines) == (5, 2, 7)
    progress = await shop.batch(bad, **varied).run()
    assert (progress.failed, progress.skipped, progress.lines) == (0, 7, 7)
    good = [{"prompt": "a lake"}, *bad[1:]]
    progress = await shop.batch(good, **varied).run()
    assert (progress.done, progress.skipped, shop.pictures) == (3, 6, 8)
    await shop.batch(bad, **varied, accept_changes=True).run()
    progress = await shop.batch(good, **varied, accept_changes=True).run()
    assert (progress.lines, shop.pictures) == (9, 8), "images of a line that was bad for a while are bought once"


@pytest.mark.parametrize("variations", [0, 257, True, 2.0])
def test_variations_are_a_number_of_images(shop: Shop, variations: Any) -> None:
    with pytest.raises(ConfigurationError, match="variations is a whole number from 1 to 256"):
        shop.batch(prompts(1), variations=variations)


async def test_so_many_failures_end_the_run(shop: Shop) -> None:
    shop.fail("451*1000")
    progress = await shop.batch(prompts(1000), max_failures=5).run()
    assert 5 <= progress.failed < 5 + 4
    assert "max_failures is 5" in str(progress.stopped)
    assert progress.lines is None


async def test_a_wrong_key_ends_the_run_and_every_line_stays_to_be_sent(shop: Shop) -> None:
    shop.fail("401*100")
    with pytest.raises(AuthenticationError):
        await shop.batch(prompts(50)).run()
    assert set(shop.states()) == {"pending"}
    assert shop.engine.bill().calls <= 4
    shop.fail()
    assert (await shop.batch(prompts(50)).run()).done == 50


async def test_a_budget_is_for_all_runs_together(shop: Shop) -> None:
    shop.fail("drop-after")
    with pytest.raises(BudgetExceededError):
        await shop.batch(prompts(20), budget=Budget("0.015")).run()
    assert shop.pictures == 5
    with pytest.raises(BudgetExceededError):
        await shop.batch(prompts(20), budget=Budget("0.015")).run()
    assert shop.pictures == 5
    budget = Budget("0.030")
    for _ in range(2):
        with pytest.raises(BudgetExceededError):
            await shop.batch(prompts(20), budget=budget).run()
    assert shop.pictures == 10
    assert (budget.spent, budget.held) == (Decimal("0.027"), Decimal("0.003"))
    await shop.batch(prompts(20)).run()
    shop.assert_whole(20)


# --- stopping -----------------------------------------------------------------------------------


class Gated:
    """Lets calls through to an engine one signal at a time, and says when they have come."""

    def __init__(self, engine: Engine) -> None:
        self._inner = EmbeddedTransport(engine)
        self.gate = anyio.Event()
        self.waiting = 0
        self.came = anyio.Event()

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        progress.mark_sent()
        self.waiting += 1
        if self.waiting == 4:
            self.came.set()
        await self.gate.wait()
        return await self._inner.send(call, progress)

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_stop_lets_what_is_in_flight_end(shop: Shop) -> None:
    shop.transport = gated = Gated(shop.engine)
    batch = shop.batch(prompts(50))
    async with anyio.create_task_group() as group:
        group.start_soon(batch.run)
        await gated.came.wait()
        batch.stop()
        gated.gate.set()
    assert (batch.progress.done, batch.progress.stopped) == (4, "stop() was called")
    assert shop.states() == {"done": 4, "pending": 46}
    shop.transport = EmbeddedTransport(shop.engine)
    await shop.batch(prompts(50)).run()
    shop.assert_whole(50)
    assert shop.pictures == 50


async def test_a_cancelled_run_says_what_may_have_been_billed(shop: Shop) -> None:
    shop.transport = gated = Gated(shop.engine)
    batch = shop.batch(prompts(50))
    async with anyio.create_task_group() as group:
        group.start_soon(batch.run)
        await gated.came.wait()
        group.cancel_scope.cancel()
    assert shop.states() == {"unknown": 4, "pending": 46}
    assert Records(shop.out).status().failures == {"Interrupted": 4}
    shop.transport = EmbeddedTransport(shop.engine)
    await shop.batch(prompts(50)).run()
    shop.assert_whole(50)


async def test_a_picture_that_came_is_kept_though_the_run_is_cancelled(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = anyio.Event()

    async def slow(self: EmbeddedTransport, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        reply = await original(self, call, progress)
        started.set()
        with anyio.CancelScope(shield=True):  # the answer is there by the time the run is cancelled
            await anyio.lowlevel.checkpoint()
        return reply

    original = EmbeddedTransport.send
    monkeypatch.setattr(EmbeddedTransport, "send", slow)
    async with anyio.create_task_group() as group:
        group.start_soon(shop.batch(prompts(1)).run)
        await started.wait()
        group.cancel_scope.cancel()
    states = shop.states()
    assert states in ({"done": 1}, {"unknown": 1})
    assert shop.pictures == 1
    await shop.batch(prompts(1)).run()
    assert shop.pictures == (1 if states == {"done": 1} else 2)


async def test_stop_ends_a_wait_for_somebodys_async_iterable(shop: Shop) -> None:
    asked = anyio.Event()

    async def endless() -> AsyncIterator[dict[str, object]]:
        yield {"prompt": "a"}
        asked.set()
        await anyio.sleep_forever()

    batch = shop.batch(endless())
    async with anyio.create_task_group() as group:
        group.start_soon(batch.run)
        await asked.wait()
        batch.stop()
    assert batch.progress.done == 1


async def test_an_error_of_the_inputs_ends_the_run_after_what_was_begun(shop: Shop) -> None:
    def broken() -> Iterator[dict[str, object]]:
        yield from prompts(300)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await shop.batch(broken()).run()
    assert shop.states()["done"] >= 0
    assert shop.states()["started"] == 0


async def test_inputs_without_end_are_read_as_they_are_needed(shop: Shop) -> None:
    taken = 0

    def endless() -> Iterator[dict[str, object]]:
        nonlocal taken
        while True:
            taken += 1
            yield {"prompt": f"lake {taken}"}

    batch = shop.batch(endless())
    async with batch.running() as items:
        async for _ in items:
            if batch.progress.done >= 10:
                break
    assert taken <= batch.progress.done + 4 + 256 + 128
    assert Records(shop.out).status().counts["done"] >= 10


# --- reading while it runs ----------------------------------------------------------------------


async def test_items_come_as_their_lines_end(shop: Shop) -> None:
    shop.fail("451")
    async with shop.batch(prompts(9)).running() as items:
        seen = [item async for item in items]
    assert Counter(item.state for item in seen) == {"done": 8, "failed": 1}
    assert {item.line for item in seen} == set(range(1, 10))


async def test_what_a_reader_raises_comes_out_as_it_is_and_loses_nothing(shop: Shop) -> None:
    async def read() -> None:
        async with shop.batch(prompts(30)).running() as items:
            async for _ in items:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read()
    assert set(shop.states()) <= {"done", "pending"}
    assert shop.states()["done"] == shop.pictures


async def test_what_ends_a_run_is_raised_at_the_end_of_the_block(shop: Shop) -> None:
    async def read() -> None:
        async with shop.batch(prompts(3)).running() as items:
            async for _ in items:
                pass

    shop.fail("401*9")
    with pytest.raises(AuthenticationError):
        await read()


async def test_a_batch_runs_without_a_loop_and_beside_one(shop: Shop) -> None:
    assert shop.batch(prompts(2)).run_sync().done == 2
    assert (await anyio.to_thread.run_sync(shop.batch(prompts(3)).run_sync)).done == 1
    assert shop.batch(prompts(2)).check_sync().lines == 2


# --- trouble with the disk ----------------------------------------------------------------------


async def test_a_full_disk_ends_the_run_and_no_paid_picture_is_lost(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("stepfun_async.batch.storage.group_write.FileWrite.write", full)
        with pytest.raises(SaveError, match=r"No space left on device.* it is in "):
            await shop.batch(prompts(20)).run()
    bought = shop.pictures
    assert 1 <= bought <= 4
    assert shop.states()["failed"] == bought
    progress = await shop.batch(prompts(20)).run()
    assert (progress.adopted, progress.done, progress.skipped, progress.lines) == (bought, 20, 0, 20)
    shop.assert_whole(20)
    assert shop.pictures == 20
    assert list(tmp_path.glob("*.png")) == []


async def test_a_journal_that_cannot_be_written_ends_the_run_and_its_pictures_are_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "end", full)
        with pytest.raises(JournalError, match=r"database or disk is full.*nothing that was committed is lost"):
            await shop.batch(prompts(20)).run()
    bought = shop.pictures
    assert 1 <= bought <= 4
    progress = await shop.batch(prompts(20)).run()
    assert (progress.adopted, progress.done, progress.skipped, progress.lines) == (bought, 20, 0, 20)
    shop.assert_whole(20)
    assert shop.pictures == 20


async def test_pictures_are_found_again_when_the_journal_is_gone(shop: Shop) -> None:
    lines = [*prompts(5), {"id": "cat", "prompt": "a cat"}]
    await shop.batch(lines).run()
    before = [(item.id, item.sha256, item.seed) for item in Records(shop.out).items()]
    for path in shop.out.glob(f"{JOURNAL}*"):
        path.unlink()
    progress = await shop.batch(lines).run()
    assert (progress.adopted, shop.pictures) == (6, 6)
    assert [(item.id, item.sha256, item.seed) for item in Records(shop.out).items()] == before


async def test_somebody_elses_file_is_neither_taken_nor_replaced(shop: Shop) -> None:
    await shop.batch(prompts(1)).run()
    (picture,) = shop.files()
    (shop.out / "cat.png").write_bytes(picture.read_bytes())
    await shop.batch([{"id": "cat", "prompt": "a cat"}], name="{id}", accept_changes=True).run()
    assert shop.pictures == 2
    assert (shop.out / "cat~2.png").is_file()


async def test_verify_finds_pictures_that_are_gone_or_changed(shop: Shop) -> None:
    batch = shop.batch(prompts(4), verify=True)
    await batch.run()
    gone, changed, *_ = shop.files()
    gone.unlink()
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    progress = await batch.run()
    assert (progress.done, shop.pictures) == (0, 4)
    assert batch.status().failures == {"OutputLostError": 2}
    assert batch.retry(["OutputLostError"]) == 2
    assert (await batch.run()).done == 2
    assert shop.pictures == 6


# --- settings and inputs that change ------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "step-2x-large"}, "step-2x-large"),
        ({"defaults": {"steps": 9}}, "'steps': 9"),
        ({"name": "{id}"}, "{id}"),
    ],
)
async def test_other_settings_are_told_and_mixed_only_when_accepted(
    shop: Shop, change: dict[str, Any], named: str
) -> None:
    await shop.batch(prompts(3)).run()
    with pytest.raises(JournalError, match="other settings") as caught:
        await shop.batch(prompts(3), **change).run()
    assert named in str(caught.value)
    assert shop.pictures == 3
    await shop.batch(prompts(3), accept_changes=True, **change).run()
    assert shop.pictures == (3 if "name" in change else 6)


async def test_another_server_is_told(shop: Shop) -> None:
    await shop.batch(prompts(1)).run()
    with pytest.raises(JournalError, match=r"server was 'embedded', and is 'https://api\.stepfun\.ai/v1'"):
        await shop.batch(prompts(1), base_url="https://api.stepfun.ai/v1", api_key="sk-test", transport=None).run()


async def test_a_changed_line_is_told_before_it_is_sent(shop: Shop) -> None:
    await shop.batch(prompts(3)).run()
    lines = [*prompts(2), {"prompt": "a fox"}]
    with pytest.raises(JournalError, match="line 3 of the inputs"):
        await shop.batch(lines).run()
    assert shop.pictures == 3
    await shop.batch(lines, accept_changes=True).run()
    assert (shop.pictures, Records(shop.out).status().removed) == (4, 1)


async def test_a_second_run_at_once_is_refused(shop: Shop) -> None:
    shop.transport = gated = Gated(shop.engine)
    batch = shop.batch(prompts(4))
    async with anyio.create_task_group() as group:
        group.start_soon(batch.run)
        await gated.came.wait()
        with pytest.raises(JournalError, match="being run by process"):
            await shop.batch(prompts(4)).run()
        gated.gate.set()
    shop.assert_whole(4)


async def test_inputs_that_can_be_read_once_are_not_used_up_by_mistake(shop: Shop) -> None:
    batch = shop.batch(iter(prompts(2)))
    with pytest.raises(ConfigurationError, match="check would use"):
        await batch.check()
    assert (await shop.batch(iter(prompts(2))).run()).done == 2
    used = shop.batch(iter(prompts(2)))
    await used.run()
    with pytest.raises(ConfigurationError, match="used up"):
        await used.run()


# --- checking and exporting ---------------------------------------------------------------------


async def test_check_tells_every_bad_line_the_price_and_the_time(shop: Shop) -> None:
    lines = [*prompts(41), {"promt": "a", "steps": 0}, TextToImage(prompt="b"), {"prompt": "c", "id": 1}]
    batch = shop.batch([*lines, {"prompt": "d", "id": 1}], limits=Limits(requests_per_minute=20))
    checked = await batch.check()
    assert (checked.lines, checked.bad, checked.unpriced) == (45, 2, 0)
    assert [line.line for line in checked.bad_lines] == [42, 45]
    assert {problem.field for problem in checked.bad_lines[0].problems} == {"prompt", "promt", "steps"}
    assert checked.price == {"USD": Decimal("0.129")}
    assert checked.seconds == 120.0
    assert not shop.out.exists()
    assert shop.pictures == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"defaults": 3},
        {"defaults": {"id": "a"}},
        {"max_failures": 0},
        {"max_failures": True},
        {"name": "{nothing}"},
    ],
)
async def test_settings_that_cannot_be_right_are_refused(shop: Shop, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        shop.batch(prompts(1), **settings)


async def test_a_manifest_has_a_line_of_json_for_each(shop: Shop) -> None:
    shop.fail("451")
    await shop.batch(prompts(3)).run()
    rows = [json.loads(line) for line in Path(Records(shop.out).write_manifest()).read_text().splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert Counter(row["state"] for row in rows) == {"done": 2, "failed": 1}
    assert rows[0]["price"] == {"amount": "0.003", "currency": "USD"}


async def test_pictures_are_packed_as_webdataset_reads_them(shop: Shop, tmp_path: Path) -> None:
    shop.fail("451")
    await shop.batch(prompts(6)).run()
    shards = Records(shop.out).pack(tmp_path / "shards", shard_size=1)
    assert [path.name for path in shards] == [f"0000{number}.tar" for number in range(5)]
    (whole,) = Records(shop.out).pack(tmp_path / "one")
    assert whole.stat().st_size > sum(path.stat().st_size for path in shop.files())
    names: list[str] = []
    for path in shards:
        with tarfile.open(path) as shard:
            names += shard.getnames()
    assert len(names) == len(set(names)) == 15
    assert Counter(name.partition(".")[2] for name in names) == {"png": 5, "txt": 5, "json": 5}
    shop.assert_whole(5)
    with pytest.raises(ConfigurationError, match="shards"):
        Records(shop.out).pack(tmp_path / "shards")


async def test_a_disk_that_takes_neither_picture_nor_journal_loses_no_paid_picture(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_too(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("stepfun_async.batch.storage.group_write.FileWrite.write", full)
        patch.setattr(Journal, "end", full_too)
        for _ in range(2):
            with pytest.raises(JournalError, match="cannot be used"):
                await shop.batch(prompts(20)).run()
    bought = shop.pictures
    assert 1 <= bought <= 4
    assert (await shop.batch(prompts(20)).run()).adopted == bought
    shop.assert_whole(20)
    assert shop.pictures == 20
    assert list(tmp_path.glob("*.png")) == []
