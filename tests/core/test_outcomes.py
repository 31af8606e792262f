"""What happened, and what it means for money: the table, held against one written by hand."""

from __future__ import annotations

from typing import get_args

import pytest

from stepfun_async._core.outcomes import OUTCOMES, Event, billing_of

EXPECTED = {
    # event: (nothing had left, something may have left)
    "name": ("not_sent", "not_sent"),
    "refused": ("not_sent", "not_sent"),
    "tls": ("not_sent", "not_sent"),
    "proxy": ("not_sent", "not_sent"),
    "connect_timeout": ("not_sent", "not_sent"),
    "unsendable": ("not_sent", "not_sent"),
    "lost": ("not_sent", "unknown"),
    "no_http": ("not_sent", "unknown"),
    "read_timeout": ("not_sent", "unknown"),
    "deadline": ("not_sent", "unknown"),
    "cancelled": ("not_sent", "unknown"),
    "closed": ("not_sent", "unknown"),
    "too_long": ("unknown", "unknown"),
    "undecodable": ("unknown", "unknown"),
    "malformed": ("unknown", "unknown"),
    "empty": ("unknown", "unknown"),
    "filtered": ("executed", "executed"),
    "answered": ("executed", "executed"),
}


def test_every_event_is_in_both_tables() -> None:
    assert set(get_args(Event)) == set(OUTCOMES) == set(EXPECTED)


@pytest.mark.parametrize("event", OUTCOMES)
def test_what_each_event_means_for_money(event: Event) -> None:
    before, after = EXPECTED[event]
    assert billing_of(event, sent=False) == before
    assert billing_of(event, sent=True) == after
    assert billing_of(event, sent=None) == after, "what nobody watched may have left"
