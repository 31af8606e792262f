"""The images of a batch: complete and durable or absent, each with a note of how it was made.

`ImageStore` names images, never replaces one, and recognizes those of the batch. It writes them to a `FileStore`:
a `Folder` or a `Bucket`. All of it blocks, and is called in worker threads.
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

from .base import NOTE, FileStore, NewFile, StoredImage
from .filenames import folded
from .metadata import with_metadata

_UNKNOWN_FORMAT = ".bin"
_FALLBACK_PREFIX = "stepfun-"
_ENDINGS = (*EXTENSIONS.values(), _UNKNOWN_FORMAT)


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image to be written.

    Attributes:
        stem: its name without the extension.
        image: the image, with its bytes.
        note: the content of its note.
    """

    stem: str
    image: Image
    note: Mapping[str, object]


class ImageStore:
    """The images in a file store.

    Args:
        files: the file store.
        notes: whether a note is written beside each image.
        metadata: whether the note is also embedded into the image file.
    """

    def __init__(self, files: FileStore, *, notes: bool, metadata: bool = False) -> None:
        self.files = files
        self._notes = notes
        self._metadata = metadata

    def put(self, stem: str, image: Image, note: Mapping[str, object]) -> StoredImage:
        """Write an image under the next free stem, as `put_all` does.

        Raises:
            OSError: it cannot be written.
        """
        saved = self.put_all([NewImage(self.free_stem(stem), image, note)])[0]
        if isinstance(saved, BaseException):
            raise saved
        return saved

    def put_all(self, images: Sequence[NewImage]) -> list[StoredImage | BaseException]:
        """Write images. When this returns, they are durable.

        Notes are written first: a note without its image means nothing, and an image that is not in the journal is
        recognized by its note. No image is ever replaced: if its name exists, the next free name is used.

        Returns:
            For each image the stored one, or the error: an `OSError` if it cannot be written.
        """
        entries = [_Entry(image, metadata=self._metadata) for image in images]
        for entry in entries:
            entry.attempt(entry.prepare)
        left = [entry for entry in entries if entry.error is None]
        while left:
            errors = self.files.write_all([entry.file(notes=self._notes) for entry in left])
            left = [entry for entry, error in zip(left, errors, strict=True) if self._needs_new_name(entry, error)]
        return [entry.error or entry.saved() for entry in entries]

    def _needs_new_name(self, entry: _Entry, error: BaseException | None) -> bool:
        """Record the result of a write. Return whether to retry it under another name, since that one exists."""
        if not isinstance(error, FileExistsError):
            entry.error = error
            return False

        def move() -> None:
            entry.stem = self.free_stem(entry.requested_stem)

        entry.attempt(move)
        return entry.error is None

    def find(self, stem: str) -> StoredImage | None:
        """Return the image with a stem; `None` if there is none, or it is not complete and as its note describes it."""
        existing = self.files.existing(_names(stem))
        name = next((name for name in _names(stem) if name in existing), None)
        return None if name is None else self._load(name, stem + NOTE)

    def repair_note(self, path: str, note: Mapping[str, object]) -> None:
        """Write the note of an image again if it exists but cannot be read, since the power failed before it reached
        the disk.

        Args:
            path: the path of the image.
            note: the content of the note.

        Raises:
            OSError: it cannot be written.
        """
        name = path.rpartition(".")[0] + NOTE
        (text,) = self.files.contents([name])
        if self._notes and text is not None and not _note_of(text):
            self.files.replace(name, _as_text(note))

    def find_matching(self, stem: str, fingerprint: str) -> StoredImage | None:
        """Return the image with a stem if it was made for a request, by its note or by the fingerprint in its name."""
        saved = self.find(stem)
        if saved is not None and (saved.note.get("fingerprint") == fingerprint or fingerprint in stem):
            return saved
        return None

    def existing(self, stems: Iterable[str]) -> set[str]:
        """Return those of `stems` under which a file exists, other than a note."""
        stem_of = {name: stem for stem in stems for name in _names(stem)}
        return {stem_of[name] for name in self.files.existing(stem_of)}

    def free_stem(self, stem: str, exclude: Collection[str] = ()) -> str:
        """Return `stem`, or the first of `stem~2` and so on, under which no file exists and that is not in `exclude`.

        Args:
            stem: the name without the extension.
            exclude: names that are in use, as returned by `filenames.folded`.
        """
        stems = (stem if number == 1 else f"{stem}~{number}" for number in count(1))
        return next(stem for stem in stems if folded(stem) not in exclude and not self.existing([stem]))

    def remove_leftovers(self, stem: str) -> None:
        """Remove the partial files that a killed process left for a stem."""
        self.files.remove_leftovers(stem)

    def digests(self, names: Iterable[str]) -> Iterator[str | None]:
        """Yield the SHA-256 of files as they are now, in their order; `None` for one that is missing."""
        for data in self.files.contents(names):
            yield None if data is None else hashlib.sha256(data).hexdigest()

    def save_fallback(self, stem: str, fingerprint: str, image: Image) -> StoredImage:
        """Write a paid image to the system's folder for temporary files, since the file store cannot be written to.

        An existing file is another paid image, and is kept.

        Args:
            stem: the image's name without the extension.
            fingerprint: the fingerprint of its request.
            image: the image, with its bytes.

        Raises:
            OSError: it cannot be written there either.
        """
        data = image.to_bytes()
        for number in count(1):
            path = self._fallback_path(stem, fingerprint, number, _ending_of(image))
            with suppress(FileExistsError):
                _write_new(path, data)
                return _stored_image(str(path), hashlib.sha256(data).hexdigest(), len(data), image, {})
        raise AssertionError

    def find_fallback(self, stem: str, fingerprint: str) -> str | None:
        """Return the path at which `save_fallback` stored the image of a request; `None` if this user has none."""
        paths = (self._fallback_path(stem, fingerprint, 1, ending) for ending in _ENDINGS)
        return next((str(path) for path in paths if _is_own(path)), None)

    def may_have_fallback(self, stem: str, fingerprint: str) -> bool:
        """Whether `find_fallback` may find an image, by the names that existed when this was first called."""
        if not self._fallback_names:
            return False
        return any(
            self._fallback_path(stem, fingerprint, 1, ending).name in self._fallback_names for ending in _ENDINGS
        )

    @cached_property
    def _fallback_names(self) -> frozenset[str]:
        """The names of images at fallback paths, of any batch."""
        try:
            return frozenset(name for name in os.listdir(tempfile.gettempdir()) if name.startswith(_FALLBACK_PREFIX))
        except OSError:
            return frozenset()

    def _fallback_path(self, stem: str, fingerprint: str, number: int, ending: str) -> Path:
        """Return a path that can be computed again without the journal, which may be on the same full disk."""
        key = f"{self.files.name}/{stem}\0{fingerprint}".encode("utf-8", "surrogateescape")
        suffix = "" if number == 1 else f"-{number}"
        digest = hashlib.sha256(key).hexdigest()[:32]
        return Path(tempfile.gettempdir()) / f"{_FALLBACK_PREFIX}{digest}{suffix}{ending}"

    def restore_fallback(self, stem: str, path: str, note: Mapping[str, object]) -> StoredImage | None:
        """Write an image from its fallback path to the file store. Return the stored image; `None` if it is gone.

        The file at the fallback path stays until the image is in the journal. The file store may have the image
        already, if only the response to the write was lost.
        """
        try:
            image = _image_from(Path(path).read_bytes())
        except OSError:
            return None
        decoded = of_bytes(image.data or b"")
        if not image.data or (isinstance(decoded, InputImage) and not decoded.complete):
            return None
        fingerprint = note.get("fingerprint")
        return (self.find_matching(stem, str(fingerprint)) if fingerprint else None) or self.put(stem, image, note)

    def _load(self, name: str, note_name: str) -> StoredImage | None:
        data, note_text = self.files.contents([name, note_name])
        if data is None:
            return None
        digest, note = hashlib.sha256(data).hexdigest(), _note_of(note_text)
        image = of_bytes(data)
        complete = isinstance(image, InputImage) and image.complete
        if note.get("sha256", digest if complete else None) != digest:
            return None
        return _stored_image(name, digest, len(data), _image_from(data), note)


