"""The images of a batch: whole and durable or not there, each with a note of how it was made.

`ImageStore` names them, never replaces one, and recognizes its own. It does so at a `Place`, which stores any
files: `Folder` here, or `Bucket`. All of it blocks, and is called in worker threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, cast

from stepfun_async._core.headers import EXTENSIONS
from stepfun_async._core.input_images import InputImage, of_bytes
from stepfun_async._core.json_text import json_writer
from stepfun_async._core.responses import image_facts
from stepfun_async._core.results import Image
from stepfun_async._runtime import system

from .base import NOTE, NewFile, Place, Saved
from .filenames import folded
from .metadata import with_metadata

_UNKNOWN_FORMAT = ".bin"
_RESCUED = "stepfun-"
_ENDINGS = (*EXTENSIONS.values(), _UNKNOWN_FORMAT)


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image to be written.

    Attributes:
        stem: its name without an ending.
        image: the image, with its bytes.
        note: what its note is to say.
    """

    stem: str
    image: Image
    note: Mapping[str, object]


class ImageStore:
    """Images at a place.

    Args:
        place: where.
        notes: whether each image gets its note.
        metadata: whether each image gets it into its own file too.
    """

    def __init__(self, place: Place, *, notes: bool, metadata: bool = False) -> None:
        self.place = place
        self._notes = notes
        self._metadata = metadata

    def put(self, stem: str, image: Image, note: Mapping[str, object]) -> Saved:
        """Write an image under the next free stem; otherwise as `put_all`.

        Raises:
            OSError: it cannot be written.
        """
        saved = self.put_all([NewImage(self.free_stem(stem), image, note)])[0]
        if isinstance(saved, BaseException):
            raise saved
        return saved

    def put_all(self, images: Sequence[NewImage]) -> list[Saved | BaseException]:
        """Write images. When this returns, they survive the loss of power.

        Notes come first: without its image a note says nothing, and an image that was not entered in
        the journal is recognised by it. No image is ever replaced: if the name is taken by another
        one, the next free name is used.

        Returns:
            For each what was saved, or the error: an `OSError` if it cannot be written.
        """
        entries = [_Entry(image, metadata=self._metadata) for image in images]
        for entry in entries:
            entry.attempt(entry.prepare)
        left = [entry for entry in entries if entry.error is None]
        while left:
            errors = self.place.write_all([entry.file(notes=self._notes) for entry in left])
            left = [entry for entry, error in zip(left, errors, strict=True) if self._is_to_move(entry, error)]
        return [entry.error or entry.saved() for entry in entries]

    def _is_to_move(self, entry: _Entry, error: BaseException | None) -> bool:
        """Record the result of a write. Return whether to retry it under another name, since that one exists."""
        if not isinstance(error, FileExistsError):
            entry.error = error
            return False

        def move() -> None:
            entry.stem = self.free_stem(entry.given_stem)

        entry.attempt(move)
        return entry.error is None

    def find(self, stem: str) -> Saved | None:
        """The image under a stem, whole and as its note has it; `None` if there is none, or only something else."""
        present = self.place.present(_names(stem))
        name = next((name for name in _names(stem) if name in present), None)
        return None if name is None else self._look(name, stem + NOTE)

    def mend_note(self, path: str, note: Mapping[str, object]) -> None:
        """Write the note of an image anew if it is there but cannot be read, since the power failed before it was
        written to the disk.

        Args:
            path: of the image.
            note: what the note is to say.

        Raises:
            OSError: it cannot be written.
        """
        name = path.rpartition(".")[0] + NOTE
        (text,) = self.place.contents([name])
        if self._notes and text is not None and not _note_of(text):
            self.place.replace(name, _as_text(note))

    def own(self, stem: str, fingerprint: str) -> Saved | None:
        """The image under a stem, where it is that of a request: its note says so, or its name is made of it."""
        saved = self.find(stem)
        if saved is not None and (saved.note.get("fingerprint") == fingerprint or fingerprint in stem):
            return saved
        return None

    def taken(self, stems: Iterable[str]) -> set[str]:
        """Those of `stems` under which there is something; a note without an image is no hindrance."""
        stem_of = {name: stem for stem in stems for name in _names(stem)}
        return {stem_of[name] for name in self.place.present(stem_of)}

    def free_stem(self, stem: str, but: Collection[str] = ()) -> str:
        """`stem`, or the next one that has nothing under it, not even another batch's file, and is none of `but`.

        Args:
            stem: the name without an ending.
            but: names that others have, as `names.folded` has them.
        """
        stems = (stem if number == 1 else f"{stem}~{number}" for number in count(1))
        return next(stem for stem in stems if folded(stem) not in but and not self.taken([stem]))

    def sweep(self, stem: str) -> None:
        """Take away what a killed process left half-written for a stem."""
        self.place.sweep(stem)

    def digests(self, names: Iterable[str]) -> Iterator[str | None]:
        """The SHA-256 of files as they are now, in their order; `None` for one that is not there."""
        for data in self.place.contents(names):
            yield None if data is None else hashlib.sha256(data).hexdigest()

    def rescue(self, stem: str, fingerprint: str, image: Image) -> Saved:
        """Write a paid image that the place does not take to the system's folder for temporary files.

        What is there already is another image that is paid for, and stays.

        Args:
            stem: the image's name without its ending.
            fingerprint: of its request.
            image: the image, with its bytes.

        Raises:
            OSError: it cannot be written there either.
        """
        data = image.to_bytes()
        for number in count(1):
            path = self._refuge(stem, fingerprint, number, _ending_of(image))
            with suppress(FileExistsError):
                _write_new(path, data)
                return _saved(str(path), hashlib.sha256(data).hexdigest(), len(data), image, {})
        raise AssertionError

    def rescued(self, stem: str, fingerprint: str) -> str | None:
        """Return where `rescue` stored the image of a request; `None` if there is none of this user's."""
        paths = (self._refuge(stem, fingerprint, 1, ending) for ending in _ENDINGS)
        return next((str(path) for path in paths if _is_own(path)), None)

    def may_have_rescued(self, stem: str, fingerprint: str) -> bool:
        """Whether `rescued` is worth asking: whether there was something when this was first called."""
        if not self._refuges:
            return False
        return any(self._refuge(stem, fingerprint, 1, ending).name in self._refuges for ending in _ENDINGS)

    @cached_property
    def _refuges(self) -> frozenset[str]:
        """The names of rescued images, of whichever batch."""
        try:
            return frozenset(name for name in os.listdir(tempfile.gettempdir()) if name.startswith(_RESCUED))
        except OSError:
            return frozenset()

    def _refuge(self, stem: str, fingerprint: str, number: int, ending: str) -> Path:
        """A place that is found again without a note, since the journal may be on the same full disk."""
        named = f"{self.place.name}/{stem}\0{fingerprint}".encode("utf-8", "surrogateescape")
        more = "" if number == 1 else f"-{number}"
        return Path(tempfile.gettempdir()) / f"{_RESCUED}{hashlib.sha256(named).hexdigest()[:32]}{more}{ending}"

    def fetch_back(self, stem: str, path: str, note: Mapping[str, object]) -> Saved | None:
        """Write a rescued image to its place; `None` if it is gone.

        It stays where it is, to be removed once the other one is in the journal. That one may be
        there already: what failed to be written may have been written, with only the response lost.
        """
        try:
            image = _image_of(Path(path).read_bytes())
        except OSError:
            return None
        picture = of_bytes(image.data or b"")
        if not image.data or (isinstance(picture, InputImage) and not picture.complete):
            return None
        fingerprint = note.get("fingerprint")
        return (self.own(stem, str(fingerprint)) if fingerprint else None) or self.put(stem, image, note)

    def _look(self, name: str, note_name: str) -> Saved | None:
        data, note_text = self.place.contents([name, note_name])
        if data is None:
            return None
        digest, note = hashlib.sha256(data).hexdigest(), _note_of(note_text)
        picture = of_bytes(data)
        whole = isinstance(picture, InputImage) and picture.complete
        if note.get("sha256", digest if whole else None) != digest:
            return None
        return _saved(name, digest, len(data), _image_of(data), note)


