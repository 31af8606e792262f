"""`Client`: the async client, run in a background event loop. One loop, shared by all threads."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar, Unpack, overload

import anyio

from ._call.attempts import Window, ended_by_closing, witness
from ._call.fan_out import Feed, Outcome, OutcomeIterator, items_of
from ._call.service import DEFAULT_LIMITS, DEFAULT_RETRY, Caller, caller_for
from ._call.settings import Validation, hidden_headers, hidden_url
from ._client import AsyncAccount, AsyncModels, unpicklable
from ._core.errors import APIConnectionError, ConfigurationError
from ._core.results import Account, Image, ImagesResponse, Model, SaveTo, Usage
from ._core.retry import RetryPolicy
from ._core.secrets import as_secret
from ._images import AsyncImages
from ._limits.budget import Budget
from ._limits.limits import Limits
from ._runtime.event_loop import process_time

if TYPE_CHECKING:
    from types import TracebackType

    from ._core.capabilities import CustomModel
    from ._core.events import OnEvent
    from ._core.params import (
        CustomEdit,
        CustomGenerate,
        CustomImageToImage,
        Edit1xEdit,
        Edit2Edit,
        Edit2Generate,
        LargeGenerate,
        MediumGenerate,
        StepImageToImage,
    )
    from ._core.requests import ImageRequest, PictureInput
    from ._transport import AnyTransport

_CLOSING = 2.0
"""Seconds to wait for a cancelled call to put things in order."""

_ENDING = 10.0
"""Seconds for which an interpreter that ends waits for the loops, which cancel what is in flight."""

_HEARD = 1.0
"""Seconds after which a call sees to it itself that the loop is woken, instead of trusting somebody before it."""

loop_options: dict[str, Any] = {}
"""`asyncio.Runner`'s options for the background loops that start from now on; `testing.virtual_time` sets them."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class _Bridge:
    """A background event loop: started by the first call, ended by `close`, by garbage collection, or at exit."""

    _running: _Running | None
    _finalizer: weakref.finalize[Any, Any] | None

    def __init__(self, service: Caller) -> None:
        self.service = service
        self._begin()
        _bridges.add(self)

    def run(self, function: Callable[..., Awaitable[T]], *args: Any, **keywords: Any) -> T:
        """What `function` returns in the loop. An interrupt here cancels it there."""
        return self.open().run(_Call(self.service, partial(function, *args, **keywords)))

    def reaches(self, home: _Running) -> bool:
        """Whether `home` is the loop that runs, and this is not its own thread, where nothing can wait for it."""
        alive = self._running is home and home.is_alive and not sys.is_finalizing()
        return alive and home.thread is not threading.current_thread()

    def close(self) -> None:
        """Close the client, end the loop and its thread. Any thread may, and again."""
        with self._lock:
            running, finalizer = self._running, self._finalizer
            if running is not None:
                running.refuse_own_thread()
            self.service.closed = True
            self._finalizer = None
        if finalizer is not None:
            finalizer.detach()
        if running is not None and running.is_alive and not sys.is_finalizing():
            with suppress(APIConnectionError):  # the loop has just ended by itself, as it does at exit
                running.run(_Call(self.service, self.service.aclose))
            running.end()

    def after_fork(self) -> None:
        """Begin anew in a forked child: the parent's thread is not here, and its sockets are not ours."""
        if self._finalizer is not None:
            self._finalizer.detach()
            _abandoned.append(self._running)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()  # a signal's handler, or a finalizer, may run while it is held
        self._running = None
        self._finalizer = None

    def open(self) -> _Running:
        """The loop, started where it does not run.

        Raises:
            ConfigurationError: the client is closed, or the interpreter ends, whose other threads stand still by now.
        """
        if sys.is_finalizing():
            raise ConfigurationError("the interpreter is ending, so a Client cannot be used any more; nothing was sent")
        running = self._running
        if running is not None and running.is_alive and not self.service.closed:
            return running
        with self._lock:
            self.service.refuse_if_closed()
            if self._running is None or not self._running.is_alive:
                self._running = _Running()
                self._finalizer = weakref.finalize(self, self._running.end_soon)
                self._finalizer.atexit = False  # `_at_exit` waits, too
            return self._running


