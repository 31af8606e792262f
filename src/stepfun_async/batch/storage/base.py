"""The common parts of all places for images: the protocol, stored files, and the error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stepfun_async._core.errors import StepFunError

NOTE = ".json"
"""The ending of a note beside its image."""


class StorageError(StepFunError, OSError):
    """The place for a batch's images cannot be used: there is no such bucket, the credentials are wrong or may
    not do that, or it cannot be reached. What is in it is as it was.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """An image in its file.

    Attributes:
        path: below the place, with `/`; a whole path for one that was rescued to another place.
        sha256: of the file.
        bytes: its size.
        format: as `Image.format` has it; `None` for anything else.
        width: pixels; `None` if the format is not known.
        height: pixels, likewise.
        note: what its note says; empty where it has none.
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
        name: below the place, with `/`. It is never replaced.
        data: its bytes.
        note_name: the name of its note, which is replaced.
        note: the bytes of its note, which is written first; `None` for no note.
    """

    name: str
    data: bytes
    note_name: str
    note: bytes | None


class Place(Protocol):
    """A store of files, under names with `/` in them. Everything may raise `OSError`."""

    @property
    def threads(self) -> int:
        """The number of concurrent calls of `write_all` that are useful."""
        ...

    @property
    def most_at_once(self) -> int:
        """The maximum number of images in one call of `write_all`."""
        ...

    @property
    def name(self) -> str:
        """Its location, as users write it; a file is at `{name}/{the file's name}`."""
        ...

    def try_out(self) -> None:
        """Write something and take it away again, as far as that says whether images can be written.

        Raises:
            StorageError: they cannot, and why.
        """
        ...

    def present(self, names: Iterable[str]) -> set[str]:
        """Those of `names` under which there is something."""
        ...

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Return the contents of files, in their order; `None` for one that is missing."""
        ...

    def write_all(self, files: Sequence[NewFile]) -> list[BaseException | None]:
        """Write new images, each in one step. When this returns, they survive the loss of power.

        Returns:
            For each the error, or `None`; `FileExistsError` where there is something under its name.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Write a file in one step, whatever is under its name; it survives the loss of power when this returns."""
        ...

    def sweep(self, stem: str) -> None:
        """Take away what a killed process left half-written for names that begin with `stem`."""
        ...
