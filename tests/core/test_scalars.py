"""Scalars of other libraries as Python's own values, and what means "no value"."""

from __future__ import annotations

import math
from decimal import Decimal
from uuid import UUID

import pytest

from stepfun_async._core.scalars import is_missing, python_value


class NAType:
    """As `pandas.NA` is: no comparison with it is true or false."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


class NaTType(NAType):
    """As `pandas.NaT` is."""


class Scalar:
    """As numpy's scalars are."""

    shape = ()
    dtype = "any"

    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> object:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.2g}" if isinstance(self.value, float) else str(self.value)


class Word(str):
    """As numpy's texts are."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Number(int):
    """As members of an `IntEnum` are."""

    __str__ = __repr__ = __int__ = Word.__str__  # type: ignore[assignment]


class Ratio(float):
    """As numpy's float64 is."""

    __str__ = __repr__ = __float__ = Word.__str__  # type: ignore[assignment]


MISSING: list[object] = [
    None,
    math.nan,
    NAType(),
    NaTType(),
    Decimal("NaN"),
    Decimal("sNaN"),
    Scalar(math.nan),
    Scalar(None),  # as numpy's own NaT is
]


@pytest.mark.parametrize("value", MISSING)
def test_what_tables_put_in_the_place_of_no_value_is_missing(value: object) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", ["", "NaN", 0, False, 0.0, math.inf, Decimal(0), [], {}, b"", object()])
def test_a_value_is_not_missing(value: object) -> None:
    assert not is_missing(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("2.50"), 2.5),
        (Decimal("3.0"), 3),
        (Decimal(10) ** 25, 10**25),
        (Decimal("1E+999999"), math.inf),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Scalar("text"), "text"),
        (Scalar(7), 7),
        (Scalar(1.100000023841858), 1.1),
        ("as it is", "as it is"),
    ],
)
def test_a_scalar_becomes_a_value_of_python(value: object, expected: object) -> None:
    found = python_value(value)
    assert (found, type(found)) == (expected, type(expected))


def test_a_value_of_a_derived_type_becomes_one_of_pythons_own() -> None:
    for value, expected in ((Word("a lake"), "a lake"), (Number(7), 7), (Ratio(2.5), 2.5)):
        found = python_value(value)
        assert type(found) is type(expected)
        assert found == expected
