"""`Client` everywhere that code without an event loop runs."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import anyio.from_thread
import pytest

from stepfun_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncClient,
    CallEnded,
    Client,
    ConfigurationError,
    Failed,
    Finished,
    InvalidRequestError,
    Limits,
    TextToImage,
)
from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario
from tests.support.raw import raw_server, say, stay_silent
from tests.support.responses import image_response
from tests.support.scripts import run_script

LARGE: Final = "step-2x-large"


def small(prompt: str = "a lake", **more: object) -> TextToImage:
    return TextToImage(**{"prompt": prompt, "model": LARGE, "size": "256x256", **more})  # type: ignore[arg-type]


def loops() -> list[threading.Thread]:
    """Background loops of clients that are alive."""
    return [thread for thread in threading.enumerate() if thread.name == "stepfun-async portal"]


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    gc.collect()
    _wait_for(lambda: loops() == [])  # one of a client that was dropped ends in its own time


def test_it_works_with_and_without_a_with_block() -> None:
    with Client(base_url="embedded") as client:
        assert client.images.generate("a lake", model=LARGE, size="256x256").image.width == 256
    client = Client(base_url="embedded")
    assert client.images.generate("a lake", model=LARGE, size="256x256").image.width == 256
    assert client.usage.billed == 1
    client.close()


def test_no_thread_is_started_before_the_first_call() -> None:
    client = Client(base_url="embedded")
    assert loops() == []
    client.close()
    assert loops() == []


def test_closing_twice_is_harmless_and_a_call_afterwards_is_refused() -> None:
    client = Client(base_url="embedded")
    client.images.generate("a lake", model=LARGE, size="256x256")
    client.close()
    client.close()
    assert "closed" in repr(client)
    with pytest.raises(ConfigurationError, match="closed: make a new one"):
        client.images.generate("a lake")
    with pytest.raises(ConfigurationError, match="closed"):
        list(client.images.map([small()]))
    with pytest.raises(ConfigurationError, match="closed"), client:
        pass


def test_a_dropped_client_takes_its_thread_along() -> None:
    client = Client(base_url="embedded")
    client.images.generate("a lake", model=LARGE, size="256x256")
    thread = loops()[0]
    del client
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_it_works_inside_a_running_loop() -> None:
    async def main() -> int | None:
        with Client(base_url="embedded") as client:
            return client.images.generate("a lake", model=LARGE, size="256x256").image.width

    assert asyncio.run(main()) == 256


def test_threads_share_one_loop_and_its_limits() -> None:
    with (
        raw_server(say(image_response())) as server,
        Client("sk-test", base_url=server.url, limits=Limits(2)) as client,
    ):
        with ThreadPoolExecutor(16) as pool:
            responses = list(pool.map(lambda _: client.images.generate("a lake"), range(64)))
        assert len(loops()) == 1
        assert client.usage.billed == 64
    assert len(responses) == 64
    assert server.connections <= 2


def test_closing_ends_calls_in_flight_of_other_threads() -> None:
    """Each says for itself whether it may have been billed: one was sent, the others were waiting."""
    with raw_server(stay_silent) as server:
        client = Client("sk-test", base_url=server.url, limits=Limits(1))
        with ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(client.images.generate, "a lake") for _ in range(3)]
            _wait_for(lambda: bool(server.requests) and client.limits.state.waiting == 2)
            client.close()
            errors = [call.exception(5) for call in calls]
    assert all(isinstance(error, APIConnectionError) for error in errors)
    facts = sorted((error.billing, error.attempts, error.maybe_billed) for error in errors)  # type: ignore[union-attr]
    assert facts == [("not_sent", 0, 0), ("not_sent", 0, 0), ("unknown", 1, 1)]
    assert (client.usage.requests, client.usage.maybe_billed) == (1, 1)


def test_an_interpreter_ends_with_a_client_that_was_never_closed() -> None:
    done = run_script(
        "from stepfun_async import Client\n"
        "client = Client()\n"
        "print(client.images.generate('a lake', model='step-2x-large', size='256x256').image.width)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "256\n", "")


def test_an_interpreter_ends_with_a_call_in_flight() -> None:
    done = run_script(
        "import threading\n"
        "from stepfun_async import Client\n"
        "from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario\n"
        "client = Client(transport=EmbeddedTransport(Engine(scenario=Scenario('hang'))))\n"
        "def call():\n"
        "    try:\n"
        "        client.images.generate('a lake')\n"
        "    except Exception:\n"
        "        pass\n"
        "thread = threading.Thread(target=call, daemon=True)\n"
        "thread.start()\n"
        "while not client.usage.requests and not client._bridge.portal._loop:\n"
        "    pass\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_ends_the_call_and_frees_its_slot() -> None:
    scripts = (stay_silent, say(image_response()))
    with raw_server(*scripts) as server, Client("sk-test", base_url=server.url, limits=Limits(1)) as client:

        def interrupt() -> None:
            _wait_for(lambda: bool(server.requests))
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            client.images.generate("a lake")
        thread.join()
        assert client.images.generate("a lake", queue_timeout=5).attempts == 1


def test_map_gives_each_outcome() -> None:
    requests = [small(f"number {n}", steps=n) for n in range(4)]
    with Client(base_url="embedded") as client:
        outcomes = list(client.images.map(requests, ordered=True))
    assert [outcome.request for outcome in outcomes] == requests
    assert isinstance(outcomes[0], Failed)
    assert isinstance(outcomes[0].error, InvalidRequestError)
    assert all(isinstance(outcome, Finished) for outcome in outcomes[1:])


def test_map_reads_its_iterable_in_the_callers_thread_and_only_as_there_is_room() -> None:
    readers: set[threading.Thread] = set()
    taken = 0

    def endless() -> Iterator[TextToImage]:
        nonlocal taken
        while True:
            readers.add(threading.current_thread())
            taken += 1
            yield small(steps=99)

    with Client(base_url="embedded", limits=Limits(2)) as client:
        outcomes = client.images.map(endless())
        for _ in range(50):
            next(outcomes)
        assert readers == {threading.current_thread()}
        assert taken <= 50 + 4
        outcomes.close()


def test_map_gives_what_was_begun_before_the_iterables_own_error() -> None:
    def broken() -> Iterator[TextToImage]:
        yield small("one")
        yield small("two")
        raise LookupError("the database is gone")

    seen: list[object] = []
    with Client(base_url="embedded") as client, pytest.raises(LookupError, match="database"):
        seen.extend(client.images.map(broken()))
    with Client(base_url="embedded") as client:
        outcomes = client.images.map(broken())
        assert isinstance(next(outcomes), Finished)
        assert isinstance(next(outcomes), Finished)
        with pytest.raises(LookupError):
            next(outcomes)


@pytest.mark.parametrize("requests", [None, 5, "a lake", TextToImage, TextToImage(prompt="a lake")])
def test_map_refuses_at_once_what_cannot_be_read(requests: Any) -> None:
    with Client(base_url="embedded") as client, pytest.raises(InvalidRequestError, match="iterable"):
        client.images.map(requests)


def test_map_sends_each_request_as_it_is_taken() -> None:
    """The first outcome does not wait until there is no more room."""
    taken = 0

    def slow() -> Iterator[TextToImage]:
        nonlocal taken
        taken += 1
        yield small()
        taken += 1
        _wait_for(lambda: client.usage.requests == 1)  # sent while this one is still being made
        yield from [small(steps=99)] * 20

    with Client(base_url="embedded") as client:
        outcomes = client.images.map(slow())
        assert isinstance(next(outcomes), Finished)
        assert taken == 2
        outcomes.close()


def test_a_map_may_be_closed_after_its_client() -> None:
    client = Client(base_url="embedded")
    outcomes = client.images.map([small(), small()])
    next(outcomes)
    client.close()
    outcomes.close()


def test_an_interpreter_ends_with_a_map_half_read() -> None:
    done = run_script(
        "from stepfun_async import Client, TextToImage\n"
        "client = Client()\n"
        "outcomes = client.images.map(TextToImage(prompt=str(n)) for n in range(9))\n"
        "print(type(next(outcomes)).__name__)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Finished\n", "")


_AT_THE_END = {
    "__del__": ("class Owner:\n    def __del__(self):\n        last()\nowner = Owner()\n"),
    "a generator's finally": (
        "def numbers():\n    try:\n        yield 1\n    finally:\n        last()\nbegun = numbers()\nnext(begun)\n"
    ),
    "a map of which a generator's finally is left": (
        "def read():\n"
        "    try:\n"
        "        yield next(outcomes)\n"
        "    finally:\n"
        "        last()\n"
        "outcomes = client.images.map(TextToImage(prompt=str(n)) for n in range(9))\n"
        "begun = read()\n"
        "next(begun)\n"
    ),
}


@pytest.mark.parametrize("where", _AT_THE_END)
@pytest.mark.parametrize("does", ["client.images.generate('the last one')", "client.close() or client.models.list()"])
def test_a_call_while_the_interpreter_ends_is_refused_at_once(where: str, does: str) -> None:
    source = (
        "from stepfun_async import Client, ConfigurationError, TextToImage\n"
        "client = Client(base_url='embedded')\n"
        "client.models.list()\n"
        "def last(client=client, ConfigurationError=ConfigurationError):\n"
        "    try:\n"
        f"        print({does}, flush=True)\n"
        "    except ConfigurationError as error:\n"
        "        print(error, flush=True)\n" + _AT_THE_END[where]
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(
        ("the interpreter is ending, so a Client cannot be used any more; nothing was sent\n", "make a new one\n")
    )


@pytest.mark.parametrize("first", [True, False], ids=["registered before its first call", "registered after it"])
def test_a_client_works_in_a_handler_of_atexit(first: bool) -> None:
    register = "atexit.register(lambda: print(len(client.models.list())))\n"
    call = "client.models.list()\n"
    done = run_script(
        "import atexit, stepfun_async\n"
        "client = stepfun_async.Client()\n" + (register + call if first else call + register)
    )
    assert (done.returncode, done.stdout) == (0, "4\n")


def test_dropping_a_client_waits_for_nothing() -> None:
    """Whoever drops it, or has it collected, may hold a lock that the loop needs to end, as a log handler's."""
    busy, go_on = threading.Event(), threading.Event()

    def hold(event: object) -> None:
        if isinstance(event, CallEnded):
            busy.set()
            assert go_on.wait(10)

    engine = Engine(scenario=Scenario("hang"), plain=True)
    client = Client(transport=EmbeddedTransport(engine), base_url="embedded", on_event=hold, limits=Limits(2))
    outcomes = client.images.map([small(steps=99), small(), small()])
    assert isinstance(next(outcomes), Failed)
    del outcomes  # ends what is in flight, which ends `hold`
    assert busy.wait(10)
    del client
    gc.collect()
    go_on.set()


