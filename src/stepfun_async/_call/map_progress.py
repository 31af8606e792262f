"""Progress of `images.map`, shown while its outcomes are read."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .._core.money import NOTHING, total
from .._core.progress import Standing, progress_line
from .._runtime.status_line import status_line
from .outcomes import Failed, Outcome

if TYPE_CHECKING:
    from .._core.money import Money
    from .._core.requests import ImageRequest


class MapProgress:
    """Counts outcomes, and shows how many there are.

    Args:
        requests: all requests; they are counted where they have a length.
        price: gives the price of a request; `None` if it is not known.
    """

    def __init__(self, requests: Any, price: Callable[[ImageRequest], Money | None]) -> None:
        self._total = len(requests) if hasattr(requests, "__len__") else None
        self._price = price
        self._ended = self._failed = 0
        self._spent: dict[str, Decimal] = {}
        self._began = time.monotonic()
        self._line = status_line()

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self._ended += 1
        if isinstance(outcome, Failed):
            self._failed += 1
        elif price := self._price(outcome.request):
            self._spent[price.currency] = total((self._spent.get(price.currency, NOTHING), price.amount))
        if self._line.due:
            self._line.show(*self._text())

    def close(self) -> None:
        """Show how it ended."""
        self._line.end(*self._text())

    def _text(self) -> tuple[str, float | None]:
        standing = Standing(
            ended=self._ended,
            total=self._total,
            failed=self._failed,
            ended_now=self._ended,
            seconds=time.monotonic() - self._began,
            spent=self._spent,
        )
        share = self._ended / self._total if self._total else None
        return progress_line(standing, self._line.columns, self._line.separator), share
