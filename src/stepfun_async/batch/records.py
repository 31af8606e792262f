"""The records of a batch in its folder, readable during a run and after: status, rows, manifest, report, shards."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import tee
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias

from stepfun_async._core.errors import ConfigurationError, StepFunError
from stepfun_async._runtime.files import replacing, why_of

from .items import Item, Status
from .journal.database import JournalError, running_in, translate_sqlite_errors
from .journal.journal import SETTINGS, Journal
from .report import ReportRow, write_report
from .report.journalled import row_from, summary_from
from .report.manifest import METADATA, Write, row_of, write_captions, writer_for
from .storage.base import Place
from .storage.bucket import Bucket, is_url
from .storage.location import check_folder, place_at

MANIFEST = "manifest.jsonl"
REPORT = "report.html"

SHARD_SIZE = 1_000_000_000
"""Bytes of images after which a tar shard is full."""


class Records:
    """The folder of a batch.

    Args:
        folder: what the batch was given as `out`.

    Raises:
        ConfigurationError: it is no folder on a disk.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = check_folder(folder, "the journal of a batch has to")

    def __repr__(self) -> str:
        return f"Records({str(self.folder)!r})"

    def status(self) -> Status:
        """Return the state of the batch, which may be running.

        Raises:
            JournalError: there is no batch in the folder, or its journal cannot be read.
        """
        with Journal.reading(self.folder) as journal:
            status = journal.status()
        return replace(status, running=running_in(self.folder))

    def items(self) -> Iterator[Item]:
        """Every line and its result, in the order of the inputs, read as it is asked for.

        Raises:
            JournalError: as `status`.
        """
        with Journal.reading(self.folder) as journal:
            yield from journal.items()

    def retry(self, errors: Collection[str] | None = None, *, failed: bool = True, unknown: bool = False) -> int:
        """Let the next run retry failed lines.

        Args:
            errors: the classes of their failures, such as `ContentFilteredError`; `None` for all.
            failed: whether those count whose state is `failed`.
            unknown: whether those count whose state is `unknown`, which the next run sends anyway unless it holds them.

        Returns:
            How many lines that are.

        Raises:
            JournalError: as `status`; or the batch is running.
        """
        with Journal.reading(self.folder):
            pass  # or a folder without a batch would get an empty one
        journal = Journal.writing(self.folder)
        try:
            with translate_sqlite_errors(self.folder):
                return journal.reopen(errors, failed=failed, unknown=unknown)
        finally:
            journal.close()

    def write_manifest(self, path: str | os.PathLike[str] | None = None, *, imagefolder: bool = False) -> str:
        """Write every line with all that is known of it, as `Item` has it.

        Args:
            path: the file, or `s3://bucket/manifest.jsonl` and the like; `manifest.jsonl` in the batch's folder when
                absent. It is replaced. One that ends in `.parquet` becomes Parquet, with the extra `parquet`. One that
                is called `metadata.jsonl` becomes what `datasets.load_dataset("imagefolder")` reads: a line for each
                image, with its prompt as `text`; it has to be in the folder of the images, or above it. Any other that
                ends in `.jsonl`, `.ndjson` or `.json`, or has no extension, becomes lines of JSON. They hold no null:
                text that is not known is empty, a number 0, a seed -1, and `request` is JSON in a text.
            imagefolder: write `metadata.jsonl`, into the folder of the images when `path` is absent.

        Returns:
            Where it is.

        Raises:
            JournalError: as `status`.
            ConfigurationError: it cannot be written, its extension stands for another format, its extra is not
                installed, or `metadata.jsonl` would be where the images are not below it.
            StorageError: the bucket does not take it.
        """
        target = self._manifest_path(path, imagefolder=imagefolder)
        write = self._captions_for(target) if PurePosixPath(target).name == METADATA else writer_for(target)
        with Journal.reading(self.folder) as journal, self._manifest_at(target) as file:
            status = journal.status()
            write(journal.items(), file, sorted({*status.spent, *status.held}))
        return target

    def _manifest_path(self, path: str | os.PathLike[str] | None, *, imagefolder: bool) -> str:
        if path is None:
            return f"{self._place().name}/{METADATA}" if imagefolder else str(self.folder / MANIFEST)
        target = os.fspath(path)
        if imagefolder and PurePosixPath(target).name != METADATA:
            raise ConfigurationError(f"imagefolder reads a file of the name {METADATA} only, not {target!r}")
        return target

    def _captions_for(self, target: str) -> Write:
        """Return the writer of `metadata.jsonl`, if the images are below its folder.

        Raises:
            ConfigurationError: they are not.
        """
        images = _normal(self._place().name)
        above = _normal(target.rpartition("/")[0] if is_url(target) else os.path.dirname(os.path.abspath(target)))
        if images != above and not images.startswith(f"{above}/"):
            raise ConfigurationError(
                f"{target!r} cannot be written: the images are in {images!r}, and imagefolder finds only those below "
                f"the folder of {METADATA}; write {f'{images}/{METADATA}'!r}"
            )
        between = images[len(above) + 1 :]
        below = f"{between}/" if between else ""
        return lambda items, file, _: write_captions(items, file, below)

    @contextmanager
    def _manifest_at(self, target: str) -> Generator[BinaryIO]:
        """A file to write to, which is at `target` at the end."""
        if is_url(target):
            above, _, name = target.rpartition("/")
            bucket = Bucket(above)
            with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=self.folder) as folder:
                with Path(folder, "manifest").open("xb") as file:
                    yield file
                bucket.upload(name, Path(folder, "manifest"))
        else:
            with _written(Path(target)), replacing(Path(target)) as whole:
                yield whole

    def write_report(self, path: str | os.PathLike[str] | None = None, *, thumbnails: bool = True) -> Path:
        """Write a page for a browser: sums, plots, failures, costs, and every image with its parameters.

        It is one HTML file that opens from disk and needs no network; see `report.write_report`.

        Args:
            path: the file; `report.html` in the batch's folder when absent. It is replaced. Only images in its
                own folder are shown, so elsewhere it has words alone, and so it has of images in a bucket.
            thumbnails: make small copies of the first images, in `thumbnails` beside it, where Pillow is there.

        Raises:
            JournalError: as `status`.
            ConfigurationError: it cannot be written.
        """
        target = check_folder(self.folder / REPORT if path is None else path, "reports")
        summary = summary_from(self.status(), title=Path(os.path.abspath(self.folder)).name, made=time.time())
        place = self._place()
        rows = (_placed(row_from(item), place) for item in self.items())
        with _written(target):
            write_report(target, rows, summary, thumbnails=thumbnails)
        return target

    def pack(self, folder: str | os.PathLike[str], *, shard_size: int = SHARD_SIZE) -> tuple[Path, ...]:
        """Copy the images into tar shards as WebDataset reads them: each image with a `.json` and a `.txt`.

        The images stay where they are. A shard is there whole or not at all, and none is replaced.

        Args:
            folder: where the shards go, `00000.tar` and so on; made where it is not there.
            shard_size: bytes of images after which a shard is full.

        Returns:
            The shards.

        Raises:
            ConfigurationError: the size is none, there are shards already, or one cannot be written.
            JournalError: as `status`; or an image is no longer there.
        """
        if shard_size < 1:
            raise ConfigurationError(f"shard_size is a number of bytes above 0, not {shard_size!r}")
        target = check_folder(folder, "shards")
        with _written(target):
            target.mkdir(parents=True, exist_ok=True)
            if any(target.glob("*.tar")):
                raise ConfigurationError(f"there are shards in {str(target)!r} already: choose another folder")
            return tuple(self._shards(target, shard_size))

    def _place(self) -> Place:
        """Return the location of the images."""
        with Journal.reading(self.folder) as journal:
            settings = json.loads(journal.fact(SETTINGS) or "{}")
        return place_at(settings.get("pictures") or os.path.abspath(self.folder))

    def _pictures(self) -> Iterator[tuple[Item, bytes]]:
        """Each line that is done, with its image."""
        place = self._place()
        done, again = tee(item for item in self.items() if item.state == "done")
        for item, data in zip(done, place.contents(str(item.path) for item in again), strict=True):
            if data is None:
                raise JournalError(f"{place.name}/{item.path} cannot be packed: it is gone; run the batch with verify")
            yield item, data

    def _shards(self, folder: Path, shard_size: int) -> Iterator[Path]:
        pictures = self._pictures()
        first = next(pictures, None)
        number = 0
        while first is not None:
            path = folder / f"{number:05}.tar"
            with (
                replacing(path, overwrite=False) as file,
                tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as shard,
            ):
                first = _fill(shard, first, pictures, shard_size, number)
            yield path
            number += 1


