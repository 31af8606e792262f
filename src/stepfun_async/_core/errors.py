"""The exceptions, a tree below `StepFunError`.

    StepFunError
    ├── InvalidRequestError (ValueError)      the tables say no; nothing was sent
    ├── ConfigurationError                    key, base URL, missing extra, closed client; nothing was sent
    ├── BudgetExceededError                   the price did not fit the budget; nothing was sent
    ├── QueueTimeoutError (TimeoutError)      no slot came free within queue_timeout; nothing was sent
    ├── LimitsUnavailableError                the shared limits are unavailable; nothing was sent
    ├── APIError
    │   ├── APIConnectionError                no response, or only a part of one
    │   │   └── APITimeoutError (TimeoutError)    the deadline passed
    │   ├── APIStatusError                    the server returned an error status
    │   │   ├── BadRequestError 400
    │   │   ├── AuthenticationError 401
    │   │   ├── InsufficientBalanceError 402
    │   │   ├── PermissionDeniedError 403
    │   │   ├── NotFoundError 404
    │   │   ├── RateLimitError 429            .retry_after in seconds
    │   │   ├── ContentRejectedError 451
    │   │   └── InternalServerError 5xx
    │   └── MalformedResponseError            a success that cannot be read; .body has what arrived
    ├── ContentFilteredError                  made, paid for and withheld by the filter
    └── SaveError (OSError)                   made and paid for, but not written; nothing is lost

The last two are in `results`, since they have a response.
Every error carries `billing` (what is known of the last attempt), `attempts` (how many were made),
`maybe_billed` (how many of them may have been charged) and `trace_id`. Every error pickles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .text import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from .money import Money
    from .problems import Problem

Billing = Literal["not_sent", "rejected", "executed", "unknown"]
"""The billing state of an attempt.

