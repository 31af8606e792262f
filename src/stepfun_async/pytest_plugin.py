"""The fixtures of `stepfun_async.testing` for pytest, which loads this module by its entry point.

It is loaded with every run of pytest, so it imports nothing of this package before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import FakeStepFun, FakeStepFunServer


@pytest.fixture
def stepfun() -> Iterator[FakeStepFun]:
    """A `FakeStepFun` that answers every `Client()` and `AsyncClient()` of the code under test."""
    from .testing import FakeStepFun

    with FakeStepFun() as fake:
        yield fake


@pytest.fixture
def stepfun_server(stepfun: FakeStepFun) -> Iterator[FakeStepFunServer]:
    """What `stepfun` is, behind real HTTP at `.url`, where `STEP_BASE_URL` leads too."""
    from .testing import FakeStepFunServer

    with FakeStepFunServer(stepfun.engine) as server:
        yield server


@pytest.fixture
def stepfun_virtual_time() -> Iterator[None]:
    """Virtual time for every `Client` whose first call is made in the test."""
    from .testing import virtual_time

    with virtual_time():
        yield
