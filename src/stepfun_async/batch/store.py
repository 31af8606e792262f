"""The folder of a batch: pictures that are whole and durable or not there, each with a note of how it was made."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

from stepfun_async._core.pictures import EXTENSIONS, Picture, of_bytes
from stepfun_async._core.results import Image
from stepfun_async._files import write_bytes

NOTE = ".json"
"""The ending of a note beside its picture."""

_UNKNOWN_FORMAT = ".bin"
_ENDINGS = (*EXTENSIONS.values(), _UNKNOWN_FORMAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A picture in its file.

    Attributes:
        path: below the folder, with `/`; a whole path for one that was rescued to another place.
        sha256: of the file.
        bytes: its size.
        format: `png`, `jpeg`, `webp` or `gif`; None for anything else.
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


class FileStore:
    """Pictures as files below one folder.

    Args:
        folder: where; made when the first picture is.
        notes: whether each picture gets its note.
    """

    def __init__(self, folder: Path, *, notes: bool) -> None:
        self._folder = folder
        self._notes = notes
        self._made: set[Path] = set()

    def put(self, stem: str, image: Image, note: Mapping[str, object]) -> Saved:
        """Write a picture. When this returns, it survives the loss of power.

        The note comes first: without its picture it says nothing, and a picture that was not entered in
        the journal is known by it. No file is ever replaced; where the name is taken by another
        picture, the next one that is free is used.

        Args:
            stem: its path below the folder, without an ending.
            image: the picture, with its bytes.
            note: what its note is to say.

        Raises:
            OSError: it cannot be written.
        """
        data = image.to_bytes()
        digest = hashlib.sha256(data).hexdigest()
        noted = {"sha256": digest, "seed": image.seed, "finish_reason": image.finish_reason, **note}
        ending = EXTENSIONS.get(image.format or "", _UNKNOWN_FORMAT)
        target = self._folder / (self.free_stem(stem) + ending)
        while not self._written(target, data, noted):
            target = self._folder / (self.free_stem(stem) + ending)
        sync_folder(target.parent)
        return self._saved(target, digest, len(data), image.format, image.width, image.height, noted)

    def find(self, stem: str) -> Saved | None:
        """The picture under a stem, whole and as its note has it; None where there is none, or only something else."""
        for ending in _ENDINGS:
            path = self._folder / (stem + ending)
            if path.is_file():
                return self._look(path)
        return None

    def free_stem(self, stem: str) -> str:
        """`stem`, or the next one under which there is nothing, be it a picture of somebody else's."""
        stems = (stem if number == 1 else f"{stem}~{number}" for number in count(1))
        return next(stem for stem in stems if not self._taken(stem))

    def sweep(self, stem: str) -> None:
        """Take away what a killed process left half-written for a stem."""
        target = self._folder / stem
        with suppress(FileNotFoundError):
            for path in target.parent.glob(f".{_escaped(target.name[:40])}*.part"):
                path.unlink(missing_ok=True)

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file below the folder as it is now; None where it is not there."""
        try:
            with (self._folder / path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    def rescue(self, stem: str, image: Image) -> Saved:
        """Write a paid picture that the folder does not take to the system's place for temporary files.

        Raises:
            OSError: it cannot be written there either.
        """
        data = image.to_bytes()
        path = self._refuge(stem, EXTENSIONS.get(image.format or "", _UNKNOWN_FORMAT))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        digest = hashlib.sha256(data).hexdigest()
        return Saved(
            path=str(path),
            sha256=digest,
            bytes=len(data),
            format=image.format,
            width=image.width,
            height=image.height,
            note={},
        )

    def rescued(self, stem: str) -> str | None:
        """Where `rescue` put the picture of a stem; None where there is none of this user's."""
        paths = (self._refuge(stem, ending) for ending in _ENDINGS)
        return next((str(path) for path in paths if _is_own(path)), None)

    def _refuge(self, stem: str, ending: str) -> Path:
        """A place that is found again without a note, since the journal may be on the same full disk."""
        place = hashlib.sha256(str((self._folder / stem).absolute()).encode("utf-8", "surrogateescape")).hexdigest()
        return Path(tempfile.gettempdir()) / f"stepfun-{place[:32]}{ending}"

    def fetch_back(self, stem: str, path: str, note: Mapping[str, object]) -> Saved | None:
        """Bring a rescued picture into the folder; None where it is gone."""
        try:
            picture = of_bytes(Path(path).read_bytes())
        except OSError:
            return None
        if not isinstance(picture, Picture):
            return None
        image = Image(data=picture.data, format=picture.format, width=picture.width, height=picture.height)
        saved = self.put(stem, image, note)
        Path(path).unlink(missing_ok=True)
        return saved

    def _written(self, target: Path, data: bytes, note: Mapping[str, object]) -> bool:
        """Whether `target` was still free, and is written now."""
        self._make(target.parent)
        if self._notes:
            text = json.dumps(note, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
            write_bytes(target.with_suffix(NOTE), text, overwrite=True)
        try:
            write_bytes(target, data, overwrite=False)
        except FileExistsError:
            return False
        return True

    def _taken(self, stem: str) -> bool:
        """Whether there is a file under `stem`; a note without a picture is no hindrance."""
        return any(os.path.lexists(self._folder / (stem + ending)) for ending in _ENDINGS)

    def _make(self, folder: Path) -> None:
        """Make a folder and what is above it, each so that it survives the loss of power."""
        if folder in self._made:
            return
        if not folder.is_dir():
            self._make(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir()
            sync_folder(folder.parent)
        self._made.add(folder)

    def _look(self, path: Path) -> Saved | None:
        data = path.read_bytes()
        picture = of_bytes(data)
        if not isinstance(picture, Picture) or not picture.complete:
            return None
        digest = hashlib.sha256(data).hexdigest()
        note = _note_beside(path)
        if note.get("sha256", digest) != digest:
            return None
        return self._saved(path, digest, len(data), picture.format, picture.width, picture.height, note)

    def _saved(
        self,
        path: Path,
        digest: str,
        size: int,
        format: str | None,
        width: int | None,
        height: int | None,
        note: Mapping[str, Any],
    ) -> Saved:
        below = path.relative_to(self._folder).as_posix()
        return Saved(path=below, sha256=digest, bytes=size, format=format, width=width, height=height, note=note)


def _note_beside(path: Path) -> Mapping[str, Any]:
    """The note beside the picture at `path`; empty where there is none that can be read."""
    try:
        note: object = json.loads(path.with_suffix(NOTE).read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", note) if isinstance(note, dict) else {}


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


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive the loss of power, where the system can say so."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
