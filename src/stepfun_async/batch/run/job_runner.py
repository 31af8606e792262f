"""Runs one job: sends its request, stores the image, and returns the journal row.

It does not use the journal itself, so that it can run wherever there is a client and a store.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from stepfun_async._call.caller import Caller
from stepfun_async._call.options import Options
from stepfun_async._call.record import CallRecord
from stepfun_async._core.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    InsufficientBalanceError,
    LimitsUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    StepFunError,
)
from stepfun_async._core.money import Money
from stepfun_async._core.requests import ImageRequest
from stepfun_async._core.results import FILTERED, ContentFilteredError, Image, ImagesResponse, SaveError
from stepfun_async._core.retry import RetryPolicy
from stepfun_async._runtime.event_loop import finished, finished_in_thread

from ..items import State
from ..journal.admission import Task
from ..journal.journal import INTERRUPTED, JobResult
from ..storage.base import Place, Saved, StorageError
from ..storage.filenames import folded, stem_of
from ..storage.store import NewImage
from .groups import Groups

T = TypeVar("T")

STOPPING: tuple[type[StepFunError], ...] = (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    InsufficientBalanceError,
    LimitsUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    SaveError,
)
"""Errors that every other line would meet as well, so they end the batch. The line stays pending, unless its image is
paid for and cannot be written."""


_FETCHED = Options(fetch=True)
"""A batch keeps images themselves, since links expire."""


class Store(Protocol):
    """A store of images."""

    place: Place

    def put_all(self, images: Sequence[NewImage]) -> list[Saved | BaseException]:
        """Write images; they survive the loss of power when this returns."""
        ...

    def own(self, stem: str, fingerprint: str) -> Saved | None:
        """The image under a stem, whole, where it is that of a request."""
        ...

    def taken(self, stems: Iterable[str]) -> set[str]:
        """Those of `stems` under which there is something."""
        ...

    def free_stem(self, stem: str, but: Collection[str] = ()) -> str:
        """`stem`, or the next one under which there is nothing, and none of `but`, which are folded."""
        ...

    def may_have_rescued(self, stem: str, fingerprint: str) -> bool:
        """Whether `rescued` is worth asking."""
        ...

    def rescued(self, stem: str, fingerprint: str) -> str | None:
        """Return where `rescue` stored the image of a request; `None` if there is none."""
        ...

    def fetch_back(self, stem: str, path: str, note: Mapping[str, object]) -> Saved | None:
        """Keep a rescued image in its place."""
        ...

    def rescue(self, stem: str, fingerprint: str, image: Image) -> Saved:
        """Keep an image of a request somewhere else."""
        ...


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The result of a line.

    Attributes:
        ended: for the journal.
        error: what went wrong; `None` if nothing did.
    """

    ended: JobResult
    error: Exception | None = None


