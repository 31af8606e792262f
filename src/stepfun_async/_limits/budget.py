"""`Budget`: a hard limit on money. What may be spent is set aside before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import NoReturn
from weakref import WeakSet

from .._core.errors import BudgetExceededError, ConfigurationError
from .._core.money import NOTHING, Money, is_amount, less, times, total
from .._core.text import escaped, shown
from .._runtime.fork import ForkSafeLock


class Budget:
    """What may be spent at most, by all clients that are given the same `Budget` object.

    The price of a request is set aside before it is sent, so that no number of calls at once, in any
    tasks and threads, can go beyond the limit. It is spent when the picture comes, given back when
    provably nothing was billed, and held for good when nobody can know.

    A forked child has a copy of its own, in which nothing is set aside for the calls that its parent has in flight:
    the parent ends those, and its own copy counts them.

    Args:
        limit: the sum, as a number or as text such as `"12.50"`.
        currency: the currency of the limit and of `prices`: `USD` for StepFun's international prices,
            `CNY` for China's.
        prices: the price of one picture by model, for models and servers whose prices the tables do not
            know, or where you pay others. A request whose price is not known is refused.

    Raises:
        ConfigurationError: the limit or a price is no sum of money, or the currency is none.

    >>> budget = Budget("5.00", "USD")
    >>> budget.left
    Decimal('5.00')
    """

    def __init__(
        self,
        limit: Decimal | float | str,
        currency: str = "USD",
        *,
        prices: Mapping[str, Decimal | float | str] | None = None,
    ) -> None:
        self.limit = _amount("limit", limit)
        self.currency = _currency(currency)
        self._prices = {model: _amount(f"prices[{model!r}]", price) for model, price in (prices or {}).items()}
        self._lock = ForkSafeLock()
        self._spent = NOTHING
        self._held = NOTHING
        self._aside = NOTHING
        self.generation = 0
        _budgets.add(self)

    @property
    def spent(self) -> Decimal:
        """What pictures that came have cost."""
        with self._lock:
            return self._spent

    @property
    def held(self) -> Decimal:
        """What is set aside: for requests in flight, and for those that may have been billed and brought nothing."""
        with self._lock:
            return total((self._held, self._aside))

    @property
    def left(self) -> Decimal:
        """What may still be set aside; below 0 only where a server made more pictures than were asked for."""
        with self._lock:
            return less(self.limit, self._spent, self._held, self._aside)

    def __repr__(self) -> str:
        if not hasattr(self, "_aside"):  # where a refused limit's traceback is shown
            return "<Budget>"
        sums = f"spent={self._spent:f}, held={total((self._held, self._aside)):f}"
        return f"<Budget limit={self.limit:f} {self.currency}, {sums}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Budget is not pickled: a copy of it would allow its limit to be spent twice")

    def price_of(self, model: str, listed: Money | None) -> Money | None:
        """What one picture of `model` costs: by `prices`, else as `listed`; None where it is not known."""
        given = self._prices.get(model)
        return listed if given is None else Money(given, self.currency)

    def reserve(self, model: str, price: Money | None, pictures: int) -> Reservation:
        """Set the price of a request aside.

        Args:
            model: the model asked.
            price: of one picture, as `price_of` told.
            pictures: how many are asked for.

        Raises:
            ConfigurationError: the price is not known, or in another currency.
            BudgetExceededError: it does not fit into what is left.
        """
        name = escaped(model)
        if price is None:
            raise ConfigurationError(
                f"the price of {name} is not known here, so a budget cannot hold it: "
                f"Budget({self.limit:f}, {self.currency!r}, prices={{{model!r}: ...}}); nothing was sent"
            )
        if price.currency != self.currency:
            raise ConfigurationError(
                f"{name} costs {price}, and the budget is in {self.currency}: make it Budget(..., "
                f"{price.currency!r}), or say prices={{{model!r}: ...}} in {self.currency}; nothing was sent"
            )
        hold = Reservation(self, price, pictures)
        hold.set_aside()
        return hold

    def set_aside(self, amount: Decimal) -> None:
        """Set `amount` aside.

        Raises:
            BudgetExceededError: it does not fit into what is left.
        """
        with self._lock:
            aside = total((self._aside, amount))
            if total((self._spent, self._held, aside)) > self.limit:
                held = total((self._held, self._aside))
                raise BudgetExceededError.of(
                    price=Money(amount, self.currency), limit=self.limit, spent=self._spent, held=held
                )
            self._aside = aside

    def settle(self, *, held: Decimal, spent: Decimal, aside: Decimal = NOTHING) -> None:
        """Add to what is held for good (or, below 0, take from it) and to what is spent.

        Args:
            held: what is added to the one.
            spent: what is added to the other.
            aside: what was set aside for that, and is no longer.
        """
        self._lock.soon(partial(self._settle, held, spent, aside))

    def after_fork(self) -> None:
        """Set nothing aside, in a forked child, for the calls of the parent."""
        self._aside = NOTHING
        self.generation += 1

    def _settle(self, held: Decimal, spent: Decimal, aside: Decimal) -> None:
        self._held = total((self._held, held))
        self._spent = total((self._spent, spent))
        self._aside = less(self._aside, aside)


class Reservation:
    """What is set aside for one call: the price of an attempt, and of each further one that may have been billed."""

    __slots__ = ("_aside", "_budget", "_generation", "_pictures", "_price")

    def __init__(self, budget: Budget, price: Money, pictures: int) -> None:
        self._budget = budget
        self._price = price.amount
        self._pictures = pictures
        self._aside = NOTHING
        self._generation = budget.generation

    def set_aside(self) -> None:
        """Set the price of one more attempt aside.

        Raises:
            BudgetExceededError: it does not fit into what is left.
        """
        amount = times(self._price, self._pictures)
        self._budget.set_aside(amount)
        self._aside = total((self._here(), amount))

    def settle(self, *, billed: int, unknown: int) -> None:
        """The call is over.

        Args:
            billed: pictures that were answered.
            unknown: attempts that may have been billed and brought nothing; their price stays held.
        """
        stays = times(self._price, self._pictures * unknown)
        self._budget.settle(held=stays, spent=times(self._price, billed), aside=self._here())

    def _here(self) -> Decimal:
        """What is set aside in this process; nothing of what was before a fork."""
        if self._generation != self._budget.generation:
            self._generation = self._budget.generation
            self._aside = NOTHING
        return self._aside


def _amount(name: str, value: object) -> Decimal:
    amount = _decimal(value)
    if amount is None or not is_amount(amount):
        raise ConfigurationError(f"{name} is a sum of money, 0 or more, such as 12.5 or '12.50', not {shown(value)}")
    return amount


def _decimal(value: object) -> Decimal | None:
    """The number that `value` is or says; None where it says none."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        return None
    try:
        return Decimal(str(value))
    except (InvalidOperation, ValueError):  # what is no number; a whole number too long to be written
        return None


def _currency(value: object) -> str:
    if not isinstance(value, str) or len(value) != 3 or not value.isascii() or not value.isupper():
        raise ConfigurationError(f"currency is three capital letters such as 'USD' or 'CNY', not {shown(value)}")
    return value


_budgets: WeakSet[Budget] = WeakSet()


def _after_fork() -> None:
    for budget in tuple(_budgets):
        budget.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
