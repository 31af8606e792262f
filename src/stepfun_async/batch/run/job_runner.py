"""Runs one job: sends its request, stores the image, and returns the journal row.

It does not use the journal itself, so it can run wherever there is a client and a store.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from stepfun_async._call.caller import Caller
from stepfun_async._call.options import Options
from stepfun_async._call.record import CallRecord
from stepfun_async._core.money import Money
from stepfun_async._core.requests import ImageRequest
from stepfun_async._core.results import Image, ImagesResponse, SaveError
from stepfun_async._core.retry import RetryPolicy
from stepfun_async._runtime.event_loop import finished, finished_in_thread

from ..journal.admission import Task
from ..journal.journal import JobResult
from ..storage.base import FileStore, StorageError, StoredImage
from ..storage.filenames import folded, stem_of
from ..storage.store import NewImage
from .groups import GroupExecutor
from .job_results import (
    JobOutcome,
    failed_result,
    found_result,
    max_billed,
    not_downloaded,
    stored_result,
    unsaved_result,
)

_WITH_DOWNLOAD = Options(fetch=True)
"""A batch stores the images themselves, since links expire."""


class Store(Protocol):
    """A store of images."""

    files: FileStore

    def put_all(self, images: Sequence[NewImage]) -> list[StoredImage | BaseException]:
        """Write images. When this returns, they are durable."""
        ...

    def find_matching(self, stem: str, fingerprint: str) -> StoredImage | None:
        """Return the complete image with a stem, if it was made for a request."""
        ...

    def existing(self, stems: Iterable[str]) -> set[str]:
        """Return those of `stems` under which a file exists."""
        ...

    def free_stem(self, stem: str, exclude: Collection[str] = ()) -> str:
        """Return `stem`, or the next one that does not exist and is not in `exclude`, whose names are folded."""
        ...

    def may_have_fallback(self, stem: str, fingerprint: str) -> bool:
        """Whether `find_fallback` may find an image."""
        ...

    def find_fallback(self, stem: str, fingerprint: str) -> str | None:
        """Return the path at which `save_fallback` stored the image of a request; `None` if there is none."""
        ...

    def restore_fallback(self, stem: str, path: str, note: Mapping[str, object]) -> StoredImage | None:
        """Write an image from its fallback path to the file store."""
        ...

    def save_fallback(self, stem: str, fingerprint: str, image: Image) -> StoredImage:
        """Write an image of a request to its fallback path."""
        ...


class JobRunner:
    """Runs jobs.

    Args:
        caller: sends the requests.
        store: stores the images.
        template: the template for the names of the images.
        retry: when the caller retries.
    """

    def __init__(self, caller: Caller, store: Store, template: str, retry: RetryPolicy) -> None:
        self.max_billed = max_billed(retry)
        self._caller = caller
        self._store = store
        self._template = template
        self._writes = GroupExecutor(store.put_all, store.files.threads, store.files.max_group_size)
        self._assigned: set[str] = set()
        self._restored_from: dict[int, str] = {}

    def price(self, request: ImageRequest) -> Money | None:
        """Return the price of its image; `None` if unknown."""
        return self._caller.price(request)

    # --- names of images ---

    def assign_stems(self, tasks: Sequence[Task]) -> list[Task | JobResult]:
        """Return each task with a free stem for its image, or the result if its image exists but is not in the journal.

        An existing image belongs to a task if its note has the fingerprint of the request, if its name contains the
        fingerprint, or if it is at the fallback path for the stem and request. No file exists under an assigned stem,
        and no other task gets it until `release_stem` is called, so an image found there later is the task's.

        Raises:
            StorageError: an image cannot be restored from its fallback path.
        """
        stems = [self._stem(task) for task in tasks]
        existing = self._store.existing(stems)
        return [
            self._find_image(task, stem)
            if stem in existing or self._store.may_have_fallback(stem, task.job.fingerprint or "")
            else self._with_stem(task, stem)
            for task, stem in zip(tasks, stems, strict=True)
        ]

    def assign_next_stem(self, task: Task, stem: str) -> Task:
        """Return the task with the next free stem after `stem`."""
        return self._with_stem(task, self._store.free_stem(stem, self._assigned))

    def release_stem(self, task: Task) -> None:
        """Allow other tasks to get the stem of a task, which has ended."""
        self._assigned.discard(folded(task.stem))

    def delete_fallback(self, task: Task) -> None:
        """Delete the file at the fallback path of a task whose restored image is in the journal now."""
        if fallback := self._restored_from.pop(task.number, None):
            Path(fallback).unlink(missing_ok=True)

    def _with_stem(self, task: Task, stem: str) -> Task:
        """Return the task with a stem, or with the next free one if another task has it."""
        if (name := folded(stem)) in self._assigned:
            stem = self._store.free_stem(stem, self._assigned)
            name = folded(stem)
        self._assigned.add(name)
        return Task(task.number, task.id, task.job, stem)

    def _stem(self, task: Task) -> str:
        job = task.job
        model, prompt = (job.request.model, job.request.prompt or "") if job.request else ("", "")
        fingerprint = job.fingerprint or ""
        return stem_of(self._template, id=task.id, fingerprint=fingerprint, line=job.line, model=model, prompt=prompt)

    def _find_image(self, task: Task, stem: str) -> Task | JobResult:
        """Return the result of a task if its image exists, or the task with the next free stem."""
        stored = self._store.find_matching(stem, task.job.fingerprint or "") or self._restore_fallback(task, stem)
        return found_result(stored) if stored is not None else self.assign_next_stem(task, stem)

    def _restore_fallback(self, task: Task, stem: str) -> StoredImage | None:
        """Restore the image of a task from its fallback path, where it stays until `delete_fallback` is called."""
        fallback = self._store.find_fallback(stem, task.job.fingerprint or "")
        if fallback is None:
            return None
        try:
            stored = self._store.restore_fallback(stem, fallback, self._request_note(task))
        except OSError as error:
            why = error.strerror or error
            raise StorageError(f"a paid image in {fallback} cannot be written to its folder: {why}") from error
        if stored is not None:
            self._restored_from[task.number] = fallback
        return stored

    # --- images ---

    async def run(self, task: Task, record: CallRecord) -> JobOutcome:
        """Send the request of a task and save its image. A paid image is saved even if this is cancelled.

        Args:
            task: the task.
            record: the record of its call; if this is cancelled, `cancelled_result` reads it.
        """
        request = task.job.request
        assert request is not None  # noqa: S101 - only good lines become tasks
        try:
            response = await self._caller.send(
                request.read(self._caller.config.server), _WITH_DOWNLOAD, request=request, record=record
            )
            image = response.image
        except SaveError as error:
            return not_downloaded(error.response, error.__cause__ or error)
        except Exception as error:  # noqa: BLE001 - every failure is an outcome
            return JobOutcome(failed_result(error, self.max_billed), error)
        return await self.save(task, response, image)

    async def save(self, task: Task, response: ImagesResponse, image: Image) -> JobOutcome:
        """Save the image of a response, even if this is cancelled."""
        try:
            stored = await self._writes.run(NewImage(task.stem, image, self._note(task, response)))
        except OSError as error:
            return await finished(partial(self._save_fallback, task, response, image, error))
        return JobOutcome(stored_result(stored, response, image))

    async def _save_fallback(self, task: Task, response: ImagesResponse, image: Image, error: OSError) -> JobOutcome:
        """Save an image that cannot be written to the file store to its fallback path."""
        message = f"an image was made and paid for, but not written: {error.strerror or error}"
        stored: StoredImage | None = None
        try:
            save = partial(self._store.save_fallback, task.stem, task.job.fingerprint or "", image)
            stored = await finished_in_thread(save)
            message += f"; it is in {stored.path}, and the next run takes it from there"
        except OSError as second_error:
            message += f"; nor to a temporary file: {second_error}; error.response has it"
        save_error = SaveError(message, response=response)
        return JobOutcome(unsaved_result(stored, response, image, save_error), save_error)

    def _request_note(self, task: Task) -> dict[str, object]:
        """Return the part of an image's note that does not depend on the response."""
        return {
            "id": task.id,
            "line": task.job.line,
            "fingerprint": task.job.fingerprint,
            "request": dict(task.job.described),
        }

    def _note(self, task: Task, response: ImagesResponse) -> dict[str, object]:
        """Return the note from which the image can be reproduced."""
        return {
            **self._request_note(task),
            "server": self._caller.config.base_url,
            "made": response.created or int(time.time()),
            "trace_id": response.trace_id,
        }
