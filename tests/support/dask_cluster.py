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
    dask: Any = importlib.import_module("dask")
    distributed: Any = importlib.import_module("distributed")
    leases = {"distributed.scheduler.locks.lease-timeout": "2s"}
    leases["distributed.scheduler.locks.lease-validation-interval"] = "1s"
    with dask.config.set(leases):
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address=None, env=dict(environment), silence_logs=50
        )
        with cluster, distributed.Client(cluster) as client:
            yield client
