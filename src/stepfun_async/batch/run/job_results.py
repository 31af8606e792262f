"""The results of jobs, as rows for the journal: from responses, errors, and images that were found."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from stepfun_async._core.results import FILTERED, ContentFilteredError, Image, ImagesResponse, SaveError
from stepfun_async._core.retry import RetryPolicy

from ..items import State
from ..journal.journal import INTERRUPTED, JobResult
from ..storage.base import StoredImage

STOPPING_ERRORS: tuple[type[StepFunError], ...] = (
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


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The outcome of a job.

    Attributes:
        result: its result, for the journal.
        error: the error that was raised; `None` if none was.
    """

    result: JobResult
    error: Exception | None = None


def max_billed(retry: RetryPolicy) -> int:
    """Return the maximum number of attempts at a line that may be billed."""
    return retry.max_attempts if retry.retry_unknown else 1


# --- images -------------------------------------------------------------------------------------


def stored_result(stored: StoredImage, response: ImagesResponse, image: Image) -> JobResult:
    """Return the result of a job whose image is stored."""
    counts = JobResult(
        state="done",
        attempts=response.attempts,
        billed=len(response.data),
        maybe_billed=response.maybe_billed,
        elapsed=response.elapsed,
    )
    return _with_file(counts, stored, response.trace_id, image)


def found_result(stored: StoredImage) -> JobResult:
    """Return the result of a job whose image was found, without counts."""
    return _with_file(JobResult(state="done"), stored, stored.note.get("trace_id"))


def adopted_result(stored: StoredImage, attempts: int) -> JobResult:
    """Return the result of a job whose image was found after its process had died.

    Args:
        stored: the image.
        attempts: the number of attempts that may have been billed.
    """
    return replace(found_result(stored), attempts=attempts, billed=1, maybe_billed=attempts)


def unsaved_result(stored: StoredImage | None, response: ImagesResponse, image: Image, error: SaveError) -> JobResult:
    """Return the result of a job whose paid image is not in the file store.

    Args:
        stored: the image at its fallback path; `None` if it is not there either.
        response: the response.
        image: the image.
        error: why it is not stored.
    """
    counts = JobResult(
        state="failed",
        attempts=response.attempts,
        billed=len(response.data),
        maybe_billed=response.maybe_billed,
        error=type(error).__name__,
        message=error.message,
        elapsed=response.elapsed,
    )
    return counts if stored is None else _with_file(counts, stored, response.trace_id, image)


def not_downloaded(response: ImagesResponse, why: BaseException | str) -> JobOutcome:
    """Return the outcome of a job whose paid image was not downloaded."""
    image = response.image
    message = f"an image was made and paid for, but not downloaded: {why}; its link is {image.url}"
    error = SaveError(message, response=response)
    return JobOutcome(unsaved_result(None, response, image, error), error)


def _with_file(counts: JobResult, stored: StoredImage, trace_id: str | None, image: Image | None = None) -> JobResult:
    return replace(
        counts,
        path=stored.path,
        sha256=stored.sha256,
        bytes=stored.bytes,
        format=stored.format,
        width=stored.width,
        height=stored.height,
        seed=image.seed if image else stored.note.get("seed"),
        finish_reason=image.finish_reason if image else stored.note.get("finish_reason"),
        trace_id=trace_id,
    )


# --- failures -----------------------------------------------------------------------------------


def killed_result(attempts: int) -> JobResult:
    """Return the result of a job that was in flight when its process died.

    Args:
        attempts: the number of attempts that may have been billed.
    """
    message = "it was in flight when the process died; it may have been billed"
    return JobResult(state="unknown", attempts=attempts, maybe_billed=attempts, error=INTERRUPTED, message=message)


def cancelled_result(record: CallRecord) -> JobResult:
    """Return the result of a job whose call was cancelled before a response arrived."""
    return JobResult(
        state="unknown" if record.maybe_billed else "pending",
        attempts=record.attempts,
        maybe_billed=record.maybe_billed,
        error=INTERRUPTED,
        message="it was in flight when the batch was stopped at once",
    )


def failed_result(error: Exception, most: int) -> JobResult:
    """Return the result of a job that raised `error`.

    Args:
        error: the error.
        most: the maximum number of attempts that may have been billed, for errors that do not say it.
    """
    name, message = type(error).__name__, str(error)
    if not isinstance(error, StepFunError):
        return JobResult(state="unknown", attempts=most, maybe_billed=most, error=name, message=message)
    if isinstance(error, ContentFilteredError):
        return _filtered_result(error, error.response)
    is_stopping = isinstance(error, STOPPING_ERRORS)
    state: State = "unknown" if error.maybe_billed else "pending" if is_stopping else "failed"
    return JobResult(
        state=state,
        attempts=error.attempts,
        maybe_billed=error.maybe_billed,
        error=name,
        message=message,
        trace_id=error.trace_id,
    )


def _filtered_result(error: ContentFilteredError, response: ImagesResponse) -> JobResult:
    """Return the result of a job whose image was made, charged and withheld."""
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
