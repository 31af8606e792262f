"""Where and how the images of a batch are stored, as a plain value that can be sent to other processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from stepfun_async._core.errors import ConfigurationError

from .base import Place
from .bucket import Bucket, is_url, needed, shown
from .folder import Folder
from .store import ImageStore


@dataclass(frozen=True, slots=True)
class StorageLocation:
    """Where and how images are stored. It can be pickled; a process that opens it needs credentials of its own.

    Attributes:
        where: a folder, or the URL of a bucket.
        notes: whether each image gets its note.
        metadata: whether each image gets it into its own file too.
    """

    where: str
    notes: bool
    metadata: bool = False

    def store(self) -> ImageStore:
        """The store, for one process. Nothing is opened or made before its first use."""
        return ImageStore(place_at(self.where), notes=self.notes, metadata=self.metadata)


def place_at(where: str) -> Place:
    """The place called `where`.

    Raises:
        ConfigurationError: it is a URL of no bucket.
    """
    return Bucket(where) if is_url(where) else Folder(Path(where))


def check_pictures(pictures: object) -> str | None:
    """Return the location of images for the journal: a URL, an absolute path, or `None` for the batch's own folder.

    Raises:
        ConfigurationError: it is none of these, or its extra is not installed.
    """
    if pictures is None:
        return None
    if not isinstance(pictures, str | os.PathLike) or not os.fspath(pictures):
        raise ConfigurationError(f"pictures={pictures!r} is neither a folder nor the URL of a bucket")
    where = os.fsdecode(cast("str | os.PathLike[str]", pictures))
    if not is_url(where):
        return os.path.abspath(where)
    needed()
    return Bucket(where).name


def check_folder(folder: str | os.PathLike[str], what: str) -> Path:
    """`folder` as a path.

    Args:
        folder: what was given.
        what: what it is for, with which the message begins.

    Raises:
        ConfigurationError: it is a URL.
    """
    if is_url(os.fspath(folder)):
        raise ConfigurationError(f"{what} go to a folder on a local disk, not to {shown(os.fspath(folder))!r}")
    return Path(folder)
