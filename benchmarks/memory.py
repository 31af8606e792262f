"""How much memory this process takes, as Linux tells; elsewhere it is not a number."""

from __future__ import annotations

import gc
from math import nan
from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident(peak: bool = False) -> float:
    """Megabytes in memory now, or at the peak."""
    name = "VmHWM" if peak else "VmRSS"
    if not _STATUS.exists():
        return nan
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(name)) / 1000


class Memory:
    """How far memory grows from here on."""

    def __init__(self) -> None:
        gc.collect()
        if _STATUS.exists():
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._before = resident()

    def peak(self) -> float:
        """Megabytes more than at the beginning, at most."""
        return resident(peak=True) - self._before
