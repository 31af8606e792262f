"""Sums of money, exact whatever the decimal context of the application is.

`Decimal`'s own operators round and signal as the context of the running thread or task says. An application that works
with money sets its own there (few digits, a trap for `Inexact`), and a limit would not hold. So every sum in this
package is made in `EXACT`, or by the functions here.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation, Overflow

NOTHING = Decimal(0)

MAX_DIGITS = 30
"""Digits before, and places after, the decimal point of one amount that is accepted."""

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
