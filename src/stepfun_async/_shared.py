"""Limits that several processes share: one call's conversation with their backend.

The backend is asked after the gate of this process, so that no more callers ask than have a slot here.
It blocks, so it is asked in worker threads, which works in every loop.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from ._core.errors import Billing, LimitsUnavailableError

if TYPE_CHECKING:
    from ._core.backend import LimitsBackend
    from ._limits import Limits

_log = logging.getLogger("stepfun_async")

_GRACE = 30.0
"""Seconds beyond a call's deadline for which its slot is kept, should nobody give it back."""


class SharedGrant:
    """What one call holds at a backend."""

    def __init__(self, backend: LimitsBackend, limits: Limits, timeout: float) -> None:
        self._backend = backend
        self._limits = limits
        self._now = limits.gate.now
        self._lease = timeout + _GRACE
        self._slot: str | None = None
        self._place: str | None = None

    async def begin(self, *, place: bool) -> None:
        """Take a slot, and a place in the minute with it.

        Raises:
            LimitsUnavailableError: the backend cannot be asked.
        """
        self._slot = _name()
        await self._take(self._slot, _name() if place and self._limits.requests_per_minute else None)

    async def ready(self) -> None:
        """Have a place for the attempt that is due; see `begin`."""
        if self._place is None and self._limits.requests_per_minute:
            await self._take(None, _name())

    async def attempted(self, billing: Billing, left: float | None) -> None:
        """The attempt is over.

        Args:
            billing: how it ended. A place whose request never left is given back.
            left: when its request left, by the gate's clock; None where nobody saw it, which counts as now.
        """
        place, self._place = self._place, None
        if place is None:
            return
        if billing == "not_sent":
            await self._tell(partial(self._backend.give_back, slot=None, place=place))
        else:
            now = self._now()
            await self._tell(partial(self._backend.sent, place, ago=now - (now if left is None else left)))

    async def leave(self) -> None:
        """Give everything back. What cannot be given back ends with its lease."""
        await self._tell(partial(self._backend.give_back, slot=self._slot, place=self._place))

    async def _take(self, slot: str | None, place: str | None) -> None:
        self._place = place  # given back whether it was granted or not, should this be cancelled
        ask = partial(
            self._backend.take,
            slot=slot,
            place=place,
            max_concurrency=self._limits.max_concurrency,
            requests_per_minute=self._limits.requests_per_minute,
            lease=self._lease,
        )
        while (wait := await anyio.to_thread.run_sync(ask)) > 0:  # noqa: ASYNC110 - other processes set no event here
            await anyio.sleep(wait * random.uniform(1.0, 1.2))  # noqa: S311 - spreads load, guards nothing

    async def _tell(self, say: Callable[[], None]) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(say)
            except LimitsUnavailableError as error:
                _log.warning("the shared limits were not told that a request is over: %s", error)


def _name() -> str:
    return secrets.token_hex(12)
