"""What a batch says that it has cost, over all of its runs, is what was bought at the price of its time."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Context, Decimal, Inexact, localcontext
from pathlib import Path
from typing import Any

import pytest

from stepfun_async import Budget, BudgetExceededError, ConfigurationError, RetryPolicy, SaveError
from stepfun_async.batch import Item, JournalError, Records, StorageError
from stepfun_async.batch.journal.journal import Journal
from stepfun_async.batch.run.recovery import recover
from stepfun_async.batch.storage.folder import Folder
from stepfun_async.batch.storage.store import ImageStore

from .shop import Shop, prompts

pytestmark = pytest.mark.anyio

DEAR, CHEAP = "step-2x-large", "step-image-edit-2"
ELSEWHERE: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1", "api_key": "any-key-1234"}
"""A server whose prices are not known."""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "out")


async def run(shop: Shop, *lines: dict[str, object], **settings: Any) -> Any:
    return await shop.batch(lines, accept_changes=True, **settings).run()


def told(shop: Shop) -> Decimal:
    """All that is said of money, which items and status say alike."""
    status, items = Records(shop.out).status(), list(Records(shop.out).items())
    for name in ("spent", "held"):
        of_items = sum((Decimal(getattr(item, name).get("USD", 0)) for item in items), Decimal(0))
        assert of_items == getattr(status, name).get("USD", 0)
    return sum((*status.spent.values(), *status.held.values()), Decimal(0))


def bill(shop: Shop) -> Decimal:
    return sum(shop.engine.bill().spent.values(), Decimal(0))


def by_line(shop: Shop) -> dict[int | None, Item]:
    return {item.line: item for item in Records(shop.out).items()}


# --- lines that change --------------------------------------------------------------------------


async def test_a_line_that_is_changed_back_counts_once(shop: Shop) -> None:
    for prompt in "aba":
        await run(shop, {"id": "x", "prompt": prompt, "seed": 1})
        assert told(shop) == bill(shop)
    assert shop.pictures == 2
    now, before = by_line(shop)[1], by_line(shop)[None]
    assert (now.request["prompt"], before.request["prompt"]) == ("a", "b")
    assert (now.state, before.state) == ("done", "done")
    shop.assert_whole(2)


async def test_a_line_of_another_model_keeps_what_the_one_before_has_cost(shop: Shop) -> None:
    shop.fail("drop-after")
    for model in (DEAR, DEAR, CHEAP):
        await run(shop, {"id": "x", "prompt": "a", "model": model})
    assert told(shop) == bill(shop) == Decimal("0.043")
    assert Records(shop.out).status().held == {"USD": Decimal("0.02")}
    budget = Budget("0.046")
    with pytest.raises(BudgetExceededError):
        await run(shop, {"id": "x", "prompt": "a"}, *prompts(9), budget=budget)
    assert bill(shop) == budget.spent + budget.held == Decimal("0.046")


async def test_a_price_that_changes_holds_for_what_is_bought_from_then_on(shop: Shop) -> None:
    shop.fail("drop-after*2")
    for price in ("0.01", "0.05", "0.02"):
        await run(shop, {"id": "x", "prompt": "a"}, budget=Budget("1", prices={CHEAP: price}))
    status = Records(shop.out).status()
    assert (status.spent, status.held) == ({"USD": Decimal("0.02")}, {"USD": Decimal("0.06")})


async def test_a_line_that_becomes_the_equal_of_a_later_one_takes_nothing_from_it(shop: Shop) -> None:
    await run(shop, {"prompt": "a fox", "steps": 999}, {"prompt": "a fox"}, {"prompt": "a lake"})
    progress = await run(shop, {"prompt": "a fox"}, {"prompt": "a fox"}, {"prompt": "a lake"})
    assert (progress.done, progress.skipped, progress.lines, shop.pictures) == (1, 2, 3, 3)
    assert {line: item.request["prompt"] for line, item in by_line(shop).items()} == {
        1: "a fox",
        2: "a fox",
        3: "a lake",
    }
    shop.assert_whole(3)


async def test_somebodys_id_that_looks_like_one_of_ours_takes_no_line(shop: Shop) -> None:
    await run(shop, {"prompt": "a"})
    (first,) = Records(shop.out).items()
    lines: list[dict[str, object]] = [
        {"id": f"{first.id}-2", "prompt": "a"},
        {"prompt": "a"},
        {"prompt": "a"},
        {"id": "line-5", "prompt": "b"},
    ]
    progress = await run(shop, *lines, {"steps": 999})
    assert (progress.lines, sorted(filter(None, by_line(shop)))) == (5, [1, 2, 3, 4, 5])
    assert {line: item.state for line, item in by_line(shop).items() if line} == {
        1: "done",
        2: "done",
        3: "done",
        4: "done",
        5: "failed",
    }
    assert told(shop) == bill(shop)


async def test_a_line_without_an_id_keeps_its_picture_when_its_equal_has_one(shop: Shop) -> None:
    await run(shop, {"prompt": "a"})
    progress = await run(shop, {"id": "x", "prompt": "a"}, {"prompt": "a"})
    assert (progress.done, progress.skipped, shop.pictures) == (1, 1, 2)


async def test_a_bought_line_that_cannot_be_sent_any_more_is_told_with_its_picture(shop: Shop) -> None:
    await run(shop, {"id": "x", "prompt": "a lake"})
    progress = await run(shop, {"id": "x", "prompt": "a fox", "steps": 999})
    (item,) = Records(shop.out).items()
    assert (progress.failed, item.state, item.error) == (1, "failed", "InvalidRequestError")
    assert "steps: got 999" in str(item.message)
    assert "kept" in str(item.message)
    assert (item.request["prompt"], [shop.out / str(item.path)]) == ("a lake", shop.files())
    again = await run(shop, {"id": "x", "prompt": "a fox", "steps": 999})
    assert (again.failed, again.skipped) == (0, 1)
    back = await run(shop, {"id": "x", "prompt": "a lake"})
    (item,) = Records(shop.out).items()
    assert (back.skipped, item.state, item.error, shop.pictures) == (1, "done", None, 1)
    assert told(shop) == bill(shop)


async def test_a_bought_line_that_becomes_bad_has_to_be_accepted(shop: Shop) -> None:
    await shop.batch([{"id": "x", "prompt": "a"}]).run()
    with pytest.raises(JournalError, match="accept_changes"):
        await shop.batch([{"id": "x", "prompt": "a", "steps": 999}]).run()
    assert shop.states() == {"done": 1}


async def test_an_id_is_doubled_only_as_long_as_its_twin_has_it(shop: Shop) -> None:
    first = await run(shop, {"id": "x", "prompt": "a"}, {"id": "x", "prompt": "b"})
    assert (first.done, first.failed) == (1, 1)
    still = await run(shop, {"id": "x", "prompt": "a"}, {"id": "x", "prompt": "b"})
    assert (still.failed, still.skipped) == (0, 2)
    mended = await run(shop, {"id": "y", "prompt": "a"}, {"id": "x", "prompt": "b"})
    assert (mended.done, mended.failed) == (2, 0)
    assert [by_line(shop)[line].state for line in (1, 2)] == ["done", "done"]
    assert told(shop) == bill(shop)


# --- budgets ------------------------------------------------------------------------------------


async def test_a_budget_prices_what_was_bought_without_a_price(shop: Shop) -> None:
    await run(shop, *prompts(20), **ELSEWHERE)
    assert Records(shop.out).status().unpriced == 20
    with pytest.raises(BudgetExceededError):
        await run(shop, *prompts(40), budget=Budget("0.20", prices={CHEAP: "0.01"}), **ELSEWHERE)
    status = Records(shop.out).status()
    assert (shop.pictures, status.spent, status.unpriced) == (20, {"USD": Decimal("0.20")}, 0)


async def test_a_budget_that_cannot_count_what_was_bought_is_refused(shop: Shop) -> None:
    await run(shop, *prompts(2), **ELSEWHERE)
    with pytest.raises(ConfigurationError, match=r"2 images of step-image-edit-2 at an unknown price.*prices="):
        await run(shop, *prompts(4), budget=Budget("1"))
    yuan = Budget("1", "CNY", prices={CHEAP: "0.02"})
    await run(shop, *prompts(2), budget=yuan)
    with pytest.raises(ConfigurationError, match="2 images of step-image-edit-2 in another currency"):
        await run(shop, *prompts(4), budget=Budget("1"))
    dollars = Budget("1", prices={CHEAP: "0.003"})
    await run(shop, *prompts(4), budget=dollars)
    assert (shop.pictures, dollars.spent, yuan.spent) == (4, Decimal("0.012"), Decimal("0.04"))


async def test_a_budget_knows_of_pictures_that_are_found(shop: Shop) -> None:
    await run(shop, *prompts(3))
    (shop.out / "journal.sqlite3").unlink()
    budget = Budget("0.012")
    for _ in range(2):
        assert (await run(shop, *prompts(4), budget=budget)).lines == 4
        assert (budget.spent, shop.pictures) == (Decimal("0.012"), 4)


@pytest.mark.parametrize("context", [Context(prec=2), Context(prec=6, traps=[Inexact])])
async def test_the_callers_decimal_context_is_left_alone(shop: Shop, context: Context) -> None:
    with localcontext(context):
        progress = await run(shop, *prompts(40), {"prompt": "dear", "model": DEAR}, budget=Budget("1"))
        status = Records(shop.out).status()
        checked = await shop.batch([*prompts(40), {"prompt": "dear", "model": DEAR}]).check()
        Records(shop.out).write_report()
    assert progress.spent == status.spent == checked.price == {"USD": Decimal("0.140")}
    assert "0.140 USD" in (shop.out / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")


# --- processes that die -------------------------------------------------------------------------


@pytest.mark.parametrize(("attempts", "held"), [(1, "0.003"), (3, "0.009")])
async def test_what_was_in_flight_counts_for_all_attempts_that_may_be_billed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, attempts: int, held: str
) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("dead")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "end", die)
        retry = RetryPolicy(max_attempts=attempts, retry_unknown=True)
        with pytest.raises(RuntimeError, match="dead"):
            await shop.batch(prompts(1), retry=retry, notes=False).run()
    status = Records(shop.out).status()
    assert (status.counts["started"], status.held) == (1, {"USD": Decimal(held)})
    shop.files()[0].unlink()  # it died before the picture was written
    journal = Journal.writing(shop.out)
    recover(journal, ImageStore(Folder(shop.out), notes=False), verify=False)
    journal.close()
    (item,) = Records(shop.out).items()
    assert (item.state, item.attempts, item.maybe_billed) == ("unknown", attempts, attempts)
    assert Records(shop.out).status().held == {"USD": Decimal(held)}


async def test_two_lines_whose_pictures_have_one_name_keep_their_own(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies when both are written, and neither is entered."""

    def die(*_: object) -> None:
        raise RuntimeError("dead")

    twins: list[dict[str, object]] = [{"id": "x", "prompt": "a"}, {"id": "y", "prompt": "b"}]
    monkeypatch.setattr("stepfun_async.batch.run.job_runner.stem_of", lambda *_, **__: "same")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "end", die)
        with pytest.raises(RuntimeError, match="dead"):
            await shop.batch(twins).run()
    await run(shop, *twins)
    for item in Records(shop.out).items():
        note = (shop.out / str(item.path)).with_suffix(".json").read_text(encoding="utf-8")
        assert f'"prompt": "{item.request["prompt"]}"' in note
    shop.assert_whole(2)


