"""Locks that garbage collection never waits for, and what ends under them."""

from __future__ import annotations

import gc
import threading
from decimal import Decimal

import pytest

from stepfun_async import Budget, Limits
from stepfun_async._core.money import Money
from stepfun_async._runtime.fork import ForkSafeLock


def test_a_change_is_made_at_once_if_the_lock_is_free() -> None:
    lock, done = ForkSafeLock(), list[int]()
    lock.soon(lambda: done.append(1))
    assert done == [1]


def test_a_change_in_the_thread_that_holds_the_lock_waits_until_it_is_free() -> None:
    lock, done = ForkSafeLock(), list[int]()
    with lock:
        lock.soon(lambda: done.append(1))
        lock.soon(lambda: done.append(2))
        assert done == []
    assert done == [1, 2]


def test_a_change_that_leads_to_another_is_made_before_it() -> None:
    lock, done = ForkSafeLock(), list[int]()

    def change() -> None:
        lock.soon(lambda: done.append(2))
        done.append(1)

    lock.soon(change)
    assert done == [1, 2]


def test_the_next_holder_of_the_lock_makes_the_changes_that_had_to_wait() -> None:
    lock, done = ForkSafeLock(), list[int]()
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            assert let_go.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    lock.soon(lambda: done.append(1))
    assert done == []
    let_go.set()
    with lock:
        assert done == [1]
    holder.join()


def test_changes_of_many_threads_are_all_made() -> None:
    lock, sums = ForkSafeLock(), [0]

    def add() -> None:
        sums[0] += 1

    def work() -> None:
        for number in range(2000):
            if number % 3:
                lock.soon(add)
            else:
                with lock:
                    add()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with lock:
        assert sums == [8000]


class _Settled:
    """What settles a call when it is collected, as a coroutine that was abandoned does."""

    def __init__(self, budget: Budget, limits: Limits) -> None:
        self.me = self
        self._limits = limits
        self._reservation = budget.reserve("m", Money(Decimal(1), "USD"), 1)
        self._permit = limits.limiter.permit(None, entry=True, loop=object())
        assert limits.limiter.acquire_nowait(self._permit, slot=True, entry=True)

    def __del__(self) -> None:
        self._reservation.settle(billed=0, unknown=1)
        self._permit.attempt_ended("unknown", None)
        self._permit.release()


@pytest.mark.parametrize("under", ["budget", "limits"])
def test_a_call_that_is_collected_under_a_lock_is_settled_when_the_lock_is_free(under: str) -> None:
    budget, limits = Budget(100), Limits(4, 100)
    lock = budget._lock if under == "budget" else limits.limiter._lock
    gc.disable()
    try:
        _Settled(budget, limits)
        assert [budget.held, limits.state.in_flight] == [1, 1]
        with lock:
            gc.collect()
    finally:
        gc.enable()
    assert [budget.held, budget.left, limits.state.in_flight] == [1, 99, 0]
