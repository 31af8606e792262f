"""A backend of shared limits in memory, which stands for Redis: it may be slow, stall and fail."""

from __future__ import annotations

import threading
from collections.abc import Callable


class MemoryBackend:
    """Limits that are shared in this process.

    Attributes:
        slots: the names of those that are held.
        entries: by rate entry, how many seconds ago its request had been sent when that was recorded; `None` while
            that is unknown.
        asked: the names of the methods, in the order in which they were called.
        before: called before anything is done, with the name of the method; it may wait, and raise.
    """

    def __init__(self, before: Callable[[str], object] | None = None) -> None:
        self.slots: set[str] = set()
        self.entries: dict[str, float | None] = {}
        self.asked: list[str] = []
        self.leases: set[float] = set()
        self.before = before or _nothing
        self._lock = threading.Lock()

    def acquire(
        self,
        *,
        slot: str | None,
        entry: str | None,
        max_concurrency: int,
        requests_per_minute: int | None,
        lease: float,
    ) -> float:
        self._begin("acquire")
        with self._lock:
            self.leases.add(lease)
            if slot and len(self.slots - {slot}) >= max_concurrency:
                return 0.001
            if entry and requests_per_minute is not None and len(self.entries) >= requests_per_minute:
                return 60.0
            if slot:
                self.slots.add(slot)
            if entry:
                self.entries[entry] = None
            return 0.0

    def mark_sent(self, entry: str, *, ago: float) -> None:
        self._begin("mark_sent")
        with self._lock:
            self.entries[entry] = ago

    def release(self, *, slot: str | None, entry: str | None) -> None:
        self._begin("release")
        with self._lock:
            self.slots.discard(slot or "")
            self.entries.pop(entry or "", None)

    def _begin(self, method: str) -> None:
        self.asked.append(method)
        self.before(method)


def _nothing(_: str) -> None:
    pass