class JobRunner:
    """Makes images of lines.

    Args:
        service: the client that sends.
        store: where the images go.
        template: how they are named.
        retry: when the service retries.
    """

    def __init__(self, service: Caller, store: Store, template: str, retry: RetryPolicy) -> None:
        self.most_billed = most_billed(retry)
        self._service = service
        self._store = store
        self._template = template
        self._groups = Groups(store.put_all, store.place.threads, store.place.most_at_once)
        self._given: set[str] = set()
        self._brought_back: dict[int, str] = {}

    def price(self, request: ImageRequest) -> Money | None:
        """Return the price of its image; `None` if unknown."""
        return self._service.price(request)

    def place(self, tasks: Sequence[Task]) -> list[Task | JobResult]:
        """Each task with a free place for its image, or its image if that is durable but not in the journal.

        An image is taken for a task's where its note has the request's fingerprint, or its name is
        made of it, or it was rescued for this place and request. Under the place there is nothing, and no
        other task has it until it is over, so that what is found there later is the task's.

        Raises:
            StorageError: an image that was rescued cannot be brought back.
        """
        stems = [self._stem(task) for task in tasks]
        taken = self._store.taken(stems)
        return [
            self._placed(task, stem) if stem in taken or self._is_rescued(task, stem) else self._given_to(task, stem)
            for task, stem in zip(tasks, stems, strict=True)
        ]

    def over(self, task: Task) -> None:
        """A task is over, and others may have its place."""
        self._given.discard(folded(task.stem))

    def entered(self, task: Task) -> None:
        """The journal has the image that was found for a task: it is not needed any more where it was rescued to."""
        if refuge := self._brought_back.pop(task.number, None):
            Path(refuge).unlink(missing_ok=True)

    def _is_rescued(self, task: Task, stem: str) -> bool:
        return self._store.may_have_rescued(stem, task.job.fingerprint or "")

    def _given_to(self, task: Task, stem: str) -> Task:
        """The task with a place, or the next one that is free where another task has that."""
        if (name := folded(stem)) in self._given:
            stem = self._store.free_stem(stem, self._given)
            name = folded(stem)
        self._given.add(name)
        return Task(task.number, task.id, task.job, stem)

    def _stem(self, task: Task) -> str:
        job = task.job
        model, prompt = (job.request.model, job.request.prompt or "") if job.request else ("", "")
        fingerprint = job.fingerprint or ""
        return stem_of(self._template, id=task.id, fingerprint=fingerprint, line=job.line, model=model, prompt=prompt)

    def _placed(self, task: Task, stem: str) -> Task | JobResult:
        """Return the row or the next place of a task whose place is taken."""
        saved = self._store.own(stem, task.job.fingerprint or "") or self._bring_back(task, stem)
        return found(saved) if saved is not None else self.elsewhere(task, stem)

    def _bring_back(self, task: Task, stem: str) -> Saved | None:
        """The image that was rescued for a task, in its place; until `entered` it is also where it was."""
        refuge = self._store.rescued(stem, task.job.fingerprint or "")
        if refuge is None:
            return None
        try:
            saved = self._store.fetch_back(stem, refuge, self._note_of(task))
        except OSError as error:
            why = error.strerror or error
            raise StorageError(f"a paid image in {refuge} cannot be written to its place: {why}") from error
        if saved is not None:
            self._brought_back[task.number] = refuge
        return saved

    def elsewhere(self, task: Task, stem: str) -> Task:
        """The task with the next place after `stem` that is free."""
        return self._given_to(task, self._store.free_stem(stem, self._given))

    async def make(self, task: Task, record: CallRecord) -> JobOutcome:
        """Send a task's request and keep its image. An image that is paid for is kept even when cancelled.

        Args:
            task: the task.
            record: the record of its call: when this is cancelled, `interrupted` reads it.
        """
        request = task.job.request
        assert request is not None  # noqa: S101 - only good lines become tasks
        try:
            response = await self._service.send(
                request.read(self._service.config.server), _FETCHED, request=request, record=record
            )
            image = response.image
        except SaveError as error:
            return unfetched(error.response, error.__cause__ or error)
        except Exception as error:  # noqa: BLE001 - every failure is an outcome
            return JobOutcome(_failure(error, self.most_billed), error)
        return await self.keep(task, response, image)

    async def keep(self, task: Task, response: ImagesResponse, image: Image) -> JobOutcome:
        """Keep the image of a response, whatever else happens meanwhile."""
        try:
            saved = await self._groups.do(NewImage(task.stem, image, self._note(task, response)))
        except OSError as error:
            return await finished(partial(self._rescued, task, response, image, error))
        return JobOutcome(_done(saved, response, image))

    async def _rescued(self, task: Task, response: ImagesResponse, image: Image, error: OSError) -> JobOutcome:
        """An image that the disk does not take."""
        message = f"an image was made and paid for, but not written: {error.strerror or error}"
        saved: Saved | None = None
        try:
            rescue = partial(self._store.rescue, task.stem, task.job.fingerprint or "", image)
            saved = await finished_in_thread(rescue)
            message += f"; it is in {saved.path}, and the next run takes it from there"
        except OSError as trouble:
            message += f"; nor to a temporary file: {trouble}; error.response has it"
        failed = SaveError(message, response=response)
        return JobOutcome(_unsaved(saved, response, image, failed), failed)

    def _note_of(self, task: Task) -> dict[str, object]:
        """Return the note of an image without its response."""
        return {
            "id": task.id,
            "line": task.job.line,
            "fingerprint": task.job.fingerprint,
            "request": dict(task.job.described),
        }

    def _note(self, task: Task, response: ImagesResponse) -> dict[str, object]:
        """Return the note from which the image can be reproduced."""
        return {
            **self._note_of(task),
            "server": self._service.config.base_url,
            "made": response.created or int(time.time()),
            "trace_id": response.trace_id,
        }


# --- rows ---------------------------------------------------------------------------------------


