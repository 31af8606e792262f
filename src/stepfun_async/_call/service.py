"""The caller behind a client, made from the settings that `AsyncClient` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError
from .._core.profiles import Server
from .._core.retry import RetryPolicy
from .._core.server import Settings
from .._core.text import shown
from .._limits.budget import Budget
from .._limits.limits import Limits
from .caller import Caller, why_never_free
from .options import Options
from .record import EventEmitter
from .settings import Validation, check_headers, check_seconds, resolve

if TYPE_CHECKING:
    from .._core.events import OnEvent
    from .._transport import AnyTransport, Transport

DEFAULT_LIMITS = Limits()
"""Stands for a `Limits()` of each client's own: clients without `limits=` share nothing."""

DEFAULT_RETRY = RetryPolicy()


def caller_for(
    api_key: str | None,
    *,
    base_url: str | None,
    limits: Limits,
    timeout: float,
    queue_timeout: float | None,
    retry: RetryPolicy,
    budget: Budget | None,
    validation: Validation,
    default_headers: Mapping[str, str] | None,
    transport: AnyTransport | None,
    proxy: str | None,
    allow_http: bool,
    on_event: OnEvent | None,
    keepalive_expiry: float | None = None,
    server: str | Server | None = None,
) -> Caller:
    """Return the caller for the settings of a client, which `AsyncClient` documents.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    _refuse(check_seconds("timeout", timeout))
    _refuse(None if queue_timeout is None else check_seconds("queue_timeout", queue_timeout, zero=True))
    _refuse(None if keepalive_expiry is None else check_seconds("keepalive_expiry", keepalive_expiry, zero=True))
    _refuse(None if default_headers is None else check_headers(default_headers))
    known = _is_word(validation, "strict", "off")
    _refuse(None if known else f"validation is 'strict' or 'off', not {shown(validation)}")
    _refuse(None if _is(limits, Limits) else f"limits is a Limits(...), not {shown(limits)}")
    _refuse(None if _is(retry, RetryPolicy) else f"retry is a RetryPolicy(...), not {shown(retry)}")
    _refuse(None if budget is None or _is(budget, Budget) else f"budget is a Budget(...) or None, not {shown(budget)}")
    _refuse(why_never_free(limits, timeout))
    config = resolve(api_key, base_url, allow_http=allow_http, server=server)
    _refuse(check_headers(config.server.headers))
    events = EventEmitter(on_event, config.base_url)
    headers = _merged(config.server.headers, default_headers or {})
    carrier = _transport_for(config, transport, proxy, headers, keepalive_expiry)
    own = Limits() if limits is DEFAULT_LIMITS else limits
    defaults = Options(timeout=timeout, queue_timeout=queue_timeout)
    return Caller(config, carrier, own, retry, budget, events, defaults, strict=validation == "strict")


def _merged(theirs: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
    """The headers of a server's profile, unless the user's own have the same name, and the user's own."""
    names = {name.lower() for name in own}
    return {**{name: value for name, value in theirs.items() if name.lower() not in names}, **own}


def _transport_for(
    config: Settings,
    transport: AnyTransport | None,
    proxy: str | None,
    headers: Mapping[str, str],
    keepalive_expiry: float | None,
) -> Transport:
    if config.embedded and transport is None:
        from ..embedded import transport_to

        return transport_to(config.base_url)
    from .._transport import make_transport

    return make_transport(config, transport=transport, proxy=proxy, headers=headers, keepalive_expiry=keepalive_expiry)


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind)


def _is_word(value: object, *words: str) -> bool:
    return type(value) is str and value in words


def _refuse(why: str | None) -> None:
    if why:
        raise ConfigurationError(why)
