"""How much a client does at once."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from ._core.errors import ConfigurationError, QueueTimeoutError
from ._loops import PerLoop


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may do at once.

    Attributes:
        max_concurrency: calls in flight at most. Further ones wait for a slot, first come first
            served. The default, 5, is what StepFun allows the lowest tier, V0.

    Raises:
        ConfigurationError: `max_concurrency` is not a whole number above 0.
    """

    max_concurrency: int = 5

    def __post_init__(self) -> None:
        _check_count("max_concurrency", self.max_concurrency)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} is a whole number above 0, not {value!r}")


class Slots:
    """As many slots as calls may be in flight. Whoever waits for one has not begun to use its deadline."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._limiters = PerLoop(lambda: anyio.CapacityLimiter(limits.max_concurrency))

    @asynccontextmanager
    async def hold(self, queue_timeout: float | None) -> AsyncGenerator[None]:
        """Hold a slot.

        Raises:
            QueueTimeoutError: none came free within `queue_timeout` seconds; None waits for ever.
        """
        limiter = self._limiters.get()
        holder = object()
        # A slot that is free is taken even where there is no time to wait.
        wait = None if limiter.available_tokens >= 1 else queue_timeout
        with anyio.move_on_after(wait) as scope:
            await limiter.acquire_on_behalf_of(holder)
        if scope.cancelled_caught:
            raise self._timed_out(queue_timeout)
        try:
            yield
        finally:
            limiter.release_on_behalf_of(holder)

    def _timed_out(self, queue_timeout: float | None) -> QueueTimeoutError:
        return QueueTimeoutError(
            f"no slot came free within queue_timeout={queue_timeout:g} seconds: all "
            f"{self._limits.max_concurrency} are in use (Limits(max_concurrency=...)); nothing was sent"
        )
