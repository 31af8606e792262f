"""Reading an image from disk in pieces, and writing one atomically."""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from . import system

ALREADY_EXISTS = "it exists, and nothing is overwritten unless overwrite=True"

CHUNK_SIZE = 256 * 1024
"""Bytes that are read from disk at a time."""


def why_of(error: OSError, path: str | os.PathLike[str]) -> str:
    """Return the system's message in `error`, with its file if that is not `path`.

    Files below `path`, and beside it under a temporary name, are its own.
    """
    said = error.strerror or str(error)
    named: object = error.filename
    if isinstance(named, os.PathLike):
        named = os.fspath(cast("os.PathLike[str]", named))
    if not isinstance(named, str | bytes):  # such as a descriptor
        return said
    place, about = os.path.abspath(path), os.path.abspath(os.fsdecode(named))
    own = about == place or about.startswith(os.path.join(place, ""))
    part = about.endswith(_PART) and os.path.dirname(about) == os.path.dirname(place)
    return said if own or part else f"{about!r}: {said}"


_PART = ".part"
"""The suffix of temporary names."""


class FileChangedError(Exception):
    """A file has changed since it was checked."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A regular file as it was when it was checked: later reads return that content, or raise.

    It is opened and closed for each piece, so a reader that stops in the middle leaves nothing open, and it can be
    read from the start any number of times.

    Attributes:
        path: where it is, absolute.
        size: its bytes.
        stamp: what changes with its content: device, number, bytes, and when content and file last changed, in
            nanoseconds. The former can be set back, as `rsync -t` and `cp -p` do; the latter cannot.
    """

    path: str
    size: int
    stamp: tuple[int, ...]

    def read_piece(self, start: int, length: int) -> bytes:
        """Bytes from `start` on, `length` of them or as many as there are.

        Raises:
            FileChangedError: the file is gone, or has changed.
        """
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(start)
                wanted = min(length, self.size - start)
                piece = file.read(wanted)
                same = _stamp_of(os.fstat(file.fileno())) == self.stamp and len(piece) == wanted
        except OSError as error:
            raise FileChangedError(f"{self.path!r} can no longer be read ({error.strerror})") from error
        if not same:
            raise FileChangedError(f"{self.path!r} has changed")
        return piece

    def pieces(self) -> Iterator[bytes]:
        """The content, in pieces."""
        for start in range(0, self.size, CHUNK_SIZE):
            yield self.read_piece(start, CHUNK_SIZE)

    def read(self) -> bytes:
        """The content."""
        return self.read_piece(0, self.size)

    def is_current(self) -> bool:
        """Whether the file is still what it was."""
        try:
            return _stamp_of(os.stat(self.path)) == self.stamp
        except OSError:
            return False


