"""Key, base URL and the other settings of a client, checked. The only reader of the environment."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias, cast
from urllib.parse import SplitResult, urlsplit

from .._core.capabilities import Region
from .._core.errors import ConfigurationError
from .._core.profiles import Server
from .._core.secrets import APIKey, T, as_secret
from .._core.server import EMBEDDED, IN_PROCESS, Settings
from .._core.servers import DEFAULT_SERVER, find_server
from .._core.text import described, reason, shown
from .._transport.addresses import is_loopback

DEFAULT_BASE_URL = "https://api.stepfun.ai/v1"

KEY_VARIABLES = ("STEP_API_KEY", "STEPFUN_API_KEY")
BASE_URL_VARIABLE = "STEP_BASE_URL"
SERVER_VARIABLE = "STEP_SERVER"


Validation: TypeAlias = Literal["strict", "off"]


_REGIONS: Mapping[str, Region] = {"api.stepfun.ai": "international", "api.stepfun.com": "china"}


class _Undisclosed:
    """Any value that may be a secret, or have one in it; shown by its kind."""

    __slots__ = ("kind",)

    def __init__(self, value: object) -> None:
        self.kind = described(value)

    def __repr__(self) -> str:
        return f"<{self.kind}, not shown>"


def hidden_headers(headers: T) -> T:
    """`headers` as they are now, with values that do not show themselves: keys of gateways are among them.

    What is no mapping of text is not kept at all, since `check_headers` refuses it: only its kind is.
    """
    if headers is None:
        return headers
    kept: object
    try:
        given = dict(cast("Mapping[object, object]", headers)) if isinstance(headers, Mapping) else None
        kept = (
            _Undisclosed(cast("object", headers))
            if given is None
            else {name: _hidden_value(given[name]) for name in given}
        )
    except Exception:  # noqa: BLE001 - a user's mapping may raise anything
        kept = _Undisclosed(cast("object", headers))
    return cast("T", kept)


def _hidden_value(value: object) -> object:
    return as_secret(value) if isinstance(value, str) else _Undisclosed(value)


def hidden_url(url: T) -> T:
    """`url`, as text that does not show itself where it has a user name, a password, a query or a fragment."""
    return as_secret(url) if isinstance(url, str) and re.search("[@?#]", url) else url


def resolve(
    api_key: str | None,
    base_url: str | None,
    *,
    allow_http: bool = False,
    server: str | Server | None = None,
) -> Settings:
    """The settings given, else those of the environment.

    Args:
        api_key: the key.
        base_url: where the API is.
        allow_http: whether the key may go to another machine unencrypted.
        server: the profile of the server there; `None` to derive it from the base URL.

    Raises:
        ConfigurationError: there is no key, the key or the base URL cannot be right, the key would go
            to another machine unencrypted, or the profile is not known or does not fit the base URL.
    """
    if not _is_truth(allow_http):
        raise ConfigurationError(f"allow_http is True or False, not {shown(allow_http)}")
    base_url = hidden_url(base_url)  # from what shows the variables of a traceback's frames
    named = _named_server(server, base_url)
    url = _checked_url(base_url if base_url is not None else os.environ.get(BASE_URL_VARIABLE) or _address_of(named))
    profile = _fitting_server(named, url)
    if url in IN_PROCESS:
        key = _key(api_key, required=False)
        return Settings(url, key, "international", hosted=False, plan=False, server=profile)
    parts = urlsplit(url)
    region = _REGIONS.get(parts.hostname or "")
    plan = "step_plan" in parts.path.split("/")
    key = _key(api_key, required=profile.needs_key)
    if key and parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"base_url or {BASE_URL_VARIABLE} is {url!r}: over plain http, anyone on the way can read the key; "
            "write https://, or pass allow_http=True where you trust the network"
        )
    return Settings(url, key, region, hosted=region is not None, plan=plan, allow_http=allow_http, server=profile)


def _named_server(server: str | Server | None, base_url: str | None) -> Server | None:
    """The profile that is given, or else named by the environment, if the address is not known by itself."""
    if server is not None:
        return find_server(server)
    name = os.environ.get(SERVER_VARIABLE)
    if not name:
        return None
    try:
        named = find_server(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{SERVER_VARIABLE}: {error.message}") from None
    return named if base_url is None or _server_at(base_url) is None else None


def _address_of(server: Server | None) -> str:
    """The base URL where none is given."""
    if server is None:
        return DEFAULT_BASE_URL
    if not server.has_fixed_address:
        example = server.address or "https://host/v1"
        raise ConfigurationError(
            f"server={server.name!r} stands at an address of yours: pass base_url=..., such as {example!r}, "
            f"or set {BASE_URL_VARIABLE}"
        )
    return server.address


def _fitting_server(named: Server | None, url: str) -> Server:
    """The profile for the server at `url`, which is the one named if there is one."""
    known = _server_at(url)
    if named is None or (known is not None and named.name == known.name):
        return known or DEFAULT_SERVER
    if known is not None:
        whose = "an engine in this process" if url in IN_PROCESS else "StepFun's own host"
        raise ConfigurationError(
            f"server={named.name!r} does not fit base_url {url!r}, which is {whose}: leave server out, or give the "
            "address of that server"
        )
    return named


def _server_at(url: object) -> Server | None:
    """The profile of an address that is known by itself; `None` for all others."""
    if not isinstance(url, str):
        return None
    if url.strip() in IN_PROCESS:
        return find_server(EMBEDDED)
    parts = _split(url.strip())
    return find_server("stepfun") if parts is not None and parts.hostname in _REGIONS else None


def check_seconds(name: str, value: object, *, zero: bool = False) -> str | None:
    """Return why a number of seconds is invalid, in words; `None` if it is valid."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} is a number of seconds"
    try:
        seconds = float(value)
    except OverflowError:
        return f"{name} is a number of seconds that fits a float"
    except Exception as error:  # noqa: BLE001 - a user's number may raise anything
        return f"{name} is a number of seconds ({reason(error)})"
    if math.isnan(seconds):
        return f"{name} is a number of seconds"
    if seconds < 0 or (seconds == 0 and not zero):
        return f"{name} is {'0 or more' if zero else 'above 0'} seconds"
    return None


