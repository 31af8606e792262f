"""The charges that the engine counts for each key."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.money import NOTHING, Money, less, times, total

_NOTHING: Mapping[str, Decimal] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bill:
    """The usage of one key, or of all together.

    Attributes:
        calls: requests for an image that arrived, including those rejected or lost to a fault.
        images: images charged, including those that never reached the caller.
        spent: their cost by the model tables' international prices, by currency.
        seconds: how long a model of this machine worked, also on images that were not finished; 0 for drawn images.
    """

    calls: int = 0
    images: int = 0
    spent: Mapping[str, Decimal] = field(default_factory=lambda: _NOTHING)
    seconds: float = 0.0

    def __add__(self, other: Bill) -> Bill:
        currencies = {**self.spent, **other.spent}
        spent = {name: total((self.spent.get(name, NOTHING), other.spent.get(name, NOTHING))) for name in currencies}
        calls, images = self.calls + other.calls, self.images + other.images
        return Bill(calls, images, MappingProxyType(spent), self.seconds + other.seconds)

    def amount(self) -> Decimal:
        """The sum of `spent`; StepFun's international prices are in one currency, USD."""
        return total(self.spent.values())


def _priced(price: Money | None, sign: int) -> Bill:
    spent = {price.currency: times(price.amount, sign)} if price else {}
    return Bill(0, sign, MappingProxyType(spent))


class Ledger:
    """The bills of all keys; safe to use from several threads.

    Args:
        credit: the most each key may spend, in the prices' currency.
    """

    def __init__(self, credit: float) -> None:
        if type(credit) not in (int, float) or not 0 <= credit < math.inf:
            raise ConfigurationError(f"credit must be a sum of money, 0 or more, not {credit!r}")
        self._credit = Decimal(str(credit))
        self._bills: dict[str, Bill] = {}
        self._lock = threading.Lock()

    def note(self, key: str) -> None:
        """Count a request for an image."""
        self._add(key, Bill(calls=1))

    def charge(self, key: str, price: Money | None) -> bool:
        """Charge one image; return False and charge nothing if its price exceeds what is left."""
        with self._lock:
            bill = self._bills.get(key, Bill())
            if price is not None and total((bill.amount(), price.amount)) > self._credit:
                return False
            self._bills[key] = bill + _priced(price, 1)
            return True

    def refund(self, key: str, price: Money | None) -> None:
        """Refund a `charge` for an image that could not be made."""
        self._add(key, _priced(price, -1))

    def worked(self, key: str, seconds: float) -> None:
        """Count the time that a model worked."""
        if seconds:
            self._add(key, Bill(seconds=seconds))

    def balance(self, key: str) -> Decimal:
        """Return what `key` may still spend."""
        return less(self._credit, self.bill(key).amount())

    def bill(self, key: str | None) -> Bill:
        """Return the bill of `key`; `None` for all keys."""
        with self._lock:
            if key is not None:
                return self._bills.get(key, Bill())
            return sum(self._bills.values(), Bill())

    def _add(self, key: str, more: Bill) -> None:
        with self._lock:
            self._bills[key] = self._bills.get(key, Bill()) + more