def test_a_map_that_is_dropped_ends_what_is_in_flight() -> None:
    engine = Engine(scenario=Scenario("hang"))
    with Client(transport=EmbeddedTransport(engine), base_url="embedded", limits=Limits(2)) as client:
        outcomes = client.images.map([small(steps=99), small(), small()])
        next(outcomes)
        del outcomes
        gc.collect()
        _wait_for(lambda: client.limits.state.in_flight == 0)
        assert client.usage.requests == client.usage.maybe_billed


@pytest.mark.parametrize("error", [ZeroDivisionError(), ZeroDivisionError])
def test_a_map_into_which_an_error_is_thrown_ends_and_raises_it(error: ZeroDivisionError) -> None:
    with Client(base_url="embedded", limits=Limits(2)) as client:
        outcomes = client.images.map([small(), small(), small()])
        next(outcomes)
        with pytest.raises(ZeroDivisionError):
            outcomes.throw(error)
        assert list(outcomes) == []
        assert client.limits.state.in_flight == 0


def test_a_map_is_read_by_one_thread_at_a_time() -> None:
    engine = Engine(scenario=Scenario("hang"))
    with Client(transport=EmbeddedTransport(engine), base_url="embedded", limits=Limits(2)) as client:
        outcomes = client.images.map([small(), small()])
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(next, outcomes)
            _wait_for(lambda: client.limits.state.in_flight == 2)
            with pytest.raises(ValueError, match="read already"):
                next(outcomes)
            outcomes.close()
            assert reading.exception(10) is not None