class _Call(Generic[T]):
    """A call on its way into the loop and back, to be waited for in one other thread.

    Args:
        service: whose call it is.
        function: what is to run in the loop, in a copy of the caller's context.
    """

    __slots__ = (
        "_cancelled",
        "_ended",
        "_ends",
        "_error",
        "_function",
        "_scope",
        "_service",
        "_value",
        "_windows",
        "context",
        "task",
    )

    task: asyncio.Task[None]
    _value: T

    def __init__(self, service: Caller, function: Callable[[], Awaitable[T]]) -> None:
        self.context = _asyncio_context()
        self._service = service
        self._function = function
        self._windows: list[Window] = []
        self._scope: anyio.CancelScope | None = None
        self._cancelled = False
        self._ended = False
        self._error: BaseException | None = None
        self._ends = threading.Lock()
        self._ends.acquire()

    async def run(self) -> None:
        """Run it in the loop, and keep what comes of it."""
        try:
            self._value = await self._outcome()
        except BaseException as error:  # noqa: BLE001 - raised where the call was made
            self._error = error
        finally:
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._ends.release()

    async def _outcome(self) -> T:
        witness.set(self._windows)
        with anyio.CancelScope() as self._scope:
            if self._cancelled:
                self._scope.cancel()
            try:
                return await self._function()
            except asyncio.CancelledError:
                if not self._service.closed:
                    raise
        raise ended_by_closing(self._windows)

    def cancel(self) -> None:
        """Cancel it, in the loop, be it before its first step."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def refuse(self) -> None:
        """Say that it does not run any more, as the loop has ended."""
        self._error = ended_by_closing(self._windows)
        self._end()

    def wait(self, seconds: float = -1.0) -> bool:
        """Whether it has ended, now or within so many seconds; -1 waits for ever."""
        return self._ended or self._ends.acquire(timeout=seconds)

    def result(self) -> T:
        """What it returned or raised."""
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            self._error = None  # or traceback, frame and error would hold each other


def _asyncio_context() -> Context:
    """A copy of the caller's context, for a task of asyncio. The caller may be one of trio: its name is there then."""
    context = copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context


