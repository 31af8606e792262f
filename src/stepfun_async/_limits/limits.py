"""`Limits`: how much may happen at once, as the value that users write down."""

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
    """What may be in flight at once, and sent in a minute.

    Clients that are given the same `Limits` object share it, in any threads and event loops: together
    they stay within it. Two objects that are equal are still two limits, and so are copies.

    Attributes:
        max_concurrency: calls in flight at most. Further ones wait for a slot, first come first
            served. The default, 5, is what StepFun allows the lowest tier, V0.
        requests_per_minute: requests sent in any 60 seconds at most, attempts that are made again
            included; None for any number. Links to pictures are not counted.
        adaptive: lower the concurrency when the server answers 429, and raise it again while it does
            not, never above `max_concurrency`.
        backend: where several processes or machines keep these limits together, such as
            `stepfun_async.redis.RedisBackend`; None for limits of this process alone.

    Raises:
        ConfigurationError: a number is not a whole one above 0, or `backend` is none.
    """

    max_concurrency: int = 5
    requests_per_minute: int | None = None
    adaptive: bool = False
    backend: LimitsBackend | None = None
    _gate: Limiter = field(init=False, repr=False, compare=False)
    _shared: SharedLimits | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_count("max_concurrency", self.max_concurrency)
        if self.requests_per_minute is not None:
            _check_count("requests_per_minute", self.requests_per_minute)
        adaptive: object = self.adaptive
        if type(adaptive) is not bool:
            raise ConfigurationError(f"adaptive is True or False, not {shown(adaptive)}")
        if self.backend is not None and not callable(getattr(self.backend, "take", None)):
            raise ConfigurationError(f"backend is a RedisBackend(...) or the like, not {self.backend!r}")
        gate = Limiter(self.max_concurrency, self.requests_per_minute, adaptive=adaptive)
        object.__setattr__(self, "_gate", gate)
        shared = SharedLimits(self.backend, self.max_concurrency, self.requests_per_minute) if self.backend else None
        object.__setattr__(self, "_shared", shared)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process, or a copy, counts for itself."""
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
        """What StepFun allows an account of one tier.

        Args:
            name: `V0` to `V4`, in China `V5` too.
            region: where the account is: `international` (docs 2026-09) or `china` (docs 2026-06).
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
        """How it is used at this moment, by everybody who shares it in this process."""
        return self._gate.state()

    @property
    def gate(self) -> Limiter:
        """What holds everybody to it; for this package's clients."""
        return self._gate

    @property
    def shared(self) -> SharedLimits | None:
        """What holds them together with other processes; for this package's clients."""
        return self._shared


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} is a whole number above 0, not {shown(value)}")