class _Entry:
    """An image that is being written.

    Args:
        image: what is given.
        metadata: whether the note goes into the image file too.

    Attributes:
        given_stem: the name that the image was to have, without an ending.
        stem: the name that it gets.
        error: why it is not written; `None` as long as nothing went wrong.
    """

    def __init__(self, image: NewImage, *, metadata: bool) -> None:
        self.given_stem = self.stem = image.stem
        self.error: BaseException | None = None
        self._image = image.image
        self._facts: Mapping[str, object] = {
            "seed": self._image.seed,
            "finish_reason": self._image.finish_reason,
            **image.note,
        }
        self._note: Mapping[str, object] = {}
        self._metadata = metadata
        self._data = b""
        self._digest = ""

    def attempt(self, step: Callable[[], object]) -> None:
        """Take a step. What fails for one image concerns no other, whatever it is."""
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - raised by the one who waits for this image
            self.error = error

    def prepare(self) -> None:
        """Make the bytes of the file."""
        data = self._image.to_bytes()
        self._data = with_metadata(data, self._facts) if self._metadata else data
        self._digest = hashlib.sha256(self._data).hexdigest()
        self._note = {"sha256": self._digest, **self._facts}

    def file(self, *, notes: bool) -> NewFile:
        """The file to be written, with its note if there are `notes`."""
        note = _as_text(self._note) if notes else None
        return NewFile(self.stem + _ending_of(self._image), self._data, self.stem + NOTE, note)

    def saved(self) -> Saved:
        """The image in its file."""
        return _saved(self.stem + _ending_of(self._image), self._digest, len(self._data), self._image, self._note)


def _names(stem: str) -> tuple[str, ...]:
    """The names that the image of a stem may have."""
    return tuple(stem + ending for ending in _ENDINGS)


def _as_text(note: Mapping[str, object]) -> bytes:
    """A note as JSON, one thing a line; `indent` would do nearly that, in ten times the time."""
    lines = ",\n".join([f' "{name}": {_encode(value)}' for name, value in note.items()])
    return f"{{\n{lines}\n}}".encode("utf-8", "backslashreplace")


_encode = json_writer()


def _ending_of(image: Image) -> str:
    return EXTENSIONS.get(image.format or "", _UNKNOWN_FORMAT)


def _image_of(data: bytes) -> Image:
    return Image(**image_facts(data))


def _saved(path: str, digest: str, size: int, picture: Image, note: Mapping[str, Any]) -> Saved:
    return Saved(
        path=path,
        sha256=digest,
        bytes=size,
        format=picture.format,
        width=picture.width,
        height=picture.height,
        note=note,
    )


def _note_of(text: bytes | None) -> Mapping[str, Any]:
    """Return the content of a note; empty if it cannot be read."""
    try:
        note: object = json.loads(text or b"")
    except ValueError:
        return {}
    return cast("dict[str, Any]", note) if isinstance(note, dict) else {}


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, for this user alone; it is there whole or not at all.

    Raises:
        FileExistsError: it is there.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _is_own(path: Path) -> bool:
    """Whether `path` is a file of this user's, and no link: others may write to where it is."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and system.is_own(facts)
