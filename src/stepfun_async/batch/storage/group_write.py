"""Writing a group of images to a folder, so that the disk is waited for once and not once for each.

A disk that has to make something durable takes about as long for one file as for fifty, if it learns of all of them at
once. So a group goes through its steps together: all files are written, under temporary names, and the system begins
to send them to the disk; then all are flushed, by a few threads side by side; then all get their names; and then the
folders are flushed. What fails for one image concerns no other.

Notes are not flushed. Without its image a note says nothing; and if the power fails before the system has written the
note of an image that is in the journal, the next run writes it anew (`run.recovery`).
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from stepfun_async._core.errors import StepFunWarning
from stepfun_async._runtime.files import NEW, flush, flush_folder, put_in_place, temporary_name, write_out
from stepfun_async._runtime.workers import Threads

from .base import NewFile

T = TypeVar("T")

HELPERS = 3
"""Threads that flush beside the one that writes: so many flushes the disk is asked for at once."""


class FileWrite:
    """An image on its way to its file.

    Args:
        beginning: the path of the folder, with a separator at its end.
        file: what is written.

    Attributes:
        error: why it is not written; `None` as long as nothing went wrong.
        folder: the folder of the file.
    """

    def __init__(self, beginning: str, file: NewFile) -> None:
        self.error: BaseException | None = None
        self._file = file
        self._path = beginning + file.name
        self._note_path = beginning + file.note_name
        self.folder, name = os.path.split(self._path)
        self._temporary = os.path.join(self.folder, temporary_name(name))
        self._descriptor = -1

    def attempt(self, step: Callable[[FileWrite], None]) -> None:
        """Take a step, unless an earlier one failed. Nothing half-written is left where it fails."""
        if self.error is not None:
            return
        try:
            step(self)
        except BaseException as error:  # noqa: BLE001 - it concerns this image alone
            self.error = error
            self._clear()

    def write(self) -> None:
        """Write the note, and the image under a temporary name."""
        if self._file.note is not None:
            self._write_note(self._file.note)
        self._descriptor = os.open(self._temporary, NEW, 0o666)
        write_out(self._descriptor, (self._file.data,))
        _begin_flush(self._descriptor)

    def flush(self) -> None:
        """Flush the image's bytes to the disk."""
        flush(self._descriptor)
        self._close()

    def name(self) -> None:
        """Give the image its name.

        Raises:
            FileExistsError: there is something under it.
        """
        put_in_place(self._temporary, self._path, overwrite=False)
        self._clear()

    def _write_note(self, note: bytes) -> None:
        try:
            descriptor = os.open(self._note_path, NEW, 0o666)
        except FileExistsError:  # be it a link, which is not followed
            os.unlink(self._note_path)
            descriptor = os.open(self._note_path, NEW, 0o666)
        try:
            write_out(descriptor, (note,))
        except BaseException:
            os.unlink(self._note_path)
            raise
        finally:
            os.close(descriptor)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _clear(self) -> None:
        """Leave nothing under the temporary name."""
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            os.unlink(self._temporary)


class GroupWriter:
    """Writes groups of images.

    Args:
        at_once: how many groups are written at once.
    """

    def __init__(self, at_once: int) -> None:
        self._making = threading.Lock()
        self._helpers = Threads(2 * at_once * HELPERS)

    def write(self, group: Sequence[FileWrite]) -> list[BaseException | None]:
        """Write all files of a group. When this returns, they and their names survive the loss of power.

        Returns:
            The error of each, or `None`.
        """
        self._write_files(group)
        self._each([write for write in group if not write.error], lambda write: write.attempt(FileWrite.flush))
        for write in group:
            write.attempt(FileWrite.name)
        errors = self._sync({write.folder for write in group if not write.error})
        return [write.error or errors.get(write.folder) for write in group]

    def _write_files(self, group: Sequence[FileWrite]) -> None:
        self._each(group, lambda write: write.attempt(FileWrite.write))
        with self._making:  # or a folder would be taken for durable that another group has just made
            if homeless := [write for write in group if isinstance(write.error, FileNotFoundError)]:
                self._make_folders(homeless)
        for write in homeless:
            write.attempt(FileWrite.write)

    def _make_folders(self, group: Sequence[FileWrite]) -> None:
        """Make the folders that are missing; when this returns, they survive the loss of power."""
        changed: set[str] = set()
        for write in group:
            write.error = None
            write.attempt(lambda write: _make(write.folder, changed))
        errors = self._sync(changed)
        for write in group:
            write.error = write.error or next(iter(errors.values()), None)

    def _sync(self, folders: Collection[str]) -> dict[str, BaseException]:
        """Flush folders; return the errors by folder."""
        errors: dict[str, BaseException] = {}

        def attempt(folder: str) -> None:
            try:
                sync_folder(folder)
            except BaseException as error:  # noqa: BLE001 - it concerns the images in this folder alone
                errors[folder] = error

        self._each(tuple(folders), attempt)
        return errors

    def _each(self, values: Sequence[T], step: Callable[[T], object]) -> None:
        """Call `step`, which raises nothing, with each value: in this thread, and in helpers if that takes its time."""
        if not values:
            return
        began = time.perf_counter()
        step(values[0])
        if time.perf_counter() - began > _AT_ONCE:
            self._share(values[1:], step)
            return
        for value in values[1:]:
            step(value)

    def _share(self, values: Sequence[T], step: Callable[[T], object]) -> None:
        """Call `step` with each value, here and in helpers, and wait for all of them."""
        left, over = deque(values), SimpleQueue[None]()

        def work() -> None:
            while left:
                with suppress(IndexError):  # another thread took the last one
                    step(left.popleft())
                    over.put(None)

        self._call_helpers(work, len(values) - 1)
        work()
        for _ in values:
            over.get()

    def _call_helpers(self, work: Callable[[], None], most: int) -> None:
        with suppress(RuntimeError):  # no thread can be started
            for _ in range(min(HELPERS, most)):
                self._helpers.start(work)


_AT_ONCE = 0.0001
"""Seconds in which a file system flushes that has no disk behind it. Helpers would take longer to wake up."""


def _make(folder: str, changed: set[str]) -> None:
    """Make a folder and what is above it, and add each folder with a new one in it to `changed`."""
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    _make(parent, changed)
    changed.add(parent)
    with suppress(FileExistsError):
        os.mkdir(folder)


def _begin_flush(descriptor: int) -> None:
    """Start to write a file to the disk, if the system can, so that several flushes wait together."""
    if _advise is not None:
        with suppress(OSError):
            _advise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


_advise: Callable[[int, int, int, int], None] | None = getattr(os, "posix_fadvise", None)


def sync_folder(folder: str | Path) -> None:
    """Flush the names in a folder to the disk if the file system supports that; otherwise warn once."""
    if flush_folder(folder) or _unflushable:
        return
    _unflushable.append(folder)
    message = f"the file system of {str(folder)!r} cannot flush folders: what was saved last may be lost with the power"
    with suppress(Warning):  # a filter may make errors of warnings, and a paid image must not be lost by one
        warnings.warn(message, StepFunWarning, stacklevel=2)


_unflushable: list[str | Path] = []
"""The folder that was warned about in this process."""
