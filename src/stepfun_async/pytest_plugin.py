"""The pytest fixtures of `stepfun_async.testing`, registered by an entry point.

pytest loads this module in every run, so it imports the package only when a fixture is used.
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
    """The same as `stepfun`, over real HTTP at `.url`; `STEP_BASE_URL` is set to it."""
    from .testing import FakeStepFunServer

    with FakeStepFunServer(stepfun.engine) as server:
        yield server


@pytest.fixture
def stepfun_virtual_time() -> Iterator[None]:
    """Virtual time for every `Client` whose first call is made in the test."""
    from .testing import virtual_time

    with virtual_time():
        yield
