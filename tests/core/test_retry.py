"""Again, and when? One table, and the bounds that hold for every policy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    MalformedResponseError,
    RetryPolicy,
)
from stepfun_async._core.errors import Billing
from stepfun_async._core.outcomes import status_outcome
from stepfun_async._core.retry import LONGEST_PAUSE, RetryQuota, cost_of_retry, pause_after, wait_before_next

DEFAULT = RetryPolicy()
RISKY = RetryPolicy(retry_unknown=True)
PATIENT = RetryPolicy(max_attempts=10)


def _status(status: int, retry_after: float | None = None) -> APIStatusError:
    """The API's own response with this status."""
    outcome = status_outcome(status)
    return outcome.error("", status=status, billing=outcome.refusal or outcome.billing, retry_after=retry_after)


def _foreign(status: int, retry_after: float | None = None) -> APIStatusError:
    """The response of another server with this status."""
    outcome = status_outcome(status)
    return outcome.error("", status=status, billing=outcome.billing, retry_after=retry_after)


def _connection(billing: Billing) -> APIConnectionError:
    return APIConnectionError("", billing=billing)


NOT_SENT = _connection("not_sent")
LOST = _connection("unknown")
REFUSED = APIConnectionError("", billing="not_sent", again=False)
ENDLESS = APIConnectionError("", again=False)
CUT = MalformedResponseError("", body=b"")


@pytest.mark.parametrize(
    ("policy", "attempt", "error", "jitter", "remaining", "wait"),
    [
        # What cannot have been billed is retried, up to max_attempts.
        (DEFAULT, 1, NOT_SENT, 1.0, 100, 0.05),
        (DEFAULT, 2, NOT_SENT, 1.0, 100, 0.1),
        (DEFAULT, 3, NOT_SENT, 1.0, 100, None),
        (DEFAULT, 1, APITimeoutError("", billing="not_sent"), 1.0, 100, 0.05),
        (DEFAULT, 1, _status(429), 1.0, 100, 1.0),
        (DEFAULT, 2, _status(429), 1.0, 100, 2.0),
        (DEFAULT, 3, _status(429), 1.0, 100, None),
        (DEFAULT, 1, _status(503), 1.0, 100, 1.0),
        # The wait doubles, up to the cap.
        (PATIENT, 5, _status(429), 1.0, 100, 16.0),
        (PATIENT, 6, _status(429), 1.0, 100, 20.0),
        (PATIENT, 9, NOT_SENT, 1.0, 100, 12.8),
        (RetryPolicy(max_attempts=10**6), 5000, _status(429), 1.0, 100, 20.0),
        # The jitter is full: from nothing to the whole wait.
        (DEFAULT, 1, _status(429), 0.0, 100, 0.0),
        (DEFAULT, 2, _status(429), 0.5, 100, 1.0),
        # The server's wish holds, with 0 to 20 % added; the cap is not its business.
        (DEFAULT, 1, _status(429, 10), 0.0, 100, 10.0),
        (DEFAULT, 1, _status(429, 10), 1.0, 100, 12.0),
        (DEFAULT, 1, _status(503, 60), 0.5, 100, 66.0),
        (DEFAULT, 1, _status(429, 0), 1.0, 100, 1.0),
        # No wait that would pass the deadline is begun.
        (DEFAULT, 1, _status(429, 10), 0.0, 10.1, 10.0),
        (DEFAULT, 1, _status(429, 10), 0.0, 10, None),
        (DEFAULT, 1, _status(429, 10), 1.0, 11, None),
        (DEFAULT, 1, NOT_SENT, 1.0, 0.01, None),
        (DEFAULT, 1, NOT_SENT, 0.0, 0, None),
        (DEFAULT, 1, NOT_SENT, 1.0, math.inf, 0.05),
        # What the server refused for good is never retried.
        *[(RISKY, 1, _status(status, 1), 0.0, 100, None) for status in (400, 401, 402, 403, 404, 405, 413, 451, 301)],
        # Nor is what would end the same way again.
        (RISKY, 1, REFUSED, 0.0, 100, None),
        (RISKY, 1, ENDLESS, 0.0, 100, None),
        # What may have been billed is raised, unless the user says otherwise.
        *[(DEFAULT, 1, _foreign(status, 1), 0.0, 100, None) for status in (408, 424, 429, 499, 500, 502, 503, 504)],
        (DEFAULT, 1, LOST, 0.0, 100, None),
        (DEFAULT, 1, APITimeoutError(""), 0.0, 100, None),
        (DEFAULT, 1, CUT, 0.0, 100, None),
        *[(RISKY, 1, _foreign(status), 1.0, 100, 1.0) for status in (408, 424, 429, 499, 500, 502, 503, 504)],
        (RISKY, 1, _foreign(503, 5), 0.0, 100, 5.0),
        (RISKY, 1, LOST, 1.0, 100, 1.0),
        (RISKY, 2, LOST, 1.0, 100, 2.0),
        (RISKY, 3, LOST, 1.0, 100, None),
        (RISKY, 1, CUT, 1.0, 100, 1.0),
        (RetryPolicy(max_attempts=1, retry_unknown=True), 1, NOT_SENT, 0.0, 100, None),
    ],
)
def test_the_wait_before_the_next_attempt(
    policy: RetryPolicy, attempt: int, error: APIError, jitter: float, remaining: float, wait: float | None
) -> None:
    found = wait_before_next(policy, attempt, error, jitter=jitter, remaining=remaining)
    assert found == (None if wait is None else pytest.approx(wait))


policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 10**6),
    retry_unknown=st.booleans(),
    connect_base=st.floats(0, 1e9),
    base=st.floats(0, 1e9),
    cap=st.floats(0, 1e9),
)
jitters = st.floats(0, 1)
failures = st.one_of(
    st.sampled_from([NOT_SENT, LOST, CUT]),
    st.builds(_status, st.integers(300, 599), st.none() | st.floats(0, 1e6)),
)


@given(policy=policies, attempt=st.integers(1, 10**6), error=failures, jitter=jitters, remaining=st.floats(-10, 1e9))
def test_no_wait_is_longer_than_what_remains_or_comes_after_the_last_attempt(
    policy: RetryPolicy, attempt: int, error: APIError, jitter: float, remaining: float
) -> None:
    wait = wait_before_next(policy, attempt, error, jitter=jitter, remaining=remaining)
    if wait is not None:
        assert 0 <= wait < remaining
        assert attempt < policy.max_attempts


@given(policy=policies, attempt=st.integers(1, 10**5), jitter=jitters, error=st.sampled_from([NOT_SENT, _status(429)]))
def test_the_jitter_stays_within_the_cap_and_the_doubling(
    policy: RetryPolicy, attempt: int, jitter: float, error: APIError
) -> None:
    wait = wait_before_next(policy, attempt, error, jitter=jitter, remaining=math.inf)
    whole = wait_before_next(policy, attempt, error, jitter=1.0, remaining=math.inf)
    if wait is not None and whole is not None:
        assert wait == pytest.approx(jitter * whole)
        assert whole <= policy.cap


@given(policy=policies, asked=st.floats(0, 1e6), jitter=jitters, status=st.sampled_from([429, 503]))
def test_no_retry_comes_before_the_time_the_server_asked_for_nor_more_than_a_fifth_later(
    policy: RetryPolicy, asked: float, jitter: float, status: int
) -> None:
    wait = wait_before_next(policy, 1, _status(status, asked), jitter=jitter, remaining=math.inf)
    if policy.max_attempts > 1:
        assert wait is not None
        assert asked <= wait <= (asked * 1.2 + 1e-9 if asked else policy.cap)


@given(policy=policies, attempt=st.integers(1, 10), error=failures, jitter=jitters)
def test_what_may_have_been_billed_is_only_repeated_where_the_user_says_so(
    policy: RetryPolicy, attempt: int, error: APIError, jitter: float
) -> None:
    wait = wait_before_next(policy, attempt, error, jitter=jitter, remaining=math.inf)
    if error.billing == "unknown" and not policy.retry_unknown:
        assert wait is None


def test_the_defaults_are_the_documented_ones() -> None:
    stated = RetryPolicy(max_attempts=3, retry_unknown=False, connect_base=0.05, base=1.0, cap=20.0, quota=500)
    assert stated == DEFAULT


@pytest.mark.parametrize(
    ("error", "paused", "remaining", "wait"),
    [
        (_status(429), 5.0, 100, 5.0),  # as long as nothing is sent anyway
        (_status(429, 10), 5.0, 100, 10.0),  # the server's own wish is longer
        (NOT_SENT, 5.0, 100, 5.0),
        (NOT_SENT, 5.0, 5.0, None),  # the pause would outlast the deadline
        (_status(400), 5.0, 100, None),
    ],
)
def test_a_pause_is_waited_for(error: APIError, paused: float, remaining: float, wait: float | None) -> None:
    assert wait_before_next(DEFAULT, 1, error, jitter=0.0, remaining=remaining, paused=paused) == wait


@pytest.mark.parametrize(
    ("error", "attempt", "pause"),
    [
        (_status(429, 7), 1, 7.0),  # nobody adds to it: those who waited are spread out afterwards
        (_status(429, 7), 3, 7.0),  # whether or not this call is tried again
        (_status(429), 2, 2.0),
        (_status(429, 0), 1, 1.0),
        (_status(429, 86_400), 1, LONGEST_PAUSE),
        (_foreign(429, 7), 1, 7.0),  # though it may have been billed, and is not tried again
        (_foreign(429), 2, 2.0),
        (_status(503, 7), 1, 7.0),  # the server says for how long
        (_foreign(503, 7), 1, 7.0),
        (_foreign(503, 86_400), 1, LONGEST_PAUSE),
        (_status(503), 1, None),
        (_status(503, 0), 1, None),
        *[(_status(status, 7), 1, None) for status in (400, 401, 402, 408, 451, 500, 502)],
        (NOT_SENT, 1, None),
        (LOST, 1, None),
    ],
)
def test_a_429_stops_everybody_and_a_503_that_says_for_how_long(
    error: APIError, attempt: int, pause: float | None
) -> None:
    assert pause_after(DEFAULT, attempt, error, jitter=1.0) == pause


def test_what_a_further_attempt_costs() -> None:
    assert cost_of_retry(_status(429)) == 5
    assert {cost_of_retry(error) for error in (_status(503), _status(500), NOT_SENT, LOST, CUT)} == {14}
    assert RetryPolicy().quota == RetryQuota.SIZE == 500


@pytest.mark.parametrize("quota", [-1, 1.5, "500", True])
def test_a_quota_is_a_whole_number_or_none(quota: object) -> None:
    with pytest.raises(ConfigurationError, match="quota is a whole number, 0 or more, or None"):
        RetryPolicy(quota=quota)  # type: ignore[arg-type]
