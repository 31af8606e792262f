"""What all tests share: both event loops, and an environment without keys."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=40,  # laws that need more say so; `make attack` draws for as long as you like
    stateful_step_count=30,
)
settings.load_profile("any machine")  # no test depends on how fast it runs


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Async tests run on both."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, base URL or proxy of the machine reaches a test."""
    for name in ("STEP_API_KEY", "STEPFUN_API_KEY", "STEP_BASE_URL", "STEP_SERVER"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def _only_what_is_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model or a server that one test registers is not seen by others."""
    from stepfun_async._core import registry, servers

    monkeypatch.setattr(registry, "_table", dict(registry._table))
    monkeypatch.setattr(servers, "_servers", dict(servers._servers))


@pytest.fixture(params=["straight", "through httpx"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tests of what only sockets show run on our own connections and on httpx's."""
    from stepfun_async._transport import pool

    if request.param != "straight":
        monkeypatch.setattr(pool, "_is_patched", lambda: True)
    return str(request.param)
