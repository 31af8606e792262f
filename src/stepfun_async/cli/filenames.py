"""File names made from prompts."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from stepfun_async._core.headers import EXTENSIONS

_LONGEST = 50
"""Characters of a name; four bytes each still fit into what file systems allow."""

_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
"""Names that Windows keeps for devices."""


def slug(prompt: str) -> str:
    """A short, safe file name that says what `prompt` says: letters and digits of any script, and hyphens.

    >>> slug("A serene alpine lake, at SUNSET!")
    'a-serene-alpine-lake-at-sunset'
    """
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", prompt).lower())
    name = "-".join(words)[:_LONGEST].rstrip("-")
    return f"picture-{name}".rstrip("-") if name in _RESERVED or not name else name


def free_stem(name: str) -> Path:
    """`name`, or `name-2` and so on: the first that no picture in the working directory has."""
    number = 1
    while True:
        stem = Path(name if number == 1 else f"{name}-{number}")
        if not any(stem.with_name(stem.name + end).exists() for end in EXTENSIONS.values()):
            return stem
        number += 1
