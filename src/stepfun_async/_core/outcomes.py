"""The outcomes of a request, and how each is billed. One table, in two parts.

`BILLING_RULES` is for everything but error statuses. The transport reports the event, by its name in this table,
and whether a byte of the body may have been sent by then.

`STATUSES` is for error statuses. A status alone proves nothing: a gateway answers 503 or 429 as readily
after the server has done the work as before it was asked. So two of them count as refusals only in the
API's own words, or in one of `GATEWAY_TEXTS`.

Nothing else in this package decides whether something may have been billed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from .errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    Billing,
    ContentRejectedError,
    InsufficientBalanceError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)

Event = Literal[
    "name",
    "refused",
    "tls",
    "proxy",
    "connect_timeout",
    "unsendable",
    "lost",
    "no_http",
    "read_timeout",
    "deadline",
    "cancelled",
    "closed",
    "too_long",
    "undecodable",
    "malformed",
    "empty",
    "filtered",
    "answered",
]
"""An outcome of a request other than an error status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingRule:
    """The billing state after an event.

    Attributes:
        meaning: what happened, in words.
        before: the state if provably no byte of the body was sent.
        after: the state if one may have been.
        over: whether it ends the call, so that there is no further attempt in either state.
    """

    meaning: str
    before: Billing
    after: Billing
    over: bool = False


def _never_left(meaning: str) -> BillingRule:
    return BillingRule(meaning=meaning, before="not_sent", after="not_sent")


def _depends(meaning: str, *, over: bool = False) -> BillingRule:
    return BillingRule(meaning=meaning, before="not_sent", after="unknown", over=over)


def _after_all(meaning: str, billing: Billing) -> BillingRule:
    return BillingRule(meaning=meaning, before=billing, after=billing)


BILLING_RULES: Mapping[Event, BillingRule] = MappingProxyType(
    {
        "name": _never_left("the host name could not be resolved"),
        "refused": _never_left("no connection: refused, unreachable, or reset at once"),
        "tls": _never_left("no TLS: an untrusted certificate, one for another host, or an interrupted handshake"),
        "proxy": _never_left("the proxy did not connect"),
        "connect_timeout": _never_left("a connection took over 5 s to open"),
        "unsendable": _never_left("the request cannot be expressed in HTTP"),
        "lost": _depends("the connection was lost, reset or closed"),
        "no_http": _depends("the response is not HTTP, or was cut off"),
        "read_timeout": _depends("the transport timed out"),
        "deadline": _depends("the deadline passed", over=True),
        "cancelled": _depends("the call was cancelled or interrupted", over=True),
        "closed": _depends("the client was closed", over=True),
        "too_long": _after_all("a success longer than the limit", "unknown"),
        "undecodable": _after_all("a success whose content encoding cannot be decoded", "unknown"),
        "malformed": _after_all("a success that cannot be read", "unknown"),
        "empty": _after_all("a success without an image", "unknown"),
        "filtered": _after_all("an image that the content filter withheld", "executed"),
        "answered": _after_all("an image", "executed"),
    }
)
"""Every event, in the order in which it can happen."""


def billing_of(event: Event, *, sent: bool | None) -> Billing:
    """Return the billing state after `event`.

    Args:
        event: what happened.
        sent: whether a byte of the body may have left this machine; `None` if unknown, which
            counts as yes.
    """
    outcome = BILLING_RULES[event]
    return outcome.before if sent is False else outcome.after


# --- error statuses -----------------------------------------------------------------------------

Pause = Literal["never", "asked", "always"]
"""Whether an error status stops all calls: never, where the server says for how long, or always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusOutcome:
    """The outcome of an error status.

    Attributes:
        meaning: what the status says, in words.
        error: the error it becomes.
        billing: the billing state, whichever server sent the status.
        refusal: the state instead in the API's own words, or in one of `GATEWAY_TEXTS`; `None` for no difference.
        again: whether another attempt may end otherwise, after a refusal.
        pause: whether it stops all calls for a while.
        hint: what a user can do.
    """

    meaning: str
    error: type[APIStatusError] = APIStatusError
    billing: Billing = "unknown"
    refusal: Billing | None = None
    again: bool = False
    pause: Pause = "never"
    hint: str = ""


def _refused(meaning: str, error: type[APIStatusError] = APIStatusError, hint: str = "") -> StatusOutcome:
    return StatusOutcome(meaning=meaning, error=error, billing="rejected", hint=hint)


def _after_work(meaning: str) -> StatusOutcome:
    return StatusOutcome(meaning=meaning)


def _trouble(meaning: str) -> StatusOutcome:
    return StatusOutcome(meaning=meaning, error=InternalServerError)


_MOVED = "not followed: where it is a redirect, use its address as base_url"

STATUSES: Mapping[int, StatusOutcome] = MappingProxyType(
    {
        303: StatusOutcome(meaning="done, and the result is elsewhere (RFC 9110, 15.4.4)", hint=_MOVED),
        400: _refused("bad parameters", BadRequestError),
        401: _refused("wrong key", AuthenticationError, "check STEP_API_KEY, and that it belongs to this host"),
        402: _refused("no balance left", InsufficientBalanceError, "top the account up"),
        403: _refused("not allowed", PermissionDeniedError, "this key may not do that"),
        404: _refused("nothing at this path", NotFoundError, "check base_url, which usually ends in /v1"),
        405: _refused("wrong method"),
        406: _refused("no response in a format that the request accepts"),
        407: _refused("the proxy requires a password"),
        408: _after_work("a timeout; LiteLLM sends it even after the server has received the request"),
        409: _after_work("a conflict, or a lock"),
        410: _refused("gone"),
        411: _refused("the length is missing"),
        412: _refused("a precondition of the request failed"),
        413: _refused("the body is too large"),
        414: _refused("the URL is too long"),
        415: _refused("the media type is not supported"),
        416: _refused("the range cannot be satisfied"),
        417: _refused("the expectation failed"),
        421: _refused("the request was sent to the wrong server"),
        422: _refused("bad parameters"),
        423: _after_work("the resource is locked"),
        424: _after_work("a dependency failed"),
        425: _refused("too early, since the request might be a replay (RFC 8470, 5.2)"),
        426: _refused("the server requires another protocol"),
        428: _refused("the request lacks a required precondition"),
        429: StatusOutcome(
            meaning="over a rate limit",
            error=RateLimitError,
            refusal="rejected",
            again=True,
            pause="always",
            hint="lower Limits(max_concurrency=...)",
        ),
        431: _refused("the headers are too large"),
        451: _refused("rejected by moderation", ContentRejectedError, "change the prompt or the image"),
        499: _after_work("the server or a gateway reports that the client disconnected"),
        500: _trouble("a server error"),
        502: _trouble("a gateway got no valid response"),
        503: StatusOutcome(
            meaning="overloaded or unavailable",
            error=InternalServerError,
            refusal="rejected",
            again=True,
            pause="asked",
        ),
        504: _trouble("a gateway got no response in time"),
    }
)
"""Statuses with a meaning of their own; `status_outcome` has the others.

