"""HTTP/1.1 as bytes: the head of a request, and an answer that comes in pieces. No socket in here.

An answer of the usual shape (HTTP/1.1, a status that has a body, a plain content-length) is read here, in
a few microseconds. Whatever else there is (chunks, a body that ends with the connection, interim answers,
older versions, folded or broken heads) goes to h11, from its first byte on: what is rare need not be fast,
and what is broken is h11's to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h11

LONGEST_HEAD = 100 * 1024
"""Bytes of the longest head of an answer."""

_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-9]\d\d)(?: [^\r\n\0]*)?\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*)\r\n"
    rb"(.*)",
    re.DOTALL,
)
_FIELD = re.compile(r"([^:\r]+):[ \t]*([^\r]*?)[ \t]*\r\n")
_LENGTH = re.compile("[0-9]{1,15}")
_BODILESS = (204, 304)


_INTERIM = re.compile(rb"(?:HTTP/1\.[01] 1\d\d[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)*")
_INTERIM_BEGUN = b"HTTP/1.1 1"


def answer_begun(data: bytes) -> bool:
    """Whether `data`, all that has arrived, is more than interim answers, such as `100 Continue`."""
    interim = _INTERIM.match(data)
    begun = data[0 if interim is None else interim.end() :][: len(_INTERIM_BEGUN)]
    return bool(begun) and not _INTERIM_BEGUN.startswith(begun)


_ANNOUNCED = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


def announced_idle_time(headers: Mapping[str, str]) -> float | None:
    """Seconds after which the server closes an idle connection, by its `Keep-Alive`; `None` if it does not say."""
    value = headers.get("keep-alive")
    match = None if value is None else _ANNOUNCED.search(value)
    return None if match is None else float(match[1])


class RemoteProtocolError(Exception):
    """The response is not HTTP, or is incomplete."""


@dataclass(slots=True)
class ResponseHead:
    """The status and headers of a response; header names in lower case."""

    status: int
    headers: dict[str, str]


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The bytes of a request's head, up to the field with the length of its body and the empty line after it.

    Args:
        method: the HTTP method.
        target: path and query.
        headers: all of them but `content-length`, names and values known to be fit for HTTP.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, ""]).encode("latin-1")


class ResponseParser:
    """One answer, fed with what arrives.

    Attributes:
        head: status and headers, once they are there.
        over: whether the whole answer is there.
        reusable: whether the connection is good for another exchange, once it is over.
    """

    __slots__ = ("_buffer", "_h11", "_missing", "head", "over", "reusable")

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.over = False
        self.reusable = False
        self._buffer = b""
        self._missing = 0
        self._h11: h11.Connection | None = None

    def receive(self, data: bytes) -> bytes:
        """Take what arrived, nothing at the connection's end; what of it belongs to the body.

        Raises:
            RemoteProtocolError: it is not HTTP, or it ended too early.
        """
        if self._h11 is not None:
            return self._receive_any(self._h11, data)
        if self.head is not None:
            return data[: self.count(len(data))]
        self._buffer = arrived = self._buffer + data
        match = _HEAD.match(arrived)
        if match is None:
            ended = not data or len(arrived) >= LONGEST_HEAD or b"\r\n\r\n" in arrived or b"\n\n" in arrived
            return self._hand_over(data) if ended else b""
        if (head := _read_head(match)) is None:
            return self._hand_over(data)
        self.head, self._missing, self.reusable = head
        rest, self._buffer = match[3], b""
        if len(rest) == self._missing:
            self._missing, self.over = 0, True
            return rest
        self.over = not self._missing
        return rest[: self.count(len(rest))] if rest else b""

    @property
    def counts(self) -> bool:
        """Whether the rest is nothing but bytes of the body, so that `count` does instead of `receive`."""
        return self.head is not None and self._h11 is None

    def count(self, length: int) -> int:
        """Take note that `length` bytes of the body's rest arrived, none at the end. Return how many belong to it.

        Raises:
            RemoteProtocolError: it ended too early.
        """
        if not length:
            self._hand_over(b"")
        if length > self._missing:  # more than was announced, which belongs to no request
            self.reusable = False
            length = self._missing
        self._missing -= length
        self.over = not self._missing
        return length

    # --- everything else, by h11

    def _hand_over(self, data: bytes) -> bytes:
        """Have h11 read the answer from its beginning; `data`, nothing at the end, is in the buffer already."""
        if self.head is not None:
            raise RemoteProtocolError(f"the server closed the connection, {self._missing:,} bytes too early")
        if not self._buffer:
            raise RemoteProtocolError("the server closed the connection without an answer")
        import h11

        connection = self._h11 = h11.Connection(h11.CLIENT, LONGEST_HEAD)
        connection.send(h11.Request(method="POST", target="/", headers=[("host", "h"), ("content-length", "0")]))
        connection.send(h11.EndOfMessage())
        arrived, self._buffer = self._buffer, b""
        body = self._receive_any(connection, arrived)
        return body if data or self.over else body + self._receive_any(connection, b"")

    def _receive_any(self, connection: h11.Connection, data: bytes) -> bytes:
        import h11

        try:
            connection.receive_data(data)
            return b"".join(self._events(connection))
        except h11.RemoteProtocolError as error:
            raise RemoteProtocolError(str(error)) from None

    def _events(self, connection: h11.Connection) -> Iterator[bytes]:
        """Take note of everything that can be read by now; the pieces of the body."""
        import h11

        while not self.over:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.Response):
                fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
                self.head = ResponseHead(event.status_code, joined(fields))
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.over = True
                self.reusable = connection.their_state is h11.DONE and not connection.trailing_data[0]


def _read_head(match: re.Match[bytes]) -> tuple[ResponseHead, int, bool] | None:
    """Head, length of the body and whether the connection stays open; `None` if it is not of the usual shape."""
    status = int(match[1])
    fields = _FIELD.findall(match[2].decode("latin-1"))
    headers = {name.lower(): value for name, value in fields}
    if fields[len(headers) :]:  # a field came more than once
        headers = joined([(name.lower(), value) for name, value in fields])
    if "content-length" not in headers or "transfer-encoding" in headers or status in _BODILESS:
        return None
    length = headers["content-length"]
    if _LENGTH.fullmatch(length) is None:
        return None
    stays_open = "connection" not in headers or "close" not in headers["connection"].lower()
    return ResponseHead(status, headers), int(length), stays_open


def joined(fields: list[tuple[str, str]]) -> dict[str, str]:
    """Header fields by name; what comes several times is joined by commas, as HTTP says."""
    headers = dict(fields)
    if len(headers) < len(fields):
        headers = {name: ", ".join(value for other, value in fields if other == name) for name in headers}
    return headers
