"""A service made of plain sockets that fails on demand at any point of a call, and keeps a bill.

It bills as a real one does: an image counts from the moment in which its whole request was read and
the service decided to make it, whatever becomes of the response. So a call can be held against the bill:
what a client says may have been billed is never less than what was.

Faults are values of `Play`, functions that play one connection: a few steps (`reset`, `silence`, `say`,
`drip`, ...) in the order in which they happen, after `midway`, `unbilled` or `billed`, which say how far
the request came before. What happens to the listening socket is a context manager of the service.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import TypeAlias

from tests.support.responses import PIXEL, http_response, image_response, link_response

HOST = "127.0.0.1"

_PATIENCE = 20.0
"""Seconds after which something that has to happen at once counts as never happening."""

_WINDOW = 65536
"""Bytes that a connection takes in while nothing is read, so that an upload can stall at all."""


class LeftError(Exception):
    """The client has gone before its request was whole."""


class Talk:
    """One connection, from the service's side, and the request that is being read from it."""

    def __init__(self, service: FaultyService, connection: socket.socket, port: int) -> None:
        self.service = service
        self.connection = connection
        self.port = port
        self.ended = False
        self.idle = False
        self.head = b""
        self.body = b""
        self._unread = bytearray()

    def more(self) -> bool:
        """Wait for the first byte of a request; False where none comes any more."""
        with suppress(LeftError, OSError):
            self.idle = not self._unread
            if self.idle:
                self._receive()
            self.idle = False
            return True
        return False

    def read_head(self) -> None:
        """Read as far as the empty line."""
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        head, _, _ = bytes(self._unread).partition(b"\r\n\r\n")
        self.head = head + b"\r\n\r\n"
        del self._unread[: len(self.head)]

    def unread(self) -> None:
        """Put the head back, as if it had not been read."""
        self._unread[:0] = self.head

    def read_some(self) -> None:
        """Read the head, and of a body at least a byte: from there on something has left the client."""
        self.read_head()
        while self._length and not self._unread:
            self._receive()

    def read_request(self) -> None:
        """Read the whole request."""
        self.read_head()
        self.read_body()

    def read_body(self) -> None:
        """Read what follows the head."""
        while len(self._unread) < self._length:
            self._receive()
        self.body = bytes(self._unread[: self._length])
        del self._unread[: self._length]

    def bill(self) -> None:
        """Decide to make the image: from here on it costs. Anything but a POST is free."""
        if self.head.startswith(b"POST"):
            self.service.charge(self.header(b"x-request-id").decode())

    @property
    def success(self) -> bytes:
        """The bytes of the response that was asked for; its trace id is the `x-request-id` it was asked with."""
        if self.head.startswith(b"GET"):
            return http_response(PIXEL, content_type="image/png")
        if b'"url"' in self.body:
            return link_response(f"{self.service.url}/pictures/1.png")
        return image_response(trace_id=self.header(b"x-request-id").decode())

    def header(self, name: bytes) -> bytes:
        """The value of a header; empty without it."""
        lines = self.head.split(b"\r\n")
        return next((line[len(name) + 1 :].strip() for line in lines if line.lower().startswith(name + b":")), b"")

    def secure(self, context: ssl.SSLContext) -> None:
        """Go on under TLS."""
        self.connection = context.wrap_socket(self.connection, server_side=True)

    def until_gone(self) -> None:
        """Read until the client closes the connection."""
        self.ended = True
        while self.connection.recv(65536):
            pass

    def close(self) -> None:
        """Close the connection."""
        self.ended = True
        self.connection.close()

    def shut_down(self) -> None:
        """End the connection from another thread; the one that serves it closes it then."""
        with suppress(OSError):
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)  # without a word of TLS

    @property
    def _length(self) -> int:
        return int(self.header(b"content-length") or 0)

    def _receive(self) -> None:
        piece = self.connection.recv(65536)
        if not piece:
            raise LeftError
        self._unread += piece


Play: TypeAlias = Callable[[Talk], object]
"""What the service does with a connection before a request, or with one request."""


# --- how far the request came -------------------------------------------------------------------


