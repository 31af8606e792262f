"""Where and how the images of a batch are stored, as a plain value that can be sent to other processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from stepfun_async._core.errors import ConfigurationError

from .base import FileStore
from .bucket import Bucket, check_installed, is_url, redacted
from .folder import Folder
from .store import ImageStore


@dataclass(frozen=True, slots=True)
class StorageLocation:
    """Where and how images are stored. It can be pickled; a process that opens it needs its own credentials.

    Attributes:
        where: a folder, or the URL of a bucket.
        notes: whether a note is written beside each image.
        metadata: whether the note is also embedded into the image file.
    """

    where: str
    notes: bool
    metadata: bool = False

    def store(self) -> ImageStore:
        """Return the store, for one process. Nothing is opened or created before its first use."""
        return ImageStore(open_file_store(self.where), notes=self.notes, metadata=self.metadata)


def open_file_store(where: str) -> FileStore:
    """Return the file store at `where`.

    Raises:
        ConfigurationError: it is a URL, but not that of a bucket.
    """
    return Bucket(where) if is_url(where) else Folder(Path(where))


def check_image_location(pictures: object) -> str | None:
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
    check_installed()
    return Bucket(where).name


def check_folder(folder: str | os.PathLike[str], what: str) -> Path:
    """Return `folder` as a path.

    Args:
        folder: the folder given by the user.
        what: what it is for; the message begins with it.

    Raises:
        ConfigurationError: it is a URL.
    """
    if is_url(os.fspath(folder)):
        raise ConfigurationError(f"{what} go to a folder on a local disk, not to {redacted(os.fspath(folder))!r}")
    return Path(folder)
