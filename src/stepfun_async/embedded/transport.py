"""The engine as a client's transport: no socket, no copy, the same faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NoReturn

import anyio
import anyio.lowlevel

from stepfun_async._core.errors import APIConnectionError
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async._runtime.event_loop import Job, finished_in_thread
from stepfun_async._runtime.files import FileChangedError

from .default_engine import in_use
from .engine import Engine
from .steps import Drop, Hang, Send, Step, Wait


class EmbeddedTransport:
    """Carries calls to an `Engine` in the same process, on asyncio and trio.

    Args:
        engine: what answers. When absent, the engine that a `use` block has chosen by the time of the
            call, and outside of such blocks one of this transport's own.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._given = engine
        self._own = Engine()

    @property
    def engine(self) -> Engine:
        """What answers now."""
        return self._given or in_use() or self._own

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        """The engine's answer to `call`, after whatever its scenario has in store.

        Args:
            call: the call.
            progress: is told when the call leaves.

        Raises:
            APIConnectionError: the scenario lost the connection; whether it was billed, a caller
                cannot know. Or a picture to send has changed on disk; then nothing was sent.
        """
        call = await _in_memory(call)
        progress.leaves()
        engine = self.engine
        steps = engine.play(call)
        while True:
            step = await (_next_here(steps) if engine.plain else _next_in_thread(steps))
            reply = await _act(step)
            if reply is not None:
                return reply

    async def aclose(self) -> None:
        """Nothing to close."""


async def _in_memory(call: HTTPRequest) -> HTTPRequest:
    """`call` with its pictures read from disk, as a server has them once they have come."""
    if all(isinstance(upload.content, bytes) for upload in call.files.values()):
        return call
    try:
        return await finished_in_thread(partial(_read, call))
    except FileChangedError as error:
        message = f"{error} since it was looked at, so the request did not leave: make a new one"
        raise APIConnectionError(message, billing="not_sent", again=False) from error


def _read(call: HTTPRequest) -> HTTPRequest:
    return replace(call, files={name: replace(upload, content=upload.data) for name, upload in call.files.items()})


async def _next_here(steps: Iterator[Step]) -> Step:
    """The next step, in the loop itself: quicker than a thread, and calls keep their order."""
    await anyio.lowlevel.checkpoint()
    return next(steps)


async def _next_in_thread(steps: Iterator[Step]) -> Step:
    # A cancelled caller does not wait for the picture: a server would go on with it too.
    job: Job[Step] = Job(partial(next, steps), unwanted=_ignore)
    return await job.result()


def _ignore() -> None:
    """Do nothing with a picture that nobody waits for any more."""


async def _act(step: Step) -> HTTPResponse | None:
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
            return replace(step.reply, body=step.body)
    return None


def _lose(how: str) -> NoReturn:
    raise APIConnectionError(f"{how} (a fault of the embedded engine's scenario)", billing="unknown")
