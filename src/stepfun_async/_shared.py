"""Limits that several processes share: one call's conversation with their backend.

The backend is asked after the gate of this process, so that no more callers ask than have a slot here.
It blocks, so it is asked in worker threads, which works in every loop.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from ._core.errors import Billing, LimitsUnavailableError, QueueTimeoutError

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

    async def begin(self, until: float, *, place: bool) -> None:
        """Take a slot, and a place in the minute with it.

        Args:
            until: when to give up, by the loop's clock; a backend that has both is asked in any case.
            place: whether a place is wanted.

        Raises:
            LimitsUnavailableError: the backend cannot be asked.
            QueueTimeoutError: they would not come free in time.
        """
        self._slot = _name()
        await self._take(self._slot, _name() if place and self._limits.requests_per_minute else None, until)

    async def ready(self) -> None:
        """Have a place for the attempt that is due; see `begin`."""
        if self._place is None and self._limits.requests_per_minute:
            await self._take(None, _name(), math.inf)

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

    async def _take(self, slot: str | None, place: str | None, until: float) -> None:
        self._place = place  # given back whether it was granted or not, should this be cancelled
        ask = partial(
            self._backend.take,
            slot=slot,
            place=place,
            max_concurrency=self._limits.max_concurrency,
            requests_per_minute=self._limits.requests_per_minute,
            lease=self._lease,
        )
        async with self._limits.gate.turn(until):  # in the order in which the gate let them pass
            while wait := await anyio.to_thread.run_sync(ask):
                if anyio.current_time() + wait > until:
                    why = "no slot comes free in time at the backend that shares them; nothing was sent"
                    raise QueueTimeoutError(why)
                await anyio.sleep(wait)

    async def _tell(self, say: Callable[[], None]) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(say)
            except LimitsUnavailableError as error:
                _log.warning(
                    "the shared limits could not be told of a request; it counts until its lease ends: %s", error
                )


def _name() -> str:
    import secrets

    return secrets.token_hex(12)
