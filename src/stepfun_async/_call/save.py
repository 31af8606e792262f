"""Images on their way to disk: gathered, written in pieces by a thread, and named when they are complete.

An image gets a temporary file beside the one it is to be, and that one's name only when all of it has come and is
flushed to disk. What is too small for a piece is written in one go. While a piece is written, the next is gathered;
only when that is complete too does the other side have to wait. Whatever ends the call takes the temporary file
away. A disk that is full costs memory, but no image: what was written is read back, and the rest gathered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from weakref import ref

from .._core.errors import APIConnectionError, InvalidRequestError
from .._core.headers import ImageHeader, read_header
from .._core.outcomes import billing_of
from .._core.problems import Problem
from .._core.results import Image, ImagesResponse, SaveError, targets
from .._runtime import system
from .._runtime.background import BackgroundWrite
from .._runtime.event_loop import finished_in_thread, is_closed
from .._runtime.files import ALREADY_EXISTS, AtomicFile

GATHERED = 128 * 1024
"""Bytes that are gathered before a thread writes them, which costs a hop to it each time. A slot has about twice as
many at most: while a piece is written, the next is gathered."""


class FileSink:
    """A `Sink` that leads to a file beside `target`."""

    def __init__(self, target: Path) -> None:
        self._file = AtomicFile(target)
        self._gathered: list[bytes] = []
        self._waiting = 0
        self._header: ImageHeader | None = None
        self._writing: BackgroundWrite | None = None
        self._piece: list[bytes] = []
        self._in_pieces = True
        self._lost: BaseException | None = None

    @property
    def full(self) -> bool:
        if self._waiting < GATHERED or self._writing is None:
            return False
        return self._lost is not None or not self._writing.is_over

    @property
    def path(self) -> Path | None:
        return self._file.temporary if self._file.size else None

    @property
    def data(self) -> bytes | None:
        return None if self._file.size else self._join()

    @property
    def header(self) -> ImageHeader | None:
        if not self._file.size:
            return read_header(self._join())
        if self._header is None or self._header.width is None:  # its size may lie behind the first piece
            self._header = read_header(self.read())
        return self._header

    def write(self, data: bytes) -> None:
        self._gathered.append(data)
        self._waiting += len(data)
        if self._waiting >= GATHERED and self._in_pieces and (self._writing is None or self._writing.is_over):
            self._write_piece()

    def read(self) -> bytes:
        return self._file.read() + self._join()

    async def drain(self) -> None:
        if self._writing is not None:
            await self._writing.wait()
        self._raise_if_lost()
        if self._waiting >= GATHERED and self._in_pieces:
            self._write_piece()

    async def settle(self) -> None:
        await self._written()
        self._raise_if_lost()

    def put(self, target: Path, *, overwrite: bool) -> None:
        """Write the end of the image, and give the file its name `target`.

        Raises:
            OSError: that is not possible; `read` still returns the image.
        """
        self._file.append(*self._gathered, last=True)
        self._gathered = []
        self._file.put(target, overwrite=overwrite)
        self._file.size = 0

    async def abandon(self) -> None:
        await self._written()
        self._gathered = []
        if self._file.size:
            await finished_in_thread(self.remove)

    def remove(self) -> None:
        """Leave nothing under the temporary name."""
        self._file.remove()
        self._file.size = 0

    def _join(self) -> bytes:
        """Return the buffered data as one piece."""
        if len(self._gathered) != 1:
            self._gathered = [b"".join(self._gathered)]
        return self._gathered[0]

    def _write_piece(self) -> None:
        """Have a thread write what is gathered, unless the piece before could not be written."""
        self._take_back()
        if self._in_pieces:
            self._piece, self._gathered, self._waiting = self._gathered, [], 0
            self._writing = BackgroundWrite(self._append)

    async def _written(self) -> None:
        """Wait until the last piece is written, and begin no more."""
        self._in_pieces = False
        if self._writing is not None:
            await self._writing.finished()
            self._writing = None
            self._take_back()

    def _raise_if_lost(self) -> None:
        if self._lost is None:
            return
        try:
            raise self._lost
        finally:
            self._lost = None  # or traceback, frame and error would hold each other

    def _take_back(self) -> None:
        """Take back the bytes of a piece that could not be written, and of those before."""
        if self._piece:
            self._gathered[:0] = self._piece
            self._piece = []

    def _append(self) -> None:
        """Write the piece. It is empty afterwards, unless that failed: then it has all bytes so far."""
        try:
            if not self._file.size:
                self._header = _header_of(self._piece)
            self._file.append(*self._piece)
        except OSError as error:
            self._fall_back(error)
        except BaseException as error:  # noqa: BLE001 - raised where the image is waited for
            self._lost, self._in_pieces = error, False
        else:
            self._piece = []

    def _fall_back(self, error: OSError) -> None:
        """Go on in memory."""
        self._in_pieces = False
        try:
            self._piece.insert(0, self._file.read())
            self.remove()
        except OSError as other:
            message = f"the image can neither be written ({error}) nor what was written of it be read back ({other})"
            self._lost = APIConnectionError(message, billing=billing_of("lost", sent=True), again=False)
            self._lost.__cause__ = error


def _header_of(pieces: Sequence[bytes]) -> ImageHeader | None:
    """What the beginning of an image says of it, which is mostly in the first piece."""
    header = read_header(pieces[0])
    return read_header(b"".join(pieces)) if header is None or header.width is None else header


_claimed: dict[str, _Holder] = {}
"""The files that calls in flight in this process may write to, and whose they are.