@pytest.mark.parametrize("fault", ["429*1", "hang"])
def test_time_that_a_test_has_frozen_does_not_stop_a_client(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As freezegun does: what waits for a moment in frozen time waits for ever."""
    now = time.monotonic()
    engine = Engine(plain=True, scenario=Scenario(fault))
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now)
        with Client(base_url="embedded", transport=EmbeddedTransport(engine), timeout=3) as client:
            if fault == "hang":
                with pytest.raises(APITimeoutError):
                    client.images.generate("a lake", timeout=0.05)
            else:
                assert client.images.generate("a lake").attempts == 2


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("twin", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_that_is_pickled_says_what_to_do(
    kind: type[Client | AsyncClient], twin: Callable[[object], object]
) -> None:
    with pytest.raises(TypeError, match=f"cannot pickle an? {kind.__name__}, .*: make one in each process"):
        twin(kind(base_url="embedded"))


def test_usage_is_right_at_once_after_an_interrupt() -> None:
    with raw_server(stay_silent) as server, Client("sk-test", base_url=server.url) as client:

        def interrupt() -> None:
            _wait_for(lambda: bool(server.requests))
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            client.images.generate("a lake")
        assert (client.usage.requests, client.usage.maybe_billed) == (1, 1)
        thread.join()


def test_leaving_map_early_ends_what_is_in_flight() -> None:
    engine = Engine(scenario=Scenario("hang"))
    with Client(transport=EmbeddedTransport(engine), base_url="embedded", limits=Limits(2)) as client:
        outcomes = client.images.map([small(steps=99), small(), small()])
        next(outcomes)
        outcomes.close()
        assert client.usage.requests == client.usage.maybe_billed
        with pytest.raises(TimeoutError):
            client.images.generate("a lake", timeout=0.01, queue_timeout=5)


METHODS = [
    ("images", "generate"),
    ("images", "edit"),
    ("images", "image_to_image"),
    ("images", "download"),
    ("models", "list"),
    ("models", "retrieve"),
    ("account", "retrieve"),
]


def _signature(method: Callable[..., object]) -> list[tuple[str, object, object]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize(("group", "name"), METHODS)
def test_sync_and_async_methods_take_the_same(group: str, name: str) -> None:
    client, async_client = Client(base_url="embedded"), AsyncClient(base_url="embedded")
    method = getattr(getattr(client, group), name)
    assert _signature(method) == _signature(getattr(getattr(async_client, group), name))
    assert inspect.getdoc(method) == inspect.getdoc(getattr(getattr(async_client, group), name))


def test_both_clients_are_set_up_alike_and_have_the_same_methods() -> None:
    assert _signature(Client) == _signature(AsyncClient)
    client, async_client = Client(base_url="embedded"), AsyncClient(base_url="embedded")
    for group in ("images", "models", "account"):
        names = {name for name in dir(getattr(client, group)) if not name.startswith("_")}
        assert names == {name for name in dir(getattr(async_client, group)) if not name.startswith("_")}


def test_every_method_works_without_await(tmp_path: Path) -> None:
    with Client(base_url="embedded", limits=Limits(2)) as client:
        assert (client.base_url, client.limits) == ("embedded", Limits(2))
        assert LARGE in [model.id for model in client.models.list()]
        assert client.models.retrieve(LARGE).id == LARGE
        linked = client.images.generate("a lake", model=LARGE, size="256x256", response_format="url").image
        fetched = client.images.download(linked, save_to=tmp_path / "lake")
        edited = client.images.edit(fetched, "a hat").image
        blended = client.images.image_to_image(edited, "a hat", source_weight=0.5, size="512x512").image
        assert client.account.retrieve().balance < 100
    assert (fetched.width, edited.width, blended.width) == (256, 256, 512)


def test_threads_may_close_at_once() -> None:
    client = Client(base_url="embedded")
    client.images.generate("a lake", model=LARGE, size="256x256")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: client.close(), range(8))) == [None] * 8


def test_save_to_works(tmp_path: Path) -> None:
    with Client(base_url="embedded") as client:
        image = client.images.generate("a lake", model=LARGE, size="256x256", save_to=tmp_path / "lake").image
    assert image.path == tmp_path / "lake.png"
    assert image.path.exists()


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        os.sched_yield()


def test_a_call_ended_by_closing_is_not_taken_for_an_earlier_one_of_the_same_thread() -> None:
    """A notebook has used an `AsyncClient` before, in the task that now calls the other client."""
    closed: list[BaseException | None] = []

    def close_when_one_waits(client: Client) -> None:
        _wait_for(lambda: client.limits.state.waiting == 1)
        client.close()

    async def main() -> None:
        async with AsyncClient(base_url="embedded") as client:
            await client.images.generate("a lake", model=LARGE, size="256x256")
        with (
            raw_server(stay_silent) as server,
            Client("sk-test", base_url=server.url, limits=Limits(1)) as blocking,
            ThreadPoolExecutor(2) as pool,
        ):
            first = pool.submit(blocking.images.generate, "a lake")
            _wait_for(lambda: bool(server.requests))
            pool.submit(close_when_one_waits, blocking)
            try:
                blocking.images.generate("waits for its slot")
            except APIConnectionError as error:
                closed.append(error)
            first.exception(5)

    asyncio.run(main())
    (error,) = closed
    assert isinstance(error, APIConnectionError)
    assert (error.billing, error.attempts, error.maybe_billed) == ("not_sent", 0, 0)


# --- at awkward moments ---------------------------------------------------------------------------------------------


def at_entry_of(name: str, act: Callable[[], object]) -> None:
    """Do `act` when the function with that qualified name is entered next in this thread, as a signal's handler may."""

    def trace(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_qualname == name:
            sys.settrace(None)
            act()

    sys.settrace(trace)


ENTERED: Final = (
    "Portal.open",
    "Caller.refuse_if_closed",
    "BackgroundLoop.run",
    "BackgroundLoop._soon",
    "BaseEventLoop.call_soon_threadsafe",
    "BaseEventLoop._call_soon",
    "BaseSelectorEventLoop._write_to_self",
    "_Call.wait",
    "_Call.result",
)


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("name", ENTERED)
def test_an_interrupt_anywhere_leaves_a_client_that_works(name: str, begun: bool) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with Client(base_url="embedded") as client:
        if begun:
            client.models.list()
        at_entry_of(name, interrupt)
        try:
            with suppress(KeyboardInterrupt):
                client.models.list()
        finally:
            sys.settrace(None)
        assert client.models.list()


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("name", ENTERED)
def test_a_signals_handler_may_close_the_client_anywhere(name: str, begun: bool) -> None:
    client = Client(base_url="embedded")
    if begun:
        client.models.list()
    at_entry_of(name, client.close)
    try:
        with suppress(ConfigurationError, APIConnectionError):
            client.models.list()
    finally:
        sys.settrace(None)
    client.close()
    with pytest.raises(ConfigurationError, match="closed"):
        client.models.list()
    del client


def test_closing_in_its_own_loop_is_refused_and_closes_nothing() -> None:
    refused: list[ConfigurationError] = []

    def close(_: object) -> None:
        if not refused:
            with pytest.raises(ConfigurationError, match="its own background loop") as caught:
                client.close()
            refused.append(caught.value)

    client = Client(base_url="embedded", on_event=close)
    client.images.generate("a lake", model=LARGE, size="256x256")
    assert refused
    client.close()
    assert loops() == []


def test_closing_at_exit_says_nothing() -> None:
    code = (
        "import atexit, stepfun_async\n"
        "client = stepfun_async.Client(base_url='embedded')\n"
        "atexit.register(client.close)\n"
        "print(len(client.models.list()))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("4\n", "")


def test_a_map_whose_client_is_closed_ends_with_an_error() -> None:
    client = Client(base_url="embedded", limits=Limits(2))
    outcomes = client.images.map(small() for _ in range(50))
    assert isinstance(next(outcomes), Finished)
    closing = threading.Thread(target=client.close)
    closing.start()
    with pytest.raises((APIConnectionError, ConfigurationError), match="closed"):
        for _ in outcomes:
            pass
    closing.join()


def test_where_no_sockets_are_allowed_the_client_says_what_to_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pytest-socket has it."""

    def blocked(*_: object) -> NoReturn:
        raise RuntimeError("A test tried to use socket.socket.")

    client = Client(base_url="embedded")
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", blocked)
        with pytest.raises(ConfigurationError, match=r"--allow-unix-socket\): A test tried to use socket\.socket"):
            client.models.list()
    assert client.models.list()
    client.close()


def test_where_all_threads_are_one_a_second_loop_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gevent and eventlet make it: a thread runs in the place of the one that starts it."""

    class Green(threading.Thread):
        def start(self) -> None:
            self.run()

        def join(self, timeout: float | None = None) -> None:
            pass

    async def in_a_loop() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Thread", Green)
            patch.setattr(anyio.from_thread, "Thread", Green)
            with pytest.raises(ConfigurationError, match="use the same Client everywhere"):
                Client(base_url="embedded").images.generate("a lake")

    asyncio.run(in_a_loop())


def test_an_interrupt_while_the_loop_starts_leaves_a_client_that_works() -> None:
    done = run_script(
        "import os, signal\n"
        "from anyio import from_thread\n"
        "from stepfun_async import Client\n"
        "run = from_thread.run_eventloop\n"
        "def interrupted(*args, **options):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return run(*args, **options)\n"
        "from_thread.run_eventloop = interrupted\n"
        "client = Client(base_url='embedded')\n"
        "try:\n"
        "    client.models.list()\n"
        "except KeyboardInterrupt:\n"
        "    from_thread.run_eventloop = run\n"
        "print(len(client.models.list()))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


def test_a_client_may_be_used_first_in_the_loop_of_another() -> None:
    made: list[int] = []

    def call_the_other(event: object) -> None:
        if isinstance(event, CallEnded):
            made.append(len(other.models.list()))

    with Client(base_url="embedded") as other, Client(base_url="embedded", on_event=call_the_other) as client:
        client.models.list()
    assert made == [4]


def test_an_interpreter_ends_although_a_callback_never_returns() -> None:
    done = run_script(
        "import threading\n"
        "from stepfun_async import Client\n"
        "from stepfun_async._runtime import portal\n"
        "portal.EXIT_SECONDS = 0.1\n"
        "called = threading.Event()\n"
        "def hold(_):\n"
        "    called.set()\n"
        "    threading.Event().wait()\n"
        "client = Client(base_url='embedded', on_event=hold)\n"
        "threading.Thread(target=client.models.list, daemon=True).start()\n"
        "called.wait()\n"
        "print('over')\n"
    )
    assert (done.returncode, done.stdout) == (0, "over\n")
