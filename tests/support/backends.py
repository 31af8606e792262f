"""A backend of shared limits in memory, which stands for Redis: it may be slow, stall and fail."""

from __future__ import annotations

import threading
from collections.abc import Callable


class MemoryBackend:
    """Limits that are shared in this process.

    Attributes:
        slots: the names of those that are held.
        places: of each place that counts, how many seconds ago its request had left when that was said; None while
            it is not known.
        asked: the names of the methods, in the order in which they were called.
        before: called before anything is done, with the name of the method; it may wait, and raise.
    """

    def __init__(self, before: Callable[[str], object] | None = None) -> None:
        self.slots: set[str] = set()
        self.places: dict[str, float | None] = {}
        self.asked: list[str] = []
        self.leases: set[float] = set()
        self.before = before or _nothing
        self._lock = threading.Lock()

    def take(
        self,
        *,
        slot: str | None,
        place: str | None,
        max_concurrency: int,
        requests_per_minute: int | None,
        lease: float,
    ) -> float:
        self._begin("take")
        with self._lock:
            self.leases.add(lease)
            if slot and len(self.slots - {slot}) >= max_concurrency:
                return 0.001
            if place and requests_per_minute is not None and len(self.places) >= requests_per_minute:
                return 60.0
            if slot:
                self.slots.add(slot)
            if place:
                self.places[place] = None
            return 0.0

    def sent(self, place: str, *, ago: float) -> None:
        self._begin("sent")
        with self._lock:
            self.places[place] = ago

    def give_back(self, *, slot: str | None, place: str | None) -> None:
        self._begin("give_back")
        with self._lock:
            self.slots.discard(slot or "")
            self.places.pop(place or "", None)

    def _begin(self, method: str) -> None:
        self.asked.append(method)
        self.before(method)


def _nothing(_: str) -> None:
    pass
