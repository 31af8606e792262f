"""Runs a batch without an event loop, in one of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn, TypeVar

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._runtime.portal import Portal

T = TypeVar("T")


def run_in_thread(function: Callable[[], Awaitable[T]]) -> T:
    """Run `function` in an event loop and a thread of its own. A `KeyboardInterrupt` in this thread cancels it."""
    with Portal("a Batch", ConfigurationError) as portal:
        outcome = portal.run(partial(_capture, function))
    return outcome()


async def _capture(function: Callable[[], Awaitable[T]]) -> Callable[[], T]:
    """Return a function that returns the result of `function`, or raises an error that would end the loop at once."""
    try:
        result = await function()
    except Exception:
        raise
    except BaseException as error:  # noqa: BLE001 - raised by the caller
        return partial(_raise, error)
    return lambda: result


def _raise(error: BaseException) -> NoReturn:
    raise error
