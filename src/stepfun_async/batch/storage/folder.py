"""A folder as the place of images."""

from __future__ import annotations

import errno
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from stepfun_async._core.errors import StepFunWarning
from stepfun_async._runtime.files import flush_folder, why_not_writable, write_bytes

from .base import StorageError


class Folder:
    """A folder and what is below it.

    Args:
        folder: where; made when the first file is.
    """

    threads = 4
    """More make a disk no faster, and keep the event loop waiting."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._beginning = os.path.join(folder, "")
        self._making = threading.RLock()

    @property
    def name(self) -> str:
        return str(self._folder.absolute())

    def try_out(self) -> None:
        why = why_not_writable(self._folder / "trial", overwrite=True)
        if why:
            raise StorageError(f"no pictures can be written to {self.name!r}: {why}")

    def present(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if os.path.lexists(self._beginning + name)}

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        for name in names:
            try:
                data = (self._folder / name).read_bytes()
            except OSError:
                data = None
            yield data

    def write(self, name: str, data: bytes, *, overwrite: bool) -> None:
        path = self._folder / name
        self._make(path.parent)
        write_bytes(path, data, overwrite=overwrite)

    def flush(self, name: str) -> None:
        sync_folder((self._folder / name).parent)

    def sweep(self, stem: str) -> None:
        target = self._folder / stem
        with suppress(FileNotFoundError):
            for path in target.parent.glob(f".{_escaped(target.name[:40])}*.part"):
                path.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        """Make a folder and what is above it; when this returns, all of it survives the loss of power."""
        with self._making:  # or a folder would be taken for made that another thread has not yet flushed
            if os.path.isdir(folder):
                return
            self._make(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir()
            sync_folder(folder.parent)


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


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive the loss of power, where the file system can do that; warn once where not."""
    if flush_folder(folder) or _unflushable:
        return
    _unflushable.append(folder)
    message = f"the file system of {str(folder)!r} cannot flush folders: what was saved last may be lost with the power"
    with suppress(Warning):  # a filter may make errors of warnings, and a picture must not be lost by one
        warnings.warn(message, StepFunWarning, stacklevel=2)


_unflushable: list[Path] = []
"""The folder that was warned about in this process."""
