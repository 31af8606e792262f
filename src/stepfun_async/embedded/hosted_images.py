"""Images returned as links, kept until the links expire."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

_MAX_BYTES = 512 * 1024 * 1024
"""The maximum bytes kept; beyond it the oldest images are dropped before they expire."""


class Links:
    """The files behind the links; safe to use from several threads.

    Args:
        lifetime: seconds for which a link works.
        clock: the time, in seconds since 1970.
    """

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._files: dict[str, tuple[float, bytes]] = {}
        self._kept = 0
        self._count = 0
        self._lock = threading.Lock()

    def add(self, data: bytes) -> str:
        """Keep a PNG, and return its name."""
        digest = hashlib.sha256(data).hexdigest()[:24]
        with self._lock:
            self._count += 1
            name = f"{self._count:06d}-{digest}.png"
            self._files[name] = (self._clock() + self._lifetime, data)
            self._kept += len(data)
            self._forget_old()
        return name

    def get(self, name: str) -> bytes | None:
        """Return the bytes of a file; `None` if it does not exist or has expired."""
        with self._lock:
            expires, data = self._files.get(name, (0.0, b""))
            return data if self._clock() < expires else None

    def _forget_old(self) -> None:
        now = self._clock()
        while self._files:
            name, (expires, data) = next(iter(self._files.items()))
            if now < expires and self._kept <= _MAX_BYTES:
                return
            del self._files[name]
            self._kept -= len(data)
