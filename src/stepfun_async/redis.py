"""Limits that several processes and machines share through one Redis: `RedisBackend`, with the extra `redis`.

    Limits(max_concurrency=20, requests_per_minute=400, backend=RedisBackend("redis://10.0.0.7:6379/0", name="images"))

For each name Redis keeps two sorted sets. `slots` has the ids in use, each with the time its lease ends.
`entries` has the requests that count against the rate, each with the time at which it stops counting: a minute
after it was sent or, until that is known, a minute after its lease, the latest it can be sent. Every script
first removes the entries that have expired, and then counts the rest.

Each operation is one script, which Redis runs atomically and by its own clock, so the clocks of the machines do
not matter. Times are whole microseconds, which the doubles of Lua and of sorted sets represent exactly. Both
keys expire with their last entry, and share one slot of a cluster.
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
"""Seconds to wait before trying again to acquire a slot; Redis does not announce when one is released."""

_UNKNOWN = 1.0
"""Seconds to wait before trying again to acquire a rate entry while one is held that may still be released."""

_SPREAD = 0.2
"""The maximum random seconds added to each wait, so that the processes do not all retry at once."""

_LONGEST_LEASE = 24 * 60 * 60.0
"""The maximum lease in seconds, even of a call without a deadline."""

_PATIENCE = 2.0
"""Seconds to wait for a connection, for a response, and for a free connection of the pool."""

_CONNECTIONS = 50
"""The maximum connections per process: more than an event loop has worker threads. Redis allows 10,000 in all."""

_HOST = r"(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::[1-9]\d*)?(?:/\d*)?"
_LOCATIONS = {"redis": _HOST, "rediss": _HOST, "unix": r"/[^@?#]+"}
_URLS = tuple(
    re.compile(rf"({scheme}://)(?:[^/?#\s]*@)?({location})(?:\?[^@#\s]*)?") for scheme, location in _LOCATIONS.items()
)
"""Strict, since the visible part of a URL must not contain part of a password that has `/`, `?`, `#` or `@` in it."""

_CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function hold(key, id, ends)
    redis.call('ZADD', key, ends, id)
    local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
    redis.call('PEXPIREAT', key, math.ceil(last / 1000))
end
"""

_ACQUIRE = (
    _CLOCK
    + """
local slots, entries = KEYS[1], KEYS[2]
local slot, entry = ARGV[1], ARGV[2]
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
if entry ~= '' then
    local over = others(entries, entry) - requests_per_minute
    if over >= 0 then
        local free = redis.call('ZRANGE', entries, over, over, 'WITHSCORES')[2] - now
        if redis.call('ZCOUNT', entries, now + minute + 1, '+inf') > 0 then
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
if entry ~= '' then
    hold(entries, entry, now + lease + minute)
end
return 0
"""
)

_MARK_SENT = (
    _CLOCK
    + """
hold(KEYS[2], ARGV[1], now + ARGV[2])
return 0
"""
)

_RELEASE = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[2])
return 0
"""


class RedisBackend:
    """Limits shared by all processes that use the same Redis and the same `name`.

    It connects on first use, and again after a fork; one object serves any number of clients and
    threads. It pickles with its arguments, including the password in the URL.

    Args:
        url: `redis://user:password@host:6379/0`, `rediss://` for TLS, or `unix:///path/to.sock`. Settings of
            redis-py may follow as a query, such as `?socket_timeout=5` (seconds) or `?ssl_ca_certs=/path/to.pem`.
        name: the name of the shared limits: one for each StepFun account. All processes must use the same limits.

    Raises:
        ConfigurationError: the package `redis` is not installed, or the URL or the name is invalid.
    """

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = _checked_name(name)
        self._location = _location(url)
        client = _client(url, self._location)
        # Only the part in braces determines a key's slot in a cluster.
        self._keys = [f"stepfun-async:{{{name}}}:{what}" for what in ("slots", "entries")]
        self._acquire, self._mark_sent, self._release = map(client.register_script, (_ACQUIRE, _MARK_SENT, _RELEASE))

    def __repr__(self) -> str:
        return f"RedisBackend({self._location!r}, name={self._name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), name=self._name), (self._url,)

    def acquire(
        self,
        *,
        slot: str | None,
        entry: str | None,
        max_concurrency: int,
        requests_per_minute: int | None,
        lease: float,
    ) -> float:
        """Acquire a slot, a rate entry, or both: see `LimitsBackend.acquire`.

        Raises:
            LimitsUnavailableError: Redis did not respond within a few seconds, or returned an error.
        """
        entry = None if requests_per_minute is None else entry
        seconds = (min(lease, _LONGEST_LEASE), _MINUTE, _POLL, _UNKNOWN)
        limits = (max_concurrency, requests_per_minute or 0)
        try:
            wait = self._run(self._acquire, slot or "", entry or "", *limits, *map(_microseconds, seconds))
        except LimitsUnavailableError as error:
            error.extend_message("nothing was sent")
            raise
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        return wait / 1e6 + _SPREAD * jitter if wait else 0.0

    def mark_sent(self, entry: str, *, ago: float) -> None:
        """Record when the request of `entry` was sent: see `LimitsBackend.mark_sent`."""
        self._run(self._mark_sent, entry, _microseconds(_MINUTE - ago))

    def release(self, *, slot: str | None, entry: str | None) -> None:
        """Release what is no longer used: see `LimitsBackend.release`."""
        self._run(self._release, slot or "", entry or "")

    def _run(self, script: Script, *arguments: str | int) -> int:
        from redis.exceptions import ChildDeadlockedError, RedisError

        try:
            return int(script(self._keys, arguments))
        except (RedisError, ChildDeadlockedError, OSError, UnicodeError) as error:
            raise LimitsUnavailableError(
                f"the shared limits at {self._location} are unavailable: {_reason(error)}"
            ) from error


def _microseconds(seconds: float) -> int:
    return math.ceil(seconds * 1e6)


def _reason(error: Exception) -> str:
    from redis.exceptions import MovedError

    if isinstance(error, MovedError):  # its text is only two numbers
        return "it is one node of a cluster; give the URL of a Redis that stands alone, or of the cluster's proxy"
    return str(error).rstrip(".")


def _checked_name(name: object) -> str:
    if isinstance(name, str) and re.fullmatch(r"[^\s{}]+", name):
        return name
    raise ConfigurationError(f"name must be a string without spaces and braces, such as 'images', not {name!r}")


def _location(url: object) -> str:
    """Return `url` without user, password and query."""
    found = [match for kind in _URLS if isinstance(url, str) and (match := kind.fullmatch(url))]
    if not found:  # not shown, since it may contain a password anywhere
        raise ConfigurationError(
            "url must be the URL of a Redis: write redis://user:password@host:6379/0, rediss://... for TLS, or "
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
            # Retry once, at once, if a connection was closed; acquiring the same ids twice has no effect.
            retry=Retry(NoBackoff(), 1, (Lost,)),
            # The greeting of version 3 has the password in it, which an old server repeats in its error.
            protocol=2,
        )
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but validates every setting
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the URL of {location} is wrong: {error}") from error
    return Redis.from_pool(pool)
