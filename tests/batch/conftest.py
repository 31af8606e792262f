"""What tests of batches share: a server that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.object_store import ObjectStore, object_store


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectStore]:
    with object_store() as server:
        yield server


@pytest.fixture
def bucket(object_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The server with one empty bucket, found by whoever looks into the environment."""
    object_server.reset()
    for name, value in object_server.environment().items():
        monkeypatch.setenv(name, value)
    return object_server
