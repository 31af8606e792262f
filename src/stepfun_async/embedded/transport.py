"""The engine as a client's transport: no socket, no copy, the same faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NoReturn

import anyio
import anyio.lowlevel

from stepfun_async._core.errors import APIConnectionError, ConfigurationError
from stepfun_async._core.server import EMBEDDED
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async._runtime.event_loop import Job, finished_in_thread
from stepfun_async._runtime.files import FileChangedError

from .backend import Stop
from .default_engine import in_use
from .engine import Engine, Mount
from .steps import Drop, Hang, Send, Step, Wait

NO_MODEL = (
    "base_url='diffusers' needs a model: make the client inside of `with DiffusersEngine(folder) as engine:`, or pass "
    "transport=EmbeddedTransport(engine)"
)
"""The remedy for a client without its `DiffusersEngine`."""


class EmbeddedTransport:
    """Send calls to an `Engine` in the same process, on asyncio and trio.

    Args:
        engine: the engine to use; by default the one that a `use` block has chosen at the time of the
            call, and outside of such blocks one of this transport's own.
        base_url: the base URL of the engines that it uses, `embedded` or `diffusers`; the latter have none of
            the transport's own.
    """

    def __init__(self, engine: Engine | None = None, *, base_url: str = EMBEDDED) -> None:
        self._given = engine
        self._base_url = base_url
        self._own = Engine() if base_url == EMBEDDED else None

    @property
    def engine(self) -> Engine:
        """The engine in use now.

        Raises:
            ConfigurationError: there is none: the `use` block of a `DiffusersEngine` has ended.
        """
        engine = self._given or in_use(self._base_url) or self._own
        if engine is None:
            raise ConfigurationError(NO_MODEL)
        return engine

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        """Return the engine's response to `call`, with the faults of its scenario.

        Args:
            call: the HTTP request.
            progress: records when the request is sent.

        Raises:
            APIConnectionError: the scenario dropped the connection, and the call may have been billed; or
                an image to send has changed on disk, and nothing was sent.
        """
        call = await _in_memory(call)
        engine = self.engine
        progress.mark_sent()
        stop = Stop()
        steps = engine.play(call, Mount(stop=stop))
        while True:
            step = await (_next_here(steps) if engine.backend.quick else _next_in_thread(steps, stop))
            response = await _act(step)
            if response is not None:
                return response

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


async def _in_memory(call: HTTPRequest) -> HTTPRequest:
    """Return `call` with its images read from disk, as a server receives them."""
    if all(isinstance(upload.content, bytes) for upload in call.files.values()):
        return call
    try:
        return await finished_in_thread(partial(_read, call))
    except FileChangedError as error:
        message = f"{error} since it was checked, so nothing was sent: make a new request"
        raise APIConnectionError(message, billing="not_sent", again=False) from error


def _read(call: HTTPRequest) -> HTTPRequest:
    return replace(call, files={name: replace(upload, content=upload.data) for name, upload in call.files.items()})


async def _next_here(steps: Iterator[Step]) -> Step:
    """Take the next step in the event loop: faster than a thread, and calls keep their order."""
    await anyio.lowlevel.checkpoint()
    return next(steps)


async def _next_in_thread(steps: Iterator[Step], stop: Stop) -> Step:
    # A cancelled caller does not wait for the image; StepFun would also continue with it, and a model here stops.
    job: Job[Step] = Job(partial(next, steps), on_abandoned=_ignore)
    try:
        return await job.result()
    except BaseException:
        stop.set()
        raise


def _ignore() -> None:
    """Discard the image of a cancelled call."""


async def _act(step: Step) -> HTTPResponse | None:
    """Perform `step`, and return the response if it is the step that sends one."""
    match step:
        case Wait(seconds):
            await anyio.sleep(seconds)
        case Hang():
            await anyio.sleep_forever()
        case Drop():
            _lose("the connection was lost before a response arrived")
        case Send(cut=True):
            _lose("the connection was lost in the middle of the response")
        case Send():
            await anyio.sleep((step.pace or 0.0) * len(step.pieces()))
            return replace(step.response, body=step.body)
    return None


def _lose(how: str) -> NoReturn:
    raise APIConnectionError(f"{how} (a fault of the embedded engine's scenario)", billing="unknown")
