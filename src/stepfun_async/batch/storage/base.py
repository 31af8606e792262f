"""What all file stores have in common: the protocol, the files they store, and the error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stepfun_async._core.errors import StepFunError

NOTE = ".json"
"""The extension of a note, which is beside its image."""


class StorageError(StepFunError, OSError):
    """The folder or bucket for a batch's images cannot be used: there is no such bucket, the credentials are wrong or
    lack a permission, or it cannot be reached. Its contents have not changed.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image in its file.

    Attributes:
        path: relative to the file store, with `/`; absolute if the image was saved to a fallback path.
        sha256: of the file.
        bytes: the size of the file.
        format: as in `Image.format`; `None` for other formats.
        width: pixels; `None` if the format is unknown.
        height: pixels, likewise.
        note: the content of its note; empty without one.
    """

    path: str
    sha256: str
    bytes: int
    format: str | None
    width: int | None
    height: int | None
    note: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewFile:
    """The file of an image, to be written.

    Attributes:
        name: relative to the file store, with `/`. An existing file is never replaced.
        data: the bytes of the image.
        note_name: the name of its note. An existing note is replaced.
        note: the bytes of its note, which is written first; `None` for no note.
    """

    name: str
    data: bytes
    note_name: str
    note: bytes | None


class FileStore(Protocol):
    """A store of files, under names with `/` in them. Every method may raise `OSError`."""

    @property
    def threads(self) -> int:
        """The number of concurrent calls of `write_all` that are useful."""
        ...

    @property
    def max_group_size(self) -> int:
        """The maximum number of images in one call of `write_all`."""
        ...

    @property
    def name(self) -> str:
        """The location of the store, as users write it; a file is at `{name}/{the file's name}`."""
        ...

    def check_writable(self) -> None:
        """Check that images can be written, by writing and removing a file if necessary.

        Raises:
            StorageError: they cannot, and why.
        """
        ...

    def existing(self, names: Iterable[str]) -> set[str]:
        """Return those of `names` that exist."""
        ...

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Yield the contents of files, in their order; `None` for one that is missing."""
        ...

    def write_all(self, files: Sequence[NewFile]) -> list[BaseException | None]:
        """Write new images, each atomically. When this returns, they are durable.

        Returns:
            The error of each, or `None`; `FileExistsError` if its name exists.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Write a file atomically, and replace an existing one. When this returns, it is durable."""
        ...

    def remove_leftovers(self, stem: str) -> None:
        """Remove the partial files that a killed process left for names that begin with `stem`."""
        ...
