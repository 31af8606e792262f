"""What can happen to a request, and what each means for money. One table.

Who carries a request says what happened, in the words of this table, and whether a byte of the body
may have left this machine by then. The table says the rest: nothing else in this package decides
whether something may have been billed. What an error status means is a table of its own, `STATUSES`
in `answers`, since a status brings its meaning with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from .errors import Billing

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
"""Something that can happen to a request, other than an error status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an event means for money.

    Attributes:
        meaning: what happened, in words.
        before: what holds when provably no byte of the body had left.
        after: what holds when one may have.
        over: whether the call is over with it, so that there is no further attempt whatever holds.
    """

    meaning: str
    before: Billing
    after: Billing
    over: bool = False


def _never_left(meaning: str) -> Outcome:
    return Outcome(meaning=meaning, before="not_sent", after="not_sent")


def _depends(meaning: str, *, over: bool = False) -> Outcome:
    return Outcome(meaning=meaning, before="not_sent", after="unknown", over=over)


def _after_all(meaning: str, billing: Billing) -> Outcome:
    return Outcome(meaning=meaning, before=billing, after=billing)


OUTCOMES: Mapping[Event, Outcome] = MappingProxyType(
    {
        "name": _never_left("the host's name is not known"),
        "refused": _never_left("no connection: refused, unreachable, or reset at once"),
        "tls": _never_left("no TLS: not trusted, another host's certificate, or broken off"),
        "proxy": _never_left("the proxy did not connect"),
        "connect_timeout": _never_left("a connection took over 5 s to open"),
        "unsendable": _never_left("the request cannot be said in HTTP"),
        "lost": _depends("the connection was lost, reset or closed"),
        "no_http": _depends("what came is not HTTP, or was broken off"),
        "read_timeout": _depends("the transport gave up waiting"),
        "deadline": _depends("the deadline passed", over=True),
        "cancelled": _depends("the call was cancelled or interrupted", over=True),
        "closed": _depends("the client was closed", over=True),
        "too_long": _after_all("a success that is longer than is read", "unknown"),
        "undecodable": _after_all("a success whose encoding cannot be undone", "unknown"),
        "malformed": _after_all("a success that cannot be read", "unknown"),
        "empty": _after_all("a success without a picture", "unknown"),
        "filtered": _after_all("a picture that the content filter withheld", "executed"),
        "answered": _after_all("a picture", "executed"),
    }
)
"""Every event, in the order in which it can happen."""


def billing_of(event: Event, *, sent: bool | None) -> Billing:
    """What is known about money after `event`.

    Args:
        event: what happened.
        sent: whether a byte of the body may have left this machine; None where nobody watched, which
            counts as yes.
    """
    outcome = OUTCOMES[event]
    return outcome.before if sent is False else outcome.after
