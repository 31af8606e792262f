"""Signals of the process, for code in an event loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterable, Generator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

import anyio


@contextmanager
def signals_received(*numbers: signal.Signals) -> Generator[AsyncIterable[int]]:
    """Yield the signals of the process as they arrive, in the main thread, and restore the handlers afterwards.

    asyncio itself restores the default handlers only. Its loop on Windows cannot receive signals; there a plain
    handler passes them to the loop.
    """
    with ExitStack() as stack:
        for number in numbers:
            if (handler := signal.getsignal(number)) is not None:  # a handler installed by C code is unknown to Python
                stack.callback(signal.signal, number, handler)
        received: AsyncIterable[int]
        try:
            received = stack.enter_context(anyio.open_signal_receiver(*numbers))
        except NotImplementedError:
            received = stack.enter_context(_handed_over(numbers))
        yield received


@contextmanager
def _handed_over(numbers: tuple[signal.Signals, ...]) -> Generator[AsyncIterable[int]]:
    loop = asyncio.get_running_loop()
    send, receive = anyio.create_memory_object_stream[int](16)

    def deliver(number: int) -> None:
        with suppress(anyio.WouldBlock, anyio.ClosedResourceError):
            send.send_nowait(number)

    def handle(number: int, _: FrameType | None) -> None:
        loop.call_soon_threadsafe(deliver, number)

    with send, receive:
        for number in numbers:
            signal.signal(number, handle)
        yield receive
