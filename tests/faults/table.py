"""The faults, and how each has to end: what is raised, what it says of money, and what was charged."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import inf
from typing import Literal, TypeAlias

from stepfun_async import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ContentRejectedError,
    InsufficientBalanceError,
    InternalServerError,
    MalformedResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from stepfun_async._core.errors import Billing
from tests.faults.world import Way, World
from tests.support.faulty import (
    Play,
    Talk,
    billed,
    drip,
    finish_reading,
    half_close,
    hang_up,
    hello,
    inside,
    midway,
    read_nothing,
    reset,
    say,
    say_cut,
    say_status,
    say_unencrypted,
    silence,
    stop_reading,
    succeed,
    succeed_and_close,
    succeed_and_go_on,
    succeed_and_say,
    trickle,
    unbilled,
)
from tests.support.responses import REFUSAL, data_response, http_response, image_response

Fault: TypeAlias = Callable[[World], AbstractContextManager[None]]
"""What makes a fault last for a block."""


@dataclass(frozen=True)
class Ending:
    """How a call ends.

    Attributes:
        error: what is raised; None for an image.
        billing: what the error says of the last attempt.
        attempts: how many there were.
        maybe_billed: how many of them may have been charged.
    """

    error: type[APIError] | None
    billing: Billing
    attempts: int = 1
    maybe_billed: int = 0


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        name: what happens.
        fault: what makes it happen.
        paid: how a call for an image ends; None where two ends are right, and only the bill is held to.
        free: how a download ends; None where it cannot meet this fault.
        charged: images that the service charges for each such call; None where that is a matter of moments.
        way: how the client reaches the service.
        later: seconds that pass in a moment, again and again while the call lasts.
        passing: when they do: once the fault has begun, always, or while a call waits for its slot.
        timeout: seconds that a call may take.
        large: whether the request is larger than what the kernels on the way take in.
        pause: seconds for which the client does not go on by itself when the fault is over.
    """

    name: str
    fault: Fault
    paid: Ending | None
    free: Ending | None = None
    charged: int | None = 0
    way: Way = "plain"
    later: float = 0.0
    passing: Literal["begun", "always", "queued"] = "begun"
    timeout: float = 600.0
    large: bool = False
    pause: float = 0.0


# --- endings ------------------------------------------------------------------------------------

NOT_SENT = Ending(APIConnectionError, "not_sent", attempts=3)
NOT_SENT_AT_ALL = Ending(APIConnectionError, "not_sent")
"""Nothing was sent, and what stands against it will not go away."""
LOST = Ending(APIConnectionError, "unknown", maybe_billed=1)
LATE = Ending(APITimeoutError, "unknown", maybe_billed=1)
LATE_BEFORE_SENDING = Ending(APITimeoutError, "not_sent")
TROUBLE = Ending(InternalServerError, "unknown", maybe_billed=1)
UNREADABLE = Ending(MalformedResponseError, "unknown", maybe_billed=1)
IMAGE = Ending(None, "executed", maybe_billed=1)

FREE_LOST = Ending(APIConnectionError, "not_sent", attempts=3)
"""What is lost on the way to a link is asked for again: that costs nothing."""
FREE_LATE = Ending(APITimeoutError, "not_sent", attempts=1)
FREE_BUSY = Ending(InternalServerError, "rejected", attempts=3)
FREE_TROUBLE = Ending(InternalServerError, "rejected", attempts=1)
NO_IMAGE = Ending(MalformedResponseError, "rejected", attempts=1)


def refused(error: type[APIStatusError], attempts: int = 1) -> Ending:
    """The service said no, and did nothing."""
    return Ending(error, "rejected", attempts)


# --- faults -------------------------------------------------------------------------------------


def meets(play: Play) -> Fault:
    """Every request meets `play`."""
    return lambda world: world.plain.meeting(play)


def afresh(fault: Fault) -> Fault:
    """`fault`, after the connection that was kept is closed."""

    def arm(world: World) -> AbstractContextManager[None]:
        world.plain.drop_idle()
        return fault(world)

    return arm


def meets_in_tls(play: Play) -> Fault:
    """Every request meets `play`, under TLS."""
    return lambda world: world.secure.meeting(play)


