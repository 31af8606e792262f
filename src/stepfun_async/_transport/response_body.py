"""Bodies of responses as they arrive, over any connection: kept in memory or written to disk, and limited in length."""

from __future__ import annotations

import io
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from .._core.capabilities import ENDPOINTS
from .._core.cutting import Base64StreamDecoder, Buffer, ExtractedImage, MemorySink, Sink, placeholder
from .._core.errors import APIConnectionError
from .._core.outcomes import billing_of
from .._core.responses import CODING_HEADER, CUTTING_PAYS
from .._core.wire import HTTPRequest, HTTPResponse
from .._runtime.event_loop import VAST, abandonable, finished_in_thread
from .http11 import ResponseHead

MAX_BODY = 256 * 1024 * 1024
"""Bytes of the longest answer that is read; a 4096x4096 image in base64 takes a third."""

MAX_IMAGE = 160 * 1024 * 1024
"""Bytes of the longest image that is fetched from a link: 4096x4096 pixels of four channels of 16 bits, and 32 MiB
for what else is in its file."""

WORDS = 2.0
"""Seconds that the body of an error status has to come: the status says what happened, the body only why."""

_WITH_IMAGES = frozenset(endpoint.path for endpoint in ENDPOINTS.values())


def whole_response(call: HTTPRequest, head: ResponseHead, body: bytes) -> HTTPResponse | None:
    """Return a response that arrived at once, if it is short and in no need of a `BodyReader`; otherwise `None`."""
    if len(body) >= CUTTING_PAYS or CODING_HEADER in head.headers or (call.into and not call.path.startswith("/")):
        return None
    return HTTPResponse(head.status, head.headers, body)


class BodyReader:
    """Takes one answer in, from the end of its head on.

    Who carries it feeds it what comes, awaits `drain` whenever it is `full`, and ends with `finish`; or with
    `abandon`, whatever went wrong, also in here.

    Args:
        call: the request.
        head: status and headers of the response.
        longest: bytes that the body may have, packed and unpacked.
    """

    def __init__(self, call: HTTPRequest, head: ResponseHead, longest: int) -> None:
        self._status = head.status
        self._headers = headers = head.headers
        self._longest = longest
        self._came = 0
        self._is_whole = True
        self._coding = headers.get(CODING_HEADER, "").strip().lower()
        self._is_packed = self._coding not in ("", "identity")
        self._sinks: list[Sink] = []
        self._manner = self._manner_for(call, _length_of(headers))

    @property
    def full(self) -> bool:
        """Whether `drain` is to be awaited before there is more to feed."""
        return bool(self._sinks) and self._sinks[-1].full

    def feed(self, data: Buffer, stop: int | None = None) -> None:
        """Take the next bytes of the body; never blocks, and keeps nothing of `data`.

        Args:
            data: where they are.
            stop: where they end in there; by default at its end.

        Raises:
            APIConnectionError: the body is longer than it may be.
        """
        stop = len(data) if stop is None else stop
        self._came += stop
        if self._came > self._longest:
            raise _too_long(self._longest)
        self._manner.feed(data, stop)

    async def whole_of(self, rest: Callable[[], Awaitable[None]], broken: tuple[type[Exception], ...]) -> None:
        """Take in the rest of the body; of an error status, as much of it as comes.

        A server that refuses an upload may close, reset or leave the connection with what it said half-way.

        Args:
            rest: receives it, and feeds it.
            broken: what `rest` raises when the connection ends too early.
        """
        if self._status < 300:
            await rest()
            return
        self._is_whole = False
        with anyio.move_on_after(WORDS), suppress(*broken):
            await rest()
            self._is_whole = True

    async def drain(self) -> None:
        """Wait until more can be fed.

        Raises:
            APIConnectionError: what could not be written is lost.
        """
        await self._sinks[-1].drain()

    async def finish(self) -> HTTPResponse:
        """The answer, all of which is in; unpacked where it came packed unasked.

        A coding that cannot be undone is left on, and named in the reply's `content-encoding`. What has come is
        paid for, so this ends even when the call is cancelled by now.

        Raises:
            APIConnectionError: the body is too long, its packed form has no end, or what could not be written is lost.
        """
        for sink in self._sinks:
            await sink.settle()
        headers = dict(self._headers)
        body, images = await self._taken()
        if not body or not self._is_packed:
            headers.pop(CODING_HEADER, None)
        elif self._is_whole and (unpacked := await self._unpacked(body)) is not None:
            body = unpacked
            del headers[CODING_HEADER]
        return HTTPResponse(self._status, headers, body, images)

    async def _unpacked(self, body: bytes) -> bytes | None:
        """`body` without its coding; up to `VAST` bytes come to their end even when the call is cancelled."""
        unpacking = _Unpacking(body, self._coding, self._longest)
        while not unpacking.over:
            if unpacking.length > VAST:
                await checkpoint_if_cancelled()
            await finished_in_thread(unpacking.step)
        return unpacking.result()

    async def abandon(self) -> None:
        """Leave no file behind: the answer did not come whole."""
        for sink in self._sinks:
            await sink.abandon()

    def _manner_for(self, call: HTTPRequest, length: int) -> Base64StreamDecoder | _Gathered | _Raw:
        if self._is_packed or not 200 <= self._status < 300:
            return _Gathered(length)
        begin = partial(_begun, self._sinks, call.into or MemorySink)
        if call.path in _WITH_IMAGES and not 0 < length < CUTTING_PAYS:
            return Base64StreamDecoder(begin, length)
        if call.into and not call.path.startswith("/"):
            return _Raw(begin(length))
        return _Gathered(length)

    async def _taken(self) -> tuple[bytes, tuple[ExtractedImage, ...]]:
        """The body, and the images that were extracted from it."""
        if not isinstance(self._manner, Base64StreamDecoder):
            return self._manner.finish()
        in_thread = abandonable if self._came > VAST else finished_in_thread
        found = self._manner.finish() if self._came <= VAST else await in_thread(self._manner.finish)
        if found is None:
            found = await in_thread(self._manner.whole), ()
            await self.abandon()
        return found


