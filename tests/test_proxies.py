"""Proxies as the environment names them, and as users do."""

from __future__ import annotations

import re

import pytest

from stepfun_async import AsyncClient, ConfigurationError
from stepfun_async._core.server import Origin
from stepfun_async._transport.proxies import checked_proxy, proxy_for
from tests.support.raw import raw_server, say, socks_handshake
from tests.support.responses import image_response

HOST: Origin = ("https", "host", None)
INSIDE: Origin = ("http", "10.0.0.1", 8000)
SIX: Origin = ("https", "2001:db8::5", None)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variables", "origin", "proxy"),
    [
        ({}, HOST, None),
        ({"https_proxy": "http://p:1"}, HOST, "http://p:1"),
        ({"https_proxy": "http://p:1"}, ("http", "host", None), None),
        ({"all_proxy": "http://p:2"}, HOST, "http://p:2"),
        ({"https_proxy": "http://p:1", "all_proxy": "http://p:2"}, HOST, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, HOST, "http://p:1"),
        ({"https_proxy": "http://p:1"}, INSIDE, None),
        ({"http_proxy": "http://p:1"}, INSIDE, "http://p:1"),
        ({"http_proxy": "http://p:1"}, ("http", "127.0.0.1", 8000), None),
        ({"http_proxy": "http://p:1"}, ("http", "127.7.7.7", None), None),
        ({"all_proxy": "http://p:1"}, ("http", "localhost", 8000), None),
        ({"all_proxy": "http://p:1"}, ("https", "a.localhost", None), None),
        ({"all_proxy": "http://p:1"}, ("http", "::1", None), None),
    ],
)
def test_the_proxy_of_the_environment(
    variables: dict[str, str], origin: Origin, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(origin) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "origin", "excepted"),
    [
        ("host", HOST, True),
        ("other", HOST, False),
        ("host:8443", ("https", "host", 8443), True),
        ("host:8443", HOST, False),
        (".example.com", ("https", "a.example.com", None), True),
        ("*", HOST, True),
        ("10.0.0.1", INSIDE, True),
        ("10.0.0.0/8", INSIDE, True),
        ("192.168.0.0/16, 10.0.0.0/24", INSIDE, True),
        ("192.168.0.0/16 10.0.0.0/24", INSIDE, True),
        ("10.0.0.9/24", INSIDE, True),
        ("10.0.0.0/8:8000", INSIDE, True),
        ("10.0.0.0/8:9000", INSIDE, False),
        ("11.0.0.0/8", INSIDE, False),
        ("10.0.0.0/99", INSIDE, False),
        ("2001:db8::5", SIX, True),
        ("[2001:db8::5]", SIX, True),
        ("[2001:db8::5]:443", SIX, True),
        ("[2001:db8::5]:8443", SIX, False),
        ("2001:DB8::/32", SIX, True),
        ("[2001:db8::]/32", SIX, True),
        ("2001:db9::/32", SIX, False),
        ("10.0.0.0/8", SIX, False),
        ("10.0.0.0/8", HOST, False),
        ("", INSIDE, False),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_what_the_environment_excepts_goes_straight(
    no_proxy: str, origin: Origin, excepted: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "http://p:1")
    monkeypatch.setenv(name, no_proxy)
    assert proxy_for(origin) == (None if excepted else "http://p:1")


WRITTEN = [
    ("p:3128", "http://p:3128"),
    ("//p:3128", "http://p:3128"),
    ("me:canary@p:3128", "http://me:canary@p:3128"),
    ("127.0.0.1:3128", "http://127.0.0.1:3128"),
    ("[::1]:3128", "http://[::1]:3128"),
    (" HTTP://p:3128 ", "http://p:3128"),
    ("https://p", "https://p"),
    ("socks://p:1080", "socks5://p:1080"),
    ("SOCKS5://p:1080", "socks5://p:1080"),
    ("socks5h://p:1080", "socks5h://p:1080"),
]


@pytest.mark.parametrize(("written", "meant"), WRITTEN)
def test_a_proxy_is_meant_as_other_programs_take_it(written: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", written)
    assert proxy_for(HOST) == meant
    assert checked_proxy(written) == meant


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "written", ["ftp://p", "socks4://p:1080", "http://p:port", "a proxy", "http://", "http://me:canary@p:port"]
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    name: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, written)
    with pytest.raises(ConfigurationError, match=rf"^{name}: .* write http://host:port") as caught:
        proxy_for(HOST)
    assert "canary" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=re.escape("proxy=...: ")):
        checked_proxy(written)


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["", "socks://"])
async def test_calls_go_through_a_proxy_of_the_environment(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(say(image_response()), greet=socks_handshake if scheme else None) as proxy:
        monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{proxy.service.port}")
        async with AsyncClient("sk-test", base_url="http://far.test/v1", allow_http=True) as client:
            await client.images.generate("a lake")
        assert len(proxy.requests) == 1
