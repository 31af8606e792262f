"""Limits that several processes and machines share through one Redis: `RedisBackend`, with the extra `redis`.

    Limits(max_concurrency=20, requests_per_minute=400, backend=RedisBackend("redis://10.0.0.7:6379/0", name="images"))

For each name Redis keeps two sorted sets. `slots` has the ids that are held, each with the moment its
lease ends. `places` has the requests that count, each with the moment it no longer does: a minute after
it left, and until that is known a minute after its lease, the latest it can leave. What has ended is
removed whenever somebody asks; what is left is counted.

Each question is one script, which Redis runs alone, by its own clock: neither the order in which machines
ask nor what their clocks say matters. Moments are whole microseconds, which the doubles of Lua and of
sorted sets hold exactly. Both keys expire with the last moment in them, and lie together in a cluster.
"""

from __future__ import annotations

import math
import random
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from ._core.errors import ConfigurationError, LimitsUnavailableError
from ._limits.rate import MARGIN, PERIOD

if TYPE_CHECKING:
    from redis import Redis
    from redis.commands.core import Script

__all__ = ["RedisBackend"]

_MINUTE = PERIOD + MARGIN

_POLL = 0.1
"""Seconds to wait for a slot before asking again; nobody says when one is given back."""

_UNKNOWN = 1.0
"""Seconds to wait for a place before asking again while one is held that may yet be given back."""

_SPREAD = 0.2
"""Up to so many seconds are added to each wait, so that those who wait do not all ask at once."""

_LONGEST_LEASE = 24 * 60 * 60.0
"""Seconds after which even a call without a deadline has lost its slot."""

_PATIENCE = 2.0
"""Seconds for connecting, for an answer, and for one of the connections to come free."""

_CONNECTIONS = 50
"""Connections at most per process: more than an event loop has worker threads. Redis has 10,000 in all."""

_HOST = r"(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::[1-9]\d*)?(?:/\d*)?"
_PLACES = {"redis": _HOST, "rediss": _HOST, "unix": r"/[^@?#]+"}
_URLS = tuple(re.compile(rf"({scheme}://)(?:[^/?#\s]*@)?({place})(?:\?[^@#\s]*)?") for scheme, place in _PLACES.items())
"""Strict, since what is shown of a URL must not be a piece of a password with `/`, `?`, `#` or `@` in it."""

_CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function hold(key, id, ends)
    redis.call('ZADD', key, ends, id)
    local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
    redis.call('PEXPIREAT', key, math.ceil(last / 1000))
end
"""

_TAKE = (
    _CLOCK
    + """
local slots, places = KEYS[1], KEYS[2]
local slot, place = ARGV[1], ARGV[2]
local max_concurrency, requests_per_minute = tonumber(ARGV[3]), tonumber(ARGV[4])
local lease, minute, poll, unknown = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local wait = 0

local function others(key, id)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    redis.call('ZREM', key, id)
    return redis.call('ZCARD', key)
end

if slot ~= '' and others(slots, slot) >= max_concurrency then
    wait = poll
end
if place ~= '' then
    local over = others(places, place) - requests_per_minute
    if over >= 0 then
        local free = redis.call('ZRANGE', places, over, over, 'WITHSCORES')[2] - now
        if redis.call('ZCOUNT', places, now + minute + 1, '+inf') > 0 then
            free = math.min(free, unknown)
        end
        wait = math.max(wait, free)
    end
end
if wait > 0 then
    return wait
end
if slot ~= '' then
    hold(slots, slot, now + lease)
end
if place ~= '' then
    hold(places, place, now + lease + minute)
end
return 0
"""
)

_SENT = (
    _CLOCK
    + """
hold(KEYS[2], ARGV[1], now + ARGV[2])
return 0
"""
)

_GIVE_BACK = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[2])
return 0
"""


