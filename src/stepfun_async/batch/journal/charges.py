"""The costs of a journal's jobs: images and lost attempts, each at the price at which they were bought."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from stepfun_async._core.money import NOTHING, Money, times, total

from .database import Tables

CHARGES_OF_JOB = (
    "(SELECT group_concat(price || ' ' || currency || ' ' || billed || ' ' || maybe_billed, ';') "
    "FROM charges WHERE charges.number = jobs.number)"
)
"""The charges of a row of `jobs`, in the format that `parse_charges` reads."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Images that were bought at one price.

    Attributes:
        price: the price of one image; `None` if unknown.
        billed: the number of images that were charged.
        maybe_billed: the number of attempts that may have been charged, those included.
    """

    price: Money | None
    billed: int
    maybe_billed: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of money.

    Attributes:
        spent: the cost of images, by currency.
        held: the possible cost of attempts without an image, by currency.
        unpriced: the number of images with an unknown price.
    """

    spent: Mapping[str, Decimal]
    held: Mapping[str, Decimal]
    unpriced: int

    @staticmethod
    def of(charges: Iterable[Charge]) -> Sums:
        """Add up charges. Amounts of 0 are left out."""
        spent: dict[str, Decimal] = {}
        held: dict[str, Decimal] = {}
        unpriced = 0
        for charge in charges:
            if charge.price is None:
                unpriced += charge.billed
                continue
            _add(spent, charge.price, charge.billed)
            _add(held, charge.price, charge.maybe_billed - charge.billed)
        return Sums(spent, held, unpriced)


def _add(sums: dict[str, Decimal], price: Money, count: int) -> None:
    amount = times(price.amount, count)
    if amount:
        sums[price.currency] = total((sums.get(price.currency, NOTHING), amount))


def parse_charges(text: str | None) -> list[Charge]:
    """Parse the charges of a job from the result of `CHARGES_OF_JOB`."""
    parts = (part.split(" ") for part in text.split(";")) if text else ()
    return [Charge(_price(*price), int(billed), int(maybe)) for *price, billed, maybe in parts]


def _price(amount: str, currency: str) -> Money | None:
    return Money(Decimal(amount), currency) if amount else None


def price_key(price: Money | None) -> tuple[str, str]:
    """Return amount and currency as stored in the tables."""
    return ("", "") if price is None else (str(price.amount), price.currency)


class Charges:
    """The charges in a journal."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def add(self, number: int, price: Money | None, *, billed: int, maybe_billed: int) -> None:
        """Add to the counts of a job at a price. Negative counts are subtracted."""
        if not billed and not maybe_billed:
            return
        key = price_key(price)
        self._tables.execute(
            "INSERT INTO charges VALUES (?, ?, ?, ?, ?) ON CONFLICT (number, price, currency) DO UPDATE "
            "SET billed = billed + excluded.billed, maybe_billed = maybe_billed + excluded.maybe_billed",
            number,
            *key,
            billed,
            maybe_billed,
        )
        if maybe_billed < 0:
            self._tables.execute(
                "DELETE FROM charges WHERE number = ? AND price = ? AND currency = ? "
                "AND billed = 0 AND maybe_billed = 0",
                number,
                *key,
            )

    def of(self, number: int) -> list[Charge]:
        """Return the charges of a job."""
        rows = self._tables.execute(
            "SELECT price, currency, billed, maybe_billed FROM charges WHERE number = ?", number
        )
        return [Charge(_price(price, currency), billed, maybe) for price, currency, billed, maybe in rows]

    def count_found(self, number: int, price: Money | None) -> Charge:
        """Count an image that was found without its response in the journal, unless it is counted already.

        It is counted as one of the job's attempts that may have been billed; without one, as an additional attempt.

        Args:
            number: the number of the job.
            price: the current price of an image.

        Returns:
            The counts that were added, and their price.
        """
        charges = self.of(number)
        if any(charge.billed for charge in charges):
            return Charge(price, 0, 0)
        added = Charge(charges[0].price, 1, 0) if charges else Charge(price, 1, 1)
        self.add(number, added.price, billed=added.billed, maybe_billed=added.maybe_billed)
        return added

    def sums(self) -> Sums:
        """Return the sums over all jobs."""
        rows = self._tables.execute(
            "SELECT price, currency, SUM(billed), SUM(maybe_billed) FROM charges GROUP BY price, currency"
        )
        return Sums.of(Charge(_price(price, currency), billed, maybe) for price, currency, billed, maybe in rows)

    def counts(self) -> tuple[int, int, int]:
        """Return the number of images charged, of attempts maybe charged, and of those beyond one for each job."""
        rows = self._tables.execute(
            "SELECT COALESCE(SUM(b), 0), COALESCE(SUM(m), 0), COALESCE(SUM(MAX(m - 1, 0)), 0) FROM "
            "(SELECT SUM(billed) AS b, SUM(maybe_billed) AS m FROM charges GROUP BY number)"
        )
        billed, maybe_billed, maybe_twice = rows.fetchone()
        return billed, maybe_billed, maybe_twice

    def set_missing_prices(self, price_of: Callable[[str], Money | None]) -> Mapping[str, int]:
        """Price the images whose price was unknown when they were bought, with the price that `price_of` returns now.

        Returns:
            The models that still have no price, each with its number of attempts that may have been billed.
        """
        unknown: dict[str, int] = {}
        for number, model, billed, maybe in self._by_model("charges.price = ''"):
            price = price_of(model)
            if price is None:
                unknown[model] = unknown.get(model, 0) + maybe
                continue
            self.add(number, None, billed=-billed, maybe_billed=-maybe)
            self.add(number, price, billed=billed, maybe_billed=maybe)
            self._tables.execute(
                "UPDATE jobs SET price = ?, currency = ? WHERE number = ? AND price IS NULL", *price_key(price), number
            )
        return unknown

    def in_other_currencies(self, currency: str) -> Iterator[tuple[str, Charge]]:
        """Yield the charges in other currencies, each with its model."""
        which = "charges.currency <> ? AND charges.price <> ''"
        for _, model, billed, maybe in self._by_model(which, currency):
            yield model, Charge(None, billed, maybe)

    def _by_model(self, which: str, *values: object) -> list[tuple[int, str, int, int]]:
        """Return the charges that match `which`, with the model of their job."""
        columns = "jobs.number, jobs.request, charges.billed, charges.maybe_billed"
        sql = f"SELECT {columns} FROM charges JOIN jobs USING (number) WHERE {which}"  # noqa: S608 - our own words
        rows = self._tables.execute(sql, *values)
        return [
            (number, str(json.loads(request).get("model")), billed, maybe) for number, request, billed, maybe in rows
        ]
