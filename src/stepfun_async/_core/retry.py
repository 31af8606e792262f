"""Whether and when to retry, as a pure function.

An image must never be silently paid for twice, so only attempts that cannot have been billed are
retried: `not_sent` (no byte of the body left) and the `rejected` statuses that say "later" (429
and 503, in the API's own words). `unknown` outcomes are raised, unless the user's policy says otherwise; errors that
would only recur are always raised.
"""

import math
from dataclasses import dataclass

from .errors import APIConnectionError, APIError, APIStatusError, ConfigurationError, RateLimitError
from .outcomes import status_outcome
from .text import shown


class RetryQuota:
    """The retry quota of a client, so that its retries do not multiply the load of a server in trouble.

    Each further attempt costs tokens; a success returns what its attempt had cost, or one token if it was the first
    attempt. Without tokens, errors are raised at once. Sizes and costs are those
    of botocore's standard mode.

    Attributes:
        size: the maximum number of tokens.
        tokens: the tokens left, from 0 to `size`.
    """

    __slots__ = ("size", "tokens")

    SIZE = 500
    COST = 14
    COST_OF_THROTTLING = 5

    def __init__(self, size: int) -> None:
        self.size = size
        self.tokens = size

    def take(self, cost: int) -> bool:
        """Take `cost` tokens; return False and take none if there are fewer."""
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def succeeded(self, cost: int) -> None:
        """Return tokens after the success of an attempt that had cost `cost`, 0 for a first one."""
        self.tokens = min(self.size, self.tokens + max(cost, 1))


LONGEST_PAUSE = 60.0
"""The maximum seconds for which one response stops all calls: StepFun's limits are per minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The retry policy of a client.

    The wait before attempt n + 1 is drawn evenly from 0 to min(cap, base x 2^(n-1)) seconds ("full
    jitter"). A `Retry-After` of the server is used instead, plus 0 to 20 %, so that many clients do not return at the
    same instant. No wait goes beyond the deadline.

    All calls of a client share a quota of retries, so that they do not add to a server's trouble: each retry costs 14
    tokens (5 after a 429), and a success returns them, or one token if it was the first attempt. Without tokens,
    errors are raised at once.

    Attributes:
        max_attempts: the maximum number of attempts, including the first.
        retry_unknown: also retry if the lost attempt may have been billed. Each one counts
            in `maybe_billed`.
        connect_base: seconds, after attempts that were not sent.
        base: seconds, after attempts that the server rejected or that were lost.
        cap: seconds, the longest wait that the server did not ask for.
        quota: tokens for retries, shared by all calls of a client; `None` for no limit.

    Raises:
        ConfigurationError: a value is out of range.
    """

    max_attempts: int = 3
    retry_unknown: bool = False
    connect_base: float = 0.05
    base: float = 1.0
    cap: float = 20.0
    quota: int | None = RetryQuota.SIZE

    def __post_init__(self) -> None:
        attempts: object = self.max_attempts
        if type(attempts) is not int or attempts < 1:
            raise ConfigurationError(f"max_attempts is a whole number above 0, not {shown(attempts)}")
        quota: object = self.quota
        if quota is not None and (type(quota) is not int or quota < 0):
            raise ConfigurationError(f"quota is a whole number, 0 or more, or None, not {shown(quota)}")
        for name in ("connect_base", "base", "cap"):
            seconds: object = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
                raise ConfigurationError(f"{name} is seconds, 0 or more, not {shown(seconds)}")


def wait_before_next(
    policy: RetryPolicy, attempt: int, error: APIError, *, jitter: float, remaining: float, paused: float = 0.0
) -> float | None:
    """Return the seconds to wait before the next attempt; `None` to stop and raise `error`.

    Args:
        policy: the user's.
        attempt: how many attempts were made, from 1.
        error: how the last one ended.
        jitter: a random number from 0 to 1.
        remaining: seconds left until the deadline.
        paused: seconds for which no call of the client is sent.
    """
    if attempt >= policy.max_attempts or not _may_repeat(policy, error):
        return None
    wait = max(_wait(policy, attempt, error, jitter), paused)
    return wait if wait < remaining else None


def pause_after(policy: RetryPolicy, attempt: int, error: APIError, *, jitter: float) -> float | None:
    """Return the seconds for which no call is sent after `error`; `None` if it is no reason to pause.

    A 429 applies to the whole account, whichever server sent it. So all calls wait as long as the server
    asked, or else as long as the call that received it, instead of each getting its own. A 503 stops
    all calls if it says for how long.
    """
    if not isinstance(error, APIStatusError):
        return None
    pause = status_outcome(error.status).pause
    if pause == "never" or (pause == "asked" and not error.retry_after):
        return None
    return min(error.retry_after or _wait(policy, attempt, error, jitter), LONGEST_PAUSE)


def cost_of_retry(error: APIError) -> int:
    """Return the tokens that a retry after `error` costs."""
    return RetryQuota.COST_OF_THROTTLING if isinstance(error, RateLimitError) else RetryQuota.COST


def _may_repeat(policy: RetryPolicy, error: APIError) -> bool:
    if isinstance(error, APIConnectionError) and not error.again:
        return False
    if error.billing == "unknown":
        return policy.retry_unknown
    if isinstance(error, APIStatusError):
        return status_outcome(error.status).again
    return error.billing == "not_sent"


def _wait(policy: RetryPolicy, attempt: int, error: APIError, jitter: float) -> float:
    asked = error.retry_after if isinstance(error, APIStatusError) else None
    if asked:  # 0 and a date that has passed say nothing
        return asked * (1 + 0.2 * jitter)
    never_left = isinstance(error, APIConnectionError) and error.billing == "not_sent"
    base = policy.connect_base if never_left else policy.base
    return jitter * min(policy.cap, base * 2.0 ** min(attempt - 1, 1000))
