"""Images cut out of a response while it arrives.

A success is a few hundred bytes of JSON around megabytes of base64. So the base64 is decoded piece by piece as
it comes, and only the rest, with a mark where each image stood, is left for `json.loads`.

The decoder parses just enough JSON to distinguish a key from the same letters inside a text: where strings start
and end. What it finds under one of the keys is decoded strictly. Anything odd there (an escape, a line break, a
`data:` prefix, wrong padding, a body that ends in the middle) stays or is put back as it came, for the reader of the
whole body. So a body with its images cut out never says anything else than the whole one would.
"""

from __future__ import annotations

import io
import json
import re
from binascii import Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeAlias

from pybase64 import b64decode, b64encode

from .headers import ImageHeader, read_header

_KEYS = frozenset({b"b64_json", b"image"})
"""The fields with images in responses; servers of 2024 wrote `image`."""

_TELLING = max(map(len, _KEYS)) + 1
"""Bytes of a string that are enough to see whether it is one of the keys."""

_MARK = rb"\u0000"
"""Stands, with its number, in place of an image: no string in JSON has a NUL in any other writing."""

_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SPACE = re.compile(rb"[ \t\n\r]*+")


_LEAP = 2 * 1024 * 1024
"""The maximum bytes to reserve because a server announces them; beyond that, memory grows as they arrive."""


_MOST_STRINGS = 20_000
"""The maximum number of strings to search for images: a response has a few, and each takes time in the event loop."""

_STEP = 128 * 1024
"""Characters to decode at once, unless they are the whole image: larger buffers are allocated again each time."""


Buffer: TypeAlias = bytes | bytearray
"""Where bytes of a body are when they arrive: a piece of their own, or the beginning of a buffer that is used again."""


class Sink(Protocol):
    """Receives the bytes of one image as they arrive, and then has their location.

    Attributes:
        full: whether `drain` is to be awaited before there is more to write.
        data: the bytes; `None` if they are in a file.
        path: that file, which has no name of the user's yet, and may lack its end; `None` if there is none.
        header: what the bytes say of themselves; `None` for no image that is known.
    """

    @property
    def full(self) -> bool: ...

    @property
    def data(self) -> bytes | None: ...

    @property
    def path(self) -> Path | None: ...

    @property
    def header(self) -> ImageHeader | None: ...

    def write(self, data: bytes) -> None:
        """Write some bytes; never blocks."""
        ...

    def read(self) -> bytes:
        """Return everything written. Blocks if it is in a file."""
        ...

    async def drain(self) -> None:
        """Wait until it is no longer `full`."""
        ...

    async def settle(self) -> None:
        """Wait, even if the call is cancelled, until nothing is being written any more, and start no further writes.

        Nothing may be read before.

        Raises:
            APIConnectionError: what was written is lost.
        """
        ...

    async def abandon(self) -> None:
        """Discard everything written."""
        ...


