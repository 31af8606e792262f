"""Reading a picture from disk and writing one so that it is there whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

MAX_INPUT = 64 * 1024 * 1024
"""Bytes of the largest input file that is read at all; no model takes half as much."""

_PIECE = 1024 * 1024
"""Bytes that are read at a time."""


def read_bytes(path: Any) -> bytes:
    """The bytes of the regular file at `path`.

    Raises:
        OSError: it is not there, a directory, or may not be read.
        ValueError: it is no regular file, larger than `MAX_INPUT`, or its name is not possible.
    """
    facts = os.stat(path)
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("not a regular file")
    if facts.st_size > MAX_INPUT:
        raise ValueError(f"{facts.st_size:,} bytes, more than any model takes")
    with Path(path).open("rb") as file:  # which may have become another one meanwhile
        return read_all(file.read)


def read_all(read: Callable[[int], bytes]) -> bytes:
    """What `read` gives until it gives nothing more.

    Args:
        read: a binary file's method, which gives at most as many bytes as it is asked for.

    Raises:
        ValueError: there are more than `MAX_INPUT` bytes; perhaps there is no end.
    """
    whole = io.BytesIO()
    while piece := read(_PIECE):
        whole.write(piece)
        if whole.tell() > MAX_INPUT:
            raise ValueError(f"more than {MAX_INPUT:,} bytes, more than any model takes")
    return whole.getvalue()


def why_not_writable(*paths: Path, overwrite: bool) -> str | None:
    """Why a file cannot be written at one of `paths`, in words; None when nothing speaks against it.

    Args:
        paths: names in one folder, of which one will be written.
        overwrite: whether a file that is there may be replaced.
    """
    for path in paths:
        if why := _why_not_named(path, overwrite=overwrite):
            return why
    parent = next(folder for folder in paths[0].absolute().parents if folder.exists())
    return _why_nothing_can_be_made_in(parent)


def is_no_file(path: Path) -> bool:
    """Whether there is something at `path` that no picture can replace: a directory, a device, a pipe."""
    return os.path.exists(path) and not os.path.isfile(path)


def _why_not_named(path: Path, *, overwrite: bool) -> str | None:
    if "\0" in str(path):
        return "a name cannot have a NUL character in it"
    try:
        os.fsencode(path)
        if path.is_dir():
            return "it is a directory"
        if is_no_file(path):
            return "it is no regular file"
        if os.path.lexists(path) and not overwrite:
            return "it exists, and nothing is overwritten unless overwrite=True"
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:
        return "the name cannot be written in the file system's encoding"
    return None


def _why_nothing_can_be_made_in(folder: Path) -> str | None:
    """Found out by making a file and taking it away: permissions alone do not say it for every file system."""
    if not folder.is_dir():
        return f"{folder} is not a directory"
    probe = folder / _temporary_name("")
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        return f"{folder} cannot be written to: {error.strerror}"
    return None


def _temporary_name(name: str) -> str:
    return f".{name[:50]}.{secrets.token_hex(6)}.part"


def write_bytes(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write `data` to `path` in one step: a temporary file beside it, flushed to disk, then renamed.

    Missing parent folders are made. At no moment is there a half-written file under `path`. No link in
    the file system is followed at the last part of `path`: with `overwrite` the link itself is replaced.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False.
        OSError: the disk is full, the folder may not be written to, and the like.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary_name(path.name))
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _put(temporary, path, overwrite=overwrite)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _put(temporary: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # fails where the name is taken, which a rename would not
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        path.open("xb").close()  # takes the name, or fails where it is taken, if only by a link to nowhere
        _put_over(temporary, path)


def _put_over(temporary: Path, path: Path) -> None:
    """Rename `temporary` over the empty file that keeps its place."""
    try:
        temporary.replace(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise
