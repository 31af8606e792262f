"""Proxies: the argument of a client and those of the environment, read as curl and requests do."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from .._core.errors import ConfigurationError
from .._core.secrets import as_secret
from .._core.server import Origin
from .._runtime import system
from .addresses import is_loopback

_PORTS = {"http": 80, "https": 443}

_SCHEMES = {"socks": "socks5"}
"""Schemes of other programs and the ones httpx accepts. GNOME and Chromium write `socks://`."""


class Named(NamedTuple):
    """The URL of a proxy, and its origin: an argument or an environment variable."""

    address: str
    source: str


def checked_proxy(proxy: str | None) -> str | None:
    """Check the argument `proxy`. Return it; `None` without one.

    Raises:
        ConfigurationError: it cannot be one, or needs a package that is not installed.
    """
    if proxy is None:
        return None
    proxy = as_secret(proxy)
    if not _is_text(proxy):
        raise ConfigurationError(f"the proxy's address is text, not a {type(proxy).__name__}")
    return _checked(Named(proxy, "proxy=..."))


def proxy_for(origin: Origin) -> str | None:
    """Return the proxy that the environment names for `origin`; `None` without one.

    Raises:
        ConfigurationError: what it names cannot be one, or needs a package that is not installed.
    """
    named = proxy_of(origin)
    return None if named is None else _checked(named)


def proxy_of(origin: Origin) -> Named | None:
    """Return the proxy for `origin` from the environment (`HTTPS_PROXY`, `NO_PROXY`, ...) or the system; `None`
    without.

    There is none for this machine itself, as in browsers and in Go: its addresses mean another machine
    to a proxy elsewhere, which could read the key besides.
    """
    scheme, host, port = origin
    if is_loopback(host) or not _is_any_named():
        return None
    import urllib.request  # only now, as it loads a fifth of all that a client needs

    proxies = urllib.request.getproxies()
    address = proxies.get(scheme) or proxies.get("all")
    if not address or _is_excepted(host, port or _PORTS[scheme], proxies.get("no", "")):
        return None
    if urllib.request.proxy_bypass(f"{host}:{port}" if port else host):
        return None
    return Named(as_secret(address), _source(scheme))


def _is_any_named() -> bool:
    """Whether there may be a proxy: an environment variable is set, or the system has settings for proxies."""
    return system.has_proxy_settings() or any(name.lower().endswith("_proxy") for name in os.environ)


def _source(scheme: str) -> str:
    """Return the name of the environment variable with the proxy for `scheme`, in its actual case."""
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    return next((name for name in names if os.environ.get(name)), "the system's settings")


_EXCEPTED = re.compile(
    r"(?:\[(?P<bracketed>[0-9A-F:.]+)\]|(?P<plain>[0-9.]+|[0-9A-F]*:[0-9A-F:.]*))"
    r"(?P<bits>/[0-9]+)?(?::(?P<port>[0-9]+))?",
    re.IGNORECASE,
)


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Whether `no_proxy` contains the address `host`, by itself or in a network; urllib compares names."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    for entry in re.split(r"[,\s]+", no_proxy):
        match = _EXCEPTED.fullmatch(entry)
        if match is None or (match["port"] and int(match["port"]) != port):
            continue
        try:
            if address in ip_network(f"{match['bracketed'] or match['plain']}{match['bits'] or ''}", strict=False):
                return True
        except ValueError:
            continue
    return False


def _checked(proxy: Named) -> str:
    scheme, separator, rest = map(as_secret, proxy.address.strip().rpartition("://"))
    scheme = scheme.lower() if separator else "http"
    address = as_secret(f"{_SCHEMES.get(scheme, scheme)}://{rest.removeprefix('//')}")
    if why := _why_no_proxy(address):
        raise ConfigurationError(
            f"{proxy.source}: the proxy's address cannot be used: {why}; write http://host:port, https://host:port "
            "or socks5://host:port"
        )
    if address.startswith("socks") and find_spec("socksio") is None:
        raise ConfigurationError(
            f'{proxy.source}: a SOCKS proxy needs one more package: pip install "stepfun-async[socks]"'
        )
    return address


def _why_no_proxy(proxy: str) -> str | None:
    import httpx

    if re.search(r"\s", proxy):
        return "it has spaces"
    try:
        return None if httpx.Proxy(proxy).url.host else "it names no host"
    except (ValueError, httpx.InvalidURL) as error:
        return "the part around its password is not a valid address" if "@" in proxy else str(error)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
