"""The callers that wait for a model, which makes one image at a time."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

from stepfun_async.embedded.backend import NotMadeError, Stop

_FIRST_GUESS = 5.0
"""Seconds that an image is expected to take before the first one is made."""


class Line:
    """First come, first served, with a bounded number waiting; safe to use from several threads.

    Args:
        most: how many may wait behind the current one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._turns: list[threading.Event] = []
        self._took: deque[float] = deque(maxlen=5)

    @property
    def waiting(self) -> int:
        """The number of callers that wait behind the current one."""
        return max(len(self._turns) - 1, 0)

    @contextmanager
    def turn(self, stop: Stop, *, bounded: bool = True) -> Generator[None]:
        """Wait for a turn, which lasts for the `with` block.

        Args:
            stop: when set, the turn is given up.
            bounded: whether to refuse to wait behind too many.

        Raises:
            NotMadeError: too many wait already, or `stop` was set.
        """
        turn = self._stand(bounded=bounded)
        try:
            stop.call(turn.set)
            turn.wait()
            if stop.is_set:
                raise stopped()
            yield
        finally:
            self._leave(turn)

    def took(self, seconds: float) -> None:
        """Record the duration of an image, from which `Retry-After` is estimated."""
        self._took.append(seconds)

    def _stand(self, *, bounded: bool) -> threading.Event:
        turn = threading.Event()
        with self._lock:
            if bounded and len(self._turns) > self._most:
                raise self._full()
            self._turns.append(turn)
            self._turns[0].set()
        return turn

    def _leave(self, turn: threading.Event) -> None:
        with self._lock:
            self._turns.remove(turn)
            if self._turns:
                self._turns[0].set()

    def _full(self) -> NotMadeError:
        waiting = f"{self._most} wait for it" if self._most != 1 else "1 waits for it"
        message = f"the model makes one image at a time, and {waiting} already"
        each = sum(self._took) / len(self._took) if self._took else _FIRST_GUESS
        return NotMadeError(message, status=429, kind="queue_full", retry_after=max(math.ceil(each), 1))


def stopped() -> NotMadeError:
    """Return the error for a caller who has gone, and will not read it."""
    return NotMadeError("the caller disconnected", status=499, kind="client_closed_request")
