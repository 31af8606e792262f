"""Cutting images out of a body that comes in pieces never says anything else than reading it whole does."""

from __future__ import annotations

import base64
import binascii
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pybase64
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepfun_async import ImagesResponse, MalformedResponseError
from stepfun_async._core import cutting, data_uris, responses
from stepfun_async._core.cutting import Base64StreamDecoder, MemorySink, index_of, reassemble
from stepfun_async._core.responses import parse_images
from stepfun_async._core.wire import HTTPResponse
from tests.support.responses import PIXEL

B64 = base64.b64encode(PIXEL).decode()


def cut(body: bytes, *at: int) -> Base64StreamDecoder:
    """A cutter that was fed `body`, divided at the places given."""
    cutter = Base64StreamDecoder(length=len(body))
    for start, end in pairwise((0, *sorted(place % (len(body) + 1) for place in at), len(body))):
        cutter.feed(body[start:end])
    return cutter


def taken_in(body: bytes, at: Sequence[int]) -> HTTPResponse:
    """The response that a transport makes of `body`."""
    cutter = cut(body, *at)
    found = cutter.finish()
    return HTTPResponse(200, {}, cutter.whole()) if found is None else HTTPResponse(200, {}, *found)


def read(response: HTTPResponse) -> ImagesResponse | str:
    """What an exchange makes of a response: the response, or the error in words."""
    try:
        with suppress(MalformedResponseError):
            return parsed(response)
        return parsed(response.whole())
    except MalformedResponseError as error:
        return f"{error} {error.body!r}"


def parsed(response: HTTPResponse) -> ImagesResponse:
    return parse_images(response, model="m", base_url="https://a.b/v1", now=0.0, link_lifetime=timedelta(hours=1))


def plainly(body: bytes) -> ImagesResponse | str:
    """What comes of the whole body by `json` and `base64` alone."""
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(responses, "CUTTING_PAYS", 2**60)
            patched.setattr(data_uris, "b64decode", base64.b64decode)
            return parsed(HTTPResponse(200, {}, body))
    except MalformedResponseError as error:
        return f"{error} {error.body!r}"


# --- the law ------------------------------------------------------------------------------------------------------

