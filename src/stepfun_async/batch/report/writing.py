"""Writing a report: rows in, one file out, in memory that does not grow with the number of rows."""

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
from .links import Whereabouts, inside, link
from .markup import data_block, script_json
from .page import page_around_records
from .records import record_of
from .tally import Tally
from .thumbnails import possible, thumbnail
from .values import ReportRow, ReportSummary, State

_ALLOWANCE = 16 * 1024 * 1024
"""Characters of the records of each state that a page lists: some 40,000 rows, what a browser opens at once."""

_BLOCK = 200
"""Records in a block, which the page reads in one go."""

_MOST_THUMBNAILS = 5_000
"""Small images that a report has."""

_SECONDS = 8.0
"""The maximum seconds spent on thumbnails per report: one takes up to 0.1 s. The next report makes further ones."""

_WORKERS = min(4, os.cpu_count() or 1)
_AHEAD = 4 * _WORKERS
"""Small images in the making at once."""

Placed: TypeAlias = tuple[ReportRow, Whereabouts]
"""A row, and where its image is."""


def write_report(
    path: str | os.PathLike[str], rows: Iterable[ReportRow], summary: ReportSummary, *, thumbnails: bool = True
) -> Path:
    """Write a report of a batch: one HTML file that shows the images beside it, and needs no network.

    The file is there whole or not at all, and one that is there is replaced. Rows are taken one by
    one and not kept, so a million of them need no more memory than a thousand. All are counted; of
    each state the first 16 MiB are listed with their parameters, some 40,000 rows.

    It blocks: call it in a thread where an event loop runs.

    Args:
        path: the file to write. Its folder is where relative paths of images start, and images outside
            of it are not shown.
        rows: the requests, in the order in which they are to be listed.
        summary: what is known of the job as a whole.
        thumbnails: make small copies of images in `thumbnails/` beside the report, so that the gallery stays
            quick: for eight seconds, and of the first 5,000 at most. Copies from an earlier report are kept, so
            that writing it again makes further ones. Without Pillow there are none.

    Returns:
        The file written.

    Raises:
        OSError: the folder cannot be written to, the disk is full, and the like.
    """
    target = Path(os.path.abspath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    with tempfile.TemporaryFile(dir=target.parent) as records:
        made = _MOST_THUMBNAILS if thumbnails and possible() else 0
        _list_rows(_placed(rows, target.parent, made), tally, records)
        before, after = page_around_records(summary, tally)
        records.seek(0)
        with replacing(target) as file:
            file.write(before.encode())
            shutil.copyfileobj(records, file)
            file.write(after.encode())
    return target


# --- the records --------------------------------------------------------------------------------


def _list_rows(placed: Iterable[Placed], tally: Tally, out: IO[bytes]) -> None:
    """Count every row, and write the records of those that are listed."""
    listed = _listed(placed, tally)
    while block := list(islice(listed, _BLOCK)):
        out.write(data_block(f"[{','.join(block)}]", class_="records").encode() + b"\n")


def _listed(placed: Iterable[Placed], tally: Tally) -> Iterator[str]:
    """The rows that are listed, as JSON; all are counted."""
    used: Counter[State] = Counter()
    place = 0
    for row, where in placed:
        if used[row.state] >= _ALLOWANCE:
            tally.add(row, None)
            continue
        record = script_json(record_of(row, where))
        used[row.state] += len(record)
        tally.add(row, place)
        place += 1
        yield record


# --- images -----------------------------------------------------------------------------------


def _placed(rows: Iterable[ReportRow], folder: Path, thumbnails: int) -> Iterator[Placed]:
    """The rows in their order, with the whereabouts of their images; the first `thumbnails` get a small copy."""
    pending: deque[tuple[ReportRow, Callable[[], Whereabouts]]] = deque()
    until = time.monotonic() + _SECONDS
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="stepfun-thumbnails") as pool:
        for row in rows:
            seen = None if row.path is None else inside(row.path, folder)
            if seen is not None and thumbnails > 0:
                thumbnails -= 1
                pending.append((row, pool.submit(_with_thumbnail, folder, seen, until).result))
            else:
                pending.append((row, partial(_without_thumbnail, row.path, seen)))
            if len(pending) > _AHEAD:
                first, where = pending.popleft()
                yield first, where()
        for each, where in pending:
            yield each, where()


def _without_thumbnail(path: str | os.PathLike[str] | None, seen: str | None) -> Whereabouts:
    if path is None:
        return Whereabouts()
    return Whereabouts(os.fspath(path)) if seen is None else Whereabouts(seen.replace(os.sep, "/"), link(seen))


def _with_thumbnail(folder: Path, seen: str, until: float) -> Whereabouts:
    made = thumbnail(folder, seen, make=time.monotonic() < until) if link(seen) else None
    return Whereabouts(seen.replace(os.sep, "/"), link(seen), link(made) if made else None)
