"""What went wrong on a connection: the errors of the libraries below, as ours."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from .._core.errors import APIConnectionError, APIError, APITimeoutError, StepFunError
from .._core.outcomes import Event, billing_of
from .._core.secrets import APIKey
from .trace import AddressNotAllowedError, ConnectionTrace

CONNECT_TIMEOUT = 5.0
"""Seconds a connection may take to open; the deadline of the call bounds everything else."""

_LASTING = (ssl.SSLCertVerificationError, UnicodeError)
"""What the next attempt would meet again."""


class FailureKind(NamedTuple):
    """What an error of a library below means.

    Attributes:
        kind: the error's class, or several.
        event: what happened.
        text: what to say, with the host for `{host}`.
        again: whether the next attempt may end otherwise.
    """

    kind: type[Exception] | tuple[type[Exception], ...]
    event: Event
    text: str
    again: bool = True


FailureKindOf: TypeAlias = Callable[[Exception], FailureKind | None]

_LATE: frozenset[Event] = frozenset({"connect_timeout", "read_timeout"})


def map_exception(
    error: BaseException, meaning_of: FailureKindOf, watch: ConnectionTrace, key: APIKey | None
) -> BaseException:
    """What to raise for an `error` that ended a call.

    The frames of the libraries below have the request with its key among their variables, and some
    tools show the variables of every frame. So all that is expected, cancellation included, leaves
    without these frames; and what repeats the key in words is not kept behind the error either.
    """
    expected = isinstance(error, StepFunError | AddressNotAllowedError)
    meaning = meaning_of(error) if isinstance(error, Exception) and not expected else None
    if isinstance(error, Exception) and not expected and meaning is None:
        return error  # a mistake in some library, which is found by its frames
    causes = list(_behind(error))
    for each in causes:
        each.__traceback__ = None
    if meaning is None:
        return error
    failure = _told(error, meaning, causes, watch)
    if key is not None:
        failure.message = key.redact(failure.message)
        failure.args = (failure.message,)
    if key is None or not any(_repeats(each, key) for each in causes):
        failure.__cause__ = error
    return failure


def _behind(error: BaseException) -> Iterator[BaseException]:
    """`error` and all that is behind it, each once."""
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


def _told(error: BaseException, meaning: FailureKind, causes: list[BaseException], watch: ConnectionTrace) -> APIError:
    text = meaning.text.format(host=watch.host, seconds=CONNECT_TIMEOUT)
    reason = f" ({cause})" if (cause := _reason(error)) else ""
    kind = APITimeoutError if meaning.event in _LATE else APIConnectionError
    billing = billing_of(meaning.event, sent=not watch.knows_that_nothing_left)
    again = meaning.again and not any(isinstance(each, _LASTING) for each in causes)
    return kind(f"{text}{reason}", billing=billing, again=again)


def _reason(error: BaseException | None) -> str:
    """What the error says, or else the one behind it."""
    while error is not None and not str(error):
        error = error.__cause__ or error.__context__
    return str(error or "")
