"""What happened, and what it means for money: the table, held against one written by hand."""

from __future__ import annotations

from typing import get_args

import pytest

from stepfun_async._core.outcomes import (
    BILLING_RULES,
    GATEWAY_TEXTS,
    STATUSES,
    Event,
    GatewayText,
    billing_of,
    billing_of_status,
    status_outcome,
)

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
    assert set(get_args(Event)) == set(BILLING_RULES) == set(EXPECTED)


@pytest.mark.parametrize("event", BILLING_RULES)
def test_what_each_event_means_for_money(event: Event) -> None:
    before, after = EXPECTED[event]
    assert billing_of(event, sent=False) == before
    assert billing_of(event, sent=True) == after
    assert billing_of(event, sent=None) == after, "what nobody watched may have left"


REFUSED = {*range(400, 408), *range(410, 418), 421, 422, 425, 426, 428, 431, 451}
"""Statuses that refuse the request itself, whichever server sends them."""

IN_ITS_OWN_WORDS = {429, 503}
"""Statuses that are refusals in the words of the API only, and are retried then."""

MOVED = {*range(300, 309)} - {303}
"""Statuses that send elsewhere, before the work."""


def test_every_status_is_in_both_tables() -> None:
    assert set(STATUSES) <= REFUSED | IN_ITS_OWN_WORDS | {303, 408, 409, 423, 424, 499, 500, 502, 504}


@pytest.mark.parametrize("status", [*range(300, 309), *range(400, 600)])
def test_what_each_status_means_for_money(status: int) -> None:
    for by_api in (True, False):
        refused = status in REFUSED | MOVED or (by_api and status in IN_ITS_OWN_WORDS)
        assert billing_of_status(status, by_api=by_api, headers={}) == ("rejected" if refused else "unknown")
        through_a_resender = billing_of_status(status, by_api=by_api, headers={}, resent=True)
        assert through_a_resender == ("rejected" if status in REFUSED | MOVED else "unknown")
    assert status_outcome(status).again == (status in IN_ITS_OWN_WORDS)


@pytest.mark.parametrize("row", GATEWAY_TEXTS, ids=lambda row: row.example[-30:])
def test_a_text_counts_with_its_status_and_without_another_gateway_of_its_kind(row: GatewayText) -> None:
    def billing(status: int, text: str, **headers: str) -> str:
        return billing_of_status(status, by_api=False, headers=headers, text=text)

    assert billing(row.status, row.example) == "rejected"
    assert billing(row.status, f"{row.example}\n") == "rejected"
    assert billing(row.status, f"{row.example} or not") == "unknown"
    assert billing(row.status, f"not {row.example}") == "unknown"
    assert billing(row.status, row.example, **{row.without: "1"}) == "unknown"
    assert billing(504, row.example) == "unknown"
    assert row.source
