"""A fake StepFun service, in the process or over HTTP, which fails on demand and records what was paid for."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from stepfun_async import AsyncClient, Client, ConfigurationError
from stepfun_async._call.settings import BASE_URL_VARIABLE, KEY_VARIABLES
from stepfun_async._core.server import EMBEDDED
from stepfun_async.embedded import (
    Bill,
    EmbeddedTransport,
    Engine,
    Fault,
    ImageCall,
    Log,
    Scenario,
    check_server_available,
    use,
)

if TYPE_CHECKING:
    from types import TracebackType

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class FakeStepFun:
    """A fake StepFun service for tests: fast, offline, with a record of what was requested and paid for.

    Inside a `with` block it serves every `Client()` and `AsyncClient()` of this process that has no
    base URL or transport of its own, since `STEP_BASE_URL` is set to `embedded`; keys and proxies are
    removed from the environment. Outside it serves only the clients that it creates.

    Args:
        engine: the engine to use, which gets a log if it has none; by default an `Engine(plain=True)` that
            gives the seeds 1, 2, 3, ... to requests without one.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or Engine(plain=True, draw_seed=itertools.count(1).__next__)
        self._log = self.engine.log = self.engine.log or Log()
        self._entered: list[ExitStack] = []

    def fail(self, *faults: Fault | str, seed: int = 0) -> None:
        """Make later calls fail with `faults`, which replace those set before. Without any, nothing fails.

        Args:
            faults: the faults in order, as `429*2` or as `Fault("hang")`.
            seed: the seed of the random numbers for percentages.

        Raises:
            ConfigurationError: a text is not a valid fault.
        """
        self.engine.scenario = Scenario(*faults, seed=seed)

    @property
    def calls(self) -> tuple[ImageCall, ...]:
        """The calls for images in the order of arrival, one for each attempt."""
        return self._log.calls

    @property
    def paid(self) -> tuple[ImageCall, ...]:
        """The calls for which an image was charged, including those whose response was lost."""
        return tuple(call for call in self.calls if call.paid)

    @property
    def bill(self) -> Bill:
        """The charges of all keys together: `.calls`, `.images`, `.spent` and `.amount()`."""
        return self.engine.bill()

    def assert_paid(self, images: int) -> None:
        """Assert that exactly this many images were paid for so far.

        Raises:
            AssertionError: more or fewer were; the message lists the calls.
        """
        __tracebackhide__ = True  # pytest shows the test's own line
        bill, calls = self.bill, self.calls
        if bill.images != images:
            raise AssertionError(f"{_summary(bill, images)} {_listing(calls)}")

    def client(self, **settings: Any) -> Client:
        """Create a `Client` that this service serves.

        Args:
            settings: the arguments of `Client`.
        """
        return Client(**{**self._own_settings(), **settings})

    def async_client(self, **settings: Any) -> AsyncClient:
        """Create an `AsyncClient` that this service serves.

        Args:
            settings: the arguments of `AsyncClient`.
        """
        return AsyncClient(**{**self._own_settings(), **settings})

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._begin(stack)
            self._entered.append(stack.pop_all())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.pop().close()

    def _own_settings(self) -> dict[str, Any]:
        return {"base_url": EMBEDDED, "transport": EmbeddedTransport(self.engine)}

    def _begin(self, stack: ExitStack) -> None:
        stack.enter_context(use(self.engine))
        stack.enter_context(_environment({BASE_URL_VARIABLE: EMBEDDED}))


class FakeStepFunServer(FakeStepFun):
    """A `FakeStepFun` over real HTTP on 127.0.0.1, which runs inside its `with` block.

    There `STEP_BASE_URL` is its URL, and `STEP_API_KEY` a test key, also for programs that the test
    starts. It needs the extra `cli`.
    """

    _url: str | None = None

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:49152/v1`.

        Raises:
            ConfigurationError: the server is not running.
        """
        if self._url is None:
            raise ConfigurationError(f"the server is not running: use {type(self).__name__} in a with block")
        return self._url

    def _own_settings(self) -> dict[str, Any]:
        return {"base_url": self.url, "api_key": _KEY}

    def _begin(self, stack: ExitStack) -> None:
        check_server_available()
        from stepfun_async.embedded.server import running

        stack.callback(setattr, self, "_url", self._url)
        self._url = stack.enter_context(running(self.engine))
        stack.enter_context(_environment({BASE_URL_VARIABLE: self._url, KEY_VARIABLES[0]: _KEY}))


_KEY = "sk-for-tests"


@contextmanager
def _environment(variables: Mapping[str, str]) -> Generator[None]:
    """Set these environment variables, and remove the package's other ones and those of proxies."""
    proxies = (*_PROXIES, *(name.lower() for name in _PROXIES))
    names = (BASE_URL_VARIABLE, *KEY_VARIABLES, *proxies)
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


# --- messages of failed assertions --------------------------------------------------------------


def _summary(bill: Bill, expected: int) -> str:
    spent = ", ".join(f"{amount} {currency}" for currency, amount in bill.spent.items() if amount)
    cost = f" ({spent})" if spent else ""
    return f"{_count(bill.images, 'image')} paid for{cost}, not {expected};"


def _listing(calls: tuple[ImageCall, ...]) -> str:
    lines = (f"\n  {number}. {_describe(call)}" for number, call in enumerate(calls, 1))
    return f"{_count(len(calls), 'call')} arrived{':' if calls else ''}{''.join(lines)}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _describe(call: ImageCall) -> str:
    response = "no response" if call.status is None else f"status {call.status}"
    money = "paid" if call.paid else "not paid"
    met = f" (the fault {call.fault})" if call.fault else ""
    return f"{call.operation} {call.prompt!r} with {call.model}: {response}, {money}{met}"