payloads = st.one_of(
    st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode()),
    st.sampled_from(
        [B64, f"data:image/png;base64,{B64}", B64[:-1], B64 + "=", "\n".join((B64[:8], B64[8:])), "\0" + B64]
    ),
    st.text('Aa+/=\\"\n 0', max_size=12),
    st.sampled_from(
        ["", "=", "====", "AA==", "AB==", "AAAA=", "AA==AA==", "AA=", "A", "\0", "\x000", "湖", "b64_json"]
    ),
)
keys = st.sampled_from(
    ["b64_json", "image", "url", "seed", "finish_reason", "b64_jso", "b64_json2", '"b64_json"', "\\", ""]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | payloads | payloads.map(lambda text: f'"b64_json":"{text}"'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
contents = st.fixed_dictionaries(
    {"data": st.lists(st.dictionaries(keys, payloads | values, max_size=4), max_size=3)},
    optional={"created": st.integers(0, 10**10), "id": payloads, "image": payloads, "b64_json": values},
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A response in one of the writings that JSON allows, perhaps a broken one."""
    space = draw(st.sampled_from(["", " ", "\n\t ", "\r\n"]))
    text = json.dumps(
        draw(contents), ensure_ascii=draw(st.booleans()), separators=(space + "," + space, space + ":" + space)
    )
    for plain, escaped in draw(st.lists(st.sampled_from(ESCAPES), max_size=2)):
        text = text.replace(plain, escaped)
    body = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"])))
    cut_off = draw(st.integers(0, len(body)) | st.none())
    return body[:cut_off]


ESCAPES = [("/", "\\/"), ("+", "\\u002b"), ("A", "\\u0041"), ("b64_json", "b64\\u005fjson"), ("id", "\\u0000id")]
places = st.lists(st.integers(0, 10**6), max_size=6)


@pytest.mark.parametrize("decode", [pybase64.b64decode, base64.b64decode], ids=["extension", "fallback"])
@given(body=bodies(), at=places)
@example(body=b'{"data": [{"b64_json": "AAAA', at=[])
@example(body=b'{"data": [{"b64_json": "AAAA"}', at=[])
@example(body=b'{"data": [{"b64_json": "AAAA"}], "id": "\\u00000"}', at=[])
@example(body=b'{"data": [{"b64\\u005fjson": "\\u00000"}, {"image": "AAAA"}]}', at=[])
@example(body=b'{"data": [{"b64_json": "AAAA", "b64_json": "BBBB"}]}', at=[])
@example(body=b'{"data": [{"b64_json": "AAAA\\\\"}]}', at=[28, 29])
@example(body=b'{"data": [{"b64_json": "AAAAAAAA\\"}]}', at=[])
@example(body=b'{"data": [{"b64_json": "AA=="}, {"image": "AR=="}', at=[26])
@example(body='{"data": [{"image": "AAAA"}], "x": "椢慭来"}'.encode("utf-16-le"), at=[])
@example(body=b'{"data": [{"b64_json": "AAAA="}, {"b64_json": "AAAA===="}, {"image": "AAAA"}]}', at=[])
def test_any_body_in_any_pieces_reads_as_the_whole_one_does(decode: Any, body: bytes, at: list[int]) -> None:
    """With pybase64's extension, and with the standard library's decoder, which is what it falls back to."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cutting, "b64decode", decode)
        response = taken_in(body, at)
        assert response.whole().body == body
        assert read(response) == plainly(body)


@given(body=bodies())
def test_any_body_that_came_in_one_piece_reads_as_without_cutting(body: bytes) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(responses, "CUTTING_PAYS", 0)
        assert read(HTTPResponse(200, {}, body)) == plainly(body)


@given(body=st.binary(max_size=60) | st.text('b64_json"image:\\ {}[],A=').map(str.encode), at=places)
def test_any_bytes_come_out_as_they_went_in(body: bytes, at: list[int]) -> None:
    assert taken_in(body, at).whole().body == body
    assert read(taken_in(body, at)) == plainly(body)


@given(data=st.binary(min_size=1, max_size=300), step=st.integers(1, 50), at=places)
def test_an_image_is_decoded_whatever_the_steps(data: bytes, step: int, at: list[int]) -> None:
    body = json.dumps({"data": [{"b64_json": base64.b64encode(data).decode(), "seed": 3}]}).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cutting, "_STEP", step)
        response = taken_in(body, at)
    assert len(response.images) == 1, "nothing odd about it, so it was cut out"
    assert B64.encode() not in response.body
    assert parsed(response).image.data == data
    assert response.whole().body == body


@given(text=st.text("AQR/+=-_ \n") | st.binary(max_size=30).map(lambda data: base64.b64encode(data).decode()))
def test_what_the_quick_decoder_takes_is_what_the_standard_one_makes_of_it(text: str) -> None:
    try:
        data = pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return
    assert data == base64.b64decode(text, validate=True)


# --- the cases ----------------------------------------------------------------------------------------------------


def body_with(item: str) -> bytes:
    return f'{{"created": 1, "data": [{item}]}}'.encode()


@pytest.mark.parametrize(
    "item",
    [
        f'{{"b64_json": "{B64}"}}',
        f'{{"image": "{B64}"}}',
        f'{{"seed": 7, "b64_json"\n:\t\r\n"{B64}", "finish_reason": "success"}}',
        f'{{"b64_json": "{B64}", "image": "{B64}"}}',
        f'{{"b64_json": "{B64}"}}, {{"b64_json": "{B64}"}}',
        f'{{"revised_prompt": "\\"b64_json\\": \\"AAAA\\"", "b64_json": "{B64}"}}',
        f'{{"b64_json": null, "image": "{B64}"}}',
    ],
)
def test_an_image_leaves_a_few_bytes_behind(item: str) -> None:
    body = body_with(item)
    for at in range(len(body)):
        found = cut(body, at).finish()
        assert found is not None
        rest, images = found
        assert [image.sink.data for image in images] == [PIXEL] * item.count(B64)
        assert len(rest) == len(body) - item.count(B64) * (len(B64) - 7)
        assert reassemble(rest, images) == body


@pytest.mark.parametrize("length", range(60, 64))
def test_an_image_ends_wherever_the_pieces_do(length: int) -> None:
    """Padded or not, and with its end in the last few bytes of a piece, which are held back."""
    payload = base64.b64encode(PIXEL[:length]).decode()
    for after in ("}]}", "", "}", "}]} ", '", "seed": 1}]}'):
        body = f'{{"data": [{{"b64_json": "{payload}"{after}'.encode()
        for first in range(len(body)):
            for second in (first + 1, first + 3, first + 4, first + 9, len(body) - 1):
                response = taken_in(body, [first, second])
                assert len(response.images) == 1
                assert response.images[0].sink.data == PIXEL[:length]
                assert response.whole().body == body


@pytest.mark.parametrize(
    "item",
    [
        '{"b64_json": ""}',
        '{"b64_json": null, "image": 5}',
        '{"url": "https://a.b/c.png"}',
        f'{{"text": "\\"b64_json\\":\\"{B64}\\""}}',
        f'{{"b64\\u005fjson": "{B64}"}}',
        f'{{"b64_json ": "{B64}"}}',
        f'{{"b64_json": ["{B64}"]}}',
        f'["b64_json", "{B64}"]',
        f'{{"b64_json": "data:image/png;base64,{B64}"}}',
        f'{{"b64_json": "\\n{B64}"}}',
        '{"image": "cat.png"}',
    ],
)
def test_what_is_no_image_under_its_key_stays(item: str) -> None:
    body = body_with(item)
    assert cut(body).finish() == (body, ())
    for at in range(len(body)):
        cutter = cut(body, at)
        assert cutter.finish() in (None, (body, ())), "at most its beginning was taken for one, and put back"
        assert cutter.whole() == body


@pytest.mark.parametrize("spoil", ["\\/", "\\n", "=", " ", "-", "\\u0041", "\\\\"])
@pytest.mark.parametrize("where", [4, 40, len(B64) - 1, len(B64)])
def test_what_turns_out_odd_in_the_middle_is_put_back(spoil: str, where: int) -> None:
    body = body_with(f'{{"b64_json": "{B64[:where]}{spoil}{B64[where:]}"}}')
    for at in range(len(body)):
        cutter = cut(body, at, at + 5)
        assert cutter.finish() in (None, (body, ())), at
        assert cutter.whole() == body


@pytest.mark.parametrize("length", range(60, 80))
def test_a_body_that_ends_in_the_middle_of_an_image_is_put_back(length: int) -> None:
    body = body_with(f'{{"b64_json": "{B64}"}}')[:length]
    for at in range(len(body)):
        cutter = cut(body, at)
        assert cutter.finish() in (None, (body, ()))
        assert cutter.whole() == body


def test_the_end_of_an_image_is_kept_as_it_was_written() -> None:
    """`AB==` and `AA==` are one byte; an error's body has the one that came."""
    for payload in ("AB==", "AAAAABB=", "AAAAAA=="):
        body = body_with(f'{{"b64_json": "{payload}"}}')
        found = cut(body).finish()
        assert found is not None
        assert found[1]
        assert reassemble(*found) == body


def test_a_mark_is_no_text_of_a_servers() -> None:
    assert [index_of(text) for text in ("\x000", "\x0012", "0", "", "AAAA")] == [0, 12, None, None, None]
    body = body_with(f'{{"b64_json": "{B64}", "revised_prompt": "\\u0000"}}')
    cutter = cut(body)
    assert cutter.finish() is None
    assert cutter.whole() == body


def test_a_body_in_another_encoding_is_not_cut() -> None:
    """There a key and its image may be four characters of a text."""
    text = b'"x' + b'"image":"AAAA"' * 2
    body = '{"data": [{"url": "https://a.b/'.encode("utf-16-le") + text + '"}]}'.encode("utf-16-le")
    assert cut(body).finish() is None
    assert read(taken_in(body, [])) == plainly(body)
    image = parsed(HTTPResponse(200, {}, body)).image
    assert image.url == "https://a.b/" + text.decode("utf-16-le")


def test_the_error_for_an_image_that_was_cut_has_the_body_as_it_came() -> None:
    body = body_with(f'{{"b64_json": "{B64}"}}, {{}}')
    response = taken_in(body, [30, 60])
    assert response.images
    with pytest.raises(MalformedResponseError) as caught:
        parsed(response.whole())
    assert caught.value.body == body


# --- memory -------------------------------------------------------------------------------------------------------


@given(pieces=st.lists(st.binary(max_size=9), max_size=9), room=st.integers(0, 100))
def test_a_sink_in_memory_has_what_was_written(pieces: list[bytes], room: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cutting, "_LEAP", 8)
        memory = MemorySink(room)
        for piece in pieces:
            memory.write(piece)
        assert memory.data == memory.read() == b"".join(pieces)


def test_a_piece_that_is_all_is_not_copied() -> None:
    data = os.urandom(1000)
    memory = MemorySink()
    memory.write(data)
    assert memory.data is data


def test_a_server_that_announces_much_gets_no_memory_for_it() -> None:
    memory = MemorySink(10**12)
    memory.write(b"a")
    memory.write(b"b")
    assert memory.data == b"ab"


def test_the_facts_are_read_from_the_sink() -> None:
    response: Any = taken_in(body_with(f'{{"b64_json": "{B64}", "seed": 5}}'), [])
    image = parsed(replace(response)).image
    assert (image.format, image.width, image.height, image.seed) == ("png", 1, 1, 5)


def test_images_are_looked_for_in_a_few_strings_only() -> None:
    """Each takes a moment of the event loop's; what is not looked at stays as it came."""
    many = b'"a",' * 1_000_000
    body = b'{"data": [{"b64_json": "QUJD"}, %b {"b64_json": "QUJD"}]}' % many
    cutter, called = Base64StreamDecoder(), 0

    def count(*_: object) -> None:
        nonlocal called
        called += 1

    sys.setprofile(count)
    try:
        cutter.feed(body)
    finally:
        sys.setprofile(None)
    assert called < 1_000_000
    found = cutter.finish()
    assert found is not None
    assert [cut.sink.data for cut in found[1]] == [b"ABC"]
    assert reassemble(*found) == body
