"""A folder as the place of images."""

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
    """A folder and what is below it.

    Args:
        folder: where; made when the first file is.
    """

    threads = 2
    """One group is written while another one waits for the disk. With more, groups are smaller and cost more."""

    most_at_once = 32
    """Files that are open at once, and whose bytes are in memory in any case."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._beginning = os.path.join(os.path.abspath(folder), "")
        self._writer = GroupWriter(self.threads)

    @property
    def name(self) -> str:
        return str(self._folder.absolute())

    def try_out(self) -> None:
        why = why_not_writable(self._folder / "trial", overwrite=True)
        if why:
            raise StorageError(f"no images can be written to {self.name!r}: {why}")

    def present(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if _is_there(self._beginning + name)}

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        for name in names:
            try:
                data = (self._folder / name).read_bytes()
            except OSError:
                data = None
            yield data

    def write_all(self, files: Sequence[NewFile]) -> list[BaseException | None]:
        return self._writer.write([FileWrite(self._beginning, file) for file in files])

    def replace(self, name: str, data: bytes) -> None:
        write_bytes(self._folder / name, data, overwrite=True)

    def sweep(self, stem: str) -> None:
        target = self._folder / stem
        with suppress(FileNotFoundError):
            for path in target.parent.glob(f".{_escaped(target.name[:40])}*.part"):
                path.unlink(missing_ok=True)


def _is_there(path: str) -> bool:
    """Whether there is something under a path, be it a link to nowhere."""
    return os.access(path, os.F_OK, follow_symlinks=False) if _ANSWERS else os.path.lexists(path)


_ANSWERS = os.access in os.supports_follow_symlinks and os.access(os.sep, os.F_OK, follow_symlinks=False)
"""Whether the system can be asked for a file without its facts, which takes a third of the time. Some libraries and
containers refuse that, and answer no to everything."""


def _escaped(name: str) -> str:
    """`name` for a pattern of file names."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def refuse_links(*paths: Path) -> None:
    """Make sure that none of `paths` is a link: what is written there would be written somewhere else.

    Raises:
        OSError: one is.
    """
    for path in paths:
        if path.is_symlink():
            raise OSError(errno.ELOOP, f"{str(path)!r} is a symbolic link, and none is followed")