def _stamp_of(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


class FileView:
    """A view of an open file, like bytes, which reads only what is asked for."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(0, stop - start))

    def find(self, wanted: bytes, start: int = 0, stop: int | None = None) -> int:
        """Return the first index of `wanted` from `start` to `stop` or the end; -1 if it is absent."""
        stop = self._size if stop is None else min(stop, self._size)
        while start < stop:
            piece = self[start : min(start + CHUNK_SIZE, stop)]
            found = piece.find(wanted)
            if found >= 0:
                return start + found
            start += max(1, len(piece) - len(wanted) + 1)
        return -1


@contextmanager
def open_input(path: Any) -> Generator[tuple[FileView, FileSource]]:
    """Open the regular file at `path`: the view is for use in the block, the source for reading later.

    Raises:
        OSError: it is not there, a directory, or may not be read.
        ValueError: it is no regular file, or its name is not possible.
    """
    _check_input(path, os.stat(path))
    with open(path, "rb") as file:
        facts = os.fstat(file.fileno())
        _check_input(path, facts)  # it may have been replaced since
        source = FileSource(os.path.abspath(os.fsdecode(path)), facts.st_size, _stamp_of(facts))
        yield FileView(file, facts.st_size), source


def _check_input(path: Any, facts: os.stat_result) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("not a regular file")


def why_not_writable(*paths: Path, overwrite: bool) -> str | None:
    """Return why no file can be written to one of `paths`, in words; `None` if no reason is known.

    Creates a file to see whether a folder is writable, unless that was done in the last second.

    Args:
        paths: names in one folder, of which one will be written.
        overwrite: whether a file that is there may be replaced.
    """
    for path in paths:
        if why := _why_not_named(path, overwrite=overwrite):
            return why
    return _why_not_made(paths)


def is_no_file(path: Path) -> bool:
    """Whether there is something at `path` that no image can replace: a directory, a device, a pipe."""
    return os.path.exists(path) and not os.path.isfile(path)


def names_directory(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a directory, or can name nothing else: it ends in a separator, in `.` or in `..`.

    A `Path` has lost a separator at the end.
    """
    return os.path.basename(path) in ("", os.curdir, os.pardir) or os.path.isdir(path)


def why_directory(path: str | os.PathLike[str]) -> str:
    """Return why nothing is written to a `path` that names a directory."""
    return f"it names a directory; add the name of a file, such as {os.path.join(path, 'image.png')!r}"


def _is_special(path: Path) -> bool:
    """Whether `path` is a device, a pipe or a socket, or leads to one, as /dev/stdout does.

    Replacing one, as root can, would take it away from all other programs.
    """
    if os.path.islink(path) and os.readlink(path).startswith("/proc/"):
        return True  # whatever is open there now
    return is_no_file(path) and not os.path.isdir(path)


_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""The error codes of paths under which no file can exist."""


def _facts_of(path: Path, *, follow: bool) -> os.stat_result | None:
    """Return the status of `path`; `None` if nothing is there. Unlike `Path.exists()`, it raises other errors.

    Raises:
        OSError: it is unknown: the name is too long, or a folder in the path is not readable.
    """
    try:
        return os.stat(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _why_not_named(path: Path, *, overwrite: bool) -> str | None:
    if "\0" in str(path):
        return "a name cannot have a NUL character in it"
    try:
        os.fsencode(path)
        facts = _facts_of(path, follow=True)
        if facts is not None and stat.S_ISDIR(facts.st_mode):
            return "it is a directory"
        if facts is not None and not stat.S_ISREG(facts.st_mode):
            return "it is no regular file"
        if not overwrite and _facts_of(path, follow=False) is not None:
            return ALREADY_EXISTS
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:
        return "the name cannot be written in the file system's encoding"
    return None


def _why_not_made(paths: tuple[Path, ...]) -> str | None:
    """Return why the names, or missing folders on the way to them, cannot be created."""
    try:
        folder = paths[0].absolute().parent
    except OSError as error:
        return f"the working directory: {error.strerror}"
    missing = [path.name for path in paths]
    names = [each for name in missing for each in (name, temporary_name(name))]
    limit, longest = system.longest_path(), len(str(folder)) + 1 + max(map(len, names))
    if limit is not None and longest > limit:
        return f"its path has {longest} characters, and Windows allows {limit} unless it is set to allow long paths"
    try:
        while (facts := _facts_of(folder, follow=True)) is None and folder != folder.parent:
            missing.append(folder.name)
            folder = folder.parent
    except OSError as error:
        return f"{folder}: {error.strerror}"
    if facts is None or not stat.S_ISDIR(facts.st_mode):
        return f"{folder} is not a directory"
    longest = _longest_name_in(folder)
    if too_long := next((name for name in missing if system.length_of(name) > longest), None):
        return f"{too_long[:20]}... has {system.length_of(too_long)} bytes, and a name in {folder} at most {longest}"
    return _why_not_in(folder, facts)


_writable: dict[tuple[object, ...], float] = {}
"""When each folder was last seen to be writable, by what identifies the folder and the rights to it."""

_LASTING = 1.0
"""Seconds for which a folder counts as writable after it was checked."""

_MOST_WRITABLE = 256
"""The maximum number of folders remembered."""


def _why_not_in(folder: Path, facts: os.stat_result) -> str | None:
    """Return why no file can be created in `folder`.

    It creates and removes one, since permissions alone do not show it on every file system.
    """
    same = (facts.st_dev, facts.st_ino, facts.st_mode, facts.st_uid, facts.st_gid)
    now = time.monotonic()
    if now - _writable.get(same, -math.inf) < _LASTING:
        return None
    probe = folder / temporary_name("")
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        return f"{folder} cannot be written to: {error.strerror}"
    if len(_writable) >= _MOST_WRITABLE:
        _writable.clear()
    _writable[same] = now
    return None


_LONGEST_NAME = 255
"""The maximum length of a name in nearly every file system."""


def _longest_name_in(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows; a system or file system that does not say
        return _LONGEST_NAME


def temporary_name(name: str) -> str:
    """Return a temporary name for the file `name`; no other process picks the same."""
    import secrets

    return f".{name[:50]}.{secrets.token_hex(6)}{_PART}"


def write_bytes(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write `data` to `path` in one step; see `AtomicFile`.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False.
        OSError: the disk is full, the folder may not be written to, and the like.
    """
    partial = AtomicFile(path)
    try:
        partial.append(data, last=True)
        partial.put(path, overwrite=overwrite)
    finally:
        partial.remove()


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Generator[io.BufferedRandom]:
    """Open a file to write in the block. It replaces `path` at the end, unless the block raises.

    As with `AtomicFile`, it has a name of its own until then, is flushed to disk first, and no link is followed.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False, or it is a device, a pipe or a socket.
        OSError: it cannot be written, or cannot have that name.
    """
    if _is_special(path):
        raise FileExistsError(errno.EEXIST, "it is no regular file", str(path))
    temporary = path.with_name(temporary_name(path.name))
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            flush(file.fileno())
        put_in_place(temporary, path, overwrite=overwrite)
    finally:
        temporary.unlink(missing_ok=True)


_UNFLUSHABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""The error codes of file systems that cannot flush: SMB, some FUSE, and WSL for folders."""


def flush_folder(folder: str | Path) -> bool:
    """Flush the names in `folder` to the disk. Return whether the file system supports that.

    Raises:
        OSError: the folder is gone, or the disk fails.
    """
    if not system.flushes_folders():
        return True
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return flush(descriptor)
    finally:
        os.close(descriptor)


def flush(descriptor: int) -> bool:
    """Flush a file to the disk. Return whether the file system supports that.

    Raises:
        OSError: the disk fails.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNFLUSHABLE:
            raise
        return False
    return True


class AtomicFile:
    """A file written atomically: under a temporary name beside `path`, flushed to disk, then renamed.

    Missing parent folders are made. There is never a partial file at `path`. No link in
    the file system is followed at the last part of `path`: when it is overwritten, the link itself is replaced.

    It is opened and closed for each piece, so a thousand of them do not keep a thousand files open.

    Attributes:
        temporary: the temporary name.
        size: bytes written so far. There is no file before the first.
    """

    def __init__(self, path: Path) -> None:
        self.temporary = path.with_name(temporary_name(path.name))
        self.size = 0

    def append(self, *pieces: bytes, last: bool = False) -> None:
        """Append `pieces`, and flush the file to disk if they are the last.

        Raises:
            OSError: they cannot be written; `size` bytes still are.
        """
        descriptor = self._opened()
        try:
            try:
                written = write_out(descriptor, pieces, self.size)
                if last:
                    flush(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            if not self.size:
                self.remove()
            raise
        self.size += written

    def _opened(self) -> int:
        if self.size:
            return os.open(self.temporary, _BEGUN)
        try:
            return os.open(self.temporary, NEW, 0o666)
        except FileNotFoundError:
            self.temporary.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self.temporary, NEW, 0o666)

    def read(self) -> bytes:
        """The bytes written so far."""
        if not self.size:
            return b""
        with self.temporary.open("rb") as file:
            return file.read(self.size)

    def put(self, path: Path, *, overwrite: bool) -> None:
        """Rename the complete file to `path`, in the same folder, and leave nothing under the temporary name.

        Raises:
            FileExistsError: `path` exists and `overwrite` is False.
            OSError: it cannot have that name.
        """
        put_in_place(self.temporary, path, overwrite=overwrite)
        if not overwrite:
            self.remove()

    def remove(self) -> None:
        """Remove the temporary file."""
        with suppress(FileNotFoundError):
            self.temporary.unlink()


_PLAIN = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

NEW = _PLAIN | os.O_CREAT | os.O_EXCL
"""Flags to create a file and write to it."""

_BEGUN = _PLAIN | getattr(os, "O_NOFOLLOW", 0)
"""Flags to continue writing to a file, but not through a symbolic link that has replaced it."""

_MOST_AT_ONCE = 1024
"""The number of pieces that every system accepts in one write."""


def write_out(descriptor: int, pieces: Sequence[bytes], start: int = 0) -> int:
    """Write all of `pieces` from the byte `start` of a file on, and return how many bytes they have.

    Raises:
        OSError: the disk is full, and the like.
    """
    size, written = sum(map(len, pieces)), 0
    if size and len(pieces) <= _MOST_AT_ONCE and hasattr(os, "pwritev"):  # not on Windows
        written = os.pwritev(descriptor, pieces, start)
    if written < size:
        os.lseek(descriptor, start + written, os.SEEK_SET)
        rest = memoryview(b"".join(pieces))[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    return size


def put_in_place(temporary: str | Path, path: str | Path, *, overwrite: bool) -> None:
    """Give a complete file the name `path` in the same folder. It may keep its temporary name too.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False.
        OSError: it cannot have that name.
    """
    if overwrite:
        system.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # fails if the name exists, unlike a rename
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        open(path, "xb").close()  # reserves the name, or fails if it exists, even as a broken link
        _put_over(temporary, path)


def _put_over(temporary: str | Path, path: str | Path) -> None:
    """Rename `temporary` over the empty file that reserves its name."""
    try:
        system.replace(temporary, path)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(path)
        raise
