"""The location of an image relative to the report: inside its folder, or only a name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_URL = re.compile(r"\w+://")


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """The location of a row's image.

    Attributes:
        name: the path that the page shows; `None` if there is no image.
        source: the relative URL of the image; `None` if it is outside of the report's folder.
        thumbnail: the relative URL of a small copy; `None` if there is none.
    """

    name: str | None = None
    source: str | None = None
    thumbnail: str | None = None


def relative_to(path: str | os.PathLike[str], folder: Path) -> str | None:
    """Return `path` relative to `folder`; `None` if it is not inside.

    Only the text of the path counts: symbolic links are not followed.

    Args:
        path: an absolute path, one relative to `folder`, or a URL, which is in no folder.
        folder: an absolute path.
    """
    if _URL.match(os.fspath(path)):
        return None
    # `os.path` and not `Path`, which takes several times as long, for a million rows.
    try:
        relative_path = os.path.relpath(os.path.join(folder, path), folder)
    except ValueError:  # on another drive
        return None
    return (
        None
        if os.path.isabs(relative_path) or relative_path.split(os.sep)[0] in (os.curdir, os.pardir)
        else relative_path
    )


def link(relative_path: str) -> str | None:
    """`relative_path`, a path relative to the page, as a relative URL; `None` if no file can have that name.

    >>> link(os.path.join("a?b", "javascript:c #1.png"))
    'a%3Fb/javascript%3Ac%20%231.png'
    """
    try:
        return "/".join(quote(os.fsencode(part), safe="") for part in relative_path.split(os.sep))
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
