"""For the tests of programs that use this package: a StepFun of one's own, and time that does not pass.

`FakeStepFun` answers offline and tells what was asked and paid for; `FakeStepFunServer` is the same
behind real HTTP. `run`, `virtual_backend` and `virtual_time` have code with retries, deadlines and
limits run without waiting. `stepfun_async.pytest_plugin` makes fixtures of them.
"""

from __future__ import annotations

from .asyncio_time import VirtualLoop
from .fake import FakeStepFun, FakeStepFunServer
from .virtual import run, virtual_backend, virtual_time

__all__ = ["FakeStepFun", "FakeStepFunServer", "VirtualLoop", "run", "virtual_backend", "virtual_time"]