`not_sent`: no byte of the body left this machine. `rejected`: the API refused, in its own words, and did nothing.
`executed`: the server did the work. `unknown`: it may or may not have; asking again may pay twice.
"""


def _rebuild(cls: type[StepFunError], args: tuple[Any, ...], state: Mapping[str, Any]) -> StepFunError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class StepFunError(Exception):
    """The base class of all errors of this package.

    Attributes:
        billing: what is known about money for the last attempt, see `Billing`.
        attempts: the number of attempts; 0 if nothing was sent.
        maybe_billed: how many of these attempts may have been billed. A gateway may multiply them.
        trace_id: the server's `X-Trace-Id`, which StepFun's support asks for, or what a gateway has in its
            place (`x-request-id`, `x-litellm-call-id`); `None` without a response.
        help_page: where the documentation describes the class of the error, relative to its first page.
    """

    billing: Billing = "not_sent"
    help_page: ClassVar[str] = "reference/errors.html#stepfun_async.StepFunError"
    _of_lines: ClassVar[bool] = False
    """Whether line breaks in the message are this package's own; those of servers are escaped as other controls are."""

    def __init_subclass__(cls) -> None:
        """Point to the class's own place in the documentation; those of users have their base's."""
        super().__init_subclass__()
        package, room, *_ = (*cls.__module__.split("."), "")
        if package == "stepfun_async":
            page, module = ("errors", package) if room.startswith("_") else (room, f"{package}.{room}")
            cls.help_page = f"reference/{page}.html#{module}.{cls.__name__}"

    def __init__(self, message: str, *, billing: Billing | None = None, trace_id: str | None = None) -> None:
        message = escaped(message, lines=self._of_lines)
        super().__init__(message)
        self.message = message
        self.billing = billing or type(self).billing
        self.attempts = 0
        self.maybe_billed = 0
        self.trace_id = None if trace_id is None else escaped(trace_id)

    def extend_message(self, more: str) -> None:
        """Append `more` to the message."""
        self.message = f"{self.message}; {escaped(more)}"
        self.args = (self.message,)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class InvalidRequestError(StepFunError, ValueError):
    """The request breaks a documented rule of its model; nothing was sent.

    Attributes:
        problems: every problem found, one `Problem` for each.
    """

    _of_lines = True

    def __init__(self, message: str, *, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems

    @classmethod
    def of(cls, subject: str, problems: tuple[Problem, ...]) -> InvalidRequestError:
        """Return the error that lists the `problems` of `subject`, one on each line."""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "".join(f"\n  {problem}" for problem in problems)
        return cls(f"{subject} has {count}; nothing was sent:{lines}", problems=problems)


class ConfigurationError(StepFunError):
    """The client cannot work as set up: key, base URL, an extra not installed, or already closed."""

    _of_lines = True


class BudgetExceededError(StepFunError):
    """The price of the request does not fit into what is left of the budget; nothing was sent.

    Attributes:
        price: what the request costs.
        limit: what the budget allows, in the currency of `price`.
        spent: what images have cost so far.
        held: what is set aside for requests in flight, and for those that may have been billed.
    """

    def __init__(self, message: str, *, price: Money, limit: Decimal, spent: Decimal, held: Decimal) -> None:
        super().__init__(message)
        self.price = price
        self.limit = limit
        self.spent = spent
        self.held = held

    @classmethod
    def of(cls, *, price: Money, limit: Decimal, spent: Decimal, held: Decimal) -> BudgetExceededError:
        """Return the error with these four amounts."""
        message = (
            f"the budget has no room for {price}: limit {limit:f}, spent {spent:f}, held {held:f} for requests in "
            "flight or possibly billed; raise Budget(...) or stop here; nothing was sent"
        )
        return cls(message, price=price, limit=limit, spent=spent, held=held)


class QueueTimeoutError(StepFunError, TimeoutError):
    """No slot came free within `queue_timeout` seconds; nothing was sent."""


class LimitsUnavailableError(StepFunError):
    """The limits that several processes share are unavailable, so no request may be sent; nothing was sent."""


class APIError(StepFunError):
    """A request was attempted and got no usable response.

    Attributes:
        resent_by: the gateway that responded, if it is known to resend requests by itself (LiteLLM), so
            that more may have been billed than `maybe_billed` says, which counts the attempts of this package;
            `None` if no such gateway shows.
    """

    billing: Billing = "unknown"
    resent_by: str | None = None


class APIConnectionError(APIError):
    """No response, or only part of one, arrived; `billing` says whether the request was sent.

    Attributes:
        again: whether a retry may succeed; False for a link to a refused address, for example.
    """

    def __init__(
        self, message: str, *, billing: Billing | None = None, trace_id: str | None = None, again: bool = True
    ) -> None:
        super().__init__(message, billing=billing, trace_id=trace_id)
        self.again = again


class APITimeoutError(APIConnectionError, TimeoutError):
    """The deadline passed, or a connection took too long to open."""


class APIStatusError(APIError):
    """The server returned an error status.

    Attributes:
        status: the HTTP status.
        type: StepFun's error type, such as `request_params_invalid`; `None` if the body has none.
        body: the decoded error body: a mapping for JSON, otherwise the text's beginning.
        retry_after: seconds the server asked to wait, in a header or in text; `None` if it did not.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        billing: Billing,
        type: str | None = None,
        body: Mapping[str, Any] | str = "",
        trace_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, billing=billing, trace_id=trace_id)
        self.status = status
        self.type = None if type is None else escaped(type)
        self.body = body
        self.retry_after = retry_after


class BadRequestError(APIStatusError):
    """400: bad parameters, a model that is unknown or not yours, or an image that could not be fetched."""


class AuthenticationError(APIStatusError):
    """401: the API key is wrong."""


class InsufficientBalanceError(APIStatusError):
    """402: the account's balance is used up."""


class PermissionDeniedError(APIStatusError):
    """403: the API key does not permit this call."""


class NotFoundError(APIStatusError):
    """404: there is nothing at this path; most often the base URL is wrong."""


class RateLimitError(APIStatusError):
    """429: over the account's rate or concurrency limit; `retry_after` is the wait that the server asks for."""


class ContentRejectedError(APIStatusError):
    """451: the prompt or the result did not pass moderation."""


class InternalServerError(APIStatusError):
    """5xx: a server error; `billing` says whether the request was processed: not after a 503 of the API itself."""


class MalformedResponseError(APIError):
    """The server reported success, but the response cannot be read.

    Attributes:
        body: the response as received, so that an image that was paid for is not lost.
    """

    def __init__(
        self, message: str, *, body: bytes, billing: Billing | None = None, trace_id: str | None = None
    ) -> None:
        super().__init__(message, billing=billing, trace_id=trace_id)
        self.body = body


class StepFunWarning(UserWarning):
    """A warning about a valid request that will not do what it seems to say."""


class ModelRetiredWarning(StepFunWarning):
    """StepFun's own hosts no longer serve this model, or have announced so; the request is still sent."""


class OrientationWarning(StepFunWarning):
    """An image may come out turned by 90 degrees: a wire string of a size begins with the height, or an image whose
    EXIF turns it is sent as it is stored."""


class IneffectiveParameterWarning(StepFunWarning):
    """A parameter that is valid, but has no effect in this request."""
