"""For tests of programs that use this package: a fake StepFun, and virtual time.

`FakeStepFun` answers offline and records what was requested and paid for; `FakeStepFunServer` is the same behind real
HTTP. `run`, `virtual_backend` and `virtual_time` run code with retries, deadlines and limits without waiting.
`stepfun_async.pytest_plugin` provides them as fixtures. May import `_client` and everything below.
"""

from __future__ import annotations

from .asyncio_time import VirtualLoop
from .fake import FakeStepFun, FakeStepFunServer
from .virtual import run, virtual_backend, virtual_time

__all__ = ["FakeStepFun", "FakeStepFunServer", "VirtualLoop", "run", "virtual_backend", "virtual_time"]
