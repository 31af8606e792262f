"""Keys, base URLs, headers and seconds: taken as they can be meant, refused as they cannot, never shown."""

from __future__ import annotations

import copy
import html
import json
import math
import pickle
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async import ConfigurationError
from stepfun_async._call.settings import check_headers, check_seconds, resolve
from stepfun_async._core.secrets import APIKey

KEY = "sk-secret-0123456789"


def _refusal(api_key: Any, base_url: Any = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        resolve(api_key, base_url)
    assert caught.value.billing == "not_sent"
    return str(caught.value)


def _sent_key(api_key: Any = None) -> str:
    key = resolve(api_key, None).key
    assert key is not None
    return key.authorization()


# --- keys -------------------------------------------------------------------------------------------------


def test_the_key_goes_into_the_authorization_header() -> None:
    assert _sent_key(KEY) == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"\t{KEY} \r\n"])
def test_blanks_around_a_key_are_those_of_the_file_it_came_from(key: str) -> None:
    assert _sent_key(key) == f"Bearer {KEY}"


@pytest.mark.parametrize("name", ["STEP_API_KEY", "STEPFUN_API_KEY"])
def test_the_key_is_found_in_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"{KEY}\n")
    assert _sent_key() == f"Bearer {KEY}"


def test_the_key_given_wins_over_the_environment_and_step_over_stepfun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPFUN_API_KEY", "second")
    monkeypatch.setenv("STEP_API_KEY", "first")
    assert _sent_key("given") == "Bearer given"
    assert _sent_key() == "Bearer first"


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_blank_variable_counts_as_unset(blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_API_KEY", blank)
    assert "STEP_API_KEY or STEPFUN_API_KEY" in _refusal(None)
    assert resolve(None, "embedded").key is None
    monkeypatch.setenv("STEPFUN_API_KEY", KEY)
    assert _sent_key() == f"Bearer {KEY}"


def test_without_a_key_the_ways_to_give_one_are_named() -> None:
    message = _refusal(None)
    assert "api_key=" in message
    assert "STEP_API_KEY" in message
    assert "base_url='embedded'" in message


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("secret key", "visible ASCII"),
        ("secret\nkey", "visible ASCII"),
        ("secret\x00key", "visible ASCII"),
        ("secretkéy", "visible ASCII"),
        ("secret\u200bkey", "visible ASCII"),
        (5, "not a int"),
        (b"secret", "not a bytes"),
    ],
)
def test_a_key_that_cannot_be_right_is_refused_without_showing_it(key: Any, why: str) -> None:
    message = _refusal(key)
    assert why in message
    assert "secret" not in message


@given(text=st.text(min_size=1))
def test_any_text_is_a_key_or_refused_and_never_shown(text: str) -> None:
    marked = f"s3cr3t{text}s3cr3t"
    try:
        config = resolve(marked, None)
    except ConfigurationError as error:
        shown = str(error)
    else:
        shown = repr(config)
        assert config.key is not None
        assert config.key.authorization().isascii()
    assert "s3cr3t" not in shown


def test_a_key_does_not_print_copy_or_pickle_itself() -> None:
    key = APIKey(KEY)
    for shown in (repr(key), str(key), f"{key}", repr(resolve(KEY, None))):
        assert KEY not in shown
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            carry(key)
    assert not hasattr(key, "__dict__")


def test_nothing_that_knows_the_key_pickles_or_copies_it() -> None:
    header = APIKey(KEY).authorization()
    assert KEY not in repr(header) + repr({"authorization": header})
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            carry(header)


def test_a_key_that_a_server_repeats_is_hidden() -> None:
    assert APIKey(KEY).redact(f"bad key {KEY}, {KEY}, 湖 \ud800") == "bad key ***, ***, 湖 \ud800"
    assert APIKey("any").redact("company") == "company"


ODD_KEY = "sk/ab+cd=ef<&>'\"\\gh.ij"