def greets(play: Play) -> Fault:
    """Every new connection meets `play`."""
    return lambda world: world.plain.greeting(play)


def shakes(play: Play) -> Fault:
    """Every new connection meets `play` in the place of the TLS handshake."""
    return lambda world: world.secure.greeting(play)


def refuses(world: World) -> AbstractContextManager[None]:
    """Nobody listens."""
    return world.plain.refusing()


def crowds(world: World) -> AbstractContextManager[None]:
    """So many wait to be let in that the kernel ignores everybody else."""
    return world.plain.crowded()


def proves_another_host(world: World) -> AbstractContextManager[None]:
    """The certificate is for another host."""
    certificate = world.certificates.of_another_host()
    return world.secure.greeting(lambda talk: talk.secure(certificate))


def proves_nothing(world: World) -> AbstractContextManager[None]:
    """The certificate is from an authority that is not trusted."""
    certificate = world.certificates.of_a_stranger()
    return world.secure.greeting(lambda talk: talk.secure(certificate))


def all_is_well(_: World) -> AbstractContextManager[None]:
    """Nothing happens."""
    return nullcontext()


# --- responses ------------------------------------------------------------------------------------

BUSY = "503 Service Unavailable"
HTML = b"<html><body><h1>Bad Gateway</h1></body></html>"
WHOLE = image_response()
BODY = WHOLE.partition(b"\r\n\r\n")[2]
_LAST = f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
MUCH = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9000000\r\n\r\n"
FILTERED = {"seed": 7, "finish_reason": "content_filtered"}


def status(line: str, headers: str = "", body: bytes = REFUSAL) -> Fault:
    """Every request is answered with this status, and no image is made."""
    return meets(unbilled(say_status(line, body, headers)))


def made(body: bytes) -> Fault:
    """Every image is made and charged, and `body` is answered in its place."""
    return meets(billed(say(http_response(body))))


