"""Scalars as tables have them: those of numpy and pandas as Python's own values, and which of them mean "no value".

Nothing is imported for this: a scalar is known by its type's name and attributes, so that neither numpy nor
pandas has to be installed, or loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

_MISSING_TYPES = frozenset({"NAType", "NaTType"})
"""The types of `pandas.NA` and `pandas.NaT`."""

_LARGEST_EXPONENT = 30
"""Above this power of ten, a decimal is not made an `int`: it could have a million digits."""


def is_missing(value: object) -> bool:
    """Whether `value` is what tables put in place of no value: `None`, NaN, `pandas.NA` or a time that is none."""
    if value is None:
        return True
    plain = python_value(value)
    if isinstance(plain, float):
        return math.isnan(plain)
    return plain is None or type(plain).__name__ in _MISSING_TYPES


def python_value(value: object) -> object:
    """`value` as one of Python's own types where it is a scalar of numpy or the like, a decimal or a UUID.

    A float of fewer bits becomes the number it prints as: `np.float32(1.1)` becomes 1.1, not 1.100000023841858.
    Anything else is returned as it is.
    """
    if type(value) in _OWN:
        return value
    for own, plain in _PLAIN:
        if isinstance(value, own):
            return plain(value)
    if isinstance(value, Decimal):
        return _from_decimal(value)
    if isinstance(value, UUID):
        return str(value)
    try:
        is_scalar = getattr(value, "shape", None) == () and hasattr(value, "dtype") and hasattr(value, "item")
        return _from_array_scalar(value) if is_scalar else value
    except Exception:  # noqa: BLE001 - a user's methods may raise anything
        return value


_PLAIN: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
)
"""The functions that convert a value of a derived type to Python's own, since its methods may return anything."""

_OWN = frozenset({str, int, float, bool, bytes, dict, list, type(None)})


def _from_decimal(number: Decimal) -> int | float:
    if number.is_finite() and number.adjusted() < _LARGEST_EXPONENT and number == number.to_integral_value():
        return int(number)
    return float("nan") if number.is_nan() else float(number)


def _from_array_scalar(scalar: object) -> object:
    item: object = cast("Any", scalar).item()
    if not isinstance(item, float):
        return item
    try:
        return float(str(scalar))
    except ValueError:  # a tensor, which prints its type
        return item
