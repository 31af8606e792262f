"""`HTTPTransport`: sends requests to the API with the key, and to links without it."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from .._core.errors import APIConnectionError, ConfigurationError
from .._core.secrets import as_secret
from .._core.server import Settings
from .._core.version import __version__
from .._core.wire import HTTPRequest, HTTPResponse, SendState
from .addresses import AddressFilter, is_public, why_not_loopback, why_not_public
from .errors import map_exception
from .host_names import addresses_of
from .pool import ConnectionPool, UserTransport
from .request import Address, Headers, address_of, headers_of, link_address, prepare_at_once, prepare_request
from .response_body import MAX_BODY, MAX_IMAGE
from .sockets import StaleConnectionError
from .trace import AddressNotAllowedError, ConnectionTrace, refuse_host

MAX_REDIRECTS = 5
"""The maximum number of redirects that the link to an image may take."""

_ADDRESSES = 64
"""The maximum number of parsed addresses of the API that are kept."""


class _Policy(NamedTuple):
    """The limits of one kind of request.

    Attributes:
        guard: the filter of the addresses that it may connect to; `None` for all addresses.
        longest: the maximum bytes of the response's body.
    """

    guard: AddressFilter | None
    longest: int


_LINK = _Policy(why_not_public, MAX_IMAGE)
_LINK_INSIDE = _Policy(None, MAX_IMAGE)
"""For links of an API that is not itself public."""


class HTTPTransport:
    """Sends requests to a base URL over HTTP."""

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
        self._api = _Policy(why_not_loopback if in_clear else None, MAX_BODY)
        self._addresses: dict[str, Address] = {}
        self._is_inside = False

    def send(self, call: HTTPRequest, progress: SendState) -> Coroutine[Any, Any, HTTPResponse]:
        """Send `call` to the base URL or, if its path is a whole link, to that link without the key."""
        path = call.path
        if path in self._addresses:
            return self._exchange(call, self._addresses[path], self._headers, self._api, progress)
        if path.startswith("/"):
            return self._exchange(call, self._address_of(path), self._headers, self._api, progress)
        return self._follow(call, progress)

    async def aclose(self) -> None:
        await self._connections.aclose()

    def _address_of(self, path: str) -> Address:
        """Return the address of a path below the base URL. There are a few, so each is parsed and checked once.

        The IP address of its host is checked at every connect.
        """
        try:
            refuse_host(self._base.host, self._api.guard)
        except AddressNotAllowedError as refused:
            raise _not_in_clear(refused) from None
        if len(self._addresses) >= _ADDRESSES:
            self._addresses.clear()
        address = self._addresses[path] = link_address(self._config.base_url + path)
        return address

    async def _follow(self, call: HTTPRequest, state: SendState) -> HTTPResponse:
        url = call.path
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._fetch(call, link_address(url), state)
            location = response.headers.get("location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            url = _joined(url, location)
        raise _not_followed(f"it was redirected more than {MAX_REDIRECTS} times")

    async def _fetch(self, call: HTTPRequest, address: Address, state: SendState) -> HTTPResponse:
        """Return the response of a link, if that is public, or the API is as little public itself."""
        if self._is_inside or address.host == self._base.host:
            return await self._exchange(call, address, self._link_headers, _LINK_INSIDE, state)
        try:
            refuse_host(address.host, _LINK.guard)
            return await self._exchange(call, address, self._link_headers, _LINK, state)
        except AddressNotAllowedError as refused:
            why = str(refused)
        self._is_inside = await _is_inside(self._base.host)
        if self._is_inside:
            return await self._exchange(call, address, self._link_headers, _LINK_INSIDE, state)
        raise _not_followed(why)

    async def _exchange(
        self, call: HTTPRequest, address: Address, headers: Headers, policy: _Policy, state: SendState
    ) -> HTTPResponse:
        """Send one request to `address`, on a connection of the pool, and return the response."""
        pool, key = self._connections, self._config.key
        request = prepare_at_once(call, address, headers, state) or await prepare_request(call, address, headers, state)
        trace = ConnectionTrace(state, address.host, policy.guard, key)
        state.sent = pool.sent_at_first
        route = pool.route(address.origin, policy.guard)
        while True:
            connection, stack = pool.take_idle(route, state) or await pool.take(route)
            failure: BaseException | None = None
            try:
                response = await connection.exchange(request, trace, policy.longest)
            except StaleConnectionError:
                pass
            except BaseException as error:  # noqa: BLE001 - raised below
                failure = map_exception(error, connection.meaning, trace, key)
                if policy is self._api and isinstance(failure, AddressNotAllowedError):
                    failure = _not_in_clear(failure)
            else:
                if not pool.keep(connection, stack, state):
                    await pool.close(connection)
                return response
            # Outside the `except` blocks, so that no error of these lines has a context which may contain the key.
            await pool.discard(connection)
            if failure is not None:
                raise failure


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


def _not_in_clear(refused: AddressNotAllowedError) -> ConfigurationError:
    return ConfigurationError(
        f"the key is not sent in clear: {refused}; write https:// in base_url, or pass allow_http=True"
    )


def _not_followed(why: str) -> APIConnectionError:
    return APIConnectionError(f"the link was not followed: {why}", billing="not_sent", again=False)
