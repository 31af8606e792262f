"""A folder as the file store of images."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from stepfun_async._runtime.files import why_not_writable, write_bytes

from .base import NewFile, StorageError
from .group_write import FileWrite, GroupWriter


class Folder:
    """The files below a folder.

    Args:
        folder: its path; created with the first file.
    """

    threads = 2
    """One group is written while another one waits for the disk. With more, groups are smaller and cost more."""

    max_group_size = 32
    """Files that are open at once. Their bytes are in memory anyway."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._prefix = os.path.join(os.path.abspath(folder), "")
        self._writer = GroupWriter(self.threads)

    @property
    def name(self) -> str:
        return str(self._folder.absolute())

    def check_writable(self) -> None:
        why = why_not_writable(self._folder / "trial", overwrite=True)
        if why:
            raise StorageError(f"no images can be written to {self.name!r}: {why}")

    def existing(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if _is_there(self._prefix + name)}

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        for name in names:
            try:
                data = (self._folder / name).read_bytes()
            except OSError:
                data = None
            yield data

    def write_all(self, files: Sequence[NewFile]) -> list[BaseException | None]:
        return self._writer.write([FileWrite(self._prefix, file) for file in files])

    def replace(self, name: str, data: bytes) -> None:
        write_bytes(self._folder / name, data, overwrite=True)

    def remove_leftovers(self, stem: str) -> None:
        target = self._folder / stem
        with suppress(FileNotFoundError):
            for path in target.parent.glob(f".{_escaped(target.name[:40])}*.part"):
                path.unlink(missing_ok=True)


def _is_there(path: str) -> bool:
    """Whether a path exists, even as a broken link."""
    return os.access(path, os.F_OK, follow_symlinks=False) if _ACCESS_WORKS else os.path.lexists(path)


_ACCESS_WORKS = os.access in os.supports_follow_symlinks and os.access(os.sep, os.F_OK, follow_symlinks=False)
"""Whether `os.access` works without following links; it takes a third of the time of `lstat`. With some C libraries and
in some containers it fails for every path."""


def _escaped(name: str) -> str:
    """Escape `name` for `glob`."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def refuse_links(*paths: Path) -> None:
    """Check that none of `paths` is a symbolic link, through which files would be written somewhere else.

    Raises:
        OSError: one of them is.
    """
    for path in paths:
        if path.is_symlink():
            raise OSError(errno.ELOOP, f"{str(path)!r} is a symbolic link, and none is followed")
