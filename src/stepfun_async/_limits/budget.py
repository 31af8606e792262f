"""`Budget`: a hard limit on money. The price of a request is reserved before it is sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import NoReturn
from weakref import WeakSet

from .._core.errors import BudgetExceededError, ConfigurationError
from .._core.money import NOTHING, Money, is_amount, less, times, total
from .._core.text import escaped, shown
from .._runtime.fork import ForkSafeLock


class Budget:
    """The most that may be spent by all clients with the same `Budget` object.

    The price of a request is reserved before it is sent, so that no number of concurrent calls, in any tasks and
    threads, can exceed the limit. It is spent when the image arrives, released if nothing was billed, and held for
    good if that is unknown.

    A forked child has a copy of its own, without the reservations of its parent's calls: the parent ends those
    calls, and its own copy counts them.

    Args:
        limit: the amount, as a number or as text such as `"12.50"`.
        currency: the currency of the limit and of `prices`: `USD` for StepFun's international prices,
            `CNY` for China's.
        prices: the price of one image by model, for models and servers that the tables have no prices for, or if you
            pay others. A request whose price is unknown is refused.

    Raises:
        ConfigurationError: the limit or a price is not an amount of money, or the currency is invalid.

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
        self._reserved = NOTHING
        self.generation = 0
        _budgets.add(self)

    @property
    def spent(self) -> Decimal:
        """The cost of the images that have arrived."""
        with self._lock:
            return self._spent

    @property
    def held(self) -> Decimal:
        """The sum of the reservations, and of the prices of requests that may have been billed without an image."""
        with self._lock:
            return total((self._held, self._reserved))

    @property
    def left(self) -> Decimal:
        """The rest of the limit; below 0 only if a server made more images than it was asked for."""
        with self._lock:
            return less(self.limit, self._spent, self._held, self._reserved)

    def __repr__(self) -> str:
        if not hasattr(self, "_reserved"):  # in the traceback of an invalid limit
            return "<Budget>"
        sums = f"spent={self._spent:f}, held={total((self._held, self._reserved)):f}"
        return f"<Budget limit={self.limit:f} {self.currency}, {sums}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Budget is not pickled: a copy of it would allow its limit to be spent twice")

    def price_of(self, model: str, listed: Money | None) -> Money | None:
        """Return the price of one image of `model`: that of `prices`, else `listed`; `None` if unknown."""
        given = self._prices.get(model)
        return listed if given is None else Money(given, self.currency)

    def reserve(self, model: str, price: Money | None, images: int) -> Reservation:
        """Reserve the price of a request.

        Args:
            model: the model.
            price: the price of one image, as returned by `price_of`.
            images: the number of images ordered.

        Raises:
            ConfigurationError: the price is unknown, or in another currency.
            BudgetExceededError: the price is more than what is left.
        """
        name = escaped(model)
        if price is None:
            raise ConfigurationError(
                f"no price is known for {name}, so the budget cannot be enforced: pass "
                f"Budget({self.limit:f}, {self.currency!r}, prices={{{model!r}: ...}}); nothing was sent"
            )
        if price.currency != self.currency:
            raise ConfigurationError(
                f"{name} costs {price}, and the budget is in {self.currency}: make it Budget(..., "
                f"{price.currency!r}), or say prices={{{model!r}: ...}} in {self.currency}; nothing was sent"
            )
        reservation = Reservation(self, price, images)
        reservation.add_attempt()
        return reservation

    def reserve_amount(self, amount: Decimal) -> None:
        """Reserve `amount`.

        Raises:
            BudgetExceededError: it is more than what is left.
        """
        with self._lock:
            reserved = total((self._reserved, amount))
            if total((self._spent, self._held, reserved)) > self.limit:
                held = total((self._held, self._reserved))
                raise BudgetExceededError.of(
                    price=Money(amount, self.currency), limit=self.limit, spent=self._spent, held=held
                )
            self._reserved = reserved

    def settle(self, *, held: Decimal, spent: Decimal, reserved: Decimal = NOTHING) -> None:
        """Add to the amounts held for good and spent, and release a reservation.

        Args:
            held: the amount to hold; below 0 to hold less.
            spent: the amount spent.
            reserved: the amount to release.
        """
        self._lock.soon(self._settle, held, spent, reserved)

    def after_fork(self) -> None:
        """Remove the reservations of the parent's calls, in a forked child."""
        self._reserved = NOTHING
        self.generation += 1

    def _settle(self, held: Decimal, spent: Decimal, reserved: Decimal) -> None:
        self._held = total((self._held, held))
        self._spent = total((self._spent, spent))
        self._reserved = less(self._reserved, reserved)


class Reservation:
    """The money reserved for one call: the price of one attempt, and of each one before that may have been billed."""

    __slots__ = ("_budget", "_generation", "_images", "_price", "_reserved")

    def __init__(self, budget: Budget, price: Money, images: int) -> None:
        self._budget = budget
        self._price = price.amount
        self._images = images
        self._reserved = NOTHING
        self._generation = budget.generation

    def add_attempt(self) -> None:
        """Reserve the price of one more attempt.

        Raises:
            BudgetExceededError: it is more than what is left.
        """
        amount = times(self._price, self._images)
        self._budget.reserve_amount(amount)
        self._reserved = total((self._current(), amount))

    def settle(self, *, billed: int, unknown: int) -> None:
        """Settle the reservation at the end of its call.

        Args:
            billed: the number of images that have arrived.
            unknown: the number of attempts that may have been billed without an image; their price stays held.
        """
        stays = times(self._price, self._images * unknown)
        self._budget.settle(held=stays, spent=times(self._price, billed), reserved=self._current())

    def _current(self) -> Decimal:
        """Return the amount reserved in this process; 0 after a fork."""
        if self._generation != self._budget.generation:
            self._generation = self._budget.generation
            self._reserved = NOTHING
        return self._reserved


def _amount(name: str, value: object) -> Decimal:
    amount = _decimal(value)
    if amount is None or not is_amount(amount):
        raise ConfigurationError(f"{name} is a sum of money, 0 or more, such as 12.5 or '12.50', not {shown(value)}")
    return amount


def _decimal(value: object) -> Decimal | None:
    """Return `value` as a number; `None` if it is not one."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        return None
    try:
        return Decimal(str(value))
    except (InvalidOperation, ValueError):  # not a number; an integer with too many digits
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
