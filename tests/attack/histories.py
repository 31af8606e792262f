"""Random histories of batches: what journal, manifest, report and status say of money, held against the bill.

A history is one batch in one folder over several runs. Between them lines are corrected, spoiled, swapped, doubled,
added and taken out, and models, prices, budgets and servers change. Runs meet faults of the server, full disks and
kills; `retry` comes at any time. At the end, a run without any of that makes what is left.

    python -m tests.attack.histories --seconds 600 --seed 1

prints what was bought and what was reported of it. The first history that is wrong ends it, with its seed.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import logging
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import anyio

from stepfun_async import APIConnectionError, Batch, Budget, Limits, RetryPolicy, StepFunError
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async._runtime.files import put_in_place, write_out
from stepfun_async.batch import Item, JournalError, Records
from stepfun_async.batch.journal import database, journal
from stepfun_async.batch.journal.journal import Journal
from stepfun_async.batch.report.item_rows import row_from
from stepfun_async.batch.storage import group_write, store
from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario

MODELS = ("step-image-edit-2", "step-2x-large")
PRICES = {"step-image-edit-2": Decimal("0.003"), "step-2x-large": Decimal("0.02")}
"""What the tables say, in USD."""

FAULTS = (
    *("400", "401", "429", "451", "500", "503", "504"),
    *("drop-before", "drop-after", "truncated", "bad-json", "bad-base64", "empty", "filtered", "html"),
)
ELSEWHERE = "http://127.0.0.1:9/v1"
"""A server whose prices are not known. Nothing listens there: the transport does not ask."""

NAMES = ("{shard}/{id}", "{line}", "{id}", "{model}/{id}", "{line}-{id}", "{model}{id}")

PROMPTS = "abcd"
IDS = "xyz"
"""So few that lines often become equal."""

Line = dict[str, Any]


def _rename(lines: list[Line], at: int, chance: random.Random) -> None:
    lines[at].pop("id", None)
    lines[at].update(chance.choice([{}, {"id": chance.choice(IDS)}]))


def _swap(lines: list[Line], at: int, chance: random.Random) -> None:
    other = chance.randrange(len(lines))
    lines[at], lines[other] = lines[other], lines[at]


EDITS: tuple[Callable[[list[Line], int, random.Random], object], ...] = (
    lambda lines, at, chance: lines[at].update(prompt=chance.choice(PROMPTS)),
    lambda lines, at, chance: lines[at].update(model=chance.choice(MODELS)),
    _rename,
    lambda lines, at, _: lines[at].update(steps=999),
    lambda lines, at, _: lines[at].pop("steps", None),
    _swap,
    lambda lines, at, chance: lines.insert(chance.randrange(len(lines) + 1), dict(lines[at])),
    lambda lines, _, chance: lines.insert(chance.randrange(len(lines) + 1), a_line(chance)),
    lambda lines, at, _: lines.pop(at) if len(lines) > 1 else None,
    lambda lines, _, chance: chance.shuffle(lines),
)
"""What happens to the inputs between two runs: one line gets another prompt, model or id, is spoiled or mended, changes
places, is doubled, added, taken out; or all of them change places."""


def a_line(chance: random.Random) -> Line:
    """A new line."""
    line: Line = {"prompt": chance.choice(PROMPTS)}
    if chance.random() < 0.5:
        line["id"] = chance.choice(IDS)
    if chance.random() < 0.3:
        line["model"] = chance.choice(MODELS)
    if chance.random() < 0.1:
        line["steps"] = 999
    return line


class Death:
    """The death of a process: from a step on, it writes nothing any more.

    Attributes:
        left: steps until then; None for never.
    """

    def __init__(self) -> None:
        self.left: int | None = None

    @property
    def dead(self) -> bool:
        return self.left is not None and self.left <= 0

    def step(self) -> None:
        """Go on, unless the process is dead.

        Raises:
            OSError: it is.
        """
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                raise OSError(errno.EIO, "the process is dead")


@dataclass
class Shop:
    """The server, and the bill at the prices that held when an image was bought.

    Attributes:
        bought: images by model, and price and currency; both empty where no price was known.
    """

    engine: Engine
    death: Death
    bought: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    prices: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    filtered: int = 0
    cancel_after: int | None = None
    cancel: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self._inner = EmbeddedTransport(self.engine)
        self._one = anyio.Lock()

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        if self.death.dead:
            raise APIConnectionError("the process is dead", billing="not_sent")
        model = str((call.json or {}).get("model"))
        async with self._one:
            before = self.engine.bill().images
            self._cancel_in_time()
            try:
                response = await self._inner.send(call, progress)
                self.filtered += b"content_filtered" in response.body
                return response
            finally:
                self.bought[model, *self.prices.get(model, ("", ""))] += self.engine.bill().images - before

    def _cancel_in_time(self) -> None:
        if self.cancel_after is not None:
            self.cancel_after -= 1
            if self.cancel_after == 0:
                self.cancel()

    async def aclose(self) -> None:
        """Nothing to close."""

    def reprice(self, prices: Mapping[str, tuple[str, str]]) -> None:
        """A budget that has prices gives them to what was bought without."""
        for model, price in prices.items():
            if count := self.bought.pop((model, "", ""), 0):
                self.bought[model, *price] += count

    def spent(self) -> dict[str, Decimal]:
        """The bill."""
        return sums_of(
            (currency, Decimal(amount) * count) for (_, amount, currency), count in self.bought.items() if amount
        )

    def unpriced(self) -> int:
        return sum(count for (_, amount, _), count in self.bought.items() if not amount)


class WrongError(AssertionError):
    """A history is reported wrongly."""


def ensure(holds: bool, *facts: object) -> None:
    if not holds:
        raise WrongError(*facts)


class History:
    """One batch over several runs.

    Args:
        seed: what it is made from.
        folder: an empty one, for all of it.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.out = folder / "out"
        self.refuge = folder / "refuge"
        self.refuge.mkdir()
        self.death = Death()
        self.shop = Shop(Engine(plain=True), self.death)
        self.name = self.chance.choice(NAMES)
        self.notes = self.chance.random() < 0.7
        self.lines: list[Line] = [a_line(self.chance) for _ in range(self.chance.randint(1, 6))]
        self.budget: Budget | None = None
        self.runs = 0
        self.log: list[object] = [self.name, self.notes]

    # --- the user ---

    def _edit(self) -> None:
        """Change the inputs in one way."""
        at = self.chance.randrange(len(self.lines))
        self.lines[at] = dict(self.lines[at])
        self.chance.choice(EDITS)(self.lines, at, self.chance)

    def _new_budget(self) -> Budget | None:
        chance = self.chance
        if chance.random() < 0.4:
            return None
        limit, currency = chance.choice(["0.01", "0.05", "0.3", "5"]), "USD"
        prices: dict[str, str] = {}
        if chance.random() < 0.4:
            prices = {model: chance.choice(["0.01", "0.003", "0.00125"]) for model in MODELS[: chance.randint(1, 2)]}
            currency = chance.choice(["USD", "USD", "USD", "CNY"])
        return Budget(limit, currency, prices=prices)

    def _settings(self) -> dict[str, Any]:
        """Those of the next run, with what an image costs in it."""
        chance = self.chance
        if self.death.dead or chance.random() < 0.6:
            self.budget = self._new_budget()
        elsewhere = chance.random() < 0.2
        return {
            "base_url": ELSEWHERE if elsewhere else "embedded",
            "budget": self.budget,
            "retry": RetryPolicy(
                max_attempts=chance.randint(1, 3), retry_unknown=chance.random() < 0.4, base=0.0, connect_base=0.0
            ),
            "hold_unknown": chance.random() < 0.2,
            "verify": chance.random() < 0.2,
            "accept_changes": chance.random() < 0.8,
            "limits": Limits(chance.randint(1, 3)),
        }

    # --- the world ---

    def _trouble(self) -> None:
        """What the next run meets."""
        chance = self.chance
        faults = [f"{chance.choice(FAULTS)}*{chance.randint(1, 3)}%{chance.randint(20, 100)}" for _ in range(3)]
        self.shop.engine.scenario = Scenario(*faults[: chance.randint(0, 3)])
        self.death.left = chance.randint(1, 40) if chance.random() < 0.35 else None
        self.full_after = chance.randint(0, 4) if chance.random() < 0.2 else None
        self.shop.cancel_after = chance.randint(1, 6) if chance.random() < 0.2 else None
        self.natively = chance.random() < 0.5

    @contextmanager
    def _world(self) -> Iterator[None]:
        """The places where a process dies, and a disk that may be full."""
        death, history = self.death, self
        commit, rescue, open_database = Journal.commit, store._write_new, database.open_database
        write, name = write_out, put_in_place

        def without_syncs(folder: Path) -> sqlite3.Connection:
            connection = open_database(folder)
            connection.execute("PRAGMA synchronous = OFF")  # no power is lost here
            return connection

        def committed(changed: Journal) -> None:
            death.step()
            commit(changed)

        def written(descriptor: int, pieces: Sequence[bytes]) -> None:
            death.step()
            if history.full_after is not None:
                history.full_after -= 1
                if history.full_after < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
            write(descriptor, pieces)

        def named(temporary: str, path: str, *, overwrite: bool) -> None:
            death.step()
            name(temporary, path, overwrite=overwrite)
            death.step()

        def rescued(path: Path, data: bytes) -> None:
            death.step()
            rescue(path, data)

        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(Journal, "commit", committed))
            stack.enter_context(mock.patch.object(group_write, "write_out", written))
            stack.enter_context(mock.patch.object(group_write, "put_in_place", named))
            stack.enter_context(mock.patch.object(store, "_write_new", rescued))
            stack.enter_context(mock.patch.object(journal, "open_database", without_syncs))
            stack.enter_context(mock.patch("os.fsync"))
            stack.enter_context(mock.patch("tempfile.tempdir", str(self.refuge)))
            yield

    # --- runs ---

    async def live(self, runs: int) -> None:
        """Several runs with trouble, then as many without as it takes."""
        with self._world():
            for _ in range(runs):
                for _ in range(self.chance.choice([0, 1, 1, 2, 3])):
                    self._edit()
                settings = self._settings()
                self._trouble()
                await self._run(settings)
                if self.chance.random() < 0.3:
                    self._retry()
            self.death.left = self.full_after = self.shop.cancel_after = None
            self.shop.engine.scenario = Scenario()
            await self._finish()

    def _retry(self) -> None:
        errors = self.chance.choice([None, None, ["ContentFilteredError"], ["SaveError"], ["InvalidRequestError"]])
        try:
            count = Records(self.out).retry(errors, unknown=self.chance.random() < 0.5)
        except JournalError:
            count = -1
        self.log.append(("retry", errors, count))

    async def _finish(self) -> None:
        calm: dict[str, Any] = {
            "base_url": "embedded",
            "retry": RetryPolicy(max_attempts=1),
            "accept_changes": True,
            "verify": self.chance.random() < 0.5,
            "limits": Limits(3),
        }
        await self._run(calm)
        if (self.out / "journal.sqlite3").exists():
            Records(self.out).retry()
        ended = await self._run(calm)
        ensure(ended is None, "the last run did not end right", ended)
        self._check_all_made()

    async def _cancellable(self, batch: Batch) -> None:
        """Run, unless it is cancelled in the middle: as anyio does that, or as asyncio does.

        Raises:
            CancelledError: it was.
        """
        task = asyncio.current_task()
        assert task is not None
        with anyio.CancelScope() as scope:
            self.shop.cancel = task.cancel if self.natively else scope.cancel
            try:
                await batch.run()
            except asyncio.CancelledError:
                if self.natively:
                    task.uncancel()
                raise
        if scope.cancelled_caught:
            raise asyncio.CancelledError

    async def _run(self, settings: dict[str, Any]) -> BaseException | None:
        self.runs += 1
        budget: Budget | None = settings.get("budget")
        given = {} if budget is None else {model: budget.price_of(model, None) for model in MODELS}
        prices = {model: (str(price.amount), price.currency) for model, price in given.items() if price is not None}
        listed = {model: (str(price), "USD") for model, price in PRICES.items()}
        self.shop.prices = prices if settings["base_url"] == ELSEWHERE else {**listed, **prices}
        before = self.shop.engine.bill().images
        self.log.append((list(map(dict, self.lines)), {**settings}, self.death.left, self.full_after))
        batch = Batch(
            self.lines,
            out=self.out,
            name=self.name,
            notes=self.notes,
            api_key="any-key-1234",
            transport=self.shop,
            **settings,
        )
        error: BaseException | None = None
        try:
            await self._cancellable(batch)
        except (StepFunError, asyncio.CancelledError) as caught:
            error = caught
        self.log.append((repr(error)[:200], batch.progress))
        self._check(batch, prices, before, error)
        return error

    # --- what is reported ---

    def _check(self, batch: Batch, prices: Mapping[str, tuple[str, str]], before: int, error: object) -> None:
        if not (self.out / "journal.sqlite3").exists():
            return
        try:
            status, items = batch.records.status(), list(batch.records.items())
        except JournalError:  # it died before there were tables
            return
        self._reprice(prices)
        with mock.patch("os.fsync"):
            manifest = batch.records.write_manifest()
        rows = [json.loads(line) for line in Path(manifest).read_text(encoding="utf-8").splitlines()]
        for name in ("spent", "held"):
            reported = dict(getattr(status, name))
            of_items = sums_of(pair for item in items for pair in getattr(item, name).items())
            of_manifest = sums_of(pair for row in rows for pair in row[name].items())
            costs = [getattr(row_from(item), "cost" if name == "spent" else "held") for item in items]
            of_report = sums_of((money.currency, money.amount) for cost in costs for money in cost)
            ensure(reported == of_items == of_manifest == of_report, name, reported, of_items, of_manifest, of_report)
        self._check_bill(batch, before, error)
        self._check_budget(batch)
        if error is None and batch.progress.lines is not None and batch.progress.stopped is None:
            self._check_lines(items)

    def _reprice(self, prices: Mapping[str, tuple[str, str]]) -> None:
        """Where a budget has given prices to what was bought without, the bill has them too."""
        with Journal.reading(self.out) as books:
            unpriced = {model for _, model, _, _ in books.charges._by_model("charges.price = ''")}
        self.shop.reprice({model: price for model, price in prices.items() if model not in unpriced})

    def _check_bill(self, batch: Batch, before: int, error: object) -> None:
        status = batch.records.status()
        bill = self.shop.spent()
        for currency in {*bill, *status.spent, *status.held}:
            spent, held = status.spent.get(currency, Decimal(0)), status.held.get(currency, Decimal(0))
            ensure(held >= 0, "held", held)
            billed = bill.get(currency, Decimal(0))
            ensure(spent <= billed <= spent + held, currency, "bill", billed, "spent", spent, "held", held)
        ensure(status.unpriced <= self.shop.unpriced(), "unpriced", status.unpriced, self.shop.unpriced())
        budget = self.budget
        if budget is not None and self.shop.engine.bill().images > before and batch._budget is budget:
            total = bill.get(budget.currency, Decimal(0))
            ensure(total <= budget.limit, "bill", total, "budget", budget, error)

    def _check_budget(self, batch: Batch) -> None:
        """The budget has what the journal has, unless the run ended before it came to that."""
        budget, status = self.budget, batch.records.status()
        if budget is None or batch._budget is not budget or batch.progress.lines is None or self.death.dead:
            return
        if {*status.spent, *status.held} <= {budget.currency}:
            reported = (status.spent.get(budget.currency, 0), status.held.get(budget.currency, 0))
            ensure((budget.spent, budget.held) == reported, "the budget differs", budget, reported)

    def _check_lines(self, items: list[Item]) -> None:
        """Every line has its row, with its own request and what became of it."""
        numbers = [item.line for item in items if item.line is not None]
        ensure(numbers == list(range(1, len(self.lines) + 1)), "lines", numbers)
        ids: set[str] = set()
        for line, item in zip(self.lines, items, strict=False):
            doubled = line.get("id") in ids
            ids.add(line.get("id", ""))
            if "steps" in line or doubled:
                ensure((item.state, item.error) == ("failed", "InvalidRequestError"), "not reported as bad", line, item)
                continue
            ensure(item.error != "InvalidRequestError", "reported as bad", line, item)
            asked = (line["prompt"], line.get("model", MODELS[0]))
            ensure((item.request["prompt"], item.request["model"]) == asked, "another request", line, item)
            ensure(item.state not in ("pending", "started"), "passed over", line, item)
        paths = [item.path for item in items if item.path is not None]
        ensure(len(paths) == len(set(paths)), "a picture of two lines", paths)

    def _check_all_made(self) -> None:
        """At the end: each good line has its image, nothing that was paid for is left somewhere or bought again."""
        items = list(Records(self.out).items())
        for line, item in zip(self.lines, items, strict=False):
            bad = "steps" in line or item.error == "InvalidRequestError"
            ensure(bad or item.state == "done", "no picture", line, item)
        for item in items:
            if item.state == "done":
                ensure((self.out / str(item.path)).is_file(), "no file", item)
        ensure(list(self.refuge.iterdir()) == [], "left in the refuge")
        ensure(list(self.out.rglob("*.part")) == [], "left half-written")
        kept = sum(item.sha256 is not None for item in items)
        billed = sum(item.billed for item in items)
        ensure(billed - kept <= self.shop.filtered, "bought again", billed, kept, self.shop.filtered)


