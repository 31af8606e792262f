"""Sums of money are exact in whatever decimal context the application has set."""

from __future__ import annotations

import decimal
from collections.abc import Iterator
from decimal import Decimal

import pytest

from stepfun_async._core.money import NOTHING, is_amount, less, times, total


@pytest.fixture(params=["few digits", "no traps", "trap of all that is inexact", "small exponents"])
def context(request: pytest.FixtureRequest) -> Iterator[None]:
    contexts = {
        "few digits": decimal.Context(prec=2),
        "no traps": decimal.Context(prec=1, traps=[]),
        "trap of all that is inexact": decimal.Context(prec=3, traps=[decimal.Inexact, decimal.Rounded]),
        "small exponents": decimal.Context(prec=3, Emin=-1, Emax=1, traps=[decimal.Overflow, decimal.Subnormal]),
    }
    with decimal.localcontext(contexts[request.param]):
        yield


@pytest.mark.usefixtures("context")
def test_sums_are_exact_in_any_context() -> None:
    assert str(total([Decimal("1000000.00"), Decimal("0.003")])) == "1000000.003"
    assert str(times(Decimal("0.003"), 123_457)) == "370.371"
    assert str(less(Decimal(5000), Decimal("0.003"), Decimal("0.01"))) == "4999.987"
    assert total([]) == NOTHING


@pytest.mark.usefixtures("context")
def test_the_largest_and_the_smallest_amounts_are_added_up_exactly() -> None:
    large, small = Decimal("1E+29"), Decimal("1E-30")
    assert is_amount(large)
    assert is_amount(small)
    assert less(total([times(large, 10**9), times(small, 10**9)]), times(large, 10**9)) == Decimal("1E-21")


@pytest.mark.parametrize("text", ["0", "-0", "12.50", "0.003", "1E+3", "1E-30", "0E-30"])
def test_what_is_an_amount(text: str) -> None:
    assert is_amount(Decimal(text))


@pytest.mark.parametrize("text", ["-0.01", "NaN", "sNaN", "Infinity", "-Infinity", "1E+30", "1E-31", "0E+999999"])
def test_what_is_no_amount(text: str) -> None:
    assert not is_amount(Decimal(text))