@pytest.mark.parametrize(
    "written",
    [
        ODD_KEY,
        json.dumps(ODD_KEY)[1:-1],
        json.dumps(ODD_KEY)[1:-1].replace("/", "\\/"),
        "".join(letter if letter.isalnum() else f"\\u{ord(letter):04x}" for letter in ODD_KEY),
        "".join(letter if letter.isalnum() else f"\\u{ord(letter):04X}" for letter in ODD_KEY),
        quote(ODD_KEY),
        quote(ODD_KEY, safe=""),
        html.escape(ODD_KEY),
    ],
)
def test_a_key_is_hidden_however_a_server_writes_it(written: str) -> None:
    assert APIKey(ODD_KEY).redact(f'{{"key": "{written}"}}') == '{"key": "***"}'
    assert APIKey(ODD_KEY).redact_body(written.encode()) == b"***"


def test_an_image_that_spells_the_key_stays_as_it_came() -> None:
    image = b'{"b64_json": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAf"}'
    assert APIKey("KGgoAAAANSU").redact_body(image, paid=True) == image
    assert APIKey("KGgoAAAANSU").redact_body(b'{"said": "bad KGgoAAAANSU"}', paid=True) == b'{"said": "bad ***"}'
    assert APIKey("KGgoAAAANSU").redact_body(image) != image
    assert APIKey("sk-KGgoAAAA").redact_body(b"xsk-KGgoAAAAx", paid=True) == b"x***x"


# --- base URLs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_url", "url", "region", "plan", "lifetime"),
    [
        (None, "https://api.stepfun.ai/v1", "international", False, timedelta(hours=2)),
        ("https://api.stepfun.ai/v1", "https://api.stepfun.ai/v1", "international", False, timedelta(hours=2)),
        ("https://api.stepfun.ai/v1/", "https://api.stepfun.ai/v1", "international", False, timedelta(hours=2)),
        (" https://API.stepfun.AI/v1\n", "https://API.stepfun.AI/v1", "international", False, timedelta(hours=2)),
        ("https://api.stepfun.com/v1", "https://api.stepfun.com/v1", "china", False, timedelta(days=30)),
        (
            "https://api.stepfun.ai/step_plan/v1",
            "https://api.stepfun.ai/step_plan/v1",
            "international",
            True,
            timedelta(hours=2),
        ),
        (
            "https://api.stepfun.com/step_plan/v1",
            "https://api.stepfun.com/step_plan/v1",
            "china",
            True,
            timedelta(days=30),
        ),
        ("http://localhost:8000/v1", "http://localhost:8000/v1", None, False, None),
        ("http://[::1]:8000", "http://[::1]:8000", None, False, None),
        ("https://api.stepfun.ai.evil.example/v1", "https://api.stepfun.ai.evil.example/v1", None, False, None),
        ("https://gateway.example/api.stepfun.ai/v1", "https://gateway.example/api.stepfun.ai/v1", None, False, None),
    ],
)
def test_a_base_url_says_region_plan_and_how_long_links_live(
    given_url: str | None, url: str, region: str | None, plan: bool, lifetime: timedelta | None
) -> None:
    config = resolve(KEY, given_url)
    assert (config.base_url, config.region, config.plan, config.link_lifetime) == (url, region, plan, lifetime)
    assert config.hosted == (region is not None)
    assert not config.embedded


def test_the_embedded_engine_needs_no_key() -> None:
    config = resolve(None, "embedded")
    assert (config.embedded, config.key, config.hosted, config.plan) == (True, None, False, False)


def test_the_base_url_is_found_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_BASE_URL", "https://api.stepfun.com/v1/")
    assert resolve(KEY, None).region == "china"
    assert resolve(KEY, "https://api.stepfun.ai/v1").region == "international"
    monkeypatch.setenv("STEP_BASE_URL", "")
    assert resolve(KEY, None).region == "international"


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "api.stepfun.ai/v1",
        "//api.stepfun.ai",
        "ftp://api.stepfun.ai",
        "https://",
        "https:///v1",
        "https://host:0/v1",
        "https://host:99999/v1",
        "https://host:port/v1",
        "https://[::1/v1",
        "https://ho st/v1",
        "https://host/v1?key=s3cr3t",
        "https://host/v1?",
        "https://host/v1#s3cr3t",
        "https://user:s3cr3t@host/v1",
        "https://s3cr3t@host/v1",
        "ftp://user:s3cr3t@host/v1",
        5,
        b"https://host/v1",
    ],
)
def test_a_base_url_that_cannot_be_right_is_refused_without_showing_secrets(url: Any) -> None:
    message = _refusal(KEY, url)
    assert "base_url" in message
    assert "s3cr3t" not in message


