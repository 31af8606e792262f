"""The settings of a batch's client, and what is made from them: the client, and the settings of workers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stepfun_async._call.caller import Caller
from stepfun_async._call.service import caller_for
from stepfun_async._call.settings import KEY_VARIABLES, resolve
from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.profiles import Server
from stepfun_async._core.retry import RetryPolicy
from stepfun_async._core.server import Settings
from stepfun_async._core.version import __version__
from stepfun_async._limits.budget import Budget
from stepfun_async._limits.limits import Limits

from .run.chunks import WorkerConfig
from .storage.location import StorageLocation

if TYPE_CHECKING:
    from stepfun_async._core.events import OnEvent
    from stepfun_async._transport import AnyTransport

_NO_KEY = "nothing-is-sent"
"""The key if this process sends nothing: for a check, and for a run on other processes."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ClientSettings:
    """The settings of a batch's client, as for `AsyncClient`."""

    api_key: str | None
    base_url: str | None
    server: str | Server | None
    limits: Limits
    budget: Budget | None
    timeout: float
    retry: RetryPolicy
    default_headers: Mapping[str, str] | None
    transport: AnyTransport | None
    proxy: str | None
    allow_http: bool
    on_event: OnEvent | None

    def open(self, *, sends: bool = True) -> Caller:
        """Open a client.

        Args:
            sends: whether it sends requests; otherwise it needs no key.
        """
        return caller_for(
            self.api_key if sends else _NO_KEY,
            base_url=self.base_url,
            server=self.server,
            limits=self.limits,
            timeout=self.timeout,
            queue_timeout=None,
            retry=self.retry,
            budget=self.budget,
            validation="strict",
            default_headers=self.default_headers,
            transport=self.transport,
            proxy=self.proxy,
            allow_http=self.allow_http,
            on_event=self.on_event,
        )

    def resolved(self) -> Settings:
        """Return the settings with the environment's in place of absent ones, and without a key."""
        return resolve(_NO_KEY, self.base_url, allow_http=self.allow_http, server=self.server)

    def for_workers(
        self, location: StorageLocation, folder: Path, *, max_in_flight: int, lines_at_once: int
    ) -> WorkerConfig:
        """Return the settings of the workers of a run.

        Args:
            location: where and how the images are stored.
            folder: the folder that the workers share.
            max_in_flight: the maximum number of lines in flight on all workers.
            lines_at_once: the maximum number of lines in flight in a chunk.

        Raises:
            ConfigurationError: a setting cannot be sent to them.
        """
        self._check_portable()
        shared = self.limits.backend is not None
        limits = self.limits if shared else replace(self.limits, max_concurrency=max_in_flight)
        settings = self.resolved()
        return WorkerConfig(
            run=secrets.token_hex(8),
            version=__version__,
            folder=folder,
            location=location,
            base_url=settings.base_url,
            server=settings.server,
            limits=limits,
            timeout=self.timeout,
            retry=self.retry,
            allow_http=self.allow_http,
            lines_at_once=lines_at_once,
        )

    def _check_portable(self) -> None:
        """Check that all settings can be sent to workers.

        Raises:
            ConfigurationError: one of them cannot.
        """
        given = [name for name in _NOT_PORTABLE if getattr(self, name) is not None]
        if given:
            raise ConfigurationError(
                f"{', '.join(given)} would have to be sent to the workers of a cluster with every chunk, and cannot "
                f"be: leave it out; workers take key ({' or '.join(KEY_VARIABLES)}) and proxy from their own "
                "environment; nothing was sent"
            )
        if self.limits.backend is None and self.limits.requests_per_minute is not None:
            raise ConfigurationError(
                f"requests_per_minute={self.limits.requests_per_minute} would hold in each worker by itself: share it "
                "with Limits(..., backend=RedisBackend(...)), or leave it out; nothing was sent"
            )


_NOT_PORTABLE = ("api_key", "default_headers", "on_event", "proxy", "transport")
"""The settings that must not, or cannot, be sent to workers."""