def midway(*steps: Play) -> Play:
    """`steps` while the body is still coming; where there is none, after the head."""
    return in_order(Talk.read_some, *steps)


def unbilled(*steps: Play) -> Play:
    """`steps` once the whole request is there, without making an image."""
    return in_order(Talk.read_request, *steps)


def billed(*steps: Play) -> Play:
    """`steps` once the image is made and charged."""
    return in_order(Talk.read_request, Talk.bill, *steps)


def in_order(*steps: Play) -> Play:
    """`steps`, one after another."""

    def play(talk: Talk) -> None:
        for step in steps:
            step(talk)

    return play


# --- steps --------------------------------------------------------------------------------------


def say(data: bytes) -> Play:
    """Send `data`."""
    return lambda talk: talk.connection.sendall(data)


def say_status(status: str, body: bytes = b"{}", headers: str = "") -> Play:
    """Send an error response."""
    return say(http_response(body, status=status, headers=headers))


def say_cut(keep: float) -> Play:
    """Send the right response's beginning.

    Args:
        keep: which part of it, from 0 to 1.
    """
    return lambda talk: talk.connection.sendall(talk.success[: int(len(talk.success) * keep)])


def succeed(talk: Talk) -> None:
    """Send what was asked for."""
    talk.connection.sendall(talk.success)


def succeed_and_say(data: bytes) -> Play:
    """Send what was asked for, and `data` in the same breath."""
    return lambda talk: talk.connection.sendall(talk.success + data)


def succeed_and_go_on(data: bytes) -> Play:
    """Send what was asked for and then `data`, in one packet; under TLS in two records."""

    def play(talk: Talk) -> None:
        cork = getattr(socket, "TCP_CORK", socket.TCP_NODELAY)
        talk.connection.setsockopt(socket.IPPROTO_TCP, cork, 1)
        talk.connection.sendall(talk.success)
        talk.connection.sendall(data)
        talk.connection.setsockopt(socket.IPPROTO_TCP, cork, 0)

    return play


