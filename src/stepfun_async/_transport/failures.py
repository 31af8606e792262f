"""What went wrong on a connection: the errors of the libraries below, as ours."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import h11
import httpx

from .._config import Key
from .._core.errors import APIConnectionError, APIError, APITimeoutError, StepFunError
from .._core.outcomes import Event, billing_of
from .connections import CONNECT_TIMEOUT
from .watching import RefusedError, Watch

_FOREIGN = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, h11.ProtocolError, UnicodeError)
"""What libraries raise below us; names that cannot be encoded are a `UnicodeError`."""

_LASTING = (httpx.InvalidURL, httpx.LocalProtocolError, ssl.SSLCertVerificationError, UnicodeError)
"""What the next attempt would meet again."""

_MEANINGS: tuple[tuple[type[Exception], Event, str], ...] = (
    (httpx.ConnectTimeout, "connect_timeout", f"no connection to {{host}} within {CONNECT_TIMEOUT:g} seconds"),
    (httpx.PoolTimeout, "connect_timeout", "no connection to {host} came free in time"),
    (httpx.ProxyError, "proxy", "the proxy did not connect to {host}"),
    (httpx.ConnectError, "refused", "no connection to {host}"),
    (httpx.TimeoutException, "read_timeout", "{host} took too long"),
    (httpx.RemoteProtocolError, "no_http", "{host} broke the answer off, or sent something that is not HTTP"),
    (httpx.LocalProtocolError, "lost", "the request cannot be said in HTTP"),
    (httpx.InvalidURL, "unsendable", "the address is not one"),
    (Exception, "lost", "the connection to {host} was lost"),
)
"""What each of httpx's errors means, the most specific first."""


def failure_of(error: BaseException, watch: Watch, key: Key | None) -> BaseException:
    """What to raise for an `error` that ended a call.

    The frames of the libraries below have the request with its key among their variables, and some
    tools show the variables of every frame. So all that is expected, cancellation included, leaves
    without these frames; and what repeats the key in words is not kept behind the error either.
    """
    if isinstance(error, Exception) and not isinstance(error, (*_FOREIGN, StepFunError, RefusedError)):
        return error  # a mistake in some library, which is found by its frames
    causes = list(_behind(error))
    for each in causes:
        each.__traceback__ = None
    if not isinstance(error, _FOREIGN):
        return error
    failure = _translated(error, causes, watch)
    if key is not None:
        failure.message = key.hide_in(failure.message)
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


def _repeats(error: BaseException, key: Key) -> bool:
    shown = f"{error!r} {error}"
    return key.hide_in(shown) != shown


def _translated(error: Exception, causes: list[BaseException], watch: Watch) -> APIError:
    _, event, text = next(row for row in _MEANINGS if isinstance(error, row[0]))
    reason = f" ({cause})" if (cause := _reason(error)) else ""
    kind = APITimeoutError if isinstance(error, httpx.TimeoutException) else APIConnectionError
    billing = billing_of(event, sent=not watch.knows_that_nothing_left)
    again = not any(isinstance(each, _LASTING) for each in causes)
    return kind(f"{text.format(host=watch.host)}{reason}", billing=billing, again=again)


def _reason(error: BaseException | None) -> str:
    """What the error says, or else the one behind it."""
    while error is not None and not str(error):
        error = error.__cause__ or error.__context__
    return str(error or "")