class MemorySink:
    """A sink in memory: the buffer that the pieces are written to is the image.

    Args:
        room: bytes that may come at most, so that the buffer need not grow by copying; 0 where it is not known.
    """

    full = False
    path = None

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._made = 0
        self._size = 0
        self._buffer = io.BytesIO()

    def write(self, data: bytes) -> None:
        if not self._size:
            self._buffer = io.BytesIO(data)  # copies nothing yet, and a whole body is one piece
        elif data:  # nothing would leave the end of the room in place of the last byte
            self._make_room(self._size + len(data))
            self._buffer.seek(self._size)
            self._buffer.write(data)
        self._size += len(data)

    def _make_room(self, size: int) -> None:
        if size > self._made:
            self._made = max(size, min(self._room, max(2 * size, _LEAP)))
            self._buffer.seek(self._made - 1)
            self._buffer.write(b"\0")

    @property
    def data(self) -> bytes:
        self._buffer.truncate(self._size)
        return self._buffer.getvalue()  # copies nothing either

    @property
    def header(self) -> ImageHeader | None:
        return read_header(self.data)

    def read(self) -> bytes:
        return self.data

    async def drain(self) -> None:
        """Do nothing."""

    async def settle(self) -> None:
        """Do nothing."""

    async def abandon(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class ExtractedImage:
    """An image that was cut out.

    Attributes:
        sink: where its bytes are.
        tail: its last four characters as they came, which more than one writing may stand for; empty for one
            whose end did not come, or that is all of its body and in no base64.
        coded: whether it was in base64.
    """

    sink: Sink
    tail: bytes = b""
    coded: bool = True

    def as_it_came(self) -> bytes:
        data = self.sink.read()
        if not self.coded:
            return data
        sure = (len(data) - 1) // 3 * 3 if self.tail else len(data)
        return b64encode(memoryview(data)[:sure]) + self.tail


def placeholder(parts: Sequence[bytes | bytearray]) -> bytes:
    """The parts of a body between its images, with a mark for each image."""
    first, *others = parts
    marks = ((b"%b%d" % (_MARK, at), part) for at, part in enumerate(others))
    return b"".join((first, *chain.from_iterable(marks)))


def reassemble(body: bytes, cuts: Sequence[ExtractedImage]) -> bytes:
    """Return the body as it came: the marks in `body` replaced by what was cut out. Blocks if that is in a file."""
    first, *others = body.split(_MARK)
    parts = (other.removeprefix(b"%d" % at) for at, other in enumerate(others))
    return _woven([first, *parts], cuts)


def index_of(text: str) -> int | None:
    """Return the index of the image for which the placeholder `text` stands; `None` for any other text."""
    return int(text[1:]) if text[:1] == "\0" else None


def _woven(parts: Sequence[bytes | bytearray], cuts: Sequence[ExtractedImage]) -> bytes:
    first, *others = parts
    pairs = zip((cut.as_it_came() for cut in cuts), others, strict=True)
    return b"".join((first, *chain.from_iterable(pairs)))


class Base64StreamDecoder:
    """Cuts the images out of one body.

    Args:
        begin: makes the sink for the next image, given its maximum bytes; 0 if unknown.
        length: bytes of the body; 0 where they are not known.
    """

    def __init__(self, begin: Callable[[int], Sink] = MemorySink, length: int = 0) -> None:
        self._begin = begin
        self._left = length
        self._parts = [bytearray()]
        self._cuts: list[ExtractedImage] = []
        self._is_clean = True
        self._strings = 0
        # A bound method would make a reference cycle that keeps the images.
        self._state: _State = Base64StreamDecoder._between
        self._said = b""
        self._sink: Sink | None = None
        self._held = b""

    def feed(self, data: Buffer, stop: int | None = None) -> None:
        """Take the next bytes of the body, however many. Nothing of `data` is kept.

        Args:
            data: where they are.
            stop: where they end in there; by default at its end.
        """
        at, stop = 0, len(data) if stop is None else stop
        while at < stop:
            at = self._state(self, data, at, stop)
        self._left = max(0, self._left - stop)

    def finish(self) -> tuple[bytes, tuple[ExtractedImage, ...]] | None:
        """Return the marked body and the images cut out of it; `None` if only the whole body will do."""
        if self._state is Base64StreamDecoder._in_payload:
            self._give_up()
        body = placeholder(self._parts)
        alone = body.count(_MARK) == len(self._cuts)  # and not in a text of the server as well
        if self._is_clean and alone and json.detect_encoding(body).startswith("utf-8"):
            return body, tuple(self._cuts)
        return None

    def whole(self) -> bytes:
        """Return the whole body, once it has arrived. Blocks if images are in files."""
        return _woven(self._parts, self._cuts)

    # --- the states: each takes bytes between `at` and `stop`, and says how far it got

    def _between(self, data: Buffer, at: int, stop: int) -> int:
        quote = data.find(b'"', at, stop)
        if quote < 0:
            return self._keep(data, at, stop)
        self._said = b""
        self._strings += 1
        self._state = (
            Base64StreamDecoder._in_string if self._strings <= _MOST_STRINGS else Base64StreamDecoder._in_the_rest
        )
        return self._keep(data, at, quote + 1)

    def _in_the_rest(self, data: Buffer, at: int, stop: int) -> int:
        return self._keep(data, at, stop)

    def _in_string(self, data: Buffer, at: int, stop: int) -> int:
        end = _end_of(_IN_STRING, data, at, stop)
        if len(self._said) < _TELLING:
            self._said += data[at : min(end, at + _TELLING)]
        if end == stop:
            return self._keep(data, at, end)
        if data[end] == _BACKSLASH:  # the last byte, since what it escapes has not come
            self._state = Base64StreamDecoder._in_escape
        else:
            self._state = Base64StreamDecoder._after_key if self._said in _KEYS else Base64StreamDecoder._between
        return self._keep(data, at, end + 1)

    def _in_escape(self, data: Buffer, at: int, stop: int) -> int:
        self._state = Base64StreamDecoder._in_string
        return self._keep(data, at, at + 1)

    def _after_key(self, data: Buffer, at: int, stop: int) -> int:
        return self._expect(_COLON, Base64StreamDecoder._after_colon, data, at, stop)

    def _after_colon(self, data: Buffer, at: int, stop: int) -> int:
        return self._expect(_QUOTE, Base64StreamDecoder._in_payload, data, at, stop)

    def _expect(self, wanted: int, then: _State, data: Buffer, at: int, stop: int) -> int:
        """Continue with `then` if `wanted` comes next, possibly after spaces; otherwise the string was not a key."""
        end = _end_of(_SPACE, data, at, stop)
        if end == stop:
            return self._keep(data, at, end)
        if data[end] != wanted:
            self._state = Base64StreamDecoder._between
            return self._keep(data, at, end)
        self._state = then
        return self._keep(data, at, end + 1)

    def _in_payload(self, data: Buffer, at: int, stop: int) -> int:
        begins = self._sink is None and not self._held
        if not begins and (reached := self._in_the_middle(data, at, stop)) > at:
            return reached
        stop = stop if begins else min(stop, at + _STEP)
        quote = data.find(b'"', at, stop)
        ends = quote >= 0
        end = quote if ends else stop
        if end - at > _STEP and not (ends and begins):
            end, ends = at + _STEP, False
        came = memoryview(data)[at:end]
        text = memoryview(self._held + came) if self._held else came
        # The last group is held back, since it may be padded, and need not have come in full.
        sure = len(text) if ends else max(0, len(text) - 1) // 4 * 4
        decoded = _decoded(text[:sure], padded=ends)
        if decoded is None:
            self._give_up()
            return at
        self._write(decoded)
        self._held = bytes(text[sure:])
        if ends:
            self._close(bytes(text[-4:]))
        return end

    def _in_the_middle(self, data: Buffer, at: int, stop: int) -> int:
        """Decode base64 without searching for the end of the image. Return where it stops, which may be `at`."""
        view, begin = memoryview(data), at
        if self._held:
            begin += 4 - len(self._held)
        last = begin + (stop - begin - 1) // 4 * 4  # the start of the group that is held back
        if last <= begin:
            return at
        if self._held:
            first = _decoded(self._held + view[at:begin], padded=False)
            if first is None:
                return at
            self._write(first)
            self._held = b""
        write = self._write if self._sink is None else self._sink.write
        for start in range(begin, last, _STEP):
            decoded = _decoded(view[start : min(start + _STEP, last)], padded=False)
            if decoded is None:
                return start
            write(decoded)
        rest = bytes(view[last:stop])
        if b'"' in rest:
            return last
        self._held = rest
        return stop

    # ---

    def _keep(self, data: Buffer, at: int, end: int) -> int:
        self._parts[-1] += memoryview(data)[at:end]
        return end

    def _write(self, decoded: bytes) -> None:
        if not decoded:
            return
        if self._sink is None:
            self._sink = self._begin(self._left // 4 * 3)
            self._cuts.append(ExtractedImage(self._sink))
            self._parts.append(bytearray())
        self._sink.write(decoded)

    def _close(self, tail: bytes) -> None:
        if self._sink is not None:
            self._cuts[-1] = ExtractedImage(self._sink, tail)
            self._sink = None
        self._held = b""
        self._said = _NO_KEY
        self._state = Base64StreamDecoder._in_string

    def _give_up(self) -> None:
        """Treat the string like any other: it is not base64, or not strictly."""
        self._is_clean = self._is_clean and self._sink is None
        held, self._held, self._sink = self._held, b"", None
        self._said = _NO_KEY
        self._state = Base64StreamDecoder._in_string
        if held:
            self._in_string(held, 0, len(held))


_State: TypeAlias = Callable[[Base64StreamDecoder, Buffer, int, int], int]

_NO_KEY = b"-" * _TELLING
_QUOTE, _COLON, _BACKSLASH = b'":\\'


def _end_of(pattern: re.Pattern[bytes], data: Buffer, at: int, stop: int) -> int:
    """Return the end of the match of `pattern` at `at`; both patterns also match nothing."""
    match = pattern.match(data, at, stop)
    return match.end() if match else at


def _decoded(text: Buffer | memoryview, *, padded: bool) -> bytes | None:
    """The bytes that `text` stands for, padding allowed at its end or nowhere; `None` if it is not strictly base64.

    The number of bytes is checked, since pybase64 without its extension, as the standard library, takes more `=`
    than are due.
    """
    try:
        data = b64decode(text, validate=True)
    except (Error, ValueError):
        return None
    padding = bytes(text[-4:]).count(b"=") if padded else 0
    return data if len(data) == len(text) // 4 * 3 - padding else None