@given(url=st.text() | st.text().map("https://{}".format))
def test_any_text_is_a_base_url_or_refused(url: str) -> None:
    try:
        config = resolve(KEY, url)
    except ConfigurationError:
        return
    assert config.embedded or config.base_url.startswith(("http", "HTTP"))
    assert not set(config.base_url) & set("?# \n")


@pytest.mark.parametrize(
    "url",
    [
        "http://far.test/v1",
        "HTTP://far.test/v1",
        "http://10.0.0.1/v1",
        "http://0.0.0.0:8000/v1",
        "http://127.1/v1",
        "http://2130706433/v1",
        "http://[::ffff:127.0.0.1]/v1",
        "http://localhost.far.test/v1",
        "http://notlocalhost/v1",
        "http://127.0.0.1.far.test/v1",
    ],
)
def test_a_key_goes_to_another_machine_in_clear_only_where_that_is_allowed(url: str) -> None:
    message = _refusal(KEY, url)
    assert "allow_http=True" in message
    assert "https://" in message
    assert KEY not in message
    assert resolve(KEY, url, allow_http=True).allow_http
    assert resolve(KEY, url.lower().replace("http", "https")).key is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://127.8.9.10/v1",
        "http://[::1]:8000/v1",
        "http://localhost/v1",
        "http://LocalHost:8000/v1",
        "http://stepfun.localhost/v1",
        "embedded",
    ],
)
def test_this_machine_may_have_the_key_in_clear(url: str) -> None:
    assert resolve(KEY, url).key is not None


def test_a_base_url_of_the_environment_does_not_send_the_key_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_BASE_URL", "http://far.test/v1")
    assert "STEP_BASE_URL is 'http://far.test/v1'" in _refusal(KEY)


@pytest.mark.parametrize("value", ["no", "False", 1, 0, None])
def test_only_true_allows_http(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="allow_http is True or False"):
        resolve(KEY, "https://far.test/v1", allow_http=value)


# --- seconds and headers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1, 0.001, 120.0, math.inf, 10**9])
def test_seconds(value: float) -> None:
    assert check_seconds("timeout", value) is None


@pytest.mark.parametrize("value", [math.nan, "5", None, True, [5], 5j, 10**400])
def test_what_is_no_number_of_seconds(value: object) -> None:
    assert str(check_seconds("timeout", value)).startswith("timeout is a number of seconds")


@pytest.mark.parametrize(
    ("value", "zero", "allowed"),
    [
        (0, False, False),
        (0, True, True),
        (0.0, True, True),
        (-1, False, False),
        (-1, True, False),
        (-math.inf, True, False),
    ],
)
def test_nothing_may_take_less_than_no_time(value: float, zero: bool, allowed: bool) -> None:
    assert (check_seconds("queue_timeout", value, zero=zero) is None) == allowed


@pytest.mark.parametrize("headers", [{}, {"X-Request-Id": "abc 1\t2"}, {"x!#$%&'*+.^_`|~-": ""}])
def test_headers(headers: dict[str, str]) -> None:
    assert check_headers(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Request-Id", "s3cr3t")],
        "X-Request-Id: s3cr3t",
        {"X Request": "s3cr3t"},
        {"": "s3cr3t"},
        {"X-Request:": "s3cr3t"},
        {"X-Ré": "s3cr3t"},
        {5: "s3cr3t"},
        {"X-Request-Id": "s3cr3t\r\nX-Other: 1"},
        {"X-Request-Id": "s3cr3té"},
        {"X-Request-Id": b"s3cr3t"},
        {"X-Request-Id": 5},
        {"X-Request-Id": "s3cr3t\n"},
        {"X-Request-Id\n": "s3cr3t"},
    ],
)
def test_headers_that_cannot_be_sent_are_named_without_their_values(headers: object) -> None:
    why = check_headers(headers)
    assert why
    assert "s3cr3t" not in why
