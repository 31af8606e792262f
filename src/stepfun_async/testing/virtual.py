"""Virtual time for code that waits: on asyncio, on trio, and in the sync client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal, TypeVar, TypeVarTuple

import anyio

from stepfun_async import ConfigurationError
from stepfun_async._runtime.portal import loop_options

from .asyncio_time import VirtualLoop

T = TypeVar("T")
Args = TypeVarTuple("Args")

Backend = Literal["asyncio", "trio"]


def run(function: Callable[[*Args], Awaitable[T]], *args: *Args, backend: Backend = "asyncio") -> T:
    """Run `function` in virtual time, and return its result.

    Waits of any length, of retries, deadlines, limits and `sleep`, take no real time: the clock jumps
    to the next timer once nothing else can happen.

    Args:
        function: an async function.
        args: its arguments.
        backend: the library that runs it, `asyncio` or `trio`.

    Raises:
        ConfigurationError: the backend is unknown or not installed.
    """
    name, options = virtual_backend(backend)
    return anyio.run(function, *args, backend=name, backend_options=options)


def virtual_backend(backend: Backend = "asyncio") -> tuple[str, dict[str, Any]]:
    """Return a backend in virtual time, as the `anyio_backend` fixture of anyio's pytest plugin takes it.

    Args:
        backend: `asyncio` or `trio`.

    Returns:
        The backend's name, and its options for `anyio.run`.

    Raises:
        ConfigurationError: the backend is unknown or not installed.
    """
    options = _OPTIONS.get(backend)
    if options is None:
        raise ConfigurationError(f"backend must be {' or '.join(map(repr, _OPTIONS))}, not {backend!r}")
    return backend, options()


def _asyncio_options() -> dict[str, Any]:
    return {"loop_factory": VirtualLoop}


def _trio_options() -> dict[str, Any]:
    if find_spec("trio") is None:
        raise ConfigurationError('virtual time on trio needs trio: pip install "stepfun-async[trio]"')
    from .trio_time import VirtualClock

    return {"clock": VirtualClock()}


_OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {"asyncio": _asyncio_options, "trio": _trio_options}


@contextmanager
def virtual_time() -> Generator[None]:
    """Run sync clients in virtual time during the `with` block.

    It applies to every `Client` of this process whose first call is made inside the block. Their clocks jump whenever
    all calls wait, so a timeout or a retry may occur before the work of other threads, which is in real time.
    """
    before = dict(loop_options)
    loop_options.update(_asyncio_options())
    try:
        yield
    finally:
        loop_options.clear()
        loop_options.update(before)