def check_headers(headers: object) -> str | None:
    """Return why a user's headers are invalid, in words without their values; `None` if they are valid."""
    if not isinstance(headers, Mapping):
        kind = headers.kind if isinstance(headers, _Undisclosed) else described(headers)
        return f"headers are a mapping of names to values, not {kind}"
    for name, value in cast("Mapping[object, object]", headers).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            return f"{shown(name)} is not the name of a header"
        if name.lower() in _OWN_HEADERS:
            return f"{name!r} belongs to the body, which this package writes"
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value) or value != value.strip():
            return f"the value of {name!r} is not text of visible ASCII characters without spaces around it"
    return None


_OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "host", "transfer-encoding"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
_KEY = re.compile(r"[\x21-\x7e]+")


def _key(given: object, *, required: bool) -> APIKey | None:
    found = as_secret(given if given is not None else _key_of_environment())
    if found is None and not required:
        return None
    names = " or ".join(KEY_VARIABLES)
    if found is None:
        raise ConfigurationError(
            f"no API key: pass api_key=..., set {names}, or use base_url='embedded', which needs none"
        )
    if not isinstance(found, str):
        raise ConfigurationError(f"the API key is text, not a {type(found).__name__}")
    key = as_secret(found.strip())
    if not _KEY.fullmatch(key):
        reason = "empty" if not key else "not made of visible ASCII characters"
        raise ConfigurationError(f"the API key (api_key=..., {names}) is {reason}")
    return APIKey(key)


def _key_of_environment() -> str | None:
    """The first variable that has a key; a blank one counts as unset, as CI systems blank secrets."""
    return next((key for name in KEY_VARIABLES if (key := os.environ.get(name, "")).strip()), None)


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _checked_url(url: object) -> str:
    if not isinstance(url, str):
        raise ConfigurationError(f"base_url is text, not a {type(url).__name__}")
    url = hidden_url(url)
    text = hidden_url(url.strip().rstrip("/"))
    if text not in IN_PROCESS and (why := _why_no_address(text)):
        raise ConfigurationError(why)
    return text


def _why_no_address(text: str) -> str | None:
    """Return why `text` is not a valid base URL, without parts that may be secret; `None` if it is."""
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return (
            f"base_url or {BASE_URL_VARIABLE} is {_without_secrets(text)!r}, which is no address: "
            "write https://host/v1, or 'embedded' or 'diffusers' for an engine in this process"
        )
    if parts.username or parts.password:
        return "base_url has a user name or password in it: pass the key as api_key=..."
    if "?" in text or "#" in text:
        return f"base_url has a query or fragment after {_without_secrets(text)!r}: leave it out"
    return None


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        return parts if parts.port != 0 and not re.search(r"\s", text) else None
    except ValueError:
        return None


def _without_secrets(text: str) -> str:
    """`text` without a user's name and password, and without query and fragment, since keys are put there."""
    return re.split("[?#]", re.sub(r"//.*@", "//***@", str(text), flags=re.DOTALL))[0]
