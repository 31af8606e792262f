"""The exit codes: one table for the code, `--help` and the test of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stepfun_async import (
    APIConnectionError,
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    ContentFilteredError,
    ContentRejectedError,
    InsufficientBalanceError,
    InternalServerError,
    InvalidRequestError,
    LimitsUnavailableError,
    MalformedResponseError,
    PermissionDeniedError,
    QueueTimeoutError,
    RateLimitError,
    SaveError,
)
from stepfun_async.batch import StorageError
from stepfun_async.batch.journal.database import JournalError

DONE = 0
OTHER = 1
INVALID = 2
CONFIGURATION = 3
NO_MONEY = 4
RATE_LIMITED = 5
FILTERED = 6
NO_RESPONSE = 7
NOT_WRITTEN = 8
SOME_FAILED = 9
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        DONE: "done",
        OTHER: "anything not listed here, such as another error of the server",
        INVALID: "the request or the arguments are invalid; nothing was sent",
        CONFIGURATION: "key, URL, extra, port, journal, bucket not usable; wrong key (401, 403)",
        NO_MONEY: "no money left (402)",
        RATE_LIMITED: "over the rate limit (429)",
        FILTERED: "filtered, or rejected by moderation (451)",
        NO_RESPONSE: "no usable response: connection, timeout, 5xx; may have been billed",
        NOT_WRITTEN: "made and paid for, but not written",
        SOME_FAILED: "some lines or variations failed; batch status says why",
        INTERRUPTED: "interrupted by Ctrl-C",
        BROKEN_PIPE: "the output was not read to its end, as in a pipe to head",
    }
)

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (InvalidRequestError, INVALID),
    (ConfigurationError, CONFIGURATION),
    (LimitsUnavailableError, CONFIGURATION),
    (JournalError, CONFIGURATION),
    (StorageError, CONFIGURATION),
    (AuthenticationError, CONFIGURATION),
    (PermissionDeniedError, CONFIGURATION),
    (InsufficientBalanceError, NO_MONEY),
    (BudgetExceededError, NO_MONEY),
    (RateLimitError, RATE_LIMITED),
    (ContentRejectedError, FILTERED),
    (ContentFilteredError, FILTERED),
    (InternalServerError, NO_RESPONSE),
    (APIConnectionError, NO_RESPONSE),
    (QueueTimeoutError, NO_RESPONSE),
    (MalformedResponseError, NO_RESPONSE),
    (SaveError, NOT_WRITTEN),
)


def code_of(error: BaseException) -> int:
    """Return the exit code of `error`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), OTHER)


def code_of_class(name: str) -> int:
    """Return the exit code of errors with this class name."""
    return next((code for kind, code in _CODES if kind.__name__ == name), OTHER)


def describe() -> str:
    """Format the table as lines of help."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
