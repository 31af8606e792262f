"""When a call is retried, and what its attempts may have cost.

`Caller` (in `caller`) runs the attempts; the decisions are here.

**An attempt** ends exactly once, in success, with an error or by cancellation. That counts it in the record, closes
its entry in the rate window, and emits `AttemptEnded`. Its billing state is one of:

* `executed`: the response was parsed, so it was charged;
* `rejected`, `not_sent` or `unknown`: what the error says, which the table in `_core.outcomes` decides;
* after a cancellation: `unknown` if any of the body was sent, otherwise `not_sent`. `SendState` has that, as the
  transport records it.

**A retry** is made only if every condition holds, in this order: the policy allows one more attempt; the error may be
repeated (`not_sent`, a refusal that asks to come back later, or, with `retry_unknown=True`, `unknown`); the wait ends
before the deadline; the client's quota has tokens left; and, after an `unknown` attempt, the budget covers a second
charge. The first three are a pure function, `_core.retry.wait_before_next`. A 429, and a 503 that says for how long,
start a cooldown for all calls that share the limits, whether or not this call is retried. The next attempt then waits
for its rate entry, ahead of calls that have not begun.

**Money.** The caller reserves the price of the first attempt before the permit is acquired, and settles the
reservation once, when the call has ended. Here, the price is reserved again before each attempt that follows an
`unknown` one, since both may be charged. `record.maybe_billed` counts the attempts that ended as `executed` or
`unknown`; every `APIError` of a call carries that count, the number of attempts and, in its message, what they
mean. Calls that cost nothing (`record.free`) are never `unknown`: after a lost response they are retried like
`not_sent`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from .._core.errors import APIConnectionError, APIError, BudgetExceededError, RateLimitError
from .._core.retry import RetryPolicy, RetryQuota, cost_of_retry, pause_after, wait_before_next
from .._runtime.fork import ForkSafeLock

if TYPE_CHECKING:
    from .._limits.limiter import Permit
    from .record import CallRecord


class Retries:
    """The retries of one client: its policy, and the quota that all of its calls share, from any thread.

    Attributes:
        quota: the quota; `None` without one.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._lock = ForkSafeLock()
        self.quota = None if policy.quota is None else RetryQuota(policy.quota)

    def wait_after(self, record: CallRecord, permit: Permit, error: APIError) -> float | None:
        """Return the seconds to wait before the next attempt; `None` if `error` ends the call.

        It starts the cooldown that the server asked for, and takes what a retry costs from quota and budget.
        """
        policy = self._policy
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        pause = pause_after(policy, record.attempts, error, jitter=jitter)
        if pause is not None:
            permit.throttled(pause, decrease=isinstance(error, RateLimitError))
        if record.free and error.billing == "unknown":  # a lost response may be requested again, one that came stays
            error.billing = "not_sent" if isinstance(error, APIConnectionError) else "rejected"
        remaining = record.deadline - record.clock()
        wait = wait_before_next(
            policy, record.attempts, error, jitter=jitter, remaining=remaining, paused=permit.cooldown_left()
        )
        if wait is None or not self._affords(record, error):
            return None
        return wait

    def succeeded(self, cost: int) -> None:
        """Give the quota back what the attempt that succeeded had cost, 0 for a first one."""
        if self.quota is not None:
            with self._lock:
                self.quota.succeeded(cost)

    def _affords(self, record: CallRecord, error: APIError) -> bool:
        """Whether quota and budget allow a further attempt after `error`."""
        if not self._take(cost_of_retry(error)):
            error.extend_message("not retried: too many attempts of this client failed (RetryPolicy(quota=...))")
            return False
        if error.billing != "unknown" or record.reservation is None:
            return True
        try:
            record.reservation.add_attempt()
        except BudgetExceededError:
            error.extend_message("not retried: the budget has no room for paying twice")
            return False
        return True

    def _take(self, cost: int) -> bool:
        if self.quota is None:
            return True
        with self._lock:
            return self.quota.take(cost)