class _Running:
    """A loop that runs, and its thread. Calls are handed over in a queue: one wake-up brings all that wait in it.

    Attributes:
        is_alive: whether it was not told to end.
        thread: the loop's.
    """

    def __init__(self) -> None:
        self.is_alive = True
        self._process = os.getpid()
        self._inbox: deque[_Call[Any]] = deque()
        self._calls: set[_Call[Any]] = set()
        self._woken = False
        begun: Future[asyncio.AbstractEventLoop] = Future()
        self.thread = threading.Thread(target=self._live, args=(begun,), name="stepfun-async portal", daemon=True)
        try:
            self.thread.start()
        except RuntimeError as error:
            raise ConfigurationError(f"a Client needs a thread, and none can be started: {error}") from error
        self._loop = begun.result()
        _runnings.add(self)

    def run(self, call: _Call[T]) -> T:
        """What comes of `call`. An interrupt here cancels it there."""
        self.refuse_own_thread()
        try:
            self._inbox.append(call)
            if not self._woken:
                self._woken = True
                self._soon(self._take_in)
            elif not call.wait(_HEARD):  # who was to wake the loop may have been stopped at that very point
                self._soon(self._take_in)
            call.wait()
        except BaseException:
            self._soon(self._take_in)
            self._soon(call.cancel)
            call.wait(_CLOSING)  # so that usage and connections are as after the call
            raise
        return call.result()

    def refuse_own_thread(self) -> None:
        """Raise `ConfigurationError` in the loop's own thread, where nothing can wait for the loop."""
        if threading.current_thread() is self.thread:
            raise ConfigurationError("a Client cannot be used from its own background loop: it would wait for itself")

    def end_soon(self) -> None:
        """Have what is in flight cancelled, and loop and thread end.

        Nothing is waited for: a client that is dropped may be collected anywhere, under any lock, and the loop needs
        some to end, such as those of logging's handlers.
        """
        self.is_alive = False
        self._soon(self._over.set)

    def end(self, seconds: float | None = None) -> None:
        """Have it end, and wait until loop and thread are gone, for so many seconds at most; None for any number."""
        self.end_soon()
        self.thread.join(seconds)

    def why_left(self) -> str:
        """Why something that was begun in this loop cannot go on."""
        if os.getpid() != self._process:
            return "this map was begun before a fork: begin a new one here"
        return "this map's loop has ended, as it does when the interpreter ends: begin a new one"

    def _soon(self, function: Callable[[], object]) -> None:
        """Have the loop call `function`. Where it has ended, calls that nobody took in before are refused."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            self._refuse()

    def _take_in(self) -> None:
        if self._over.is_set():
            self._refuse()
            return
        self._woken = False  # before the queue is emptied, so that nobody is left in it unheard
        while self._inbox:
            call = self._inbox.popleft()
            self._calls.add(call)
            call.task = self._loop.create_task(self._carry(call), context=call.context)

    async def _carry(self, call: _Call[Any]) -> None:
        try:
            await call.run()
        finally:
            self._calls.discard(call)

    def _refuse(self) -> None:
        self._woken = False
        with suppress(IndexError):  # other threads may be at it too
            while True:
                self._inbox.popleft().refuse()

    def _live(self, begun: Future[asyncio.AbstractEventLoop]) -> None:
        try:
            _refuse_second_loop()
            options: dict[str, Any] = {**loop_options, "loop_factory": _new_loop}
            with asyncio.Runner(**options) as runner:
                runner.run(self._serve(begun))
        except BaseException as error:
            if begun.done():
                raise
            begun.set_exception(error)
        finally:
            self._refuse()

    async def _serve(self, begun: Future[asyncio.AbstractEventLoop]) -> None:
        self._over = asyncio.Event()
        begun.set_result(asyncio.get_running_loop())
        await self._over.wait()
        while self._calls:
            for call in self._calls:
                call.cancel()
            await asyncio.wait([call.task for call in self._calls])


def _refuse_second_loop() -> None:
    """Raise `ConfigurationError` where a loop runs in this very thread, although it has just been started."""
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the only one that raises nothing
        raise ConfigurationError(
            "a Client cannot start its event loop: gevent or eventlet has put all threads of this process in one, "
            "which can run one event loop only; use the same Client everywhere"
        )


def _new_loop() -> asyncio.AbstractEventLoop:
    """A loop in real time, also where a test has frozen `time.monotonic`: nobody would let its time pass.

    Raises:
        ConfigurationError: none can be made, such as where a test may have no sockets.
    """
    try:
        loop: asyncio.AbstractEventLoop = loop_options.get("loop_factory", asyncio.new_event_loop)()
    except Exception as error:
        raise ConfigurationError(
            "a Client cannot start its event loop, which needs two sockets inside the process "
            f"(under pytest-socket: --allow-unix-socket): {error}"
        ) from error
    if type(loop).time is asyncio.BaseEventLoop.time:
        loop.time = process_time  # type: ignore[method-assign]
    return loop


_bridges: weakref.WeakSet[_Bridge] = weakref.WeakSet()
_runnings: weakref.WeakSet[_Running] = weakref.WeakSet()
_abandoned: list[object] = []
"""Loops of a parent process, kept so that nothing closes sockets the parent still uses."""


def _after_fork() -> None:
    _runnings.clear()
    for bridge in tuple(_bridges):
        bridge.after_fork()


def _at_exit() -> None:
    """End all loops, and wait for them: what is in flight is cancelled and settled, and connections are closed."""
    running = [each for each in tuple(_runnings) if each.is_alive]
    for each in running:
        each.end_soon()
    until = process_time() + _ENDING
    for each in running:
        each.thread.join(max(0.0, until - process_time()))


atexit.register(_at_exit)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _like(method: Callable[..., Any]) -> Callable[[F], F]:
    """Show the signature and the documentation of the async method that is run."""

    def dress(function: F) -> F:
        function.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
        function.__doc__ = method.__doc__
        return function

    return dress


class Client:
    """StepFun's image API for code without an event loop.

    Works in scripts, threads, notebooks, inside a running loop (which it blocks), after a fork, with
    `with Client() as client` or without. All threads share one background loop, one set of connections
    and one set of limits. The loop starts with the first call; it ends with `close()`, when the client
    is garbage collected, or with the interpreter.

    Args and errors are those of `AsyncClient`.
    """

    images: Images
    """`generate`, `edit`, `image_to_image`, `download` and `map`."""
    models: Models
    """`list` and `retrieve`."""
    account: AccountOf
    """`retrieve`."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        timeout: float = 120.0,
        queue_timeout: float | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        budget: Budget | None = None,
        validation: Validation = "strict",
        default_headers: Mapping[str, str] | None = None,
        transport: AnyTransport | None = None,
        proxy: str | None = None,
        allow_http: bool = False,
        keepalive_expiry: float | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        # From what shows the variables of a traceback's frames:
        api_key, base_url, proxy = as_secret(api_key), hidden_url(base_url), as_secret(proxy)
        default_headers = hidden_headers(default_headers)
        service = caller_for(
            api_key,
            base_url=base_url,
            limits=limits,
            timeout=timeout,
            queue_timeout=queue_timeout,
            retry=retry,
            budget=budget,
            validation=validation,
            default_headers=default_headers,
            transport=transport,
            proxy=proxy,
            allow_http=allow_http,
            keepalive_expiry=keepalive_expiry,
            on_event=on_event,
        )
        self._bridge = _Bridge(service)
        self.images = Images(self._bridge)
        self.models = Models(self._bridge)
        self.account = AccountOf(self._bridge)

    @property
    def base_url(self) -> str:
        """Where calls go."""
        return self._bridge.service.config.base_url

    @property
    def limits(self) -> Limits:
        """How much is in flight at once, and sent in a minute."""
        return self._bridge.service.limits

    @property
    def budget(self) -> Budget | None:
        """What may be spent; None for any sum."""
        return self._bridge.service.budget

    @property
    def usage(self) -> Usage:
        """What this client was used for so far."""
        return self._bridge.service.ledger.snapshot()

    def __enter__(self) -> Self:
        self._bridge.service.refuse_if_closed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the background loop. Closing again does nothing."""
        self._bridge.close()

    def __reduce__(self) -> NoReturn:
        raise unpicklable(self)

    def __repr__(self) -> str:
        service = getattr(getattr(self, "_bridge", None), "service", None)  # as in `AsyncClient`
        return f"<{type(self).__name__} {service!r}>"


def _hide_headers(options: dict[str, Any]) -> None:
    """Have the values of headers not show themselves where the variables of a traceback's frames are shown."""
    if "extra_headers" in options:
        options["extra_headers"] = hidden_headers(options["extra_headers"])


