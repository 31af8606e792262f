"""Restores order before a run, after a process was killed."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path

from ..items import Item
from ..journal.journal import OUTPUT_LOST, SETTINGS, JobResult, Journal, Left
from ..storage.base import Saved
from ..storage.store import ImageStore
from .job_runner import adopted, found, killed


def recover(journal: Journal, store: ImageStore, *, verify: bool, unsent: Collection[int] = frozenset()) -> int:
    """Restore order after a process was killed.

    A line that was in flight is done where its image is durable, `pending` where it was handed out and
    provably not sent, and `unknown` otherwise. Images that had to be put elsewhere are brought back.

    Args:
        journal: open for writing.
        store: where the images are.
        verify: whether every image is read and compared with what was written; one that is gone or
            changed is `failed` from then on, and made anew when `retry` says so.
        unsent: the numbers of lines that were handed out and not sent.

    Returns:
        How many images were found that the journal did not have.
    """
    count = sum(_recover_one(journal, store, left, sent=left.number not in unsent) for left in journal.in_flight())
    count += sum(_bring_back(journal, store, left) for left in journal.rescued())
    if verify:
        _verify(journal, store)
    if verify or journal.may_lack_writes:
        _mend_notes(journal, store, math.inf if verify else _WRITTEN_AFTER)
    return count


_WRITTEN_AFTER = 120.0
"""Seconds after which the system has written all unflushed data: on Linux 35 by default."""


def _mend_notes(journal: Journal, store: ImageStore, seconds: float) -> None:
    """Write the notes anew that the disk did not get before the power failed: they are not flushed."""
    server = json.loads(journal.fact(SETTINGS) or "{}").get("server")
    for item in journal.done_last(seconds):
        made = None if item.ended is None else int(item.ended)
        store.mend_note(str(item.path), {"sha256": item.sha256, **_note_of(item), "server": server, "made": made})


def _recover_one(journal: Journal, store: ImageStore, left: Left, *, sent: bool) -> bool:
    store.sweep(left.stem)
    fingerprint = left.item.fingerprint or ""
    refuge = store.rescued(left.stem, fingerprint)
    saved = store.find(left.stem)
    if saved is not None and not _is_its_own(journal, left, saved):
        saved = None
    if saved is None and refuge is not None:
        saved = store.fetch_back(left.stem, refuge, _note_of(left.item))
    unmade = killed(left.reserved) if sent else JobResult(state="pending")
    _enter(journal, left.number, adopted(saved, left.reserved) if saved else unmade, refuge if saved else None)
    return saved is not None


def _is_its_own(journal: Journal, left: Left, saved: Saved) -> bool:
    """Whether an image is that of the row under whose stem it is, and not of one whose stem was the same."""
    fingerprint = saved.note.get("fingerprint", left.item.fingerprint)
    return fingerprint == left.item.fingerprint and not journal.is_of_another(left.number, saved.path)


def _enter(journal: Journal, number: int, ended: JobResult, refuge: str | None) -> None:
    """Enter a line's end for good; only then its image is taken away where it was rescued to."""
    journal.begin()
    journal.end(number, ended)
    journal.commit()
    if refuge is not None:
        Path(refuge).unlink(missing_ok=True)


def _verify(journal: Journal, store: ImageStore) -> None:
    journal.begin()
    files = journal.files()
    digests = store.digests(path for _, path, _ in files)
    for (number, path, sha256), digest in zip(files, digests, strict=True):
        if digest != sha256:
            journal.end(number, _lost(path, sha256))
    journal.commit()


def _note_of(item: Item) -> dict[str, object]:
    names = ("id", "line", "fingerprint", "seed", "finish_reason", "trace_id")
    return {**{name: getattr(item, name) for name in names}, "request": dict(item.request)}


def _bring_back(journal: Journal, store: ImageStore, left: Left) -> bool:
    """Whether an image that was paid for and put elsewhere is in its place now."""
    path = str(left.item.path)
    saved = store.fetch_back(left.stem, path, _note_of(left.item))
    if saved is None:
        return False
    _enter(journal, left.number, found(saved), path)
    return True


def _lost(path: str, sha256: str) -> JobResult:
    message = f"{path} is gone, or no longer what was written (SHA-256 {sha256}); retry has it made anew"
    return JobResult(state="failed", error=OUTPUT_LOST, message=message)
