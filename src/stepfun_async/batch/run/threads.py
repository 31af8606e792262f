"""A few threads for short work of many tasks: what waits for one is done there in a lot."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar, cast

import anyio

from stepfun_async._runtime.event_loop import finished_in_thread

T = TypeVar("T")


class Threads:
    """Does the work of many tasks in a few threads.

    To write a small file takes less time than to go to a thread and back, and where many threads want to
    run, the event loop is one of those that wait for their turn. So while all threads are busy, work
    gathers; the next thread that is free takes its share of it, and the loop is woken once for all of that.

    Args:
        count: how many threads work at once.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._waiting: deque[_Piece[Any]] = deque()

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` gives, or raises, in a thread. Once begun, it is waited for whoever cancels."""
        piece = _Piece(work)
        if self._free:
            self._free -= 1
            await self._lead([piece])
        else:
            self._waiting.append(piece)
            await self._follow(piece)
        return piece.outcome()

    async def _follow(self, piece: _Piece[Any]) -> None:
        """Wait until somebody has done `piece`, or has left it with others to this task."""
        try:
            await piece.turn.wait()
        except BaseException:
            if piece in self._waiting:
                self._waiting.remove(piece)
            elif piece.lot:
                await self._lead(piece.lot)
            raise
        if piece.lot:
            await self._lead(piece.lot)

    async def _lead(self, lot: list[_Piece[Any]]) -> None:
        """Have a lot done, tell those whose work it is, and leave the thread to the next one."""
        try:
            await finished_in_thread(partial(_do_all, lot))
        finally:
            for piece in lot:
                piece.lot = []
                piece.turn.set()
            self._hand_on()

    def _hand_on(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        share = -(-len(self._waiting) // self._count)
        lot = [self._waiting.popleft() for _ in range(share)]
        lot[0].lot = lot
        lot[0].turn.set()


class _Piece(Generic[T]):
    """Work that a task waits for.

    Attributes:
        turn: it is done, or this task is to have `lot` done.
        lot: what this task is to have done; empty for nothing.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: T | None = None
        self._error: BaseException | None = None
        self.turn = anyio.Event()
        self.lot: list[_Piece[Any]] = []

    def do(self) -> None:
        """Do it, in a thread."""
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, who asked for it is told, and nobody else
            self._error = error

    def outcome(self) -> T:
        """What came of it."""
        if self._error is not None:
            raise self._error
        return cast("T", self._result)


def _do_all(lot: list[_Piece[Any]]) -> None:
    for piece in lot:
        piece.do()
