"""HTTP/1.1 as bytes, without sockets: the head of a request, and a parser of responses.

A response of the usual shape (HTTP/1.1, a status with a body, a plain content-length) is parsed here, in a few
microseconds. Everything else (chunks, a body that ends with the connection, interim responses, older versions, folded
or broken heads) is parsed by h11 from its first byte on: what is rare need not be fast, and what is broken should be
judged by h11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h11

LONGEST_HEAD = 100 * 1024
"""The maximum bytes of the head of a response."""

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
    """Whether `data`, all that has arrived, is more than interim responses such as `100 Continue`."""
    interim = _INTERIM.match(data)
    begun = data[0 if interim is None else interim.end() :][: len(_INTERIM_BEGUN)]
    return bool(begun) and not _INTERIM_BEGUN.startswith(begun)


_ANNOUNCED = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


def announced_idle_time(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which the server closes an idle connection, by `Keep-Alive`; `None` if not announced."""
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
    """Return the bytes of a request's head, except for the content-length and the empty line after it.

    Args:
        method: the HTTP method.
        target: path and query.
        headers: all headers except `content-length`, with names and values valid in HTTP.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, ""]).encode("latin-1")


class ResponseParser:
    """A parser of one response, fed with the data that arrives.

    Attributes:
        head: status and headers, once they have arrived.
        over: whether the whole response has arrived.
        reusable: whether the connection can be used for another exchange, once it is over.
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
        """Parse data that arrived, empty at the connection's end. Return the part that belongs to the body.

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
            return self._switch_to_h11(data) if ended else b""
        if (head := _read_head(match)) is None:
            return self._switch_to_h11(data)
        self.head, self._missing, self.reusable = head
        rest, self._buffer = match[3], b""
        if len(rest) == self._missing:
            self._missing, self.over = 0, True
            return rest
        self.over = not self._missing
        return rest[: self.count(len(rest))] if rest else b""

    @property
    def counts(self) -> bool:
        """Whether the rest is only bytes of the body, so that `count` can be called instead of `receive`."""
        return self.head is not None and self._h11 is None

    def count(self, length: int) -> int:
        """Count `length` bytes of the body that arrived, 0 at the end. Return how many of them belong to it.

        Raises:
            RemoteProtocolError: it ended too early.
        """
        if not length:
            self._switch_to_h11(b"")
        if length > self._missing:  # more than was announced, which belongs to no request
            self.reusable = False
            length = self._missing
        self._missing -= length
        self.over = not self._missing
        return length

    # --- everything else, by h11

    def _switch_to_h11(self, data: bytes) -> bytes:
        """Parse the response with h11, from its beginning; `data`, empty at the end, is in the buffer already."""
        if self.head is not None:
            raise RemoteProtocolError(f"the server closed the connection, {self._missing:,} bytes too early")
        if not self._buffer:
            raise RemoteProtocolError("the server closed the connection without a response")
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
        """Process all events that have arrived. Yield the pieces of the body."""
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