Statuses about the request itself (RFC 9110) are sent before the work, by servers and gateways alike. Any other 4xx
proves nothing.
"""

OTHERS: Mapping[int, StatusOutcome] = MappingProxyType(
    {
        3: StatusOutcome(meaning="a redirect", billing="rejected", hint=_MOVED),
        4: _after_work("no defined meaning"),
        5: _trouble("an error of the server or of a gateway"),
    }
)
"""The outcomes of the statuses that are not in `STATUSES`, by their first digit."""


def status_outcome(status: int) -> StatusOutcome:
    """Return the outcome of `status`, from 100 on; one of an unknown class counts as a 5xx."""
    return STATUSES.get(status) or OTHERS.get(status // 100, OTHERS[5])


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayText:
    """A text that a gateway sends only before it has forwarded anything.

    Attributes:
        gateway: who writes it.
        status: with which status.
        example: the text, as it was seen.
        text: matches the whole body.
        without: a header that shows another gateway of the kind behind this one, where the text proves nothing.
        meaning: what happened, in words.
        source: where it is written, and with which version it was seen.
    """

    gateway: str
    status: int
    example: str
    text: re.Pattern[str]
    without: str
    meaning: str
    source: str

    def matches(self, status: int, headers: Mapping[str, str], body: str) -> bool:
        """Whether a response is this text."""
        known = status == self.status and self.without not in headers
        return known and self.text.fullmatch(body.strip()) is not None


def _envoy(reason: str, meaning: str) -> GatewayText:
    example = f"upstream connect error or disconnect/reset before headers. reset reason: {reason}"
    return GatewayText(
        gateway="Envoy",
        status=503,
        example=example,
        text=re.compile(rf"{re.escape(example)}(, transport failure reason: .{{0,500}})?", re.DOTALL),
        without="x-envoy-upstream-service-time",
        meaning=meaning,
        source="Envoy 1.40.0, source/common/router/router.cc, Filter::onUpstreamReset",
    )


GATEWAY_TEXTS: tuple[GatewayText, ...] = (
    _envoy("remote connection failure", "the server refused the connection"),
    _envoy("local connection failure", "no connection to the server could be opened"),
    _envoy("connection timeout", "no connection to the server was opened in time"),
)
"""The texts that prove that nothing was forwarded.

A connection of Envoy's fails so only before it takes a request, and an Envoy that had sent the request
before says "retried and the latest reset reason" instead. One with another Envoy behind it adds
`x-envoy-upstream-service-time` to what that one says.

These were tried and are not here, since the gateway writes them after the server has read the request too:
Envoy's "no healthy upstream" (1.40.0, a retry policy and outlier detection: the only host is ejected for
its response), HAProxy's "No server is available to handle this request." (2.8.25, `retry-on` for more than
failed connections: the second attempt is refused), Varnish's "Backend fetch failed" (7.1.1), and nginx's
own pages for 503 and 429, which `error_page` puts in place of any other.
"""


def billing_of_status(
    status: int, *, by_api: bool, headers: Mapping[str, str], text: str = "", resent: bool = False
) -> Billing:
    """Return the billing state after an error status.

    Args:
        status: the status.
        by_api: whether the body has the form in which the API reports errors.
        headers: of the response, by lower-case name.
        text: the body, where it is no JSON.
        resent: whether the response shows a gateway that sends requests again by itself. It answers for the last
            one it sent, which says nothing of those before.
    """
    outcome = status_outcome(status)
    if outcome.refusal is None or resent:
        return outcome.billing
    refused = by_api or any(row.matches(status, headers, text) for row in GATEWAY_TEXTS)
    return outcome.refusal if refused else outcome.billing
