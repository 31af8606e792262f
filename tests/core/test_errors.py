"""The error tree: who descends from whom, what each carries, and that all of it survives pickling."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import stepfun_async
from stepfun_async import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilteredError,
    ContentRejectedError,
    Image,
    ImagesResponse,
    IneffectiveParameterWarning,
    InsufficientBalanceError,
    InternalServerError,
    InvalidRequestError,
    MalformedResponseError,
    ModelRetiredWarning,
    Money,
    NotFoundError,
    OrientationWarning,
    PermissionDeniedError,
    Problem,
    QueueTimeoutError,
    RateLimitError,
    SaveError,
    Size,
    StepFunError,
    StepFunWarning,
)
from stepfun_async._core import errors as module
from stepfun_async._core import results

RESPONSE = ImagesResponse(
    (Image(finish_reason="content_filtered", seed=7),), id="r-1", trace_id="t-9", attempts=3, maybe_billed=2
)
PROBLEM = Problem("size", "1x1", "1024x1024", "no", Size(width=1024, height=1024))
STATUS: dict[str, Any] = {
    "status": 429,
    "billing": "rejected",
    "type": "limit",
    "body": {"error": {"message": "slow"}},
    "trace_id": "t-1",
    "retry_after": 2.5,
}
STATUS_ERRORS: list[type[APIStatusError]] = [
    APIStatusError,
    BadRequestError,
    AuthenticationError,
    InsufficientBalanceError,
    PermissionDeniedError,
    NotFoundError,
    RateLimitError,
    ContentRejectedError,
    InternalServerError,
]

BUDGET = module.BudgetExceededError.of(
    price=Money(Decimal("0.02"), "USD"), limit=Decimal(1), spent=Decimal("0.5"), held=Decimal("0.49")
)

ERRORS: list[StepFunError] = [
    StepFunError("said"),
    StepFunError("said", billing="executed", trace_id="t"),
    InvalidRequestError("said"),
    InvalidRequestError.of("generate", (PROBLEM,)),
    ConfigurationError("said"),
    BUDGET,
    QueueTimeoutError("said"),
    module.LimitsUnavailableError("said"),
    APIError("said"),
    APIConnectionError("said", billing="not_sent"),
    APIConnectionError("said", again=False),
    APITimeoutError("said", billing="unknown"),
    *[kind("said", **STATUS) for kind in STATUS_ERRORS],
    MalformedResponseError("said", body=b"\x00body", trace_id="t-1"),
    ContentFilteredError("said", response=RESPONSE),
    SaveError("said", response=RESPONSE),
]


@pytest.mark.parametrize(
    ("kind", "parents"),
    [
        (StepFunError, [Exception]),
        (InvalidRequestError, [StepFunError, ValueError]),
        (ConfigurationError, [StepFunError]),
        (module.BudgetExceededError, [StepFunError]),
        (QueueTimeoutError, [StepFunError, TimeoutError]),
        (module.LimitsUnavailableError, [StepFunError]),
        (APIError, [StepFunError]),
        (APIConnectionError, [APIError]),
        (APITimeoutError, [APIConnectionError, TimeoutError]),
        (APIStatusError, [APIError]),
        *[(kind, [APIStatusError]) for kind in STATUS_ERRORS[1:]],
        (MalformedResponseError, [APIError]),
        (ContentFilteredError, [StepFunError]),
        (SaveError, [StepFunError, OSError]),
        (StepFunWarning, [UserWarning]),
        (ModelRetiredWarning, [StepFunWarning]),
        (IneffectiveParameterWarning, [StepFunWarning]),
        (OrientationWarning, [StepFunWarning]),
    ],
)
def test_the_tree(kind: type[BaseException], parents: list[type[BaseException]]) -> None:
    assert list(kind.__bases__) == parents


def test_this_table_has_every_error() -> None:
    values = {**vars(module), **vars(results)}.values()
    named = {value for value in values if isinstance(value, type) and issubclass(value, StepFunError)}
    assert {type(error) for error in ERRORS} == named


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "twin",
    [
        copy.copy,
        copy.deepcopy,
        *[lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol)) for protocol in range(6)],
    ],
)
def test_an_error_survives_copying_and_pickling_with_all_it_carries(
    error: StepFunError, twin: Callable[[StepFunError], StepFunError]
) -> None:
    error.attempts, error.maybe_billed = 4, 3
    error.add_note("a note")
    other = twin(error)
    assert type(other) is type(error)
    assert (str(other), other.args) == (str(error), error.args)
    assert vars(other) == vars(error)
    assert other.attempts == 4


@pytest.mark.parametrize(
    ("error", "billing"),
    [
        (StepFunError(""), "not_sent"),
        (InvalidRequestError(""), "not_sent"),
        (ConfigurationError(""), "not_sent"),
        (BUDGET, "not_sent"),
        (QueueTimeoutError(""), "not_sent"),
        (module.LimitsUnavailableError(""), "not_sent"),
        (APIError(""), "unknown"),
        (APIConnectionError(""), "unknown"),
        (APITimeoutError(""), "unknown"),
        (MalformedResponseError("", body=b""), "unknown"),
        (ContentFilteredError("", response=RESPONSE), "executed"),
        (SaveError("", response=RESPONSE), "executed"),
        (APIConnectionError("", billing="not_sent"), "not_sent"),
    ],
)
def test_what_is_known_about_money_when_nothing_else_is_said(error: StepFunError, billing: str) -> None:
    assert error.billing == billing


def test_an_error_that_never_left_has_no_attempts_and_no_trace() -> None:
    error = ConfigurationError("said")
    assert (error.message, error.attempts, error.maybe_billed, error.trace_id) == ("said", 0, 0, None)


@pytest.mark.parametrize("kind", [ContentFilteredError, SaveError])
def test_errors_about_a_response_take_its_counts_and_keep_it(
    kind: type[ContentFilteredError | SaveError],
) -> None:
    error = kind("said", response=RESPONSE)
    assert (error.response, error.attempts, error.maybe_billed, error.trace_id) == (RESPONSE, 3, 2, "t-9")


@pytest.mark.parametrize("kind", STATUS_ERRORS)
def test_status_errors_carry_the_response(kind: type[APIStatusError]) -> None:
    error = kind("said", **STATUS)
    assert {name: getattr(error, name) for name in STATUS} == STATUS
    bare = kind("said", status=400, billing="rejected")
    assert (bare.type, bare.body, bare.trace_id, bare.retry_after) == (None, "", None, None)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_has_one_sentence_saying_when(error: StepFunError) -> None:
    assert (type(error).__doc__ or "").strip()


def test_errors_go_by_their_public_name_in_tracebacks() -> None:
    assert RateLimitError.__module__ == "stepfun_async"
    assert stepfun_async.RateLimitError is module.RateLimitError
