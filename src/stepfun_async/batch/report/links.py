"""The location of an image relative to the report: inside its folder, or only named."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_URL = re.compile(r"\w+://")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The location of a row's image.

    Attributes:
        name: the path shown to readers; `None` if there is no image.
        source: where the page finds it, as a relative URL; `None` if it lies outside the report's folder.
        thumbnail: where the page finds a small copy, likewise; `None` if there is none.
    """

    name: str | None = None
    source: str | None = None
    thumbnail: str | None = None


def inside(path: str | os.PathLike[str], folder: Path) -> str | None:
    """`path` as seen from `folder`; `None` if it does not lie in it.

    It is judged by its name alone, so a link in the file system counts as lying where it is called.

    Args:
        path: absolute, or relative to `folder`; or a URL, which lies in no folder.
        folder: absolute.
    """
    if _URL.match(os.fspath(path)):
        return None
    # Words and not `Path`, which takes several times as long, for a million rows.
    try:
        seen = os.path.relpath(os.path.join(folder, path), folder)
    except ValueError:  # on another drive
        return None
    return None if os.path.isabs(seen) or seen.split(os.sep)[0] in (os.curdir, os.pardir) else seen


def link(seen: str) -> str | None:
    """`seen`, a path relative to the page, as a relative URL; `None` if it can be no file's name.

    >>> link(os.path.join("a?b", "javascript:c #1.png"))
    'a%3Fb/javascript%3Ac%20%231.png'
    """
    try:
        return "/".join(quote(os.fsencode(part), safe="") for part in seen.split(os.sep))
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