def lengthy(length: int) -> bytes:
    """A success that says another length than it has."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n".encode() + BODY


def zipped(body: bytes) -> bytes:
    """A success that says it is gzip."""
    return http_response(body, headers="content-encoding: gzip\r\n")


def redirect(location: str) -> Play:
    """Send elsewhere."""
    return unbilled(say_status("307 Temporary Redirect", b"", f"location: {location}\r\n"))


def redirect_once(then: Play) -> Play:
    """Send elsewhere, and do `then` there."""

    def play(talk: Talk) -> None:
        talk.read_request()
        if b"/elsewhere" in talk.head:
            then(talk)
        else:
            say_status("302 Found", b"", "location: /elsewhere\r\n")(talk)

    return play


# --- the table ----------------------------------------------------------------------------------

HOUR = 3600.0
LATE_THREE_TIMES = Ending(APITimeoutError, "not_sent", attempts=3)

BEFORE_CONNECTING = (
    Row("the name is not known", afresh(lambda world: world.names.unknown()), NOT_SENT, NOT_SENT, way="named"),
    Row(
        "the name is looked up for ever",
        afresh(lambda world: world.names.slow()),
        LATE_BEFORE_SENDING,
        FREE_LATE,
        way="named",
        later=HOUR,
    ),
    Row("the port is closed", refuses, NOT_SENT, NOT_SENT),
    Row("nobody is let in", crowds, LATE_BEFORE_SENDING, FREE_LATE, later=HOUR, passing="always"),
    Row("nobody is let in for 6 s", crowds, LATE_THREE_TIMES, LATE_THREE_TIMES, later=6, timeout=inf, passing="always"),
    Row("nobody accepts", lambda world: world.plain.asleep(), None, FREE_LATE, later=HOUR, passing="always"),
    Row("accepted, not read", greets(read_nothing), LATE, FREE_LATE, charged=1, later=HOUR),
    Row("the proxy's port is closed", refuses, NOT_SENT, NOT_SENT, way="relay"),
    Row("the tunnel's port is closed", refuses, NOT_SENT, NOT_SENT, way="tunnel"),
    Row("reset when accepted", greets(reset), None),
    Row("closed when accepted", greets(hang_up), None),
)

DURING_THE_HANDSHAKE = (
    Row("plain text for TLS", shakes(hello(say(HTML), hang_up)), NOT_SENT, NOT_SENT, way="tls"),
    Row("a certificate for another host", proves_another_host, NOT_SENT_AT_ALL, NOT_SENT_AT_ALL, way="tls"),
    Row("a certificate of a stranger", proves_nothing, NOT_SENT_AT_ALL, NOT_SENT_AT_ALL, way="tls"),
    Row("closed in the handshake", shakes(hello(hang_up)), NOT_SENT, NOT_SENT, way="tls"),
    Row("reset in the handshake", shakes(hello(reset)), NOT_SENT, NOT_SENT, way="tls"),
    Row("reset before the handshake", shakes(reset), NOT_SENT, NOT_SENT, way="tls"),
    Row("silent in the handshake", shakes(hello(silence)), LATE_BEFORE_SENDING, FREE_LATE, way="tls", later=HOUR),
    Row(
        "a handshake of over 5 s",
        shakes(hello(silence)),
        LATE_THREE_TIMES,
        LATE_THREE_TIMES,
        way="tls",
        later=6,
        timeout=inf,
    ),
    Row(
        "half a handshake",
        shakes(hello(say(b"\x16\x03\x03\x00\x7a\x02"), silence)),
        LATE_BEFORE_SENDING,
        FREE_LATE,
        way="tls",
        later=HOUR,
    ),
)

AT_THE_PROXY = (
    Row("407 for a tunnel", afresh(status("407 Proxy Authentication Required")), NOT_SENT, NOT_SENT, way="tunnel"),
    Row("502 for a tunnel", afresh(status("502 Bad Gateway")), NOT_SENT, NOT_SENT, way="tunnel"),
    Row("closed for a tunnel", afresh(meets(unbilled(hang_up))), NOT_SENT, NOT_SENT, way="tunnel"),
    Row(
        "garbage for a tunnel",
        afresh(meets(unbilled(say(b"220 ready\r\n\r\n"), hang_up))),
        NOT_SENT,
        NOT_SENT,
        way="tunnel",
    ),
    Row(
        "silence for a tunnel",
        afresh(meets(unbilled(silence))),
        LATE_BEFORE_SENDING,
        FREE_LATE,
        way="tunnel",
        later=HOUR,
    ),
    Row(
        "no TLS in the tunnel",
        afresh(meets(unbilled(say(b"HTTP/1.1 200 OK\r\n\r\n"), hello(say(HTML), hang_up)))),
        NOT_SENT,
        NOT_SENT,
        way="tunnel",
    ),
    Row(
        "407 of a proxy",
        status("407 Proxy Authentication Required"),
        refused(APIStatusError),
        refused(APIStatusError),
        way="relay",
    ),
    Row("502 of a proxy", status("502 Bad Gateway", body=HTML), TROUBLE, FREE_TROUBLE, way="relay"),
)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx-a: b\r\n\r\n"

_EARLY: tuple[tuple[str, Play, Ending, int], ...] = (
    (
        "401 and closed, the body unread",
        midway(say_status("401 No", REFUSAL), hang_up),
        refused(AuthenticationError),
        0,
    ),
    ("403 and reset, the body unread", midway(say_status("403 No", REFUSAL), reset), refused(PermissionDeniedError), 0),
    (
        "413 and nothing is read any more",
        midway(say_status("413 No", REFUSAL), stop_reading),
        refused(APIStatusError),
        0,
    ),
    ("429 and closed, the body unread", midway(say_status("429 No", REFUSAL), hang_up), refused(RateLimitError, 3), 0),
    ("interim answers in the body", midway(say(CONTINUE), Talk.read_body, Talk.bill, succeed), IMAGE, 1),
)
"""What a service may say while the body is still coming."""

_EVERYWHERE: tuple[tuple[str, Way, Callable[[Play], Fault]], ...] = (
    ("", "plain", meets),
    (", TLS", "tls", meets_in_tls),
    (", proxy", "relay", meets),
    (", tunnel", "tunnel", lambda play: meets(inside(play))),
)

DURING_THE_UPLOAD = (
    Row("reset in the body", meets(midway(reset)), LOST, FREE_LOST),
    Row("closed in the body", meets(midway(hang_up)), LOST, FREE_LOST),
    Row("reset in a large body", meets(midway(reset)), LOST, large=True),
    Row("half-closed, read and made", meets(midway(finish_reading)), LOST, FREE_LOST, charged=1),
    Row("half-closed, all of it read and made", meets(midway(finish_reading)), LOST, charged=None, large=True),
    Row("the upload stalls", meets(midway(stop_reading)), LATE, later=HOUR, large=True),
    Row("the upload stalls under TLS", meets_in_tls(midway(stop_reading)), LATE, way="tls", later=HOUR, large=True),
    Row(
        "401 before the body is read",
        meets(midway(say_status("401 No", REFUSAL), Talk.read_body)),
        refused(AuthenticationError),
        large=True,
    ),
    *(
        Row(f"{name}{where}", meeting(play), ending, charged=charged, way=way, large=True, pause=1)
        for name, play, ending, charged in _EARLY
        for where, way, meeting in _EVERYWHERE
    ),
)

INSTEAD_OF_A_RESPONSE = (
    Row("silence, not made", meets(unbilled(silence)), LATE, FREE_LATE, later=HOUR),
    Row("silence, made", meets(billed(silence)), LATE, FREE_LATE, charged=1, later=HOUR),
    Row("silence under TLS", meets_in_tls(billed(silence)), LATE, FREE_LATE, charged=1, way="tls", later=HOUR),
    Row("silence in a tunnel", meets(inside(billed(silence))), LATE, FREE_LATE, charged=1, way="tunnel", later=HOUR),
    Row("reset, not made", meets(unbilled(reset)), LOST, FREE_LOST),
    Row("reset, made", meets(billed(reset)), LOST, FREE_LOST, charged=1),
    Row("reset under TLS", meets_in_tls(billed(reset)), LOST, FREE_LOST, charged=1, way="tls"),
    Row("closed, not made", meets(unbilled(hang_up)), LOST, FREE_LOST),
    Row("closed, made", meets(billed(hang_up)), LOST, FREE_LOST, charged=1),
    Row("half-closed", meets(billed(half_close)), LOST, FREE_LOST, charged=1),
    Row("closed under TLS", meets_in_tls(billed(hang_up)), LOST, FREE_LOST, charged=1, way="tls"),
    Row("a mail server", meets(unbilled(say(b"220 mail.test ESMTP\r\n"), hang_up)), LOST, FREE_LOST),
    Row("zeros", meets(billed(say(bytes(500)), hang_up)), LOST, FREE_LOST, charged=1),
    Row(
        "garbage past TLS",
        meets_in_tls(billed(say_unencrypted(HTML * 9), hang_up)),
        LOST,
        FREE_LOST,
        charged=1,
        way="tls",
    ),
    Row("an empty line", meets(billed(say(b"\r\n\r\n"), hang_up)), LOST, FREE_LOST, charged=1),
)

REFUSALS: Mapping[str, type[APIStatusError]] = {
    "400 Bad Request": BadRequestError,
    "401 Unauthorized": AuthenticationError,
    "402 Payment Required": InsufficientBalanceError,
    "403 Forbidden": PermissionDeniedError,
    "404 Not Found": NotFoundError,
    "405 Method Not Allowed": APIStatusError,
    "413 Content Too Large": APIStatusError,
    "422 Unprocessable Content": APIStatusError,
    "451 Unavailable For Legal Reasons": ContentRejectedError,
}
"""Statuses after which nothing was made and nothing is retried."""

DOUBTS = (
    "408 Request Timeout",
    "409 Conflict",
    "418 I am a teapot",
    "424 Failed Dependency",
    "499 Client Closed Request",
)
"""Statuses after which it is unknown whether the work was done."""

ENVOY = b"upstream connect error or disconnect/reset before headers. reset reason: "
VARNISH = (
    b"<!DOCTYPE html><html><head><title>503 Backend fetch failed</title></head><body>Guru Meditation</body></html>"
)
HAPROXY = (
    b"<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"
)


def foreign(line: str, body: bytes, headers: str = "") -> Fault:
    """Every image is made and charged, and a gateway answers in its place."""
    return meets(billed(say_status(line, body, headers)))


_UNSAID = Ending(APIStatusError, "unknown", maybe_billed=1)

_MADE: tuple[tuple[str, Play, Ending], ...] = (
    ("Envoy's 503 after the work", billed(say_status(BUSY, ENVOY + b"connection termination")), TROUBLE),
    ("a page with 503 after the work", billed(say_status(BUSY, VARNISH)), TROUBLE),
    ("LiteLLM's 408 after the work", billed(say_status("408 No", REFUSAL, "x-litellm-call-id: 1\r\n")), _UNSAID),
    ("LiteLLM's 503 after the work", billed(say_status(BUSY, REFUSAL, "x-litellm-call-id: 1\r\n")), TROUBLE),
    ("an error in a 200", billed(say(http_response(REFUSAL))), UNREADABLE),
    ("a task in the place of a picture", billed(say_status("202 Accepted", b'{"task_id": "t"}')), UNREADABLE),
    ("spaces before the JSON", billed(say(http_response(b" " * 30 + BODY))), IMAGE),
    ("kept for a second", billed(say(http_response(BODY, headers="keep-alive: timeout=1\r\n"))), IMAGE),
    ("chunks of spaces before the JSON", billed(say(CHUNKED), *[say(b"1\r\n \r\n")] * 3, say(_LAST)), IMAGE),
)
"""What a gateway may answer when the image is made."""

BEHIND_A_GATEWAY = tuple(
    Row(f"{name}{where}", meeting(play), ending, charged=1, way=way)
    for name, play, ending in _MADE
    for where, way, meeting in _EVERYWHERE
)

ANSWERED_BY_A_GATEWAY = (
    Row(
        "Envoy's 503 after it sent again",
        foreign(
            BUSY, ENVOY.replace(b"reset reason", b"retried and the latest reset reason") + b"remote connection failure"
        ),
        TROUBLE,
        FREE_BUSY,
        charged=1,
    ),
    Row("Envoy has no upstream", foreign(BUSY, b"no healthy upstream"), TROUBLE, FREE_BUSY, charged=1),
    Row(
        "Envoy's 503 behind an Envoy",
        foreign(BUSY, ENVOY + b"remote connection failure", "x-envoy-upstream-service-time: 9\r\n"),
        TROUBLE,
        FREE_BUSY,
        charged=1,
    ),
    Row(
        "Envoy's 503 before sending",
        status(BUSY, body=ENVOY + b"remote connection failure"),
        refused(InternalServerError, 3),
        FREE_BUSY,
    ),
    Row(
        "Varnish's 503 after the work",
        foreign(BUSY, VARNISH, "server: Varnish\r\nretry-after: 5\r\n"),
        TROUBLE,
        replace(FREE_BUSY, attempts=1),
        charged=1,
        later=20,
        timeout=4,
        passing="queued",
        pause=10,
    ),
    Row("HAProxy's 503 after the work", foreign(BUSY, HAPROXY), TROUBLE, FREE_BUSY, charged=1),
    Row("an empty 503 after the work", foreign(BUSY, b""), TROUBLE, FREE_BUSY, charged=1),
    Row(
        "a gateway's 429 after the work",
        foreign("429 Too Many Requests", HTML),
        Ending(RateLimitError, "unknown", maybe_billed=1),
        refused(RateLimitError, 3),
        charged=1,
        pause=1,
    ),
)

STATUSES = (
    *(Row(line, status(line), refused(error), refused(error)) for line, error in REFUSALS.items()),
    *(
        Row(line, status(line), Ending(APIStatusError, "unknown", maybe_billed=1), refused(APIStatusError))
        for line in DOUBTS
    ),
    *(
        Row(f"{line} as a page", status(line, "connection: close\r\n", HTML), refused(error), refused(error))
        for line, error in (("403 Forbidden", PermissionDeniedError), ("404 Not Found", NotFoundError))
    ),
    *ANSWERED_BY_A_GATEWAY,
    Row("429", status("429 Too Many Requests"), refused(RateLimitError, 3), refused(RateLimitError, 3), pause=1),
    Row(
        "429 for a moment",
        status("429 Too Many Requests", "retry-after: 0.001\r\n"),
        refused(RateLimitError, 3),
        refused(RateLimitError, 3),
        pause=1,
    ),
    Row(
        "429 for longer than the deadline",
        status("429 Too Many Requests", "retry-after: 10000000\r\n"),
        refused(RateLimitError),
        refused(RateLimitError),
        later=20,
        timeout=1e6,
        passing="queued",
        pause=100,
    ),
    Row("503", status("503 Service Unavailable"), refused(InternalServerError, 3), refused(InternalServerError, 3)),
    Row("500, not made", status("500 Internal Server Error"), TROUBLE, FREE_TROUBLE),
    *(
        Row(line, meets(billed(say_status(line, HTML))), TROUBLE, FREE_TROUBLE, charged=1)
        for line in ("500 Internal Server Error", "501 No", "502 Bad Gateway", "504 Gateway Timeout", "599 Odd")
    ),
    Row("a redirect", meets(redirect("/v1/elsewhere")), refused(APIStatusError), NOT_SENT_AT_ALL),
    Row("a redirect without a location", status("302 Found"), refused(APIStatusError), refused(APIStatusError)),
    Row("304 Not Modified", status("304 Not Modified", body=b""), refused(APIStatusError), refused(APIStatusError)),
)

DURING_THE_RESPONSE = (
    Row("cut in the status line", meets(billed(say(b"HTTP/1.1 2"), hang_up)), LOST, FREE_LOST, charged=1),
    Row("cut in the head", meets(billed(say_cut(0.2), hang_up)), LOST, FREE_LOST, charged=1),
    Row("cut in the body", meets(billed(say_cut(0.8), hang_up)), LOST, FREE_LOST, charged=1),
    Row("reset in the body", meets(billed(say_cut(0.8), reset)), LOST, FREE_LOST, charged=1),
    Row("half-closed in the body", meets(billed(say_cut(0.8), half_close)), LOST, FREE_LOST, charged=1),
    Row("cut under TLS", meets_in_tls(billed(say_cut(0.8), hang_up)), LOST, FREE_LOST, charged=1, way="tls"),
    Row("silent in the head", meets(billed(say_cut(0.2), silence)), LATE, FREE_LATE, charged=1, later=HOUR),
    Row("silent in the body", meets(billed(say_cut(0.8), silence)), LATE, FREE_LATE, charged=1, later=HOUR),
    Row(
        "a head that drips",
        meets(billed(drip(b"HTTP/1.1 200 OK\r\nx-drip: ", b"x"))),
        LATE,
        FREE_LATE,
        charged=1,
        later=HOUR,
    ),
    Row("a body that drips", meets(billed(drip(MUCH, b"x"))), LATE, FREE_LATE, charged=1, later=HOUR),
    Row("a body at 500 kB/s", meets(billed(drip(MUCH, b"x" * 1000))), LATE, FREE_LATE, charged=1, later=HOUR),
    Row("chunks that drip", meets(billed(drip(CHUNKED, b"1\r\nx\r\n"))), LATE, FREE_LATE, charged=1, later=HOUR),
    Row(
        "a body that drips under TLS",
        meets_in_tls(billed(drip(MUCH, b"x"))),
        LATE,
        FREE_LATE,
        charged=1,
        way="tls",
        later=HOUR,
    ),
    Row("chunks that break off", meets(billed(say(CHUNKED + b"5\r\nhel"), hang_up)), LOST, FREE_LOST, charged=1),
    Row("no last chunk", meets(billed(say(CHUNKED + b"2\r\n{}\r\n"), hang_up)), LOST, FREE_LOST, charged=1),
    Row("a chunk of no length", meets(billed(say(CHUNKED + b"zz\r\n"), hang_up)), LOST, FREE_LOST, charged=1),
    Row("longer than it says", meets(billed(say(lengthy(len(BODY) - 9)))), UNREADABLE, charged=1),
    Row("shorter than it says", meets(billed(say(lengthy(len(BODY) + 9)), hang_up)), LOST, charged=1),
    Row("a length that is none", meets(billed(say(lengthy(-5)), hang_up)), LOST, FREE_LOST, charged=1),
    Row(
        "a head without end",
        meets(billed(say(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000), hang_up)),
        LOST,
        FREE_LOST,
        charged=1,
    ),
    Row(
        "a header that is none",
        meets(billed(say(b"HTTP/1.1 200 OK\r\nno\r\n\r\n"), hang_up)),
        LOST,
        FREE_LOST,
        charged=1,
    ),
    Row(
        "gzip that is none",
        meets(billed(say(zipped(BODY)))),
        UNREADABLE,
        charged=1,
    ),
    Row(
        "a redirect that drips", meets(redirect_once(drip(MUCH, b"x"))), refused(APIStatusError), FREE_LATE, later=HOUR
    ),
)

UNREADABLE_SUCCESSES = (
    Row("JSON that breaks off", made(BODY[:-5]), UNREADABLE, NO_IMAGE, charged=1),
    Row("a page", meets(billed(say(http_response(HTML, content_type="text/html")))), UNREADABLE, NO_IMAGE, charged=1),
    Row("a page, not made", meets(unbilled(say(http_response(HTML)))), UNREADABLE, NO_IMAGE),
    Row("nothing", made(b""), UNREADABLE, NO_IMAGE, charged=1),
    Row("204", meets(billed(say(b"HTTP/1.1 204 No Content\r\n\r\n"))), UNREADABLE, NO_IMAGE, charged=1),
    Row("202", meets(billed(say_status("202 Accepted", b'{"id": "later"}'))), UNREADABLE, NO_IMAGE, charged=1),
    Row("a list", made(b"[1, 2]"), UNREADABLE, NO_IMAGE, charged=1),
    Row("null", made(b"null"), UNREADABLE, charged=1),
    Row("bytes that are no UTF-8", made(BODY.replace(b"created", b"cre\xff\xfeted")), UNREADABLE, charged=1),
    Row("ten thousand brackets", made(b"[" * 10_000), UNREADABLE, charged=1),
    Row("no data", made(b'{"created": 1}'), UNREADABLE, charged=1),
    Row("data that is null", made(b'{"data": null}'), UNREADABLE, charged=1),
    Row("data that is empty", meets(billed(say(data_response()))), UNREADABLE, charged=1),
    Row("data that is text", made(b'{"data": "picture"}'), UNREADABLE, charged=1),
    Row("a picture that is a number", meets(billed(say(data_response(5)))), UNREADABLE, charged=1),
    Row("an empty picture", meets(billed(say(data_response({"b64_json": ""})))), UNREADABLE, charged=1),
    Row("no base64", meets(billed(say(data_response({"b64_json": "!!!!"})))), UNREADABLE, charged=1),
    Row("an error with status 200", made(REFUSAL), UNREADABLE, charged=1),
)

ODD_BUT_WELL = (
    Row("closed between two calls", afresh(all_is_well), IMAGE, IMAGE, charged=1),
    Row("a byte at a time", meets(billed(trickle)), IMAGE, IMAGE, charged=1),
    Row("100 first", meets(billed(say(b"HTTP/1.1 100 Continue\r\n\r\n"), succeed)), IMAGE, IMAGE, charged=1),
    Row(
        "103 first",
        meets(billed(say(b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n"), succeed)),
        IMAGE,
        IMAGE,
        charged=1,
    ),
    Row("closed after the answer", meets(billed(succeed_and_close)), IMAGE, IMAGE, charged=1),
    Row(
        "gzip",
        meets(billed(say(zipped(gzip.compress(BODY))))),
        IMAGE,
        charged=1,
    ),
    Row(
        "408 after the answer",
        meets(billed(succeed_and_say(http_response(REFUSAL, status="408 Request Timeout")), hang_up)),
        IMAGE,
        IMAGE,
        charged=1,
    ),
    Row("an answer too many", meets(billed(say(WHOLE + WHOLE))), IMAGE, charged=1),
    Row("an answer too many under TLS", meets_in_tls(billed(say(WHOLE + WHOLE))), IMAGE, charged=1, way="tls"),
    Row(
        "an answer too many in a record of its own",
        meets_in_tls(billed(succeed_and_go_on(WHOLE))),
        IMAGE,
        charged=1,
        way="tls",
    ),
    Row("a picture withheld", meets(billed(say(data_response(FILTERED)))), IMAGE, charged=1),
)

ROWS = (
    *BEFORE_CONNECTING,
    *DURING_THE_HANDSHAKE,
    *AT_THE_PROXY,
    *DURING_THE_UPLOAD,
    *INSTEAD_OF_A_RESPONSE,
    *STATUSES,
    *DURING_THE_RESPONSE,
    *BEHIND_A_GATEWAY,
    *UNREADABLE_SUCCESSES,
    *ODD_BUT_WELL,
)