Each step on it is one atomic operation, so that it needs no lock: a claim that is garbage may release its names at any
moment, whatever locks are held then.
"""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_claimed.clear)


class _Holder:
    """The owner of names of files. It is not the `_Claim`, which would never be collected if `_claimed` referred to it.

    Args:
        names: the names.
        loop: the event loop of the call that saves there. It is not kept alive.
    """

    def __init__(self, names: Iterable[str], loop: object) -> None:
        self._names = tuple(names)
        self._loop = ref(loop)
        self._held = [True]

    @property
    def is_abandoned(self) -> bool:
        """Whether the event loop was closed over the call, or is gone, so that the call saves nothing any more."""
        loop = self._loop()
        return loop is None or is_closed(loop)

    def release(self) -> None:
        """Release the names; doing so again, from any thread, does nothing, and releases none of its next holder."""
        try:
            self._held.pop()
        except IndexError:
            return
        for name in self._names:
            if _claimed.get(name) is self:
                _claimed.pop(name, None)


class _Claim:
    """Names of files that one call alone may write to, from `acquire` until it releases them or is collected.

    A call whose event loop was closed over it loses them to the next call that asks for them.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._holder: _Holder | None = None
        self._names = {_identity_of(path): path for path in paths}

    def acquire(self, loop: object) -> None:
        """Acquire the names.

        Args:
            loop: the event loop of the call.

        Raises:
            InvalidRequestError: a call in flight has one of them.
        """
        self._holder = holder = _Holder(self._names, loop)
        for name, path in self._names.items():
            while (other := _claimed.setdefault(name, holder)) is not holder and other.is_abandoned:
                other.release()
            if other is not holder:
                holder.release()
                why = "another call in flight saves its image there, and one of the two would be lost"
                problem = Problem("save_to", str(path), "a file that no other call in flight saves to", why)
                raise InvalidRequestError.of("the call", (problem,))

    def release(self) -> None:
        """Release the names; doing so again does nothing."""
        if self._holder is not None:
            self._holder.release()

    def __del__(self) -> None:
        self.release()


def _identity_of(path: Path) -> str:
    """Return a key that is the same for all spellings of a file's name. Blocks if the folder is on a disk."""
    return system.same_name(os.path.join(os.path.realpath(path.parent), path.name))


class SaveTarget:
    """The file that the image of one call is saved to. `aclose` removes its temporary files.

    Only one target of a process can claim a file at a time. Creating one blocks.

    Args:
        save_to: the file; without an extension it gets the real format's.
        overwrite: whether a file that is there may be replaced.
    """

    def __init__(self, save_to: str | os.PathLike[str], *, overwrite: bool) -> None:
        self._target = Path(save_to)
        self._overwrite = overwrite
        self._claim = _Claim(targets(self._target))
        self._sinks: list[FileSink] = []

    def begin(self, _room: int) -> FileSink:
        """Return a sink for the next image that arrives: a retry begins a new file."""
        self._sinks.append(FileSink(self._target))
        return self._sinks[-1]

    async def keep(self, response: ImagesResponse) -> ImagesResponse:
        """`response` with its image saved, even if the call has been cancelled meanwhile: it is paid for.

        Raises:
            ContentFilteredError: there is none.
            SaveError: it cannot be saved.
        """
        return await finished_in_thread(partial(self._keep, response))

    async def in_memory(self, response: ImagesResponse) -> ImagesResponse:
        """`response` with its images in memory instead of temporary files."""
        return await finished_in_thread(partial(self._in_memory, response))

    def claim(self, loop: object) -> None:
        """Claim the file until `aclose`, so that no other call of this process writes to it.

        Args:
            loop: the event loop of the call.

        Raises:
            InvalidRequestError: another call in flight saves to the same file.
        """
        self._claim.acquire(loop)

    async def aclose(self) -> None:
        """Release the file for other calls, and remove temporary files."""
        self._claim.release()
        if any(sink.path for sink in self._sinks):
            await finished_in_thread(self._clear)

    def _clear(self) -> None:
        for sink in self._sinks:
            sink.remove()

    def _keep(self, response: ImagesResponse) -> ImagesResponse:
        image = response.image
        try:
            path = self._put(image)
        except Exception as error:
            paid = "was made and paid for, but" if response.attempts else "was fetched, but"
            message = f"the image {paid} {error}; error.response has it"
            raise SaveError(message, response=self._in_memory(response)) from error
        saved = replace(image, path=path, data=None)
        data = (saved if old is image else self._image_in_memory(old) for old in response.data)
        return replace(response, data=tuple(data))

    def _put(self, image: Image) -> Path:
        sink = self._sink_of(image)
        if sink is None:
            return image.save(self._target, overwrite=self._overwrite)
        target = image.target(self._target)
        try:
            sink.put(target, overwrite=self._overwrite)
        except OSError as error:
            why = ALREADY_EXISTS if isinstance(error, FileExistsError) else error
            raise OSError(f"{str(target)!r} is not written: {why}") from error
        return target

    def _in_memory(self, response: ImagesResponse) -> ImagesResponse:
        return replace(response, data=tuple(self._image_in_memory(image) for image in response.data))

    def _image_in_memory(self, image: Image) -> Image:
        sink = self._sink_of(image)
        return replace(image, data=sink.read(), path=None) if sink else image

    def _sink_of(self, image: Image) -> FileSink | None:
        """The sink that has the bytes of `image` in its file; `None` if they are elsewhere."""
        return next((sink for sink in self._sinks if sink.path is not None and sink.path == image.path), None)


def with_image(response: ImagesResponse, image: Image) -> ImagesResponse:
    """`response` with `image` in place of its usable image."""
    return replace(response, data=tuple(image if old is response.image else old for old in response.data))
