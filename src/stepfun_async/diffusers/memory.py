"""The free memory, as far as the system reports it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(torch: Any, device: str) -> int | None:
    """Return the bytes free on a device; `None` if that cannot be found out.

    Args:
        torch: the module.
        device: `cpu` or `cuda`.
    """
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    found = [size for size in (_of_machine(), _of_container()) if size is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    """Return the bytes that Linux can give to programs without swapping."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _of_container() -> int | None:
    """Return the bytes that a container may still use, by its control group."""
    try:
        most, used = ((_CGROUP / name).read_text() for name in ("memory.max", "memory.current"))
        return max(int(most) - int(used), 0)
    except (OSError, ValueError):  # no control group, or one without a maximum
        return None


def gigabytes(size: int) -> str:
    """Format a number of bytes, such as `57.7 GB`."""
    return f"{size / 1e9:.1f} GB"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python ran out of memory."""
    words = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)
