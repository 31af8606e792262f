"""`Limits`: the value in which users set how many requests may be in flight, and sent in a minute."""

from dataclasses import dataclass, field
from typing import Any, Self

from .._core.capabilities import TIERS, Region
from .._core.errors import ConfigurationError
from .._core.text import shown
from .backend import LimitsBackend
from .limiter import Limiter, LimitsState
from .shared import SharedLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls may be in flight at once, and how many requests may be sent in a minute.

    Clients with the same `Limits` object share it, in any threads and event loops: together they stay within it.
    Two equal objects are still two limits, and so are copies.

    Attributes:
        max_concurrency: the maximum number of calls in flight. Further ones wait for a slot, first come, first
            served. The default, 5, is what StepFun allows the lowest tier, V0.
        requests_per_minute: the maximum number of requests sent in any 60 seconds, retries included; `None` for no
            maximum. Downloads of linked images are not counted.
        adaptive: lower the concurrency when the server answers 429, and raise it again while it does
            not, never above `max_concurrency`.
        backend: shares these limits between processes and machines, such as `stepfun_async.redis.RedisBackend`;
            `None` for limits of this process alone.

    Raises:
        ConfigurationError: a number is not an integer above 0, or `backend` is not a backend.
    """

    max_concurrency: int = 5
    requests_per_minute: int | None = None
    adaptive: bool = False
    backend: LimitsBackend | None = None
    _limiter: Limiter = field(init=False, repr=False, compare=False)
    _shared: SharedLimits | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_count("max_concurrency", self.max_concurrency)
        if self.requests_per_minute is not None:
            _check_count("requests_per_minute", self.requests_per_minute)
        adaptive: object = self.adaptive
        if type(adaptive) is not bool:
            raise ConfigurationError(f"adaptive is True or False, not {shown(adaptive)}")
        if self.backend is not None and not callable(getattr(self.backend, "acquire", None)):
            raise ConfigurationError(f"backend is a RedisBackend(...) or the like, not {self.backend!r}")
        limiter = Limiter(self.max_concurrency, self.requests_per_minute, adaptive=adaptive)
        object.__setattr__(self, "_limiter", limiter)
        shared = SharedLimits(self.backend, self.max_concurrency, self.requests_per_minute) if self.backend else None
        object.__setattr__(self, "_shared", shared)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments only, so that a copy counts on its own."""
        return type(self), (self.max_concurrency, self.requests_per_minute, self.adaptive, self.backend)

    @classmethod
    def tier(
        cls,
        name: str,
        *,
        region: Region = "international",
        adaptive: bool = False,
        backend: LimitsBackend | None = None,
    ) -> Self:
        """Return the limits of an account of one tier of StepFun's.

        Args:
            name: `V0` to `V4`, in China also `V5`.
            region: the region of the account: `international` (docs 2026-09) or `china` (docs 2026-06).
            adaptive: as in `Limits`.
            backend: as in `Limits`.

        Raises:
            ConfigurationError: there is no such tier or region.

        >>> Limits.tier("V1")
        Limits(max_concurrency=20, requests_per_minute=400, adaptive=False, backend=None)
        """
        tiers = TIERS.get(region)
        if tiers is None:
            raise ConfigurationError(f"no region {shown(region)}; allowed: {', '.join(TIERS)}")
        tier = tiers.get(name)
        if tier is None:
            raise ConfigurationError(f"no tier {name!r} in region {region!r}; allowed: {', '.join(tiers)}")
        return cls(tier.max_concurrency, tier.requests_per_minute, adaptive, backend)

    @property
    def state(self) -> LimitsState:
        """How much of it is in use in this process."""
        return self._limiter.state()

    @property
    def limiter(self) -> Limiter:
        """The limiter that enforces it; for this package's clients."""
        return self._limiter

    @property
    def shared(self) -> SharedLimits | None:
        """The limits shared with other processes, `None` without a backend; for this package's clients."""
        return self._shared


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} is a whole number above 0, not {shown(value)}")