def sums_of(amounts: Iterable[tuple[str, Any]]) -> dict[str, Decimal]:
    """Sums by currency, without those that are 0."""
    sums: dict[str, Decimal] = {}
    for currency, amount in amounts:
        sums[currency] = sums.get(currency, Decimal(0)) + Decimal(amount)
    return {currency: amount for currency, amount in sums.items() if amount}


def play(seed: int, folder: Path, runs: int = 5) -> History:
    """Live a history in an empty folder.

    Raises:
        WrongError: it is reported wrongly.
    """
    history = History(seed, folder)
    try:
        anyio.run(history.live, runs)
    except Exception as error:
        story = "\n".join(map(str, history.log))
        raise WrongError(f"history {seed} is wrong: {error!r}\n{story}") from error
    return history


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="of the first history; each further one has the next")
    parser.add_argument("--folder", help="where, on a fast disk; the system's folder for temporary files when absent")
    given = parser.parse_args()
    logging.disable()
    until = time.monotonic() + given.seconds
    seed, runs = given.seed, 0
    sums: dict[str, list[tuple[str, Any]]] = {"bill": [], "spent": [], "held": []}
    while time.monotonic() < until:
        folder = Path(tempfile.mkdtemp(dir=given.folder))
        try:
            history = play(seed, folder)
            status = Records(history.out).status()
        finally:
            shutil.rmtree(folder)
        runs += history.runs
        for name, amounts in (("bill", history.shop.spent()), ("spent", status.spent), ("held", status.held)):
            sums[name].extend(amounts.items())
        seed += 1
    bill, spent, held = (_said(sums[name]) for name in ("bill", "spent", "held"))
    sys.stdout.write(f"{seed - given.seed} histories, {runs} runs: bill {bill}; reported: spent {spent}, held {held}\n")


def _said(amounts: Iterable[tuple[str, Any]]) -> str:
    return " + ".join(f"{amount} {currency}" for currency, amount in sorted(sums_of(amounts).items())) or "0"


if __name__ == "__main__":
    main()
