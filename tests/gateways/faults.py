"""What goes wrong behind the gateway: a row for each fault of the upstream, and whether the image is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TypeAlias

from tests.gateways.gateways import Listener
from tests.support.faulty import (
    FaultyService,
    Play,
    Talk,
    billed,
    hang_up,
    midway,
    reset,
    say,
    say_cut,
    say_status,
    silence,
    succeed,
    succeed_and_close,
    unbilled,
)
from tests.support.responses import http_response, image_response

HOUR = 3600.0

REFUSAL = b'{"error": {"message": "the upstream refused", "type": "server_error"}}'


Lasting: TypeAlias = Callable[[Sequence[FaultyService]], AbstractContextManager[None]]
"""Puts the upstreams into a fault while the block lasts."""


@dataclass(frozen=True)
class Fault:
    """A fault, and how it is met.

    Attributes:
        name: what happens, at the upstream unless it says otherwise.
        last: puts the upstreams into it.
        made: whether the upstream read the whole request and made the image, so that it costs money.
        listener: the listener of the gateway that is called.
        fresh: whether the gateway has to open a new connection to the upstream; else it may use a kept one.
        large: whether the request is larger than what the gateway and the kernels hold.
        later: seconds that pass for the caller while the upstream works; its deadline is shorter.
    """

    name: str
    last: Lasting
    made: bool
    listener: Listener = "usual"
    fresh: bool = False
    large: bool = False
    later: float = 0.0


def meets(play: Play) -> Lasting:
    """Every request is met with `play`."""
    return lambda upstreams: upstreams[0].meeting(play)


def meets_first(play: Play, others: Play) -> Lasting:
    """The first request is met with `play`, whichever upstream it comes to; all others with `others`."""

    @contextmanager
    def last(upstreams: Sequence[FaultyService]) -> Iterator[None]:
        plays = chain([play], repeat(others))

        def next_play(talk: Talk) -> None:
            next(plays)(talk)

        with ExitStack() as stack:
            for upstream in upstreams:
                stack.enter_context(upstream.meeting(next_play))
            yield

    return last


def _refusing(upstreams: Sequence[FaultyService]) -> AbstractContextManager[None]:
    return upstreams[0].refusing()


def _spaces_first(talk: Talk) -> None:
    """Send a success in chunks, the first of which are white space."""
    _, _, body = image_response().partition(b"\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    talk.connection.sendall(head + b"1\r\n \r\n" * 3 + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


def _success_of_old(talk: Talk) -> None:
    """Send a success in HTTP/1.0, whose end is that of the connection."""
    _, _, body = image_response().partition(b"\r\n\r\n")
    talk.connection.sendall(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + body)
    hang_up(talk)


LONG_HEAD = http_response(REFUSAL, headers=f"x-long: {'x' * 120_000}\r\n")
"""A head that most gateways do not read to its end."""

SOON = "retry-after: 0.01\r\n"

FAULTS = (
    Fault("none", meets(billed(succeed)), made=True),
    Fault("none, closed after the answer", meets(billed(succeed_and_close)), made=True),
    Fault("none, white space before the answer", meets(billed(_spaces_first)), made=True),
    Fault("none, HTTP/1.0", meets(billed(_success_of_old)), made=True),
    Fault("closed without an answer", meets(billed(hang_up)), made=True),
    Fault("closed without an answer, new connection", meets(billed(hang_up)), made=True, fresh=True),
    Fault("reset without an answer", meets(billed(reset)), made=True),
    Fault("answer breaks off", meets(billed(say_cut(0.8), hang_up)), made=True),
    Fault("answer comes too late for the gateway", meets(billed(silence)), made=True, listener="impatient"),
    Fault("answer's head is too long", meets(billed(say(LONG_HEAD))), made=True),
    Fault(
        "one of two upstreams closes",
        meets_first(billed(hang_up), billed(succeed)),
        made=True,
        listener="balanced",
        fresh=True,
    ),
    Fault("500 after the work", meets(billed(say_status("500 Internal Server Error", REFUSAL))), made=True),
    Fault("408 after the work", meets(billed(say_status("408 Request Timeout", REFUSAL))), made=True),
    Fault("429 in the API's words", meets(unbilled(say_status("429 Too Many Requests", REFUSAL, SOON))), made=False),
    Fault("503 in the API's words", meets(unbilled(say_status("503 Service Unavailable", REFUSAL, SOON))), made=False),
    Fault(
        "closed, then 429 in the API's words",
        meets_first(billed(hang_up), unbilled(say_status("429 Too Many Requests", REFUSAL, SOON))),
        made=True,
    ),
    Fault(
        "401 in mid-upload",
        meets(midway(say_status("401 Unauthorized", REFUSAL, "connection: close\r\n"), hang_up)),
        made=False,
        large=True,
    ),
    Fault("closed in mid-upload", meets(midway(hang_up)), made=False, large=True),
    Fault("gateway refuses a large body", meets(billed(succeed)), made=False, listener="narrow", large=True),
    Fault("connection refused", _refusing, made=False),
    Fault("caller gives up", meets(billed(silence)), made=True, later=HOUR),
)
"""Last is the one after which a gateway may go on by itself."""
