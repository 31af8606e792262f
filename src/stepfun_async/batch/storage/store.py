"""The pictures of a batch: whole and durable or not there, each with a note of how it was made.

`PictureStore` names them, never replaces one, and knows its own again. It does so at a `Place`, which knows
nothing of pictures: `Folder` here, or `Bucket`. All of it blocks, and is called in worker threads.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
import threading
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Protocol, cast

from stepfun_async._core.answers import picture_facts
from stepfun_async._core.errors import StepFunError, StepFunWarning
from stepfun_async._core.headers import EXTENSIONS
from stepfun_async._core.pictures import Picture, of_bytes
from stepfun_async._core.results import Image
from stepfun_async._runtime.files import flush_folder, why_not_writable, write_bytes

from .filenames import folded
from .metadata import with_metadata

NOTE = ".json"
"""The ending of a note beside its picture."""

_UNKNOWN_FORMAT = ".bin"
_RESCUED = "stepfun-"
_ENDINGS = (*EXTENSIONS.values(), _UNKNOWN_FORMAT)


class StorageError(StepFunError, OSError):
    """The place for a batch's pictures cannot be used: there is no such bucket, the credentials are wrong or may
    not do that, or it cannot be reached. What is in it is as it was.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A picture in its file.

    Attributes:
        path: below the place, with `/`; a whole path for one that was rescued to another place.
        sha256: of the file.
        bytes: its size.
        format: as `Image.format` has it; None for anything else.
        width: pixels; None where the format is not known.
        height: pixels, likewise.
        note: what its note says; empty where it has none.
    """

    path: str
    sha256: str
    bytes: int
    format: str | None
    width: int | None
    height: int | None
    note: Mapping[str, Any]


class Place(Protocol):
    """Where files are kept under names with `/` in them. Everything may raise OSError."""

    @property
    def threads(self) -> int:
        """How many threads are to write there at once."""
        ...

    @property
    def name(self) -> str:
        """Where it is, as users write it; a file is at `{name}/{the file's name}`."""
        ...

    def try_out(self) -> None:
        """Write something and take it away again, as far as that says whether pictures can be written.

        Raises:
            StorageError: they cannot, and why.
        """
        ...

    def present(self, names: Iterable[str]) -> set[str]:
        """Those of `names` under which there is something."""
        ...

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """What is in files, in their order; None for one that is not there."""
        ...

    def write(self, name: str, data: bytes, *, overwrite: bool) -> None:
        """Write a file in one step: at no moment is there half of it.

        Raises:
            FileExistsError: there is something under `name`, and `overwrite` is False.
        """
        ...

    def flush(self, name: str) -> None:
        """Have what was written beside `name`, and that itself, survive the loss of power."""
        ...

    def sweep(self, stem: str) -> None:
        """Take away what a killed process left half-written for names that begin with `stem`."""
        ...


class PictureStore:
    """Pictures at a place.

    Args:
        place: where.
        notes: whether each picture gets its note.
        metadata: whether each picture gets it into its own file too.
    """

    def __init__(self, place: Place, *, notes: bool, metadata: bool = False) -> None:
        self.place = place
        self.threads = place.threads
        self._notes = notes
        self._metadata = metadata

    def put(self, stem: str, image: Image, note: Mapping[str, object]) -> Saved:
        """Write a picture. When this returns, it survives the loss of power.

        The note comes first: without its picture it says nothing, and a picture that was not entered in
        the journal is known by it. No file is ever replaced; where the name is taken by another
        picture, the next one that is free is used.

        Args:
            stem: its name without an ending.
            image: the picture, with its bytes.
            note: what its note is to say.

        Raises:
            OSError: it cannot be written.
        """
        told = {"seed": image.seed, "finish_reason": image.finish_reason, **note}
        data = with_metadata(image.to_bytes(), told) if self._metadata else image.to_bytes()
        digest = hashlib.sha256(data).hexdigest()
        noted = {"sha256": digest, **told}
        stem = self.free_stem(stem)
        while not self._written(stem, _ending_of(image), data, noted):
            stem = self.free_stem(stem)
        name = stem + _ending_of(image)
        self.place.flush(name)
        return _saved(name, digest, len(data), image, noted)

    def find(self, stem: str) -> Saved | None:
        """The picture under a stem, whole and as its note has it; None where there is none, or only something else."""
        present = self.place.present(_names(stem))
        name = next((name for name in _names(stem) if name in present), None)
        return None if name is None else self._look(name, stem + NOTE)

    def own(self, stem: str, fingerprint: str) -> Saved | None:
        """The picture under a stem, where it is that of a request: its note says so, or its name is made of it."""
        saved = self.find(stem)
        if saved is not None and (saved.note.get("fingerprint") == fingerprint or fingerprint in stem):
            return saved
        return None

    def taken(self, stems: Iterable[str]) -> set[str]:
        """Those of `stems` under which there is something; a note without a picture is no hindrance."""
        stem_of = {name: stem for stem in stems for name in _names(stem)}
        return {stem_of[name] for name in self.place.present(stem_of)}

    def free_stem(self, stem: str, but: Collection[str] = ()) -> str:
        """`stem`, or the next one that has nothing under it, be it of somebody else, and is none of `but`.

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
        """The SHA-256 of files as they are now, in their order; None for one that is not there."""
        for data in self.place.contents(names):
            yield None if data is None else hashlib.sha256(data).hexdigest()

    def rescue(self, stem: str, fingerprint: str, image: Image) -> Saved:
        """Write a paid picture that the place does not take to the system's folder for temporary files.

        What is there already is another picture that is paid for, and stays.

        Args:
            stem: the picture's name without its ending.
            fingerprint: of its request.
            image: the picture, with its bytes.

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
        """Where `rescue` put the picture of a request; None where there is none of this user's."""
        paths = (self._refuge(stem, fingerprint, 1, ending) for ending in _ENDINGS)
        return next((str(path) for path in paths if _is_own(path)), None)

    def may_have_rescued(self, stem: str, fingerprint: str) -> bool:
        """Whether `rescued` is worth asking: whether there was something when this was first called."""
        if not self._refuges:
            return False
        return any(self._refuge(stem, fingerprint, 1, ending).name in self._refuges for ending in _ENDINGS)

    @cached_property
    def _refuges(self) -> frozenset[str]:
        """The names of rescued pictures, of whichever batch."""
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
        """Write a rescued picture to its place; None where it is gone.

        It stays where it is, to be taken away when the journal knows of the other one. That one may be
        there already: what failed to be written may have been written, with only the answer lost.
        """
        try:
            image = _image_of(Path(path).read_bytes())
        except OSError:
            return None
        picture = of_bytes(image.data or b"")
        if not image.data or (isinstance(picture, Picture) and not picture.complete):
            return None
        fingerprint = note.get("fingerprint")
        return (self.own(stem, str(fingerprint)) if fingerprint else None) or self.put(stem, image, note)

    def _written(self, stem: str, ending: str, data: bytes, note: Mapping[str, object]) -> bool:
        """Whether the name was still free, and is written now."""
        if self._notes:
            self.place.write(stem + NOTE, _as_text(note), overwrite=True)
        try:
            self.place.write(stem + ending, data, overwrite=False)
        except FileExistsError:
            return False
        return True

    def _look(self, name: str, note_name: str) -> Saved | None:
        data, note_text = self.place.contents([name, note_name])
        if data is None:
            return None
        digest, note = hashlib.sha256(data).hexdigest(), _note_of(note_text)
        picture = of_bytes(data)
        whole = isinstance(picture, Picture) and picture.complete
        if note.get("sha256", digest if whole else None) != digest:
            return None
        return _saved(name, digest, len(data), _image_of(data), note)


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


def _names(stem: str) -> tuple[str, ...]:
    """The names that the picture of a stem may have."""
    return tuple(stem + ending for ending in _ENDINGS)


def _as_text(note: Mapping[str, object]) -> bytes:
    """A note as JSON, one thing a line; `indent` would do nearly that, in ten times the time."""
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in note.items())
    return f"{{\n{lines}\n}}".encode("utf-8", "backslashreplace")


def _ending_of(image: Image) -> str:
    return EXTENSIONS.get(image.format or "", _UNKNOWN_FORMAT)


def _image_of(data: bytes) -> Image:
    return Image(**picture_facts(data))


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
    """What a note says; empty where it says nothing that can be read."""
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
    return stat.S_ISREG(facts.st_mode) and (os.name == "nt" or facts.st_uid == os.getuid())


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
