"""Maps the errors of sockets, TLS and httpx to those of this package."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from .._core.errors import APIConnectionError, APIError, APITimeoutError, StepFunError
from .._core.outcomes import Event, billing_of
from .._core.secrets import APIKey
from .trace import AddressNotAllowedError, ConnectionTrace

CONNECT_TIMEOUT = 5.0
"""The maximum seconds that opening a connection may take; the deadline of the call limits everything else."""

_LASTING = (ssl.SSLCertVerificationError, UnicodeError)
"""Errors that the next attempt would meet again."""


class FailureKind(NamedTuple):
    """How an error of a library is reported.

    Attributes:
        kind: the error's class, or several.
        event: the event, which decides what may have been billed.
        text: the message, with `{host}` for the host.
        again: whether a retry may succeed.
    """

    kind: type[Exception] | tuple[type[Exception], ...]
    event: Event
    text: str
    again: bool = True


FailureKindOf: TypeAlias = Callable[[Exception], FailureKind | None]

_LATE: frozenset[Event] = frozenset({"connect_timeout", "read_timeout"})


def map_exception(
    error: BaseException, meaning_of: FailureKindOf, trace: ConnectionTrace, key: APIKey | None
) -> BaseException:
    """Return the exception to raise for an `error` that ended an exchange.

    The frames of the libraries have the request with its key among their variables, and some tools show the
    variables of every frame. So every expected error, cancellation included, is raised without these frames, and an
    error whose text repeats the key is not kept as a cause.
    """
    expected = isinstance(error, StepFunError | AddressNotAllowedError)
    meaning = meaning_of(error) if isinstance(error, Exception) and not expected else None
    if isinstance(error, Exception) and not expected and meaning is None:
        return error  # a bug of some library, whose frames are needed to find it
    causes = list(_behind(error))
    for each in causes:
        each.__traceback__ = None
    if meaning is None:
        return error
    failure = _api_error(error, meaning, causes, trace)
    if key is not None:
        failure.message = key.redact(failure.message)
        failure.args = (failure.message,)
    if key is None or not any(_repeats(each, key) for each in causes):
        failure.__cause__ = error
    return failure


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Return `error`, its causes, contexts and the members of groups, each once."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        todo += [each.__context__, each.__cause__, *getattr(each, "exceptions", ())]
        yield each


def _repeats(error: BaseException, key: APIKey) -> bool:
    shown = f"{error!r} {error}"
    return key.redact(shown) != shown


def _api_error(
    error: BaseException, meaning: FailureKind, causes: list[BaseException], trace: ConnectionTrace
) -> APIError:
    text = meaning.text.format(host=trace.host, seconds=CONNECT_TIMEOUT)
    reason = f" ({cause})" if (cause := _reason(error)) else ""
    kind = APITimeoutError if meaning.event in _LATE else APIConnectionError
    billing = billing_of(meaning.event, sent=not trace.is_unsent)
    again = meaning.again and not any(isinstance(each, _LASTING) for each in causes)
    return kind(f"{text}{reason}", billing=billing, again=again)


def _reason(error: BaseException | None) -> str:
    """Return the text of the error, or else that of its cause."""
    while error is not None and not str(error):
        error = error.__cause__ or error.__context__
    return str(error or "")