class RedisBackend:
    """Limits that all processes share which name the same Redis and the same `name`.

    It connects when it is first asked, and again after a fork; one object serves any number of clients and
    threads. It pickles with its arguments, the URL's password among them.

    Args:
        url: `redis://user:password@host:6379/0`, `rediss://` for TLS, or `unix:///path/to.sock`. Settings of
            redis-py may follow as a query, such as `?socket_timeout=5` (seconds) or `?ssl_ca_certs=/path/to.pem`.
        name: what is shared under: one name for each account of StepFun. All who use it give the same limits.

    Raises:
        ConfigurationError: the package `redis` is missing, or the URL or the name cannot be right.
    """

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = _checked_name(name)
        self._location = _location(url)
        client = _client(url, self._location)
        # The part in braces alone decides where in a cluster a key lies.
        self._keys = [f"stepfun-async:{{{name}}}:{what}" for what in ("slots", "places")]
        self._take, self._sent, self._give_back = map(client.register_script, (_TAKE, _SENT, _GIVE_BACK))

    def __repr__(self) -> str:
        return f"RedisBackend({self._location!r}, name={self._name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), name=self._name), (self._url,)

    def take(
        self,
        *,
        slot: str | None,
        place: str | None,
        max_concurrency: int,
        requests_per_minute: int | None,
        lease: float,
    ) -> float:
        """Take a slot, a place in the minute, or both: see `LimitsBackend.take`.

        Raises:
            LimitsUnavailableError: Redis did not answer within a few seconds, or refused.
        """
        place = None if requests_per_minute is None else place
        seconds = (min(lease, _LONGEST_LEASE), _MINUTE, _POLL, _UNKNOWN)
        limits = (max_concurrency, requests_per_minute or 0)
        try:
            wait = self._run(self._take, slot or "", place or "", *limits, *map(_microseconds, seconds))
        except LimitsUnavailableError as error:
            error.tell("nothing was sent")
            raise
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        return wait / 1e6 + _SPREAD * jitter if wait else 0.0

    def sent(self, place: str, *, ago: float) -> None:
        """Say when the request of `place` left: see `LimitsBackend.sent`."""
        self._run(self._sent, place, _microseconds(_MINUTE - ago))

    def give_back(self, *, slot: str | None, place: str | None) -> None:
        """Give back what is no longer used: see `LimitsBackend.give_back`."""
        self._run(self._give_back, slot or "", place or "")

    def _run(self, script: Script, *arguments: str | int) -> int:
        from redis.exceptions import ChildDeadlockedError, RedisError

        try:
            return int(script(self._keys, arguments))
        except (RedisError, ChildDeadlockedError, OSError, UnicodeError) as error:
            raise LimitsUnavailableError(
                f"the shared limits at {self._location} cannot be asked: {_reason(error)}"
            ) from error


def _microseconds(seconds: float) -> int:
    return math.ceil(seconds * 1e6)


def _reason(error: Exception) -> str:
    from redis.exceptions import MovedError

    if isinstance(error, MovedError):  # whose text is two numbers
        return "it is one node of a cluster; give the URL of a Redis that stands alone, or of the cluster's proxy"
    return str(error).rstrip(".")


def _checked_name(name: object) -> str:
    if isinstance(name, str) and re.fullmatch(r"[^\s{}]+", name):
        return name
    raise ConfigurationError(f"name is text without spaces and braces, such as 'images', not {name!r}")


def _location(url: object) -> str:
    """`url` without user, password and query."""
    found = [match for kind in _URLS if isinstance(url, str) and (match := kind.fullmatch(url))]
    if not found:  # not shown, since it may have a password anywhere
        raise ConfigurationError(
            "url is not the URL of a Redis: write redis://user:password@host:6379/0, rediss://... for TLS, or "
            "unix:///path/to.sock, with @, /, ?, # and % in a password as %40, %2F, %3F, %23 and %25"
        )
    return found[0][1] + found[0][2]


def _client(url: str, location: str) -> Redis:
    try:
        from redis import BlockingConnectionPool, Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as Lost
        from redis.retry import Retry
    except ImportError as error:
        raise ConfigurationError('RedisBackend needs redis: pip install "stepfun-async[redis]"') from error
    try:
        pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType] - untyped settings
            url,
            max_connections=_CONNECTIONS,
            timeout=_PATIENCE,
            socket_connect_timeout=_PATIENCE,
            socket_timeout=_PATIENCE,
            # Once more, at once, where a connection turns out to be gone; asking twice takes once.
            retry=Retry(NoBackoff(), 1, (Lost,)),
            # The third version's greeting has the password in it, which an old server repeats in its refusal.
            protocol=2,
        )
        pool.connection_class(**pool.connection_kwargs)  # which does not connect, but knows every setting
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the URL of {location} is wrong: {error}") from error
    return Redis.from_pool(pool)
