"""The server that a client talks to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from .capabilities import ENDPOINTS, Region
from .profiles import Server
from .secrets import APIKey
from .servers import DEFAULT_SERVER

EMBEDDED = "embedded"
"""The base URL that means the engine inside this process."""

DIFFUSERS = "diffusers"
"""The base URL that means a `DiffusersEngine` inside this process."""

IN_PROCESS = (EMBEDDED, DIFFUSERS)
"""The base URLs of engines inside this process, which need no key."""


Origin: TypeAlias = tuple[str, str, int | None]
"""Scheme, host and port of a server; `None` for the scheme's usual port."""


_LINK_LIFETIMES: Mapping[Region, timedelta] = {"international": timedelta(hours=2), "china": timedelta(days=30)}
"""The lifetime of links to images. Sources: 'Generate images' endpoint (.ai), docs 2026-06 (.com)."""


_GONE = (403, 404, 405, 410)
"""Statuses that a host may send when it no longer serves an operation."""

_ENDED = "StepFun's hosts were to stop serving images on 2026-10-10: see the page 'Which server?'"

_VERSIONED = re.compile(r"/v\d+$")
"""The usual end of a correct base URL."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The server and the key of a client's calls.

    Attributes:
        base_url: without a slash at the end; `embedded` or `diffusers` for an engine in this process.
        key: `None` if none is needed.
        region: whose prices and link lifetimes hold; None on other servers than StepFun's.
        hosted: whether it is one of StepFun's own hosts.
        plan: whether it is the Step Plan, which has fewer models.
        allow_http: whether the key may go to another machine unencrypted.
        server: the profile of the server.
    """

    base_url: str
    key: APIKey | None
    region: Region | None
    hosted: bool
    plan: bool
    allow_http: bool = False
    server: Server = DEFAULT_SERVER

    @property
    def embedded(self) -> bool:
        """Whether it is an engine in this process."""
        return self.base_url in IN_PROCESS

    def hint(self, operation: str, status: int) -> str | None:
        """Return the remedy for an error status of an operation; `None` if the status speaks for itself."""
        if status == 404 and operation == "image_to_image" and not self.hosted:
            return "this server has no image-to-image; edit() takes an image and a prompt, too"
        if self.hosted and operation in ENDPOINTS and (status in _GONE or status >= 500):
            return _ENDED
        if status == 404 and _VERSIONED.search(self.base_url):
            return "the server has no such path, or no such model; client.server.inspect() shows what it has"
        return None

    def hint_without_connection(self, operation: str) -> str | None:
        """Return the remedy for an operation whose server cannot be reached; `None` if there is none to name."""
        return _ENDED if self.hosted and operation in ENDPOINTS else None

    @property
    def link_lifetime(self) -> timedelta | None:
        """The lifetime of the server's links; `None` if unknown."""
        return _LINK_LIFETIMES[self.region] if self.region else None
