"""Writes a group of images to a folder, so that the group waits for the disk once, and not once for each image.

A disk needs about as long to flush one file as to flush fifty, if all of the flushes are requested together. So a group
goes through its steps together: all files are written under temporary names, and writeback begins; then a few threads
flush them in parallel; then all are renamed; and then the folders are flushed. A failure of one image does not affect
the others.

Notes are not flushed. A note without its image means nothing; and if the power fails before the note of a journaled
image has reached the disk, the next run writes it again (`run.recovery`).
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
"""The number of threads that flush files beside the writing thread."""


class FileWrite:
    """An image that is being written to its file.

    Args:
        prefix: the path of the folder, with a separator at its end.
        file: the file to write.

    Attributes:
        error: the error of the step that failed; `None` if none did.
        folder: the folder of the file.
    """

    def __init__(self, prefix: str, file: NewFile) -> None:
        self.error: BaseException | None = None
        self._file = file
        self._path = prefix + file.name
        self._note_path = prefix + file.note_name
        self.folder, name = os.path.split(self._path)
        self._temporary = os.path.join(self.folder, temporary_name(name))
        self._descriptor = -1

    def attempt(self, step: Callable[[FileWrite], None]) -> None:
        """Run a step, unless an earlier one failed. If it fails, the temporary file is removed."""
        if self.error is not None:
            return
        try:
            step(self)
        except BaseException as error:  # noqa: BLE001 - it affects only this image
            self.error = error
            self._discard()

    def write(self) -> None:
        """Write the note, and the image under a temporary name."""
        if self._file.note is not None:
            self._write_note(self._file.note)
        self._descriptor = os.open(self._temporary, NEW, 0o666)
        write_out(self._descriptor, (self._file.data,))
        _begin_flush(self._descriptor)

    def flush(self) -> None:
        """Flush the image to the disk."""
        flush(self._descriptor)
        self._close()

    def rename(self) -> None:
        """Rename the temporary file to the image's name.

        Raises:
            FileExistsError: the name exists.
        """
        put_in_place(self._temporary, self._path, overwrite=False)
        self._discard()

    def _write_note(self, note: bytes) -> None:
        try:
            descriptor = os.open(self._note_path, NEW, 0o666)
        except FileExistsError:  # a link is not followed
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

    def _discard(self) -> None:
        """Close and remove the temporary file."""
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            os.unlink(self._temporary)


class GroupWriter:
    """Writes groups of images.

    Args:
        at_once: the number of groups that are written at once.
    """

    def __init__(self, at_once: int) -> None:
        self._folder_lock = threading.Lock()
        self._helpers = Threads(2 * at_once * HELPERS)

    def write(self, group: Sequence[FileWrite]) -> list[BaseException | None]:
        """Write all files of a group. When this returns, they and their names are durable.

        Returns:
            The error of each, or `None`.
        """
        self._write_files(group)
        self._each([write for write in group if not write.error], lambda write: write.attempt(FileWrite.flush))
        for write in group:
            write.attempt(FileWrite.rename)
        errors = self._sync({write.folder for write in group if not write.error})
        return [write.error or errors.get(write.folder) for write in group]

    def _write_files(self, group: Sequence[FileWrite]) -> None:
        self._each(group, lambda write: write.attempt(FileWrite.write))
        with self._folder_lock:  # a folder that another group has just created is not durable yet
            if without_folder := [write for write in group if isinstance(write.error, FileNotFoundError)]:
                self._make_folders(without_folder)
        for write in without_folder:
            write.attempt(FileWrite.write)

    def _make_folders(self, group: Sequence[FileWrite]) -> None:
        """Create the folders that are missing. When this returns, they are durable."""
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
            except BaseException as error:  # noqa: BLE001 - it affects only the images in this folder
                errors[folder] = error

        self._each(tuple(folders), attempt)
        return errors

    def _each(self, values: Sequence[T], step: Callable[[T], object]) -> None:
        """Call `step`, which raises nothing, with each value: in this thread, or also in helpers if it is slow."""
        if not values:
            return
        began = time.perf_counter()
        step(values[0])
        if time.perf_counter() - began > _FAST_SECONDS:
            self._run_with_helpers(values[1:], step)
            return
        for value in values[1:]:
            step(value)

    def _run_with_helpers(self, values: Sequence[T], step: Callable[[T], object]) -> None:
        """Call `step` with each value, in this thread and in helpers, and wait for all calls."""
        waiting, done = deque(values), SimpleQueue[None]()

        def work() -> None:
            while waiting:
                with suppress(IndexError):  # another thread took the last one
                    step(waiting.popleft())
                    done.put(None)

        self._start_helpers(work, len(values) - 1)
        work()
        for _ in values:
            done.get()

    def _start_helpers(self, work: Callable[[], None], most: int) -> None:
        with suppress(RuntimeError):  # no thread can be started
            for _ in range(min(HELPERS, most)):
                self._helpers.start(work)


_FAST_SECONDS = 0.0001
"""The time in which a file system without a disk flushes, in seconds. Waking up helpers would take longer."""


def _make(folder: str, changed: set[str]) -> None:
    """Create a folder and its parents. Add each folder in which one was created to `changed`."""
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    _make(parent, changed)
    changed.add(parent)
    with suppress(FileExistsError):
        os.mkdir(folder)


def _begin_flush(descriptor: int) -> None:
    """Start writeback of a file, if the system supports it, so that later flushes overlap."""
    if _advise is not None:
        with suppress(OSError):
            _advise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


_advise: Callable[[int, int, int, int], None] | None = getattr(os, "posix_fadvise", None)


def sync_folder(folder: str | Path) -> None:
    """Flush the entries of a folder to the disk if the file system supports it; otherwise warn once."""
    if flush_folder(folder) or _unflushable:
        return
    _unflushable.append(folder)
    message = (
        f"the file system of {str(folder)!r} cannot flush folders: the images saved last may be lost in a power failure"
    )
    with suppress(Warning):  # a filter may turn warnings into errors, and no paid image may be lost by one
        warnings.warn(message, StepFunWarning, stacklevel=2)


_unflushable: list[str | Path] = []
"""The folder for which this process has warned."""
