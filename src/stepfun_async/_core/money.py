"""Sums of money, exact whatever the decimal context of the application is.

`Decimal`'s own operators round and signal as the context of the running thread or task says. An application that works
with money sets its own there (few digits, a trap for `Inexact`), and a limit would not hold. So every sum in this
package is made in `EXACT`, or by the functions here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation, Overflow

NOTHING = Decimal(0)

MAX_DIGITS = 30
"""The maximum digits before and after the decimal point of an accepted amount."""

EXACT = Context(
    prec=4 * MAX_DIGITS,
    rounding=ROUND_HALF_EVEN,
    Emin=MIN_EMIN,
    Emax=MAX_EMAX,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[InvalidOperation, Overflow],
)
"""The context of all sums. No sum of less than 10**60 amounts is rounded in it."""


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The sum of `amounts`, of the same currency; 0 for none."""
    whole = NOTHING
    for amount in amounts:
        whole = EXACT.add(whole, amount)
    return whole


def times(amount: Decimal, count: int) -> Decimal:
    """`count` times `amount`."""
    return EXACT.multiply(amount, count)


def less(whole: Decimal, *amounts: Decimal) -> Decimal:
    """`whole` without `amounts`."""
    return EXACT.subtract(whole, total(amounts))


def is_amount(value: Decimal) -> bool:
    """Whether `value` is a sum of money that may be paid: finite, 0 or more, of digits that can be added up exactly."""
    if not value.is_finite() or value < NOTHING:
        return False
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MAX_DIGITS and value.adjusted() < MAX_DIGITS


def _is_money(value: object) -> bool:
    return isinstance(value, Money)


def _is_exact(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True, repr=False)
class Money:
    """An amount in a currency. Sums, differences and multiples are exact, whatever the decimal context is.

    Attributes:
        amount: how much.
        currency: its code, such as `USD`.

    Raises:
        ValueError: two amounts of different currencies are added, subtracted or compared.

    >>> price = Money(Decimal("0.003"), "USD")
    >>> str(price * 200)
    '0.600 USD'
    >>> price * 200 < Money(Decimal(1), "USD")
    True
    >>> sum([price, price])
    Money(Decimal('0.006'), 'USD')
    """

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"

    def __repr__(self) -> str:
        return f"Money({self.amount!r}, {self.currency!r})"

    def __add__(self, other: "Money") -> "Money":
        return self._with(other, EXACT.add)

    def __radd__(self, other: int) -> "Money":
        """Let `sum()` begin with its 0."""
        return self if other == 0 else NotImplemented

    def __sub__(self, other: "Money") -> "Money":
        return self._with(other, EXACT.subtract)

    def __mul__(self, factor: int | Decimal) -> "Money":
        if not _is_exact(factor):
            return NotImplemented
        return Money(EXACT.multiply(self.amount, factor), self.currency)

    __rmul__ = __mul__

    def __lt__(self, other: "Money") -> bool:
        return self.amount < self._same(other) if _is_money(other) else NotImplemented

    def __le__(self, other: "Money") -> bool:
        return self.amount <= self._same(other) if _is_money(other) else NotImplemented

    def __gt__(self, other: "Money") -> bool:
        return self.amount > self._same(other) if _is_money(other) else NotImplemented

    def __ge__(self, other: "Money") -> bool:
        return self.amount >= self._same(other) if _is_money(other) else NotImplemented

    def _with(self, other: "Money", operation: Callable[[Decimal, Decimal], Decimal]) -> "Money":
        return Money(operation(self.amount, self._same(other)), self.currency) if _is_money(other) else NotImplemented

    def _same(self, other: "Money") -> Decimal:
        """Return the amount of `other`, which is in the same currency."""
        if other.currency != self.currency:
            raise ValueError(f"{self} and {other} are in different currencies: convert one of them first")
        return other.amount
