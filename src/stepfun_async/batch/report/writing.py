"""Writes a report from rows, in bounded memory."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TypeAlias

from ..._runtime.files import replacing
from .links import ImageLocation, link, relative_to
from .markup import data_block, script_json
from .page import page_around_records
from .records import record_of
from .stats import ReportStats
from .thumbnails import is_pillow_installed, thumbnail
from .values import ReportRow, ReportSummary, State

_LISTED_CHARACTERS = 16 * 1024 * 1024
"""The maximum number of characters of the records of each state on a page: some 40,000 rows, which browsers open."""

_RECORDS_IN_BLOCK = 200
"""The number of records in a block, which the page parses together."""

_MOST_THUMBNAILS = 5_000
"""The maximum number of thumbnails of a report."""

_SECONDS = 8.0
"""The maximum seconds spent on thumbnails per report: one takes up to 0.1 s. The next report makes further ones."""

_WORKERS = min(4, os.cpu_count() or 1)
_AHEAD = 4 * _WORKERS
"""The number of thumbnails that are made ahead."""

LocatedRow: TypeAlias = tuple[ReportRow, ImageLocation]
"""A row, and the location of its image."""


def write_report(
    path: str | os.PathLike[str], rows: Iterable[ReportRow], summary: ReportSummary, *, thumbnails: bool = True
) -> Path:
    """Write a report of a batch: one HTML file that shows the images beside it, and needs no network.

    The file appears complete or not at all, and replaces an existing one. Rows are read one by one and not kept, so a
    million of them need no more memory than a thousand. All of them are counted; of each state, the first 16 MiB are
    listed with their parameters, some 40,000 rows.

    It blocks: call it in a thread if an event loop is running.

    Args:
        path: the file to write. Relative paths of images are relative to its folder, and images outside of that folder
            are not shown.
        rows: the requests, in the order of the list.
        summary: the facts about the job as a whole.
        thumbnails: make small copies of images in `thumbnails/` beside the report, for a quick gallery: for eight
            seconds, and of the first 5,000 images at most. Copies from an earlier report are kept, so writing it again
            makes further ones. Without Pillow there are none.

    Returns:
        The file written.

    Raises:
        OSError: the file cannot be written: no permission, a full disk, and so on.
    """
    target = Path(os.path.abspath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    stats = ReportStats()
    with tempfile.TemporaryFile(dir=target.parent) as records:
        made = _MOST_THUMBNAILS if thumbnails and is_pillow_installed() else 0
        _list_rows(_locate_images(rows, target.parent, made), stats, records)
        before, after = page_around_records(summary, stats)
        records.seek(0)
        with replacing(target) as file:
            file.write(before.encode())
            shutil.copyfileobj(records, file)
            file.write(after.encode())
    return target


# --- the records --------------------------------------------------------------------------------


def _list_rows(located: Iterable[LocatedRow], stats: ReportStats, out: IO[bytes]) -> None:
    """Count every row, and write the records of those that are listed."""
    listed = _listed(located, stats)
    while block := list(islice(listed, _RECORDS_IN_BLOCK)):
        out.write(data_block(f"[{','.join(block)}]", class_="records").encode() + b"\n")


def _listed(located: Iterable[LocatedRow], stats: ReportStats) -> Iterator[str]:
    """Yield the records of the rows that are listed, as JSON. All rows are counted."""
    used: Counter[State] = Counter()
    index = 0
    for row, location in located:
        if used[row.state] >= _LISTED_CHARACTERS:
            stats.add(row, None)
            continue
        record = script_json(record_of(row, location))
        used[row.state] += len(record)
        stats.add(row, index)
        index += 1
        yield record


# --- images -----------------------------------------------------------------------------------


def _locate_images(rows: Iterable[ReportRow], folder: Path, thumbnails: int) -> Iterator[LocatedRow]:
    """Yield the rows in order, with the locations of their images. The first `thumbnails` images get a small copy."""
    pending: deque[tuple[ReportRow, Callable[[], ImageLocation]]] = deque()
    until = time.monotonic() + _SECONDS
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="stepfun-thumbnails") as pool:
        for row in rows:
            relative_path = None if row.path is None else relative_to(row.path, folder)
            if relative_path is not None and thumbnails > 0:
                thumbnails -= 1
                pending.append((row, pool.submit(_with_thumbnail, folder, relative_path, until).result))
            else:
                pending.append((row, partial(_without_thumbnail, row.path, relative_path)))
            if len(pending) > _AHEAD:
                first, locate = pending.popleft()
                yield first, locate()
        for each, locate in pending:
            yield each, locate()


def _without_thumbnail(path: str | os.PathLike[str] | None, relative_path: str | None) -> ImageLocation:
    if path is None:
        return ImageLocation()
    if relative_path is None:
        return ImageLocation(os.fspath(path))
    return ImageLocation(relative_path.replace(os.sep, "/"), link(relative_path))


def _with_thumbnail(folder: Path, relative_path: str, until: float) -> ImageLocation:
    made = thumbnail(folder, relative_path, make=time.monotonic() < until) if link(relative_path) else None
    return ImageLocation(relative_path.replace(os.sep, "/"), link(relative_path), link(made) if made else None)
