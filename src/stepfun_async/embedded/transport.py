"""The engine as a client's transport: no socket, no copy, the same faults."""

from __future__ import annotations

from typing import NoReturn

import anyio
import anyio.to_thread

from stepfun_async._core.errors import APIConnectionError
from stepfun_async._core.wire import Call, Progress, Reply

from .acts import Drop, Hang, Send, Step, Wait
from .engine import Engine


class EmbeddedTransport:
    """Carries calls to an `Engine` in the same process, on asyncio and trio.

    Args:
        engine: what answers.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def send(self, call: Call, progress: Progress) -> Reply:
        """The engine's answer to `call`, after whatever its scenario has in store.

        Args:
            call: the call.
            progress: is told when the call leaves.

        Raises:
            APIConnectionError: the scenario lost the connection; whether it was billed, a caller
                cannot know.
        """
        progress.leaves()
        steps = self.engine.play(call)
        while True:
            # A cancelled caller does not wait for the picture: a server would go on with it too.
            step = await anyio.to_thread.run_sync(next, steps, abandon_on_cancel=True)
            reply = await _act(step)
            if reply is not None:
                return reply

    async def aclose(self) -> None:
        """Nothing to close."""


async def _act(step: Step) -> Reply | None:
    """Act `step` out; the answer, where it is the one that brings it."""
    match step:
        case Wait(seconds):
            await anyio.sleep(seconds)
        case Hang():
            await anyio.sleep_forever()
        case Drop():
            _lose("the connection was lost before an answer came")
        case Send(cut=True):
            _lose("the connection was lost in the middle of the answer")
        case Send():
            await anyio.sleep((step.pace or 0.0) * len(step.pieces()))
            return step.reply
    return None


def _lose(how: str) -> NoReturn:
    raise APIConnectionError(f"{how} (a fault of the embedded engine's scenario)", billing="unknown")
