"""Free names of files."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from stepfun_async._core.headers import EXTENSIONS


def free_stem(name: str, folder: Path = Path(), taken: Container[Path] = ()) -> Path:
    """Return `name`, or the first of `name-2` and so on, that no image in `folder` has and that is not `taken`."""
    number = 1
    while True:
        stem = folder / (name if number == 1 else f"{name}-{number}")
        if stem not in taken and not any(stem.with_name(stem.name + end).exists() for end in EXTENSIONS.values()):
            return stem
        number += 1
