"""Answers read by hand: whatever comes, in whatever pieces, it is what h11 makes of it."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepfun_async._transport.http11 import (
    LONGEST_HEAD,
    RemoteProtocolError,
    ResponseHead,
    ResponseParser,
    answer_begun,
    request_head,
)

Read = tuple[ResponseHead, bytes, bool]


def read(pieces: list[bytes]) -> Read | str:
    """Head, body and whether the connection stays, as our reader has them; or why there is no whole response."""
    response = ResponseParser()
    body = b""
    try:
        for piece in [*pieces, b""]:
            if response.over:
                break
            body += response.receive(piece)
    except RemoteProtocolError as error:
        return f"no: {error}"
    assert response.head is not None
    return response.head, body, response.reusable


def by_h11(data: bytes) -> Read | None:
    """The same by h11 alone; None where there is no whole response."""
    connection = h11.Connection(h11.CLIENT, LONGEST_HEAD)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "h"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    head, body, ended = None, b"", False
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if ended:
                    return None
                connection.receive_data(b"")
                ended = True
            elif isinstance(event, h11.Response):
                names = [name.decode("latin-1") for name, _ in event.headers]
                values = [value.decode("latin-1") for _, value in event.headers]
                pairs = list(zip(names, values, strict=True))
                headers = {name: ", ".join(value for other, value in pairs if other == name) for name in names}
                head = ResponseHead(event.status_code, headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                stays = connection.their_state is h11.DONE and not connection.trailing_data[0]
                return head, body, stays
    except h11.RemoteProtocolError:
        return None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [piece for piece in pieces if piece]


names = st.from_regex(r"\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}\Z").filter(
    lambda name: name.lower() not in ("content-length", "transfer-encoding", "connection", "upgrade")
)
values = st.from_regex(r"\A[\x21-\x7e\xa0-\xff]([\x20-\x7e\t\xa0-\xff]{0,20}[\x21-\x7e\xa0-\xff])?\Z").map(str)
fields = st.lists(st.tuples(names, values), max_size=5)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Whole responses, framed in every way there is, some with interim responses before and bytes after them."""
    status = draw(st.sampled_from([200, 201, 204, 304, 400, 401, 404, 429, 500, 503]))
    body = draw(st.binary(max_size=200))
    framing = draw(st.sampled_from(["length", "chunked", "close", "length and close"]))
    more = draw(fields)
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0"]))
    reason = draw(st.sampled_from([" OK", "", " Not quite right"]))
    lines = [
        f"HTTP/{version} {status}{reason}",
        *(f"{name}:{draw(st.sampled_from(['', ' ', chr(9)]))}{value}" for name, value in more),
    ]
    data = body
    if "length" in framing:
        lines.append(f"{draw(st.sampled_from(['Content-Length', 'content-length']))}: {len(body)}")
    if framing == "chunked" and version == "1.1":
        lines.append("Transfer-Encoding: chunked")
        data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in cut(body, [7, 50])) + b"0\r\n\r\n"
    if "close" in framing:
        lines.append("Connection: close")
    if status in (204, 304):
        data = b""
    interim = draw(
        st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n"])
    )
    after = draw(st.sampled_from([b"", b"", b"", b"more"])) if framing != "close" else b""
    return interim + "\r\n".join([*lines, "\r\n"]).encode("latin-1") + data + after


@settings(max_examples=100)
@given(data=responses(), places=st.lists(st.integers(0, 10_000), max_size=6))
def test_a_whole_response_is_read_as_h11_reads_it(data: bytes, places: list[int]) -> None:
    expected = by_h11(data)
    found = read(cut(data, places))
    if expected is None:
        assert isinstance(found, str)
    else:
        assert isinstance(found, tuple)
        assert found[:2] == expected[:2]
    if expected is not None and (whole := read([data])):
        assert expected[2] or not whole[2], "a connection that h11 would not use again is not used again"


@settings(max_examples=100)
@given(
    data=responses(),
    places=st.lists(st.integers(0, 10_000), max_size=4),
    spoilt=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), min_size=1, max_size=3),
)
def test_what_is_broken_is_never_read_more_kindly_than_h11_reads_it(
    data: bytes, places: list[int], spoilt: list[tuple[int, bytes]]
) -> None:
    for place, new in spoilt:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + len(new) :]
    expected, found = by_h11(data), read(cut(data, places))
    if isinstance(found, tuple):
        assert expected is not None, f"h11 refuses {data!r}"
        assert found[:2] == expected[:2]


@settings(max_examples=100)
@given(data=responses(), end=st.integers(0, 10_000))
def test_a_response_that_breaks_off_is_never_taken_for_a_whole_one(data: bytes, end: int) -> None:
    data = data[: end % (len(data) + 1)]
    expected, found = by_h11(data), read([data] if data else [])
    assert isinstance(found, str) == (expected is None)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 30_000,
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 200_000,
        b"SMTP ready\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"\x00\x01\x02",
        b"",
    ],
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    found = read([data] if data else [])
    assert isinstance(found, str)
    assert found.startswith("no: ")


def test_a_request_says_what_it_has_to() -> None:
    head = request_head("POST", "/v1/images/generations", {"host": "a.test", "x": "é"})
    assert head == b"POST /v1/images/generations HTTP/1.1\r\nhost: a.test\r\nx: \xe9\r\n"
    assert request_head("GET", "/", {"host": "a"}) == b"GET / HTTP/1.1\r\nhost: a\r\n"


@pytest.mark.parametrize(
    ("data", "begun"),
    [
        (b"", False),
        (b"H", False),
        (b"HTTP/1.1 ", False),
        (b"HTTP/1.1 4", True),
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n", False),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHT", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\n", True),
        (b"<html>", True),
    ],
)
def test_a_response_has_begun_with_the_first_byte_that_is_of_no_interim_one(data: bytes, begun: bool) -> None:
    assert answer_begun(data) is begun
