"""A real Dask cluster of two worker processes on this machine."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest


@contextmanager
def dask_cluster(environment: Mapping[str, str]) -> Iterator[Any]:
    """A client of a cluster, which is gone at the end.

    Where distributed is not installed the test is skipped; in CI it fails.

    Args:
        environment: what the workers have in theirs.
    """
    if find_spec("distributed") is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("distributed is not installed: pip install distributed")
    _distributed()  # whose settings would go again with the ones below, were it loaded only then
    dask: Any = importlib.import_module("dask")
    leases = {"distributed.scheduler.locks.lease-timeout": "2s"}
    leases["distributed.scheduler.locks.lease-validation-interval"] = "1s"
    with dask.config.set(leases):
        cluster = _distributed().LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0", env=dict(environment), silence_logs=50
        )
        with cluster, connected(cluster) as client:
            yield client


def connected(cluster: Any) -> Any:
    """A client of a cluster, by itself or by its address."""
    return _distributed().Client(cluster)


def _distributed() -> Any:
    return importlib.import_module("distributed")
