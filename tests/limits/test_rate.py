"""The state machines behind limits: windows, adaptive concurrency, pauses and the retry quota."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stepfun_async._core.retry import RetryQuota
from stepfun_async._limits.rate import MARGIN, PERIOD, AdaptiveLimit, Cooldown, SlidingWindow


class Window(RuleBasedStateMachine):
    """Requests acquire entries, are delayed, are sent or not, in any order, for any time."""

    @initialize(limit=st.integers(1, 4))
    def begin(self, limit: int) -> None:
        self.window = SlidingWindow(limit)
        self.now = 1000.0
        self.open = 0
        self.sent: list[float] = []

    @rule(seconds=st.one_of(st.floats(0, 90), st.sampled_from([PERIOD, PERIOD + MARGIN, 1e-9])))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def one_asks(self) -> None:
        if self.window.wait(self.now) == 0:
            self.window.acquire()
            self.open += 1

    @rule(rounding=st.sampled_from([0.0, 1e-12, -1e-12]))
    def one_waits_as_long_as_returned(self, rounding: float) -> None:
        wait = self.window.wait(self.now)
        if wait < math.inf:
            self.now += wait + rounding
            assert self.window.wait(self.now) == 0

    @precondition(lambda self: self.open)
    @rule()
    def one_is_sent(self) -> None:
        self.window.mark_sent(self.now)
        self.open -= 1
        self.sent.append(self.now)

    @precondition(lambda self: self.open)
    @rule()
    def one_is_never_sent(self) -> None:
        self.window.release()
        self.open -= 1

    @invariant()
    def never_more_than_allowed_are_sent_within_any_minute(self) -> None:
        if not hasattr(self, "sent"):
            return
        for start in self.sent:
            assert bisect_right(self.sent, start + PERIOD) - bisect_left(self.sent, start) <= self.window.limit


TestWindow = Window.TestCase


def test_a_window_is_used_to_the_full() -> None:
    """Nothing is held back for longer than the minute, whenever within it the requests were sent."""
    window, now = SlidingWindow(10), 0.0
    for _ in range(10):
        for _ in range(10):
            assert window.wait(now) == 0
            window.acquire()
            window.mark_sent(now)
        assert window.wait(now) == pytest.approx(PERIOD + MARGIN)
        now += PERIOD + MARGIN


def test_waking_a_rounding_error_too_early_lets_no_more_pass_than_waking_in_time() -> None:
    window = SlidingWindow(2)
    for _ in range(2):
        window.acquire()
        window.mark_sent(0.0)
    now = PERIOD + MARGIN - 1e-12
    passed = 0
    while passed < 10 and not window.wait(now):
        window.acquire()
        passed += 1
    assert passed == 2


def test_a_request_that_is_delayed_counts_for_a_minute_after_it_was_sent() -> None:
    window = SlidingWindow(1)
    window.acquire()
    assert window.wait(1_000_000.0) == math.inf
    window.mark_sent(1_000_000.0)
    assert window.wait(1_000_030.0) == pytest.approx(30 + MARGIN)


def test_an_entry_that_is_released_is_free_at_once() -> None:
    window = SlidingWindow(1)
    window.acquire()
    window.release()
    assert window.wait(0.0) == 0


class Adaptive(RuleBasedStateMachine):
    """Successes and refusals in any order."""

    @initialize(maximum=st.integers(1, 50))
    def begin(self, maximum: int) -> None:
        self.limit = AdaptiveLimit(maximum)

    @rule(in_flight=st.integers(0, 60))
    def one_succeeds(self, in_flight: int) -> None:
        before = self.limit.limit
        self.limit.succeeded(in_flight)
        assert before <= self.limit.limit <= before + 1

    @rule(late=st.integers(0, 3))
    def one_is_refused(self, late: int) -> None:
        before = self.limit.limit
        self.limit.throttled(self.limit.decreases - late)
        assert self.limit.limit <= before if late == 0 else self.limit.limit == before

    @invariant()
    def it_stays_between_one_and_the_given_limit(self) -> None:
        if hasattr(self, "limit"):
            assert 1 <= self.limit.limit <= self.limit.maximum


TestAdaptive = Adaptive.TestCase


def test_requests_that_were_refused_together_lower_the_limit_once() -> None:
    limit = AdaptiveLimit(100)
    for _ in range(30):
        limit.throttled(0)
    assert limit.limit == 70
    limit.throttled(1)
    assert limit.limit == 49


def test_a_full_window_of_successes_raises_it_by_one() -> None:
    limit = AdaptiveLimit(10)
    limit.throttled(0)
    assert limit.limit == 7
    for _ in range(8):
        limit.succeeded(7)
    assert limit.limit == 8


def test_successes_below_the_limit_prove_nothing() -> None:
    limit = AdaptiveLimit(10)
    limit.throttled(0)
    for _ in range(1000):
        limit.succeeded(3)
    assert limit.limit == 7


class Quota(RuleBasedStateMachine):
    """Further attempts that are allowed or not, and successes."""

    @initialize(size=st.integers(0, 100))
    def begin(self, size: int) -> None:
        self.quota = RetryQuota(size)

    @rule(cost=st.sampled_from([RetryQuota.COST, RetryQuota.COST_OF_THROTTLING]))
    def one_more_attempt(self, cost: int) -> None:
        before = self.quota.tokens
        taken = self.quota.take(cost)
        assert taken == (before >= cost)
        assert self.quota.tokens == before - cost * taken

    @rule(cost=st.sampled_from([0, RetryQuota.COST, RetryQuota.COST_OF_THROTTLING]))
    def one_success(self, cost: int) -> None:
        before = self.quota.tokens
        self.quota.succeeded(cost)
        assert self.quota.tokens == min(self.quota.size, before + (cost or 1))

    @invariant()
    def it_stays_within_its_size(self) -> None:
        if hasattr(self, "quota"):
            assert 0 <= self.quota.tokens <= self.quota.size


TestQuota = Quota.TestCase


def test_the_quota_of_a_client_whose_attempts_all_fail_is_used_up_after_35_further_ones() -> None:
    quota = RetryQuota(RetryQuota.SIZE)
    assert sum(quota.take(RetryQuota.COST) for _ in range(1000)) == 35


def test_nothing_goes_in_a_pause_and_afterwards_one_after_another() -> None:
    cooldown = Cooldown()
    assert cooldown.wait(0.0) == 0
    cooldown.begin(0.0, 10.0, expected=4)
    assert cooldown.wait(1.0) == 9
    sent = []
    now = 0.0
    for _ in range(6):
        now += cooldown.wait(now)
        cooldown.mark_sent(now)
        sent.append(now)
    assert sent == pytest.approx([10.0, 10.5, 11.0, 11.5, 12.0, 12.0])


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 60)), min_size=1, max_size=10))
def test_a_pause_is_never_cut_short_by_another(pauses: list[tuple[float, float]]) -> None:
    cooldown, now, end = Cooldown(), 0.0, 0.0
    for later, seconds in pauses:
        now += later
        cooldown.begin(now, seconds, expected=1)
        end = max(end, now + seconds)
        assert cooldown.wait(now) == pytest.approx(max(0.0, end - now), abs=1e-5)