class Images:
    """Pictures: make, edit, start from another, fetch, fan out."""

    def __init__(self, bridge: _Bridge) -> None:
        self._images = AsyncImages(bridge.service)
        self._bridge = bridge

    @overload
    def generate(
        self, prompt: str, *, model: Literal["step-image-edit-2"] = ..., **options: Unpack[Edit2Generate]
    ) -> ImagesResponse: ...
    @overload
    def generate(
        self, prompt: str, *, model: Literal["step-2x-large"], **options: Unpack[LargeGenerate]
    ) -> ImagesResponse: ...
    @overload
    def generate(
        self, prompt: str, *, model: Literal["step-1x-medium"], **options: Unpack[MediumGenerate]
    ) -> ImagesResponse: ...
    @overload
    def generate(self, prompt: str, *, model: CustomModel, **options: Unpack[CustomGenerate]) -> ImagesResponse: ...
    @_like(AsyncImages.generate)
    def generate(self, *args: Any, **options: Any) -> ImagesResponse:
        _hide_headers(options)
        return self._bridge.run(self._images.generate, *args, **options)

    @overload
    def edit(
        self,
        image: PictureInput,
        prompt: str,
        *,
        model: Literal["step-image-edit-2"] = ...,
        **options: Unpack[Edit2Edit],
    ) -> ImagesResponse: ...
    @overload
    def edit(
        self, image: PictureInput, prompt: str, *, model: Literal["step-1x-edit"], **options: Unpack[Edit1xEdit]
    ) -> ImagesResponse: ...
    @overload
    def edit(
        self, image: PictureInput, prompt: str, *, model: CustomModel, **options: Unpack[CustomEdit]
    ) -> ImagesResponse: ...
    @_like(AsyncImages.edit)
    def edit(self, *args: Any, **options: Any) -> ImagesResponse:
        _hide_headers(options)
        return self._bridge.run(self._images.edit, *args, **options)

    @overload
    def image_to_image(
        self,
        image: PictureInput,
        prompt: str,
        *,
        source_weight: float,
        model: Literal["step-2x-large", "step-1x-medium"] = ...,
        **options: Unpack[StepImageToImage],
    ) -> ImagesResponse: ...
    @overload
    def image_to_image(
        self,
        image: PictureInput,
        prompt: str,
        *,
        source_weight: float,
        model: CustomModel,
        **options: Unpack[CustomImageToImage],
    ) -> ImagesResponse: ...
    @_like(AsyncImages.image_to_image)
    def image_to_image(self, *args: Any, **options: Any) -> ImagesResponse:
        _hide_headers(options)
        return self._bridge.run(self._images.image_to_image, *args, **options)

    def download(
        self,
        image: Image | str,
        *,
        save_to: SaveTo | None = None,
        overwrite: bool = False,
        timeout: float | None = None,
        queue_timeout: float | None = None,
    ) -> Image:
        """Fetch the picture behind a link; see `AsyncImages.download`."""
        waits = {"timeout": timeout, "queue_timeout": queue_timeout}
        return self._bridge.run(self._images.download, image, save_to=save_to, overwrite=overwrite, **waits)

    def map(self, requests: Iterable[ImageRequest], *, ordered: bool = False) -> Generator[Outcome, None, None]:
        """Send many requests, as many at once as the limits allow, and give back each as it ends.

        The iterable is read in the caller's thread, only as there is room. `close()` on the iterator ends
        what is in flight, and waits until it has; an iterator that is dropped has it end in the background. See
        `AsyncImages.map`.
        """
        self._bridge.service.refuse_if_closed()
        return _Outcomes(self._images, self._bridge, items_of(requests), ordered=ordered)


