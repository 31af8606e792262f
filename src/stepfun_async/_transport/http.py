"""A call on its way: to the API with the key, or to a link without it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from .._core.errors import APIConnectionError, ConfigurationError
from .._core.secrets import as_secret
from .._core.server import Settings
from .._core.version import __version__
from .._core.wire import HTTPRequest, HTTPResponse, SendState
from .addresses import AddressFilter, is_public, why_not_loopback, why_not_public
from .errors import map_exception
from .host_names import addresses_of
from .http11 import ResponseHead
from .pool import ConnectionPool, UserTransport
from .request import Address, PreparedRequest, address_of, headers_of, link_address, prepare_request
from .response_body import MAX_BODY, MAX_PICTURE, BodyReader
from .trace import AddressNotAllowedError, ConnectionTrace, refuse_host

MAX_REDIRECTS = 5
"""Hops that the link to a picture may take."""

_ADDRESSES = 64
"""Addresses of the API that are remembered at most."""


class _Manner(NamedTuple):
    """How the calls of one kind are made.

    Attributes:
        guard: where their connections may not lead; None where they may lead anywhere.
        longest: bytes of the longest answer.
    """

    guard: AddressFilter | None
    longest: int


_LINK = _Manner(why_not_public, MAX_PICTURE)
_LINK_INSIDE = _Manner(None, MAX_PICTURE)
"""For links of an API that is not public itself."""


class HTTPTransport:
    """Calls to a base URL over HTTP."""

    def __init__(
        self, config: Settings, headers: Mapping[str, str], connections: ConnectionPool | UserTransport
    ) -> None:
        self._config = config
        self._base = _checked_base(config.base_url)
        self._connections = connections
        plain = {"accept": "*/*", "accept-encoding": "identity", "user-agent": f"stepfun-async/{__version__}"}
        key = {"authorization": config.key.authorization()} if config.key else {}
        self._link_headers = headers_of(plain)
        own = {name.lower(): as_secret(value) for name, value in headers.items()}
        self._headers = headers_of({**plain, **key, **own})
        in_clear = self._base.scheme == "http" and not config.allow_http
        self._api = _Manner(why_not_loopback if in_clear else None, MAX_BODY)
        self._addresses: dict[str, Address] = {}
        self._is_inside = False
        self._is_allowed = False

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        """Send `call` to the base URL; or, when its path is a whole link, there, without the key."""
        if not call.path.startswith("/"):
            return await self._follow(call, progress)
        request = await prepare_request(call, self._address_of(call.path), self._headers, progress)
        try:
            if not self._is_allowed:  # the same host for every call; the address reached is judged at every connect
                refuse_host(self._base.host, self._api.guard)
                self._is_allowed = True
            return await self._exchange(request, self._api, progress)
        except AddressNotAllowedError as refused:
            raise ConfigurationError(
                f"the key is not sent in clear: {refused}; write https:// in base_url, or pass allow_http=True"
            ) from None

    async def aclose(self) -> None:
        await self._connections.aclose()

    def _address_of(self, path: str) -> Address:
        """Where a call to the API goes: one of a few addresses, so each is read once."""
        address = self._addresses.get(path)
        if address is None:
            if len(self._addresses) >= _ADDRESSES:
                self._addresses.clear()
            address = self._addresses[path] = link_address(self._config.base_url + path)
        return address

    async def _follow(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        url = call.path
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._fetch(
                await prepare_request(call, link_address(url), self._link_headers, progress), progress
            )
            location = reply.headers.get("location")
            if reply.status not in (301, 302, 303, 307, 308) or not location:
                return reply
            url = _joined(url, location)
        raise _not_followed(f"it was redirected more than {MAX_REDIRECTS} times")

    async def _fetch(self, request: PreparedRequest, progress: SendState) -> HTTPResponse:
        """The answer to a link, where that is public, or the API is as little public itself."""
        if self._is_inside or request.address.host == self._base.host:
            return await self._exchange(request, _LINK_INSIDE, progress)
        try:
            refuse_host(request.address.host, _LINK.guard)
            return await self._exchange(request, _LINK, progress)
        except AddressNotAllowedError as refused:
            why = str(refused)
        self._is_inside = await _is_inside(self._base.host)
        if self._is_inside:
            return await self._exchange(request, _LINK_INSIDE, progress)
        raise _not_followed(why)

    async def _exchange(self, request: PreparedRequest, manner: _Manner, progress: SendState) -> HTTPResponse:
        watch = ConnectionTrace(progress, request.address.host, manner.guard, self._config.key)
        lane = self._connections.lane(request.address.origin, manner.guard)
        progress.sent = self._connections.sent_at_first
        taken = await self._connections.take(lane)
        try:
            begin = partial(_intake, request.call, manner.longest)
            reply = await taken.connection.exchange(request, watch, begin)
        except BaseException as error:  # noqa: BLE001 - raised below
            await self._connections.discard(taken)
            failure = map_exception(error, taken.connection.meaning, watch, self._config.key)
        else:
            await self._connections.give_back(taken)
            return reply
        raise failure  # out of reach of the error behind it, which may know the key


def _intake(call: HTTPRequest, longest: int, head: ResponseHead) -> BodyReader:
    return BodyReader(call, head.status, head.headers, longest)


def _checked_base(base_url: str) -> Address:
    try:
        return address_of(base_url)
    except ValueError as error:
        raise ConfigurationError(f"base_url is {base_url!r}, which cannot be called: {error}") from error


async def _is_inside(host: str) -> bool:
    """Whether the API at `host` is no more public than a link that was refused. Only then is its name looked up."""
    if why_not_public(host):
        return True
    try:
        found = await addresses_of(host, 0)
    except (OSError, UnicodeError):
        return False
    return bool(found) and not any(is_public(address[0]) for _, address in found)


def _joined(url: str, location: str) -> str:
    try:
        joined = urljoin(url, location)
        if urlsplit(joined).scheme in ("http", "https"):
            return joined
    except ValueError:
        pass
    raise _not_followed("it leads to something that is not http(s)")


def _not_followed(why: str) -> APIConnectionError:
    return APIConnectionError(f"the link was not followed: {why}", billing="not_sent", again=False)
