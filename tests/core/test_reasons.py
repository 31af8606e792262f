"""What a response says in words: every form in which servers and gateways give a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async import InternalServerError
from stepfun_async._core.reasons import (
    SHOWN,
    answered_by,
    described,
    read_reason,
    resender_of,
    said_by_success,
    trace_id_of,
    wish_in,
)
from stepfun_async._core.responses import raise_for_status
from stepfun_async._core.wire import HTTPResponse

PAGE = (
    b"<!DOCTYPE html><html><head><title>503 Backend fetch failed</title></head><body><h1>Error 503</h1></body></html>"
)


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        (
            {"server": "Varnish", "via": "1.1 cache (Varnish/7.1)"},
            PAGE,
            'an HTML page from Varnish, "503 Backend fetch failed"',
        ),
        ({"via": "1.1 cache (Varnish/7.1)"}, PAGE, 'an HTML page from Varnish/7.1, "503 Backend fetch failed"'),
        ({"via": "1.0 a, 1.1 varnish"}, b"<html></html>", "an HTML page from varnish"),
        ({}, b"<html><body><h1>502 Bad\n Gateway</h1></body></html>", 'an HTML page, "502 Bad Gateway"'),
        ({}, b"<H1><b>A&amp;B</b></H1>", 'an HTML page, "A&B"'),
        ({"server": "Caddy"}, b"", "an empty response from Caddy"),
        ({"server": "Caddy"}, b" \n", "an empty response from Caddy"),
        ({}, b"", "the server gave no reason"),
        ({"server": "envoy"}, b"no healthy upstream", "no healthy upstream (from envoy)"),
        ({"server": "nginx\x1b[31m"}, b"no", "no (from nginx[31m)"),
        ({"server": "uvicorn"}, b'{"detail": "Not Found"}', "Not Found"),
        ({"server": "x" * 500}, b"", f"an empty response from {'x' * 60}"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_page_a_text_or_nothing_says_who_answered(headers: dict[str, str], body: bytes, said: str) -> None:
    assert described(read_reason(body), headers) == said


@pytest.mark.parametrize(
    ("content", "text", "kind", "by_api"),
    [
        ({"error": {"message": "no", "type": "busy"}}, "no", "busy", True),
        ({"error": {"message": ""}}, '{"error": {"message": ""}}', None, False),
        ({"error": {"message": " "}}, '{"error": {"message": " "}}', None, False),
        ({"Error": {"Message": "no"}}, "no", None, False),
        ({"title": "busy", "detail": "no"}, "busy: no", None, False),
        ({"error": {"message": "no", "type": None, "code": "429"}}, "no", None, True),
        ({"error": {"message": "no", "code": "invalid_api_key"}}, "no (code invalid_api_key)", None, True),
        ({"error": "no"}, "no", None, False),
        ({"error": "Service Unavailable", "message": "no peer"}, "Service Unavailable: no peer", None, False),
        ({"error": {"detail": "no"}}, "no", None, False),
        ({"code": 1001, "message": "no"}, "no (code 1001)", None, False),
        ({"code": 200, "msg": "no"}, "no", None, False),
        ({"detail": "no"}, "no", None, False),
        ({"detail": {"error": "no"}}, "no", None, False),
        ({"detail": [{"loc": ["body", "size"], "msg": "bad", "type": "value_error"}]}, "body.size: bad", None, False),
        ({"detail": [{"msg": "a"}, "b", 5, {}]}, "a; b", None, False),
        ({"detail": []}, '{"detail": []}', None, False),
        ({"message": "no", "type": "busy"}, "no", "busy", False),
        ({}, None, None, False),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_every_form_of_json_gives_its_reason(content: Any, text: str | None, kind: str | None, by_api: bool) -> None:
    reason = read_reason(json.dumps(content).encode())
    assert (reason.text, reason.type, reason.by_api, reason.content) == (text, kind, by_api, content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "msg", "loc", "code", "type"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(
    body=st.binary()
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.text().map(lambda text: f"<{text}".encode()),
    server=st.text(),
    status=st.integers(200, 599),
)
def test_any_body_has_a_bounded_reason_that_utf_8_can_say(body: bytes, server: str, status: int) -> None:
    reason, headers = read_reason(body), {"server": server}
    for text in (described(reason, headers), said_by_success(status, headers, body) or "", reason.type or ""):
        text.encode()
    assert len(reason.text or "") <= SHOWN + 100


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("No deployments available for selected model, Try again in 5 seconds. Passed model=x", 5.0),
        ("Please retry after 2 seconds.", 2.0),
        ("Please retry after 1 second", 1.0),
        ("Please try again in 20s. Visit", 20.0),
        ("Please try again in 6m0s", 360.0),
        ("please try again in 1h2m3.5s", 3723.5),
        ("Please try again in 120ms", 0.12),
        ("try again in 1.5s", 1.5),
        ("retry after 7", 7.0),
        ("retry after 7.", 7.0),
        ("Try again in 2 minutes", 120.0),
        ("try again in 3 days", None),
        ("try again in a moment", None),
        ("retry after 2026-11-30", None),
        ("retry after 12:30", None),
        ("try again", None),
        ("retry in", None),
        ("", None),
    ],
)
def test_words_that_say_how_long_to_wait(text: str, seconds: float | None) -> None:
    assert wish_in(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "trace_id"),
    [
        ({"x-trace-id": "a", "x-request-id": "b"}, "a"),
        ({"llm_provider-x-trace-id": "a", "x-litellm-call-id": "b"}, "a"),
        ({"x-request-id": "a", "x-litellm-call-id": "b"}, "a"),
        ({"x-litellm-call-id": "a"}, "a"),
        ({"x-trace-id": "", "cf-ray": "a"}, "a"),
        ({"server": "a"}, None),
    ],
)
def test_what_identifies_a_response_without_a_trace_id(headers: dict[str, str], trace_id: str | None) -> None:
    assert trace_id_of(headers) == trace_id


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": [{"error": {"message": "no GPU"}}]}',
        b'{"data": [{"error": "no GPU"}]}',
        b'{"data": {"error": "no GPU"}}',
        b'{"errors": [{"message": "no GPU"}]}',
        b'{"errors": ["no GPU"]}',
        b'{"success": false, "errorMessage": "no GPU"}',
        b'{"status": "error", "reason": "no GPU"}',
        b'{"base_resp": {"status_code": 1004, "status_msg": "no GPU"}}',
        b'{"output": {"task_status": "FAILED", "message": "no GPU"}}',
        b'{"result": {"error": "no GPU"}}',
        b'{"fault": {"faultstring": "no GPU"}}',
        b'{"error": "x", "error_description": "no GPU"}',
        b'{"error": {"message": {"text": "no GPU"}}}',
        b'{"Error": {"Message": "no GPU"}}',
        b'{"Result": {"ErrorMessage": "no GPU"}}',
        b'{"type": "about:blank", "title": "Out of capacity", "status": 200, "detail": "no GPU"}',
        b'{"type": "about:blank", "title": "no GPU"}',
        b"no GPU",
        b'["no GPU"]',
        b'data: {"error": {"message": "no GPU"}}',
    ],
)
def test_the_reason_in_a_success_is_found_wherever_others_write_it(body: bytes) -> None:
    assert "no GPU" in str(said_by_success(200, {}, body))


@pytest.mark.parametrize(("begin", "end"), [('{"message":', "}"), ('{"error":', "}"), ('{"detail":[', "]}")])
def test_a_reason_of_hundreds_of_levels_is_none(begin: str, end: str) -> None:
    body = (begin * 400 + '"no"' + end * 400).encode()
    assert said_by_success(200, {}, body) is None
    assert (read_reason(body).text or "").startswith(begin)


@pytest.mark.parametrize(("words", "billing"), [("busy", "rejected"), ("", "unknown"), (" \n", "unknown")])
def test_empty_words_do_not_prove_that_the_api_refused(words: str, billing: str) -> None:
    body = json.dumps({"error": {"message": words}}).encode()
    with pytest.raises(InternalServerError) as caught:
        raise_for_status(HTTPResponse(503, {}, body), now=0)
    assert caught.value.billing == billing


def test_which_gateways_resend() -> None:
    assert resender_of({"x-litellm-version": "1"}) == "LiteLLM"
    assert resender_of({"x-request-id": "1"}) is None
    assert resender_of({}, "litellm.RateLimitError: RateLimitError: OpenAIException - slow down") == "LiteLLM"
    assert resender_of({}, "over the limit") is None
    assert answered_by({}) is None