ImagesOnDisk: TypeAlias = Iterator[tuple[Item, bytes]]


def _fill(
    shard: tarfile.TarFile, picture: tuple[Item, bytes] | None, pictures: ImagesOnDisk, shard_size: int, number: int
) -> tuple[Item, bytes] | None:
    """Put images in a shard until it is full; the first one that did not go in, or None at the end."""
    size = count = 0
    while picture is not None and (size < shard_size or not count):
        for name, data in _members(*picture, f"{number:05}{count:06}"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
        size += len(picture[1])
        count += 1
        picture = next(pictures, None)
    return picture


def _normal(place: str) -> str:
    """A folder or the URL of a bucket with `/` between its parts, and without `..`."""
    return place.rstrip("/") if is_url(place) else Path(os.path.abspath(place)).as_posix()


def _members(item: Item, data: bytes, key: str) -> Iterator[tuple[str, bytes]]:
    yield f"{key}{PurePosixPath(str(item.path)).suffix}", data
    yield f"{key}.txt", str(item.request.get("prompt", "")).encode("utf-8", "backslashreplace")
    yield f"{key}.json", json.dumps(row_of(item), ensure_ascii=False).encode("utf-8", "backslashreplace")


def _placed(row: ReportRow, place: Place) -> ReportRow:
    """The row with the whole name of its image."""
    return row if row.path is None else replace(row, path=f"{place.name}/{os.fspath(row.path)}")


@contextmanager
def _written(path: Path) -> Generator[None]:
    """Tell what the disk says against writing `path`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StepFunError):
            raise
        raise ConfigurationError(f"{str(path)!r} cannot be written: {why_of(error, path)}") from error
