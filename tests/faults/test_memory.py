"""Faults cost no memory that stays: after hundreds more of them there is as much as before."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from itertools import cycle, islice

import pytest

from stepfun_async import APIError, Limits, RetryPolicy
from tests.support.faulty import (
    Play,
    billed,
    drip,
    faulty_service,
    hang_up,
    midway,
    reset,
    say,
    say_cut,
    say_status,
    silence,
    trickle,
    unbilled,
)
from tests.support.shells import SHELLS, Caller, shell

MIX: tuple[Play, ...] = (
    midway(reset),
    unbilled(reset),
    billed(hang_up),
    billed(silence),
    billed(say_cut(0.8), hang_up),
    billed(drip(b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n", b"x" * 100)),
    billed(trickle),
    billed(say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}{}")),
    unbilled(say_status("429 Too Many Requests", b'{"error": {"message": "slow down"}}')),
    unbilled(say_status("500 Internal Server Error", b"<html>" * 1000)),
    unbilled(say_status("302 Found", b"", "location: /elsewhere\r\n")),
)

QUICK = RetryPolicy(base=0.0001, connect_base=0.0001, cap=0.001, quota=None)


@pytest.mark.parametrize("where", SHELLS)
def test_hundreds_of_faults_leave_the_memory_as_it_was(where: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "stepfun_async")  # what is logged is kept here until the end
    plays, sizes = cycle(MIX), list[int]()
    with faulty_service() as service, shell(where) as code:
        caller = code.client(api_key="sk-test", base_url=service.url, limits=Limits(1), retry=QUICK, timeout=0.02)
        tracemalloc.start()
        try:
            for faults in (66, 220):
                for play in islice(plays, faults):
                    with service.meeting(play):
                        meet(caller)
                service.see_to_all()
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
            caller.close()
        service.await_none()
    assert sizes[1] - sizes[0] < 220 * 100, "100 bytes and more of each fault stay"


def meet(caller: Caller) -> None:
    (result,) = caller.begin(lambda images: images.generate("a lake")).result(60)
    if isinstance(result, Exception):
        assert isinstance(result, APIError)
