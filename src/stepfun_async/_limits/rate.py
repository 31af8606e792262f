"""How many requests may go, as plain state machines: the time is told to them, they tell whether to wait.

None of them locks, waits or reads a clock. `_limits` does, for all of them at once.
"""

import heapq
import math

PERIOD = 60.0
"""Seconds over which StepFun counts requests."""

MARGIN = 0.25
"""Seconds by which the ways of two requests to the server may differ without breaking the limit there."""

_TICK = 1e-6
"""Seconds too few to wait for: whoever waited for a moment may wake a rounding error before it."""


class SlidingWindow:
    """A sliding window: over any `PERIOD` seconds never more than `limit` requests leave.

    A request takes a place before it is sent. The place counts without end while nobody knows when the
    request leaves, then from the moment when it left; if it never left, it counts no more. So requests
    that are held up on their way out (a slow connection, say) cannot bunch up with later ones, and
    there is no drift: the window has no beginning that could be shifted.
    """

    __slots__ = ("_left", "_open", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open = 0
        self._left: list[float] = []

    def wait(self, now: float) -> float:
        """Seconds until there is room as far as time can tell: 0 for now, infinity where only a give-back helps."""
        while self._left and self._left[0] + PERIOD + MARGIN - now <= _TICK:
            heapq.heappop(self._left)
        if self._open + len(self._left) < self.limit:
            return 0.0
        return self._left[0] + PERIOD + MARGIN - now if self._left else math.inf

    def take(self) -> None:
        """Take a place; only after `wait` said 0."""
        self._open += 1

    def left(self, when: float) -> None:
        """Say that the request of a taken place left at `when`."""
        self._open -= 1
        heapq.heappush(self._left, when)

    def give_back(self) -> None:
        """Say that the request of a taken place never left."""
        self._open -= 1

    def forget_open(self) -> None:
        """Forget the requests under way, which a forked child does not carry on."""
        self._open = 0


class AdaptiveLimit:
    """How many requests at once, learned from the server: additive increase, multiplicative decrease.

    A full window of successes adds one; a 429 takes 30 % off, once for all requests that were under way
    together. Never above `maximum`, never below one. The algorithm is TCP's
    (https://en.wikipedia.org/wiki/Additive_increase/multiplicative_decrease).
    """

    __slots__ = ("_exact", "cuts", "maximum")

    DECREASE = 0.7

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.cuts = 0
        self._exact = float(maximum)

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return int(self._exact)

    def succeeded(self, in_flight: int) -> None:
        """A request was answered while `in_flight` were under way: a limit that is not reached proves nothing."""
        if in_flight >= self.limit:
            self._exact = min(float(self.maximum), self._exact + 1.0 / self._exact)

    def throttled(self, cuts: int) -> None:
        """A request that was begun after `cuts` cuts met a 429."""
        if cuts == self.cuts:
            self.cuts += 1
            self._exact = max(1.0, self._exact * self.DECREASE)


class Cooldown:
    """A time in which nothing is sent because the server said so, and a gradual beginning afterwards.

    When the pause is over, requests do not rush out together: for another fifth of its length they go
    one after another, evenly spaced.
    """

    __slots__ = ("_not_before", "_spaced_until", "_spacing")

    SPREAD = 0.2

    def __init__(self) -> None:
        self._not_before = -math.inf
        self._spaced_until = -math.inf
        self._spacing = 0.0

    def begin(self, now: float, seconds: float, *, expected: int) -> None:
        """Pause for `seconds`, or as long as an earlier pause still lasts.

        Args:
            now: the time.
            seconds: how long.
            expected: how many requests may be under way at once afterwards.
        """
        end = now + seconds
        if end <= self._not_before:
            return
        spread = seconds * self.SPREAD
        self._not_before = end
        self._spaced_until = end + spread
        self._spacing = spread / max(expected, 1)

    def wait(self, now: float) -> float:
        """Seconds until the next request may leave; 0 for now."""
        wait = self._not_before - now
        return wait if wait > _TICK else 0.0

    def went(self, now: float) -> None:
        """A request leaves now."""
        if now < self._spaced_until:
            self._not_before = now + self._spacing