def succeed_and_close(talk: Talk) -> None:
    """Send what was asked for, announce that the connection is closed then, and close it."""
    talk.connection.sendall(talk.success.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
    hang_up(talk)


def trickle(talk: Talk) -> None:
    """Send what was asked for, each byte for itself."""
    talk.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in talk.success:
        talk.connection.sendall(bytes([byte]))


def drip(beginning: bytes, piece: bytes) -> Play:
    """Send `beginning`, then `piece` again and again, with a pause before each, until the client goes."""

    def play(talk: Talk) -> None:
        talk.connection.sendall(beginning)
        talk.connection.sendall(piece)
        talk.ended = True
        talk.service.reached.set()
        while not _ready(talk.connection, 0.002):
            talk.connection.sendall(piece)

    return play


def reset(talk: Talk) -> None:
    """End the connection with a reset."""
    reset_on_close(talk.connection)
    talk.close()


def reset_on_close(connection: socket.socket) -> None:
    """Let closing the connection reset it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(talk: Talk) -> None:
    """End the connection without a word."""
    talk.shut_down()
    talk.close()


def half_close(talk: Talk) -> None:
    """Say that nothing more will be said, and go on listening."""
    talk.connection.shutdown(socket.SHUT_WR)
    talk.until_gone()


def finish_reading(talk: Talk) -> None:
    """Say that nothing will be said, but read the rest of the request, and make the image."""
    talk.connection.shutdown(socket.SHUT_WR)
    talk.read_body()
    talk.bill()
    talk.until_gone()


def silence(talk: Talk) -> None:
    """Never say anything."""
    talk.service.reached.set()
    talk.until_gone()


def stop_reading(talk: Talk) -> None:
    """Read nothing any more while the fault lasts, so that what is still to be sent stays where it is."""
    talk.service.reached.set()
    talk.service.over.wait(_PATIENCE)
    talk.until_gone()


def read_nothing(talk: Talk) -> None:
    """Let what comes wait, a byte of the body with it, while the fault lasts; then read and serve as usual."""
    while _missing(talk.connection.recv(_WINDOW, socket.MSG_PEEK)):
        pass
    talk.service.reached.set()
    talk.service.over.wait(_PATIENCE)


def _missing(seen: bytes) -> bool:
    """Whether the head, or the first byte of a body, has not come yet."""
    if not seen:
        raise LeftError
    head, end, body = seen.partition(b"\r\n\r\n")
    return not end or (head.startswith(b"POST") and not body)


def hello(*steps: Play) -> Play:
    """`steps` once a client has begun its TLS handshake."""
    return in_order(lambda talk: talk.connection.recv(_WINDOW), *steps)


def say_unencrypted(data: bytes) -> Play:
    """Send `data` past TLS."""
    return lambda talk: socket.socket.send(talk.connection, data)


def inside(play: Play) -> Play:
    """Open a tunnel where one is asked for, and meet with `play` what comes through it."""

    def inside_play(talk: Talk) -> None:
        talk.read_head()
        if talk.head.startswith(b"CONNECT"):
            _open_tunnel(talk)
        else:
            talk.unread()
            play(talk)

    return inside_play


def _open_tunnel(talk: Talk) -> None:
    talk.connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
    secure(talk)


def _ready(connection: socket.socket, seconds: float) -> bool:
    return bool(select.select([connection], [], [], seconds)[0])


# --- the service --------------------------------------------------------------------------------


def well(talk: Talk) -> None:
    """Do what was asked: make an image, send one, or open a tunnel and be what is at its end."""
    talk.read_head()
    if talk.head.startswith(b"CONNECT"):
        _open_tunnel(talk)
        return
    talk.read_body()
    talk.bill()
    succeed(talk)


def secure(talk: Talk) -> None:
    """Go on under TLS, with the service's own certificate."""
    assert talk.service.certificate is not None
    talk.secure(talk.service.certificate)


def nothing(talk: Talk) -> None:
    """Wait for the request, as a service without TLS does."""


@dataclass(eq=False)
class FaultyService:
    """A running service: what it saw, what it charged, and what goes wrong next.

    Attributes:
        certificate: what it proves itself by; at the end of a tunnel too, where it is a proxy.
        tls: whether it speaks TLS from the first byte on.
        next_play: gives what it does with the next request.
        connections: how many it accepted.
        requests: how many it began to read.
        bills: what it charged, by `x-request-id`; the empty one has what came without.
        reached: set when a fault that lasts has begun.
        over: set while no fault lasts.
        gone: set when some connection ended.
    """

    certificate: ssl.SSLContext | None = None
    tls: bool = False
    next_play: Callable[[], Play] = field(default=lambda: well)
    connections: int = 0
    requests: int = 0
    bills: Counter[str] = field(default_factory=Counter)
    reached: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.handshake: Play = secure if self.tls else nothing
        self._changed = threading.Condition()
        self._talks: set[Talk] = set()
        self._bell, self._ear = socket.socketpair()
        self._listener = _bound(0)
        self._listener.listen(128)
        self.port: int = self._listener.getsockname()[1]
        self.over.set()
        self._open_door()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}/v1"

    @property
    def bill(self) -> int:
        """How many images were charged so far."""
        return self.bills.total()

    def charge(self, request_id: str) -> None:
        """Enter an image into the bill."""
        with self._changed:
            self.bills[request_id] += 1

    # --- faults ---

    @contextmanager
    def meeting(self, play: Play, *, times: int | None = None, after: int = 0) -> Iterator[None]:
        """Meet requests with `play`: all that come while the block lasts, or only so many.

        Args:
            play: what is done with them.
            times: how many; None for all.
            after: how many are served well before.
        """
        plays = chain(repeat(well, after), repeat(play) if times is None else repeat(play, times))
        usual, self.next_play = self.next_play, lambda: next(plays, well)
        with self._lasting():
            try:
                yield
            finally:
                self.next_play = usual

    @contextmanager
    def greeting(self, play: Play) -> Iterator[None]:
        """Meet new connections with `play`, in the place of a handshake. Those that lie idle are closed."""
        usual, self.handshake = self.handshake, play
        self.drop_idle()
        with self._lasting():
            try:
                yield
            finally:
                self.handshake = usual

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse new connections: the port is taken, but nothing listens. Those that lie idle are closed."""
        self._close_door()
        self._listener.close()
        self._listener = _bound(self.port)
        self.drop_idle()
        with self._lasting():
            try:
                yield
            finally:
                self._listener.listen(128)
                self._open_door()

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Accept nothing: the kernel opens connections and takes bytes in, and they are not read yet."""
        self._close_door()
        self.drop_idle()
        with self._lasting():
            try:
                yield
            finally:
                self._open_door()

    @contextmanager
    def crowded(self) -> Iterator[None]:
        """Let more connections wait than the kernel keeps, so that no other one opens."""
        with self.asleep():
            self._listener.listen(0)
            crowd = self._crowd()
            try:
                yield
            finally:
                for one in crowd:
                    one.close()
                self._listener.listen(128)

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        self.reached.clear()
        self.over.clear()
        try:
            yield
        finally:
            self.over.set()

    def _crowd(self) -> list[socket.socket]:
        crowd: list[socket.socket] = []
        opened = True
        while opened:
            crowd.append(socket.socket())
            crowd[-1].settimeout(0)
            crowd[-1].connect_ex((HOST, self.port))
            opened = bool(select.select([], [crowd[-1]], [], 0.05)[1])
        return crowd

    # --- connections ---

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._talks)

    @property
    def busy(self) -> int:
        """How many connections are not just waiting for their next request."""
        return sum(not talk.idle for talk in tuple(self._talks))

    def see_to_all(self) -> None:
        """Wait until everybody who came until now was seen to."""
        with socket.create_connection((HOST, self.port)) as last:  # is accepted after all that wait by now
            port = last.getsockname()[1]
            self._await(lambda: any(talk.port == port for talk in self._talks))
        self._await(lambda: all(talk.port != port for talk in self._talks))

    def await_none(self) -> None:
        """Wait until no connection is open.

        Raises:
            AssertionError: some stay open.
        """
        self.see_to_all()
        self._await(lambda: not self._talks)

    def await_idle(self, seconds: float) -> bool:
        """Whether all connections just wait for their next request, after `seconds` at the latest."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.busy, seconds)

    def drop_idle(self) -> None:
        """Close every connection, as servers do with those that lie idle."""
        for talk in tuple(self._talks):
            talk.shut_down()
        self._await(lambda: not self._talks)

    def stop(self) -> None:
        """Close all and wait until every thread is gone."""
        self._close_door()
        self._listener.close()
        self.drop_idle()
        self._bell.close()
        self._ear.close()

    def _await(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            met = self._changed.wait_for(condition, _PATIENCE)
            assert met, f"{len(self._talks)} connections are open, and it stays like that"

    def _open_door(self) -> None:
        self._door = threading.Thread(target=self._accept, name="door", daemon=True)
        self._door.start()

    def _close_door(self) -> None:
        self._bell.send(b"!")
        self._door.join()

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._ear, self._listener], [], [])
            if self._ear in ready:
                self._ear.recv(1)
                return
            with suppress(OSError):  # the client has gone meanwhile
                self._take(*self._listener.accept())

    def _take(self, connection: socket.socket, address: tuple[str, int]) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset discards what still waits to leave
        talk = Talk(self, connection, address[1])
        with self._changed:
            self.connections += 1
            self._talks.add(talk)
            self._changed.notify_all()
        threading.Thread(target=self._serve, args=(talk,), name="talk", daemon=True).start()

    def _serve(self, talk: Talk) -> None:
        with suppress(OSError, LeftError):
            self.handshake(talk)
            while not talk.ended and talk.more():
                self._next()(talk)
        talk.close()
        self.gone.set()
        with self._changed:
            self._talks.discard(talk)
            self._changed.notify_all()

    def _next(self) -> Play:
        with self._changed:
            self.requests += 1
            return self.next_play()


@contextmanager
def faulty_service(*, certificate: ssl.SSLContext | None = None, tls: bool = False) -> Iterator[FaultyService]:
    """A service on loopback while the block lasts; the arguments are `FaultyService`'s."""
    service = FaultyService(certificate, tls)
    try:
        yield service
    finally:
        service.stop()


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)
    listener.bind((HOST, port))
    return listener
