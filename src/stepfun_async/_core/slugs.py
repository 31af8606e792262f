"""File names made from prompts."""

from __future__ import annotations

import re
import unicodedata

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
