"""Prepares requests: their address, headers and body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .._core.errors import APIConnectionError, StepFunError
from .._core.secrets import as_secret
from .._core.server import Origin
from .._core.wire import HTTPRequest, SendState
from .request_body import JSON, RequestBody, body_of

_PLAIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*(?:\?[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*)?)?",
    re.IGNORECASE,
)
"""URLs that all parsers read alike. httpx parses the others."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, eq=False)
class Address:
    """A parsed URL, with the parts that a connection needs.

    Attributes:
        text: as it is written.
        scheme: `http` or `https`.
        host: as it goes to the resolver.
        explicit_port: the port, if one is written; `None` is the scheme's own.
        target: path and query.
        origin: scheme, host and written port.
    """

    text: str
    scheme: str
    host: str
    explicit_port: int | None
    target: str
    origin: Origin = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", (self.scheme, self.host, self.explicit_port))

    @property
    def port(self) -> int:
        return self.explicit_port or _PORTS[self.scheme]

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{name}:{self.explicit_port}" if self.explicit_port else name


def address_of(url: str) -> Address:
    """Parse `url`.

    Raises:
        ValueError: it is not an http(s) URL.
    """
    match = _PLAIN.fullmatch(url)
    if match is None or "/." in (match["target"] or "") or int(match["port"] or 1) > 65535:
        return _read_by_httpx(url)
    scheme, port = match["scheme"].lower(), int(match["port"] or 0)
    explicit = None if port in (0, _PORTS[scheme]) else port
    return Address(url, scheme, match["host"].strip("[]").lower(), explicit, match["target"] or "/")


def _read_by_httpx(url: str) -> Address:
    import httpx

    try:
        read = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    if read.scheme not in _PORTS or not read.host:
        raise ValueError("it is no http(s) address")
    return Address(url, read.scheme, read.raw_host.decode("ascii"), read.port, read.raw_path.decode("ascii"))


def link_address(url: str) -> Address:
    """Parse the link `url`.

    Raises:
        APIConnectionError: it is not a valid http(s) URL.
    """
    try:
        return address_of(url)
    except (ValueError, StepFunError) as error:
        message = f"the address cannot be used: {error}"
        raise APIConnectionError(message, billing="not_sent", again=False) from error


class PreparedRequest:
    """A request with its address, headers and body.

    Attributes:
        call: the request.
        address: where it goes.
        headers: all but `host` and `content-length`, by lower-case name.
        body: its body.
    """

    __slots__ = ("address", "body", "call", "headers")

    def __init__(self, call: HTTPRequest, address: Address, headers: Mapping[str, str], body: RequestBody) -> None:
        self.call = call
        self.address = address
        self.headers = headers
        self.body = body


class Headers(NamedTuple):
    """The headers that all calls have, by lower-case name; and with those of a body in JSON."""

    all: Mapping[str, str]
    of_json: Mapping[str, str]


def headers_of(headers: Mapping[str, str]) -> Headers:
    """Return the headers of all requests, with and without a JSON body."""
    return Headers(headers, {**headers, "content-type": JSON})


def prepare_at_once(call: HTTPRequest, address: Address, headers: Headers, state: SendState) -> PreparedRequest | None:
    """Prepare `call` if its body is encoded already and it has no headers of its own; otherwise return `None`."""
    if call.content is None or call.headers:
        return None
    return PreparedRequest(call, address, headers.of_json, RequestBody(JSON, (call.content,), state))


async def prepare_request(
    call: HTTPRequest, address: Address, headers: Headers, progress: SendState
) -> PreparedRequest:
    """Prepare `call`.

    Raises:
        InvalidRequestError: the body cannot be encoded as JSON.
        APIConnectionError: a file to send has changed.
    """
    body = await body_of(call, progress)
    if body.content_type == JSON and not call.headers:
        return PreparedRequest(call, address, headers.of_json, body)
    more = {name.lower(): as_secret(value) for name, value in call.headers.items()}
    if body.content_type is not None:
        more["content-type"] = body.content_type
    return PreparedRequest(call, address, {**headers.all, **more}, body)
