"""Settles the jobs of earlier runs before a run, after a process was killed."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path

from ..items import Item
from ..journal.journal import OUTPUT_LOST, SETTINGS, JobResult, Journal, UnsettledJob
from ..storage.base import StoredImage
from ..storage.store import ImageStore
from .job_results import adopted_result, found_result, killed_result


def recover(journal: Journal, store: ImageStore, *, verify: bool, unsent: Collection[int] = frozenset()) -> int:
    """Settle the jobs of earlier runs.

    A job that was in flight is done if its image is durable, `pending` if it was handed to a worker and provably not
    sent, and `unknown` otherwise. Images at fallback paths are restored.

    Args:
        journal: the journal, open for writing.
        store: the images.
        verify: whether every image is read and compared with its digest; one that is missing or has changed is
            `failed` until `retry` makes it pending.
        unsent: the numbers of jobs that were handed to a worker and not sent.

    Returns:
        The number of images that were found and not in the journal.
    """
    count = sum(_recover_one(journal, store, job, sent=job.number not in unsent) for job in journal.in_flight())
    count += sum(_restore_fallback(journal, store, job) for job in journal.saved_to_fallback())
    if verify:
        _verify(journal, store)
    if verify or journal.may_lack_writes:
        _repair_notes(journal, store, math.inf if verify else _WRITTEN_AFTER)
    return count


_WRITTEN_AFTER = 120.0
"""Seconds after which the system has written all unflushed data: on Linux 35 by default."""


def _repair_notes(journal: Journal, store: ImageStore, seconds: float) -> None:
    """Write the notes again that had not reached the disk when the power failed, since they are not flushed."""
    server = json.loads(journal.fact(SETTINGS) or "{}").get("server")
    for item in journal.done_last(seconds):
        made = None if item.ended is None else int(item.ended)
        store.repair_note(str(item.path), {"sha256": item.sha256, **_note_of(item), "server": server, "made": made})


def _recover_one(journal: Journal, store: ImageStore, job: UnsettledJob, *, sent: bool) -> bool:
    """Settle a job that was in flight. Return whether its image was found."""
    store.remove_leftovers(job.stem)
    fallback = store.find_fallback(job.stem, job.item.fingerprint or "")
    stored = store.find(job.stem)
    if stored is not None and not _is_image_of(journal, job, stored):
        stored = None
    if stored is None and fallback is not None:
        stored = store.restore_fallback(job.stem, fallback, _note_of(job.item))
    if stored is not None:
        _record(journal, job.number, adopted_result(stored, job.reserved), fallback)
    else:
        _record(journal, job.number, killed_result(job.reserved) if sent else JobResult(state="pending"), None)
    return stored is not None


def _is_image_of(journal: Journal, job: UnsettledJob, stored: StoredImage) -> bool:
    """Whether an image belongs to the job, and not to another job with the same stem."""
    fingerprint = stored.note.get("fingerprint", job.item.fingerprint)
    return fingerprint == job.item.fingerprint and not journal.belongs_to_another(job.number, stored.path)


def _record(journal: Journal, number: int, result: JobResult, fallback: str | None) -> None:
    """Commit the result of a job, and then delete the file at its fallback path."""
    journal.begin()
    journal.end(number, result)
    journal.commit()
    if fallback is not None:
        Path(fallback).unlink(missing_ok=True)


def _verify(journal: Journal, store: ImageStore) -> None:
    journal.begin()
    files = journal.files()
    digests = store.digests(path for _, path, _ in files)
    for (number, path, sha256), digest in zip(files, digests, strict=True):
        if digest != sha256:
            journal.end(number, _lost_result(path, sha256))
    journal.commit()


def _note_of(item: Item) -> dict[str, object]:
    names = ("id", "line", "fingerprint", "seed", "finish_reason", "trace_id")
    return {**{name: getattr(item, name) for name in names}, "request": dict(item.request)}


def _restore_fallback(journal: Journal, store: ImageStore, job: UnsettledJob) -> bool:
    """Restore a paid image from its fallback path. Return whether it was there."""
    path = str(job.item.path)
    stored = store.restore_fallback(job.stem, path, _note_of(job.item))
    if stored is None:
        return False
    _record(journal, job.number, found_result(stored), path)
    return True


def _lost_result(path: str, sha256: str) -> JobResult:
    message = f"{path} is missing or has changed since it was written (SHA-256 {sha256}); retry makes it pending"
    return JobResult(state="failed", error=OUTPUT_LOST, message=message)