# --- full disks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [("Cat", "cat"), ("caf\u00e9", "cafe\u0301")])
async def test_names_that_are_one_in_some_file_system_are_given_once(shop: Shop, ids: tuple[str, str]) -> None:
    lines: list[dict[str, object]] = [{"id": own_id, "prompt": own_id} for own_id in ids]
    await run(shop, *lines, name="{id}")
    assert [str(item.path) for item in Records(shop.out).items()] == [f"{ids[0]}.png", f"{ids[1]}~2.png"]


@contextmanager
def full_disk() -> Iterator[None]:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stepfun_async.batch.storage.group_write.FileWrite.write", full)
        yield


@pytest.fixture
def fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "refuge"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


async def test_a_picture_that_was_rescued_is_not_bought_again(shop: Shop, fallback: Path) -> None:
    with full_disk():
        with pytest.raises(SaveError):
            await run(shop, *prompts(1))
        assert Records(shop.out).retry() == Records(shop.out).retry(["SaveError"], unknown=True) == 0
        with pytest.raises(JournalError, match="No space left"):  # still full, and nothing is lost
            await run(shop, *prompts(1))
    assert len(list(fallback.iterdir())) == 1
    progress = await run(shop, *prompts(1))
    assert (progress.adopted, shop.pictures, list(fallback.iterdir())) == (1, 1, [])
    assert told(shop) == bill(shop)
    shop.assert_whole(1)


async def test_a_rescued_picture_that_is_gone_is_made_anew_when_asked_for(shop: Shop, fallback: Path) -> None:
    with full_disk(), pytest.raises(SaveError):
        await run(shop, *prompts(1))
    next(fallback.iterdir()).unlink()
    assert Records(shop.out).retry() == 0
    assert Records(shop.out).retry(["SaveError"]) == 1
    await run(shop, *prompts(1))
    assert told(shop) == bill(shop) == 2 * shop.price


async def test_a_rescued_picture_is_found_without_its_journal(shop: Shop, fallback: Path) -> None:
    with full_disk():
        with pytest.raises(SaveError, match="it is in"):
            await run(shop, *prompts(1))
        (shop.out / "journal.sqlite3").unlink()
        with pytest.raises(StorageError, match=r"a paid image in .* cannot be written to its folder: No space left"):
            await run(shop, *prompts(1))
    progress = await run(shop, *prompts(2))
    assert (progress.adopted, progress.done, shop.pictures, list(fallback.iterdir())) == (1, 2, 2, [])
    assert told(shop) == bill(shop)
    shop.assert_whole(2)