class Models:
    """The server's models."""

    def __init__(self, bridge: _Bridge) -> None:
        self._models = AsyncModels(bridge.service)
        self._bridge = bridge

    def list(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """The models the server lists; see `AsyncModels.list`."""
        return self._bridge.run(self._models.list, timeout=timeout)

    def retrieve(self, model: str, *, timeout: float | None = None) -> Model:
        """One model; see `AsyncModels.retrieve`."""
        return self._bridge.run(self._models.retrieve, model, timeout=timeout)


class AccountOf:
    """The account behind the key."""

    def __init__(self, bridge: _Bridge) -> None:
        self._account = AsyncAccount(bridge.service)
        self._bridge = bridge

    def retrieve(self, *, timeout: float | None = None) -> Account:
        """The account and its balance; see `AsyncAccount.retrieve`."""
        return self._bridge.run(self._account.retrieve, timeout=timeout)


class _Outcomes(Generator["Outcome", None, None]):
    """The outcomes of a map, as a generator gives them, except that one that is dropped waits for nothing."""

    def __init__(
        self, images: AsyncImages, bridge: _Bridge, requests: Iterator[ImageRequest], *, ordered: bool
    ) -> None:
        self._line = _Line(images, 2 * bridge.service.limits.max_concurrency, ordered=ordered)
        self._bridge = bridge
        self._requests = requests
        self._home: _Running | None = None
        self._is_over = False
        self._reading = threading.Lock()

    def send(self, _: None) -> Outcome:
        """The next outcome."""
        if not self._reading.acquire(blocking=False):
            raise ValueError("this map is being read already, in this thread or another")
        try:
            return self._next()
        except BaseException:
            self.close()
            raise
        finally:
            self._reading.release()

    def _next(self) -> Outcome:
        if self._is_over:
            raise StopIteration
        home = self._home = self._home or self._bridge.open()
        if not self._bridge.reaches(home):
            home.refuse_own_thread()
            self._bridge.service.refuse_if_closed()
            raise ConfigurationError(home.why_left())
        outcome = self._line.advance(self._bridge, self._requests)
        if outcome is not None:
            return outcome
        raise self._line.failure or StopIteration

    def throw(self, kind: Any, value: Any = None, traceback: Any = None, /) -> Outcome:
        """End what is in flight, and raise what is given."""
        self.close()
        error = value if isinstance(value, BaseException) else kind
        raise error if traceback is None else error.with_traceback(traceback)

    def close(self) -> None:
        """End what is in flight, and wait until it has."""
        home, self._home = self._home, None
        over, self._is_over = self._is_over, True
        if not over and home is not None and self._bridge.reaches(home):
            self._bridge.run(self._line.aclose)


class _Line:
    """A fan-out in the loop, fed from the caller's thread: a request at a time, each sent as it is taken."""

    def __init__(self, images: AsyncImages, room: int, *, ordered: bool) -> None:
        self._images = images
        self._ordered = ordered
        self._room = room
        self._open = 0
        self._ended = False
        self._ready = False
        self._feed: Feed | None = None
        self._fanout: OutcomeIterator | None = None
        self.failure: Exception | None = None

    def advance(self, bridge: _Bridge, requests: Iterator[ImageRequest]) -> Outcome | None:
        """Take requests while there is room and no outcome is ready, then wait for the next outcome."""
        while self._open < self._room and not self._ended and not self._ready:
            try:
                request = next(requests)
            except StopIteration:
                self._ended = True
            except Exception as error:  # noqa: BLE001 - raised after the outcomes of what was begun
                self._ended, self.failure = True, error
            else:
                self._open += 1
                bridge.run(self._give, request)
        return bridge.run(self._next)

    async def _give(self, request: ImageRequest) -> None:
        self._ready = self._begun()[1].ready
        self._begun()[0].push(request)

    async def _next(self) -> Outcome | None:
        feed, fanout = self._begun()
        if self._ended:
            feed.end()
        outcome = await anext(fanout, None)
        self._open -= 1
        self._ready = fanout.ready
        return outcome

    def _begun(self) -> tuple[Feed, OutcomeIterator]:
        if self._feed is None or self._fanout is None:
            self._feed = Feed()
            self._fanout = self._images.map(self._feed, ordered=self._ordered)
            self._fanout.begin()
        return self._feed, self._fanout

    async def aclose(self) -> None:
        """End what is in flight."""
        if self._fanout is not None:
            await self._fanout.aclose()