class _Gathered:
    """A body that stays as it comes, in memory."""

    def __init__(self, length: int) -> None:
        self._memory = MemorySink(length)

    def feed(self, data: Buffer, stop: int) -> None:
        self._memory.write(_copied(data, stop))

    def finish(self) -> tuple[bytes, tuple[ExtractedImage, ...]]:
        return self._memory.data, ()


class _Raw:
    """A body that is an image itself."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def feed(self, data: Buffer, stop: int) -> None:
        self._sink.write(_copied(data, stop))

    def finish(self) -> tuple[bytes, tuple[ExtractedImage, ...]]:
        return placeholder([b"", b""]), (ExtractedImage(self._sink, coded=False),)


def _copied(data: Buffer, stop: int) -> bytes:
    """The bytes of `data` before `stop`; `data` itself where it is those, and stays as it is."""
    return data[:stop] if isinstance(data, bytes) else bytes(memoryview(data)[:stop])


def _begun(sinks: list[Sink], into: Callable[[int], Sink], room: int) -> Sink:
    """One more sink, noted in `sinks`."""
    sinks.append(into(room))
    return sinks[-1]


def _length_of(headers: Mapping[str, str]) -> int:
    """Return the announced length of a body in bytes; 0 if it is not announced."""
    text = headers.get("content-length", "")
    return int(text) if text.isdecimal() else 0


# --- packed ones --------------------------------------------------------------------------------


_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls each coding."""

_STEP = 8 * 1024 * 1024
"""Bytes that are unpacked at once."""

_HEADLESS = -15
"""What it calls deflate without its head, which some servers send."""


class _Unpacking:
    """A packed body, which is not empty, on its way out of `coding`, step by step.

    Attributes:
        over: whether there is nothing more to do.
        length: bytes that are unpacked.
    """

    def __init__(self, body: bytes, coding: str, longest: int) -> None:
        self._coding = coding
        self._longest = longest
        self._packed = body
        self._unpacked = io.BytesIO()
        self._is_undone = coding in _WINDOWS
        self.over = not self._is_undone
        self.length = 0
        headless = coding == "deflate" and (body[0] & 15 != 8 or int.from_bytes(body[:2], "big") % 31)
        self._inflator = zlib.decompressobj(_HEADLESS if headless else _WINDOWS.get(coding, 0))

    def step(self) -> None:
        """Unpack the next few megabytes."""
        try:
            piece = self._inflator.decompress(self._packed, min(_STEP, self._longest + 1 - self.length))
        except zlib.error:
            self._is_undone, self.over = False, True
            return
        self._packed = self._inflator.unconsumed_tail
        self.length += self._unpacked.write(piece)
        self.over = not piece or self._inflator.eof or self.length > self._longest

    def result(self) -> bytes | None:
        """The decompressed body; `None` if the coding cannot be undone.

        Raises:
            APIConnectionError: it is too long, or has no end.
        """
        if not self._is_undone:
            return None
        if self.length > self._longest:
            raise _too_long(self._longest)
        if not self._inflator.eof:
            message = f"the answer was broken off: its {self._coding} has no end"
            raise APIConnectionError(message, billing=billing_of("lost", sent=True))
        return None if self._inflator.unused_data else self._unpacked.getvalue()


def _too_long(longest: int) -> APIConnectionError:
    message = f"the answer is longer than {longest:,} bytes"
    return APIConnectionError(message, billing=billing_of("too_long", sent=True), again=False)
