"""A call on its way: to the API with the key, or to a link without it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from socket import SOCK_STREAM
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import anyio
import httpx

from .._config import Config, hidden
from .._core.addresses import Guard, is_public, why_not_loopback, why_not_public
from .._core.errors import APIConnectionError, ConfigurationError
from .._core.wire import Call, Progress, Reply
from .bodies import MAX_BODY, MAX_PICTURE
from .connections import TIMEOUTS, Borrowed, Connections, Lane
from .failures import failure_of
from .messages import read, request_for
from .watching import RefusedError, Watch

MAX_REDIRECTS = 5
"""Hops that the link to a picture may take."""


class _Manner(NamedTuple):
    """How the calls of one kind are made.

    Attributes:
        guard: where their connections may not lead; None where they may lead anywhere.
        longest: bytes of the longest answer.
    """

    guard: Guard | None
    longest: int


_LINK = _Manner(why_not_public, MAX_PICTURE)
_LINK_INSIDE = _Manner(None, MAX_PICTURE)
"""For links of an API that is not public itself."""


class HttpTransport:
    """Calls to a base URL over HTTP."""

    def __init__(self, config: Config, headers: Mapping[str, str], connections: Connections | Borrowed) -> None:
        self._config = config
        self._host = _checked_host(config.base_url)
        self._connections = connections
        plain = {"accept": "*/*", "accept-encoding": "identity", "user-agent": f"stepfun-async/{_version()}"}
        key = {"authorization": config.key.authorization()} if config.key else {}
        self._link_headers = plain
        self._headers = {**plain, **key, **{name.lower(): hidden(value) for name, value in headers.items()}}
        in_clear = urlsplit(config.base_url).scheme == "http" and not config.allow_http
        self._api = _Manner(why_not_loopback if in_clear else None, MAX_BODY)
        self._is_inside = False

    async def send(self, call: Call, progress: Progress) -> Reply:
        """Send `call` to the base URL; or, when its path is a whole link, there, without the key."""
        if not call.path.startswith("/"):
            return await self._follow(call, progress)
        request = await request_for(call, self._config.base_url + call.path, self._headers, progress)
        try:
            return await self._exchange(call, request, self._api, progress)
        except RefusedError as refused:
            raise ConfigurationError(
                f"the key is not sent in clear: {refused}; write https:// in base_url, or pass allow_http=True"
            ) from None

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def _follow(self, call: Call, progress: Progress) -> Reply:
        url = call.path
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._fetch(call, await request_for(call, url, self._link_headers, progress), progress)
            location = reply.headers.get("location")
            if reply.status not in (301, 302, 303, 307, 308) or not location:
                return reply
            url = _joined(url, location)
        raise _not_followed(f"it was redirected more than {MAX_REDIRECTS} times")

    async def _fetch(self, call: Call, request: httpx.Request, progress: Progress) -> Reply:
        """The answer to a link, where that is public, or the API is as little public itself."""
        if self._is_inside or _host_of(request.url) == self._host:
            return await self._exchange(call, request, _LINK_INSIDE, progress)
        try:
            return await self._exchange(call, request, _LINK, progress)
        except RefusedError as refused:
            why = str(refused)
        self._is_inside = await _is_inside(self._host)
        if self._is_inside:
            return await self._exchange(call, request, _LINK_INSIDE, progress)
        raise _not_followed(why)

    async def _exchange(self, call: Call, request: httpx.Request, manner: _Manner, progress: Progress) -> Reply:
        host = _host_of(request.url)
        watch = Watch(progress, host, manner.guard, self._config.key)
        lane = Lane((request.url.scheme, host, request.url.port), manner.guard)
        progress.sent = self._connections.sent_at_first
        connection = await self._connections.take(lane)
        request.extensions = {"timeout": TIMEOUTS, "trace": watch}
        try:
            reply = await read(await connection.handle_async_request(request), call, manner.longest)
        except BaseException as error:  # noqa: BLE001 - raised below
            await self._connections.discard(connection)
            failure = failure_of(error, watch, self._config.key)
        else:
            await self._connections.give_back(lane, connection)
            return reply
        raise failure  # out of reach of the error behind it, which may know the key


def _checked_host(base_url: str) -> str:
    try:
        return _host_of(httpx.URL(base_url))
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigurationError(f"base_url is {base_url!r}, which cannot be called: {error}") from error


def _host_of(url: httpx.URL) -> str:
    """The host as it goes to the resolver."""
    return url.raw_host.decode("ascii")


async def _is_inside(host: str) -> bool:
    """Whether the API at `host` is no more public than a link that was refused. Only then is its name looked up."""
    if why_not_public(host):
        return True
    try:
        found = await anyio.getaddrinfo(host, None, type=SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and not any(is_public(address[0]) for *_, address in found)


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


@cache
def _version() -> str:
    return version("stepfun-async")
