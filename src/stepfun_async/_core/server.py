"""The server that a client talks to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from .capabilities import Region
from .secrets import APIKey
from .servers import DEFAULT_SERVER, Server

EMBEDDED = "embedded"
"""The base URL that means the engine inside this process."""

DIFFUSERS = "diffusers"
"""The base URL that means a `DiffusersEngine` inside this process."""

IN_PROCESS = (EMBEDDED, DIFFUSERS)
"""The base URLs of engines inside this process, which need no key."""


Origin: TypeAlias = tuple[str, str, int | None]
"""Scheme, host and port of a server; None for the scheme's usual port."""


_LINK_LIFETIMES: Mapping[Region, timedelta] = {"international": timedelta(hours=2), "china": timedelta(days=30)}
"""How long links to pictures work. Sources: 'Generate images' endpoint (.ai), docs 2026-06 (.com)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where calls go and with which key.

    Attributes:
        base_url: without a slash at the end; `embedded` or `diffusers` for an engine in this process.
        key: None where none is needed.
        region: whose prices and link lifetimes hold; None on other servers than StepFun's.
        hosted: whether it is one of StepFun's own hosts.
        plan: whether it is the Step Plan, which has fewer models.
        allow_http: whether the key may go to another machine unencrypted.
        server: the profile of what stands there.
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

    @property
    def link_lifetime(self) -> timedelta | None:
        """How long the server's links work; None where it is not known."""
        return _LINK_LIFETIMES[self.region] if self.region else None