def most_billed(retry: RetryPolicy) -> int:
    """The maximum number of attempts at a line that may be billed."""
    return retry.max_attempts if retry.retry_unknown else 1


def adopted(saved: Saved, attempts: int) -> JobResult:
    """The row of an image that was found durable after a process had died in this very moment.

    Args:
        saved: the image.
        attempts: how many may have been billed until it came.
    """
    return replace(found(saved), attempts=attempts, billed=1, maybe_billed=attempts)


def found(saved: Saved) -> JobResult:
    """The row of an image that is there, with nothing said of what it cost."""
    return _with_file(saved, JobResult(state="done"), saved.note.get("trace_id"))


def killed(attempts: int) -> JobResult:
    """The row of what was in flight when a process died, with so many attempts that may have been billed."""
    message = "it was in flight when the process died; it may have been billed"
    return JobResult(state="unknown", attempts=attempts, maybe_billed=attempts, error=INTERRUPTED, message=message)


def interrupted(record: CallRecord) -> JobResult:
    """The row of a line whose call was cancelled without a response."""
    state: State = "unknown" if record.maybe_billed else "pending"
    message = "it was in flight when the batch was stopped at once"
    return JobResult(
        state=state,
        attempts=record.attempts,
        maybe_billed=record.maybe_billed,
        error=INTERRUPTED,
        message=message,
    )


def _done(saved: Saved, response: ImagesResponse, image: Image) -> JobResult:
    counts = JobResult(
        state="done",
        attempts=response.attempts,
        billed=len(response.data),
        maybe_billed=response.maybe_billed,
        elapsed=response.elapsed,
    )
    return _with_file(saved, counts, response.trace_id, image)


def _with_file(saved: Saved, counts: JobResult, trace_id: str | None, image: Image | None = None) -> JobResult:
    seed = image.seed if image else saved.note.get("seed")
    reason = image.finish_reason if image else saved.note.get("finish_reason")
    return JobResult(
        state=counts.state,
        path=saved.path,
        sha256=saved.sha256,
        bytes=saved.bytes,
        format=saved.format,
        width=saved.width,
        height=saved.height,
        seed=seed,
        finish_reason=reason,
        trace_id=trace_id,
        attempts=counts.attempts,
        billed=counts.billed,
        maybe_billed=counts.maybe_billed,
        error=counts.error,
        message=counts.message,
        elapsed=counts.elapsed,
    )


def _unsaved(saved: Saved | None, response: ImagesResponse, image: Image, error: SaveError) -> JobResult:
    counts = JobResult(
        state="failed",
        attempts=response.attempts,
        billed=len(response.data),
        maybe_billed=response.maybe_billed,
        error=type(error).__name__,
        message=error.message,
        elapsed=response.elapsed,
    )
    if saved is None:
        return counts
    return _with_file(saved, counts, response.trace_id, image)


def unfetched(response: ImagesResponse, why: BaseException | str) -> JobOutcome:
    """The result of a line whose image is paid for, and of which there is only a link."""
    image = response.image
    message = f"an image was made and paid for, but not fetched: {why}; its link is {image.url}"
    error = SaveError(message, response=response)
    return JobOutcome(_unsaved(None, response, image, error), error)


def _failure(error: Exception, most: int) -> JobResult:
    """The row of a line that brought no image, of whose attempts `most` may be billed."""
    name, message = type(error).__name__, str(error)
    if not isinstance(error, StepFunError):
        return JobResult(state="unknown", attempts=most, maybe_billed=most, error=name, message=message)
    if isinstance(error, ContentFilteredError):
        return _filtered(error, error.response)
    state: State = "unknown" if error.maybe_billed else "pending" if isinstance(error, STOPPING) else "failed"
    return JobResult(
        state=state,
        attempts=error.attempts,
        maybe_billed=error.maybe_billed,
        error=name,
        message=message,
        trace_id=error.trace_id,
    )


def _filtered(error: ContentFilteredError, response: ImagesResponse) -> JobResult:
    """The row of an image that was made, charged and withheld."""
    return JobResult(
        state="failed",
        attempts=error.attempts,
        billed=len(response.data),
        maybe_billed=error.maybe_billed,
        error=type(error).__name__,
        message=error.message,
        finish_reason=FILTERED,
        seed=response.data[0].seed,
        trace_id=error.trace_id,
        elapsed=response.elapsed,
    )
