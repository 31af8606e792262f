"""The records of a batch in its folder, readable during and after a run: status, rows, manifest, report, shards."""

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
from .report.item_rows import row_from, summary_from
from .report.manifest import METADATA, Write, row_of, write_captions, writer_for
from .storage.base import FileStore
from .storage.bucket import Bucket, is_url
from .storage.location import check_folder, open_file_store

MANIFEST = "manifest.jsonl"
REPORT = "report.html"

SHARD_SIZE = 1_000_000_000
"""Bytes of images after which a tar shard is full."""


class Records:
    """The folder of a batch.

    Args:
        folder: the `out` of the batch.

    Raises:
        ConfigurationError: it is a URL.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = check_folder(folder, "the journal of a batch has to")

    def __repr__(self) -> str:
        return f"Records({str(self.folder)!r})"

    def status(self) -> Status:
        """Return the status of the batch, also while it runs.

        Raises:
            JournalError: there is no batch in the folder, or its journal cannot be read.
        """
        with Journal.reading(self.folder) as journal:
            status = journal.status()
        return replace(status, running=running_in(self.folder))

    def items(self) -> Iterator[Item]:
        """Yield every line and its result, in the order of the inputs. Nothing is read ahead.

        Raises:
            JournalError: as `status`.
        """
        with Journal.reading(self.folder) as journal:
            yield from journal.items()

    def retry(self, errors: Collection[str] | None = None, *, failed: bool = True, unknown: bool = False) -> int:
        """Let the next run retry failed lines.

        Args:
            errors: the classes of their failures, such as `ContentFilteredError`; `None` for all.
            failed: include lines whose state is `failed`.
            unknown: include lines whose state is `unknown`; the next run sends these anyway, unless it has
                `hold_unknown`.

        Returns:
            The number of lines.

        Raises:
            JournalError: as `status`; or the batch is running.
        """
        with Journal.reading(self.folder):
            pass  # otherwise `Journal.writing` would create a journal in a folder without a batch
        journal = Journal.writing(self.folder)
        try:
            with translate_sqlite_errors(self.folder):
                return journal.reopen(errors, failed=failed, unknown=unknown)
        finally:
            journal.close()

    def write_manifest(self, path: str | os.PathLike[str] | None = None, *, imagefolder: bool = False) -> str:
        """Write a manifest: every line of the batch with the fields of `Item`.

        Args:
            path: the file, or a URL such as `s3://bucket/manifest.jsonl`; by default `manifest.jsonl` in the batch's
                folder. An existing file is replaced. The name decides the format. `.parquet` is Parquet, with the
                extra `parquet`. `metadata.jsonl` is what `datasets.load_dataset("imagefolder")` reads: a line for each
                image, with its prompt as `text`; it must be in the folder of the images, or above it. Any other name
                in `.jsonl`, `.ndjson` or `.json`, or without an extension, is JSON Lines without nulls: an unknown
                text is empty, an unknown number 0, an unknown seed -1, and `request` is JSON in a string.
            imagefolder: write `metadata.jsonl`, by default into the folder of the images.

        Returns:
            The path or URL of the manifest.

        Raises:
            JournalError: as `status`.
            ConfigurationError: the file cannot be written, its extension belongs to another format, its extra is not
                installed, or the images would not be below `metadata.jsonl`.
            StorageError: the bucket cannot be written to.
        """
        target = self._manifest_path(path, imagefolder=imagefolder)
        write = self._captions_for(target) if PurePosixPath(target).name == METADATA else writer_for(target)
        with Journal.reading(self.folder) as journal, self._manifest_at(target) as file:
            status = journal.status()
            write(journal.items(), file, sorted({*status.spent, *status.held}))
        return target

    def _manifest_path(self, path: str | os.PathLike[str] | None, *, imagefolder: bool) -> str:
        if path is None:
            return f"{self._image_files().name}/{METADATA}" if imagefolder else str(self.folder / MANIFEST)
        target = os.fspath(path)
        if imagefolder and PurePosixPath(target).name != METADATA:
            raise ConfigurationError(f"imagefolder reads a file of the name {METADATA} only, not {target!r}")
        return target

    def _captions_for(self, target: str) -> Write:
        """Return the writer of `metadata.jsonl`, if the images are below its folder.

        Raises:
            ConfigurationError: they are not.
        """
        images = _normal(self._image_files().name)
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
        """Yield a file whose content is at `target` after the block."""
        if is_url(target):
            above, _, name = target.rpartition("/")
            bucket = Bucket(above)
            with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=self.folder) as folder:
                with Path(folder, "manifest").open("xb") as file:
                    yield file
                bucket.upload(name, Path(folder, "manifest"))
        else:
            with _disk_errors(Path(target)), replacing(Path(target)) as whole:
                yield whole

    def write_report(self, path: str | os.PathLike[str] | None = None, *, thumbnails: bool = True) -> Path:
        """Write a page for a browser: totals, plots, failures, costs, and every image with its parameters.

        It is one HTML file that opens from disk and needs no network; see `report.write_report`.

        Args:
            path: the file; by default `report.html` in the batch's folder. An existing file is replaced. The page
                shows the images in and below its own folder; of others, such as those in a bucket, it has only the
                facts.
            thumbnails: if Pillow is installed, make small copies of the first images, in `thumbnails` beside the page.

        Raises:
            JournalError: as `status`.
            ConfigurationError: the file cannot be written.
        """
        target = check_folder(self.folder / REPORT if path is None else path, "reports")
        summary = summary_from(self.status(), title=Path(os.path.abspath(self.folder)).name, made=time.time())
        files = self._image_files()
        rows = (_with_full_path(row_from(item), files) for item in self.items())
        with _disk_errors(target):
            write_report(target, rows, summary, thumbnails=thumbnails)
        return target

    def pack(self, folder: str | os.PathLike[str], *, shard_size: int = SHARD_SIZE) -> tuple[Path, ...]:
        """Copy the images into tar shards for WebDataset: each image with a `.json` and a `.txt`.

        The images stay where they are. Each shard appears complete or not at all, and no shard is replaced.

        Args:
            folder: the folder for the shards, `00000.tar` and so on; created if it does not exist.
            shard_size: the bytes of images after which a shard is full.

        Returns:
            The shards.

        Raises:
            ConfigurationError: the size is below 1, there are shards already, or a shard cannot be written.
            JournalError: as `status`; or an image no longer exists.
        """
        if shard_size < 1:
            raise ConfigurationError(f"shard_size is a number of bytes above 0, not {shard_size!r}")
        target = check_folder(folder, "shards")
        with _disk_errors(target):
            target.mkdir(parents=True, exist_ok=True)
            if any(target.glob("*.tar")):
                raise ConfigurationError(f"there are shards in {str(target)!r} already: choose another folder")
            return tuple(self._shards(target, shard_size))

    def _image_files(self) -> FileStore:
        """Return the file store that holds the images."""
        with Journal.reading(self.folder) as journal:
            settings = json.loads(journal.fact(SETTINGS) or "{}")
        return open_file_store(settings.get("pictures") or os.path.abspath(self.folder))

    def _images(self) -> Iterator[tuple[Item, bytes]]:
        """Yield each line that is done, with its image."""
        files = self._image_files()
        done, again = tee(item for item in self.items() if item.state == "done")
        for item, data in zip(done, files.contents(str(item.path) for item in again), strict=True):
            if data is None:
                raise JournalError(f"{files.name}/{item.path} cannot be packed: it is gone; run the batch with verify")
            yield item, data

    def _shards(self, folder: Path, shard_size: int) -> Iterator[Path]:
        images = self._images()
        first = next(images, None)
        number = 0
        while first is not None:
            path = folder / f"{number:05}.tar"
            with (
                replacing(path, overwrite=False) as file,
                tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as shard,
            ):
                first = _fill(shard, first, images, shard_size, number)
            yield path
            number += 1


ImagesOnDisk: TypeAlias = Iterator[tuple[Item, bytes]]


def _fill(
    shard: tarfile.TarFile, image: tuple[Item, bytes] | None, images: ImagesOnDisk, shard_size: int, number: int
) -> tuple[Item, bytes] | None:
    """Add images to a shard until it is full. Return the first image that was not added; `None` at the end."""
    size = count = 0
    while image is not None and (size < shard_size or not count):
        for name, data in _members(*image, f"{number:05}{count:06}"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
        size += len(image[1])
        count += 1
        image = next(images, None)
    return image


def _normal(location: str) -> str:
    """Return a folder or the URL of a bucket with `/` as the separator, and without `..`."""
    return location.rstrip("/") if is_url(location) else Path(os.path.abspath(location)).as_posix()


def _members(item: Item, data: bytes, key: str) -> Iterator[tuple[str, bytes]]:
    yield f"{key}{PurePosixPath(str(item.path)).suffix}", data
    yield f"{key}.txt", str(item.request.get("prompt", "")).encode("utf-8", "backslashreplace")
    yield f"{key}.json", json.dumps(row_of(item), ensure_ascii=False).encode("utf-8", "backslashreplace")


def _with_full_path(row: ReportRow, files: FileStore) -> ReportRow:
    """Return the row with the full path of its image."""
    return row if row.path is None else replace(row, path=f"{files.name}/{os.fspath(row.path)}")


@contextmanager
def _disk_errors(path: Path) -> Generator[None]:
    """Raise the errors of writing `path` as `ConfigurationError`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StepFunError):
            raise
        raise ConfigurationError(f"{str(path)!r} cannot be written: {why_of(error, path)}") from error
