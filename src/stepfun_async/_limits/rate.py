"""The rules of the rate limits, as pure state machines: the caller passes the time and gets back how long to wait.

None of them locks, waits or reads a clock; `limiter` does that for all of them.
"""

import heapq
import math

PERIOD = 60.0
"""Seconds over which StepFun counts requests."""

MARGIN = 0.25
"""Seconds by which the latencies of two requests may differ without breaking the limit at the server."""

_TICK = 1e-6
"""Seconds that count as none: a caller that has waited may wake a rounding error too early."""


class SlidingWindow:
    """A sliding window: no more than `limit` requests are sent in any `PERIOD` seconds.

    A request acquires an entry before it is sent. The entry counts until the request is sent and for `PERIOD`
    seconds after that; if it is never sent, the entry is released. So requests that are delayed before they are
    sent (by a slow connection, say) cannot bunch up with later ones. And the window has no beginning, so it does
    not drift.
    """

    __slots__ = ("_open", "_sent", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open = 0
        self._sent: list[float] = []

    def wait(self, now: float) -> float:
        """Return the seconds until an entry is free; infinity if one has to be released first."""
        while self._sent and self._sent[0] + PERIOD + MARGIN - now <= _TICK:
            heapq.heappop(self._sent)
        if self._open + len(self._sent) < self.limit:
            return 0.0
        return self._sent[0] + PERIOD + MARGIN - now if self._sent else math.inf

    def acquire(self) -> None:
        """Acquire an entry. `wait` must have returned 0."""
        self._open += 1

    def mark_sent(self, when: float) -> None:
        """Record that the request of an open entry was sent at `when`."""
        self._open -= 1
        heapq.heappush(self._sent, when)

    def release(self) -> None:
        """Release an open entry, whose request was not sent."""
        self._open -= 1

    def discard_open(self) -> None:
        """Discard the open entries, in a forked child: their requests are the parent's."""
        self._open = 0


class AdaptiveLimit:
    """A concurrency limit learned from the server: additive increase, multiplicative decrease.

    As many successes as the limit add one; a 429 takes 30 % off, once for all requests that were in flight
    together. The limit is at most `maximum` and at least one. The algorithm is TCP's
    (https://en.wikipedia.org/wiki/Additive_increase/multiplicative_decrease).
    """

    __slots__ = ("_exact", "decreases", "maximum")

    DECREASE = 0.7

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.decreases = 0
        self._exact = float(maximum)

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight now."""
        return int(self._exact)

    def succeeded(self, in_flight: int) -> None:
        """Increase the limit after a success while `in_flight` were in flight, if that is all it allows."""
        if in_flight >= self.limit:
            self._exact = min(float(self.maximum), self._exact + 1.0 / self._exact)

    def throttled(self, decreases: int) -> None:
        """Decrease the limit after a 429, once for all requests that began at the same number of `decreases`."""
        if decreases == self.decreases:
            self.decreases += 1
            self._exact = max(1.0, self._exact * self.DECREASE)


class Cooldown:
    """A time in which nothing is sent because the server asked for it, and a gradual start afterwards.

    Requests are not sent all at once when it ends: for another fifth of its length they are evenly spaced.
    """

    __slots__ = ("_not_before", "_spaced_until", "_spacing")

    SPREAD = 0.2

    def __init__(self) -> None:
        self._not_before = -math.inf
        self._spaced_until = -math.inf
        self._spacing = 0.0

    def begin(self, now: float, seconds: float, *, expected: int) -> None:
        """Begin a cooldown, or keep an earlier one that ends later.

        Args:
            now: the time.
            seconds: the length of the cooldown.
            expected: the number of requests that may be in flight afterwards.
        """
        end = now + seconds
        if end <= self._not_before:
            return
        spread = seconds * self.SPREAD
        self._not_before = end
        self._spaced_until = end + spread
        self._spacing = spread / max(expected, 1)

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may be sent; 0 for now."""
        wait = self._not_before - now
        return wait if wait > _TICK else 0.0

    def mark_sent(self, now: float) -> None:
        """Record that a request is sent now."""
        if now < self._spaced_until:
            self._not_before = now + self._spacing