class _Entry:
    """An image that is being written.

    Args:
        image: the image and its note.
        metadata: whether the note is also embedded into the image file.

    Attributes:
        requested_stem: the requested name, without the extension.
        stem: the name in use, which differs if the requested one exists.
        error: the error of the step that failed; `None` if none did.
    """

    def __init__(self, image: NewImage, *, metadata: bool) -> None:
        self.requested_stem = self.stem = image.stem
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
        """Run a step. Its error, of whatever class, affects only this image."""
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - raised in the task that waits for this image
            self.error = error

    def prepare(self) -> None:
        """Build the content of the file and of the note."""
        data = self._image.to_bytes()
        self._data = with_metadata(data, self._facts) if self._metadata else data
        self._digest = hashlib.sha256(self._data).hexdigest()
        self._note = {"sha256": self._digest, **self._facts}

    def file(self, *, notes: bool) -> NewFile:
        """Return the file to be written, with its note if `notes`."""
        note = _as_text(self._note) if notes else None
        return NewFile(self.stem + _ending_of(self._image), self._data, self.stem + NOTE, note)

    def saved(self) -> StoredImage:
        """Return the stored image."""
        return _stored_image(
            self.stem + _ending_of(self._image), self._digest, len(self._data), self._image, self._note
        )


def _names(stem: str) -> tuple[str, ...]:
    """Return the names that the image with a stem may have."""
    return tuple(stem + ending for ending in _ENDINGS)


def _as_text(note: Mapping[str, object]) -> bytes:
    """Encode a note as JSON with one field a line. `indent` would do nearly the same, in ten times the time."""
    lines = ",\n".join([f' "{name}": {_encode(value)}' for name, value in note.items()])
    return f"{{\n{lines}\n}}".encode("utf-8", "backslashreplace")


_encode = json_writer()


def _ending_of(image: Image) -> str:
    return EXTENSIONS.get(image.format or "", _UNKNOWN_FORMAT)


def _image_from(data: bytes) -> Image:
    return Image(**image_facts(data))


def _stored_image(path: str, digest: str, size: int, image: Image, note: Mapping[str, Any]) -> StoredImage:
    return StoredImage(
        path=path,
        sha256=digest,
        bytes=size,
        format=image.format,
        width=image.width,
        height=image.height,
        note=note,
    )


def _note_of(text: bytes | None) -> Mapping[str, Any]:
    """Decode a note; empty if it cannot be read."""
    try:
        note: object = json.loads(text or b"")
    except ValueError:
        return {}
    return cast("dict[str, Any]", note) if isinstance(note, dict) else {}


def _write_new(path: Path, data: bytes) -> None:
    """Create a file that only this user may read. It is removed if it cannot be written completely.

    Raises:
        FileExistsError: it exists.
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
    """Whether `path` is a regular file of this user, not a link: other users may write to the folder."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and system.is_own(facts)
