"""What a batch leaves in its folder, for asking while it runs and after: status, rows, manifest, report, shards."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

from stepfun_async._core.errors import ConfigurationError, StepFunError

from .database import JournalError, running_in, told
from .items import Item, Status
from .journal import Journal
from .report import ReportRow, write_report
from .report.journalled import row_from, summary_from

MANIFEST = "manifest.jsonl"
REPORT = "report.html"

SHARD_SIZE = 1_000_000_000
"""Bytes of pictures after which a tar shard is full."""


class Records:
    """The folder of a batch.

    Args:
        folder: what the batch was given as `out`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def status(self) -> Status:
        """How the batch stands; it may be running.

        Raises:
            JournalError: there is no batch in the folder, or its journal cannot be read.
        """
        with Journal.reading(self.folder) as journal:
            status = journal.status()
        return replace(status, running=running_in(self.folder))

    def items(self) -> Iterator[Item]:
        """Every line and what came of it, in the order of the inputs, read as it is asked for.

        Raises:
            JournalError: as `status`.
        """
        with Journal.reading(self.folder) as journal:
            yield from journal.items()

    def retry(self, errors: Collection[str] | None = None, *, failed: bool = True, unknown: bool = False) -> int:
        """Have failed lines sent again by the next run.

        Args:
            errors: the classes of their failures, such as `ContentFilteredError`; None for all.
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
            with told(self.folder):
                return journal.reopen(errors, failed=failed, unknown=unknown)
        finally:
            journal.close()

    def write_manifest(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write every line as one of JSON, as `Item` has it.

        Args:
            path: the file; `manifest.jsonl` in the batch's folder when absent. It is replaced.

        Raises:
            JournalError: as `status`.
            ConfigurationError: it cannot be written.
        """
        target = self.folder / MANIFEST if path is None else Path(path)
        temporary = target.with_name(f".{target.name}.part")
        with Journal.reading(self.folder) as journal, _written(target):
            with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
                for item in journal.items():
                    file.write(json.dumps(row_of(item), ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        return target

    def write_report(self, path: str | os.PathLike[str] | None = None, *, thumbnails: bool = True) -> Path:
        """Write a page for a browser: sums, plots, failures, costs, and every picture with its parameters.

        It is one HTML file that opens from disk and needs no network; see `report.write_report`.

        Args:
            path: the file; `report.html` in the batch's folder when absent. It is replaced. Only pictures in its
                own folder are shown, so elsewhere it has words alone.
            thumbnails: make small copies of the first pictures, in `thumbnails` beside it, where Pillow is there.

        Raises:
            JournalError: as `status`.
            ConfigurationError: it cannot be written.
        """
        target = self.folder / REPORT if path is None else Path(path)
        summary = summary_from(self.status(), title=Path(os.path.abspath(self.folder)).name, made=time.time())
        with _written(target):
            write_report(target, map(self._row, self.items()), summary, thumbnails=thumbnails)
        return target

    def _row(self, item: Item) -> ReportRow:
        row = row_from(item)
        return row if row.path is None else replace(row, path=self.folder.absolute() / row.path)

    def pack(self, folder: str | os.PathLike[str], *, shard_size: int = SHARD_SIZE) -> tuple[Path, ...]:
        """Copy the pictures into tar shards as WebDataset reads them: each picture with a `.json` and a `.txt`.

        The pictures stay where they are. A shard is there whole or not at all, and none is replaced.

        Args:
            folder: where the shards go, `00000.tar` and so on; made where it is not there.
            shard_size: bytes of pictures after which a shard is full.

        Returns:
            The shards.

        Raises:
            ConfigurationError: the size is none, there are shards already, or one cannot be written.
            JournalError: as `status`; or a picture is no longer there.
        """
        if shard_size < 1:
            raise ConfigurationError(f"shard_size is a number of bytes above 0, not {shard_size!r}")
        target = Path(folder)
        with _written(target):
            target.mkdir(parents=True, exist_ok=True)
            if any(target.glob("*.tar")):
                raise ConfigurationError(f"there are shards in {str(target)!r} already: choose another folder")
            return tuple(self._shards(target, shard_size))

    def _shards(self, folder: Path, shard_size: int) -> Iterator[Path]:
        items = (item for item in self.items() if item.state == "done")
        first = next(items, None)
        number = 0
        while first is not None:
            path = folder / f"{number:05}.tar"
            temporary = path.with_name(f".{path.name}.part")
            with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as shard:
                first = self._fill(shard, first, items, shard_size, number)
            temporary.replace(path)
            yield path
            number += 1

    def _fill(
        self, shard: tarfile.TarFile, item: Item | None, items: Iterator[Item], shard_size: int, number: int
    ) -> Item | None:
        """Put pictures in a shard until it is full; the first one that did not go in, or None at the end."""
        size = count = 0
        while item is not None and (size < shard_size or not count):
            for name, data in self._members(item, f"{number:05}{count:06}"):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                shard.addfile(info, io.BytesIO(data))
            size += item.bytes or 0
            count += 1
            item = next(items, None)
        return item

    def _members(self, item: Item, key: str) -> Iterator[tuple[str, bytes]]:
        path = self.folder / (item.path or "")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise JournalError(f"{path} cannot be packed: {error.strerror}; run the batch with verify") from error
        yield f"{key}{path.suffix}", data
        yield f"{key}.txt", str(item.request.get("prompt", "")).encode("utf-8", "backslashreplace")
        yield f"{key}.json", json.dumps(row_of(item), ensure_ascii=False).encode("utf-8", "backslashreplace")


@contextmanager
def _written(path: Path) -> Generator[None]:
    """Tell what the disk says against writing `path`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StepFunError):
            raise
        raise ConfigurationError(f"{str(path)!r} cannot be written: {error.strerror or error}") from error


def row_of(item: Item) -> Mapping[str, object]:
    """An item as JSON can say it."""
    row = {field.name: getattr(item, field.name) for field in fields(item)}
    price = item.price
    row["price"] = None if price is None else {"amount": str(price.amount), "currency": price.currency}
    return row
