"""Who waits for a model, and in which order."""

from __future__ import annotations

import threading

import pytest

from stepfun_async.diffusers.line import Line
from stepfun_async.embedded.backend import NotMadeError, Stop


def waiting(line: Line, name: str, made: list[str], stop: Stop) -> threading.Thread:
    """A thread that waits for its turn, and has taken its place when this returns."""
    before = line.waiting

    def work() -> None:
        try:
            with line.turn(stop):
                made.append(name)
        except NotMadeError as error:
            made.append(f"{name}: {error.status}")

    thread = threading.Thread(target=work)
    thread.start()
    while line.waiting == before and thread.is_alive():
        threading.Event().wait(0.001)
    return thread


def test_one_works_and_the_others_follow_in_order() -> None:
    line, made = Line(8), list[str]()
    with line.turn(Stop()):
        threads = [waiting(line, name, made, Stop()) for name in "abc"]
        assert (line.waiting, made) == (3, [])
    for thread in threads:
        thread.join()
    assert made == ["a", "b", "c"]


def test_a_caller_that_goes_leaves_the_line_to_the_others() -> None:
    line, made, stop = Line(8), list[str](), Stop()
    with line.turn(Stop()):
        threads = [waiting(line, "a", made, stop), waiting(line, "b", made, Stop())]
        stop.set()
        threads[0].join()
        assert made == ["a: 499"]
    threads[1].join()
    assert made == ["a: 499", "b"]


def test_a_full_line_says_when_to_come_back() -> None:
    line = Line(0)
    line.took(2.0)
    line.took(3.5)
    with line.turn(Stop()):
        with pytest.raises(NotMadeError, match="one image at a time") as refused, line.turn(Stop()):
            pass
        with pytest.raises(NotMadeError) as gone, line.turn(gone_already(), bounded=False):
            pass
    assert (refused.value.status, refused.value.retry_after) == (429, 3)
    assert gone.value.status == 499
    with line.turn(Stop()):
        assert line.waiting == 0


def gone_already() -> Stop:
    stop = Stop()
    stop.set()
    return stop
