"""File names made from prompts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from pathlib import Path

from stepfun_async._core.headers import EXTENSIONS

_LONGEST = 50
"""The maximum characters of a name; with four bytes each it still fits the limit of file systems."""

_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
"""Names that Windows reserves for devices."""


def slug(prompt: str) -> str:
    """Return a short, safe file name made from `prompt`: letters and digits of any script, and hyphens.

    >>> slug("A serene alpine lake, at SUNSET!")
    'a-serene-alpine-lake-at-sunset'
    """
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", prompt).lower())
    name = "-".join(words)[:_LONGEST].rstrip("-")
    return f"picture-{name}".rstrip("-") if name in _RESERVED or not name else name


def free_stem(name: str, folder: Path = Path(), taken: Container[Path] = ()) -> Path:
    """Return `name`, or the first of `name-2` and so on, that no image in `folder` has and that is not `taken`."""
    number = 1
    while True:
        stem = folder / (name if number == 1 else f"{name}-{number}")
        if stem not in taken and not any(stem.with_name(stem.name + end).exists() for end in EXTENSIONS.values()):
            return stem
        number += 1
