"""Bodies of responses as they arrive, over any connection: kept in memory or written to disk, and limited in length."""

from __future__ import annotations

import io
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import anyio
from anyio.lowlevel import checkpoint

from .._core.capabilities import ENDPOINTS
from .._core.cutting import Base64StreamDecoder, Buffer, ExtractedImage, MemorySink, Sink, placeholder
from .._core.errors import APIConnectionError
from .._core.outcomes import billing_of
from .._core.responses import CODING_HEADER, CUTTING_PAYS
from .._core.wire import HTTPRequest, HTTPResponse
from .._runtime.event_loop import VAST, abandonable, finished_in_thread
from .http11 import ResponseHead

MAX_BODY = 256 * 1024 * 1024
"""The maximum bytes of a response; a 4096x4096 image in base64 takes a third of that."""

MAX_IMAGE = 160 * 1024 * 1024
"""The maximum bytes of an image fetched from a link: 4096x4096 pixels of four channels of 16 bits, and 32 MiB for
everything else in its file."""

ERROR_BODY_TIMEOUT = 2.0
"""The maximum seconds to wait for the body of an error status, which only adds the reason."""

_WITH_IMAGES = frozenset(endpoint.path for endpoint in ENDPOINTS.values())


def whole_response(call: HTTPRequest, head: ResponseHead, body: bytes) -> HTTPResponse | None:
    """Return a response that arrived at once, if it is short and does not need a `BodyReader`; otherwise `None`."""
    if len(body) >= CUTTING_PAYS or CODING_HEADER in head.headers or (call.into and not call.path.startswith("/")):
        return None
    return HTTPResponse(head.status, head.headers, body)


class BodyReader:
    """Reads the body of one response.

    The connection feeds it the data that arrives, awaits `drain` whenever it is `full`, and ends with `finish` or,
    after any error, also one of the reader's, with `abandon`.

    Args:
        call: the request.
        head: status and headers of the response.
        longest: the maximum bytes of the body, compressed and decompressed.
    """

    def __init__(self, call: HTTPRequest, head: ResponseHead, longest: int) -> None:
        self._status = head.status
        self._headers = headers = head.headers
        self._longest = longest
        self._received = 0
        self._is_whole = True
        self._coding = headers.get(CODING_HEADER, "").strip().lower()
        self._is_compressed = self._coding not in ("", "identity")
        self._sinks: list[Sink] = []
        self._decoder = self._decoder_for(call, _length_of(headers))

    @property
    def full(self) -> bool:
        """Whether `drain` must be awaited before more is fed."""
        return bool(self._sinks) and self._sinks[-1].full

    def feed(self, data: Buffer, stop: int | None = None) -> None:
        """Take the next bytes of the body. It never blocks, and does not keep `data`.

        Args:
            data: the buffer.
            stop: the number of bytes in it; `None` for all.

        Raises:
            APIConnectionError: the body is longer than it may be.
        """
        stop = len(data) if stop is None else stop
        self._received += stop
        if self._received > self._longest:
            raise _too_long(self._longest)
        self._decoder.feed(data, stop)

    async def whole_of(self, rest: Callable[[], Awaitable[None]], broken: tuple[type[Exception], ...]) -> None:
        """Read the rest of the body; that of an error status, as far as it arrives.

        A server that refuses an upload may close, reset or abandon the connection in the middle of its response.

        Args:
            rest: receives the rest, and feeds it to this reader.
            broken: the errors that `rest` raises if the connection ends too early.
        """
        if self._status < 300:
            await rest()
            return
        self._is_whole = False
        with anyio.move_on_after(ERROR_BODY_TIMEOUT), suppress(*broken):
            await rest()
            self._is_whole = True

    async def drain(self) -> None:
        """Wait until more can be fed.

        Raises:
            APIConnectionError: what could not be written is lost.
        """
        await self._sinks[-1].drain()

    async def finish(self) -> HTTPResponse:
        """Return the response, decompressed if the server compressed it unasked.

        A coding that cannot be decompressed is kept, and named in the response's `content-encoding`. The response is
        paid for, so this finishes even if the call was cancelled.

        Raises:
            APIConnectionError: the body is too long, its compressed form is incomplete, or it could not be written.
        """
        for sink in self._sinks:
            await sink.settle()
        headers = dict(self._headers)
        body, images = await self._content()
        if not body or not self._is_compressed:
            headers.pop(CODING_HEADER, None)
        elif self._is_whole and (decompressed := await self._decompressed(body)) is not None:
            body = decompressed
            del headers[CODING_HEADER]
        return HTTPResponse(self._status, headers, body, images)

    async def _decompressed(self, body: bytes) -> bytes | None:
        """Decompress `body`. Up to `VAST` bytes are finished even if the call is cancelled."""
        decompression = _Decompression(body, self._coding, self._longest)
        while not decompression.over:
            if decompression.length > VAST:
                await checkpoint()
            await finished_in_thread(decompression.step)
        return decompression.result()

    async def abandon(self) -> None:
        """Discard an incomplete response, and its files."""
        for sink in self._sinks:
            await sink.abandon()

    def _decoder_for(self, call: HTTPRequest, length: int) -> Base64StreamDecoder | _Buffered | _Binary:
        if self._is_compressed or not 200 <= self._status < 300:
            return _Buffered(length)
        begin = partial(_begun, self._sinks, call.into or MemorySink)
        if call.path in _WITH_IMAGES and not 0 < length < CUTTING_PAYS:
            return Base64StreamDecoder(begin, length)
        if call.into and not call.path.startswith("/"):
            return _Binary(begin(length))
        return _Buffered(length)

    async def _content(self) -> tuple[bytes, tuple[ExtractedImage, ...]]:
        """Return the body, and the images that were extracted from it."""
        if not isinstance(self._decoder, Base64StreamDecoder):
            return self._decoder.finish()
        in_thread = abandonable if self._received > VAST else finished_in_thread
        found = self._decoder.finish() if self._received <= VAST else await in_thread(self._decoder.finish)
        if found is None:
            found = await in_thread(self._decoder.whole), ()
            await self.abandon()
        return found


class _Buffered:
    """A body that is kept in memory as it is."""

    def __init__(self, length: int) -> None:
        self._memory = MemorySink(length)

    def feed(self, data: Buffer, stop: int) -> None:
        self._memory.write(_copied(data, stop))

    def finish(self) -> tuple[bytes, tuple[ExtractedImage, ...]]:
        return self._memory.data, ()


class _Binary:
    """A body that is the bytes of an image."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def feed(self, data: Buffer, stop: int) -> None:
        self._sink.write(_copied(data, stop))

    def finish(self) -> tuple[bytes, tuple[ExtractedImage, ...]]:
        return placeholder([b"", b""]), (ExtractedImage(self._sink, coded=False),)


def _copied(data: Buffer, stop: int) -> bytes:
    """Return the first `stop` bytes of `data`, as a copy unless `data` cannot change."""
    return data[:stop] if isinstance(data, bytes) else bytes(memoryview(data)[:stop])


def _begun(sinks: list[Sink], into: Callable[[int], Sink], room: int) -> Sink:
    """Create a sink with `into`, and add it to `sinks`."""
    sinks.append(into(room))
    return sinks[-1]


def _length_of(headers: Mapping[str, str]) -> int:
    """Return the announced length of a body in bytes; 0 if it is not announced."""
    text = headers.get("content-length", "")
    return int(text) if text.isdecimal() else 0


# --- compressed bodies --------------------------------------------------------------------------


_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""The `wbits` of zlib for each coding."""

_STEP = 8 * 1024 * 1024
"""Bytes that are decompressed at once."""

_HEADLESS = -15
"""The `wbits` of deflate without its header, which some servers send."""


class _Decompression:
    """Decompresses a body that is not empty, step by step.

    Attributes:
        over: whether it has finished.
        length: the bytes decompressed so far.
    """

    def __init__(self, body: bytes, coding: str, longest: int) -> None:
        self._coding = coding
        self._longest = longest
        self._compressed = body
        self._decompressed = io.BytesIO()
        self._is_known = coding in _WINDOWS
        self.over = not self._is_known
        self.length = 0
        headless = coding == "deflate" and (body[0] & 15 != 8 or int.from_bytes(body[:2], "big") % 31)
        self._inflator = zlib.decompressobj(_HEADLESS if headless else _WINDOWS.get(coding, 0))

    def step(self) -> None:
        """Decompress the next few megabytes."""
        try:
            piece = self._inflator.decompress(self._compressed, min(_STEP, self._longest + 1 - self.length))
        except zlib.error:
            self._is_known, self.over = False, True
            return
        self._compressed = self._inflator.unconsumed_tail
        self.length += self._decompressed.write(piece)
        self.over = not piece or self._inflator.eof or self.length > self._longest

    def result(self) -> bytes | None:
        """Return the decompressed body; `None` if the coding is unknown or wrong.

        Raises:
            APIConnectionError: it is too long, or incomplete.
        """
        if not self._is_known:
            return None
        if self.length > self._longest:
            raise _too_long(self._longest)
        if not self._inflator.eof:
            message = f"the response ended too early: its {self._coding} has no end"
            raise APIConnectionError(message, billing=billing_of("lost", sent=True))
        return None if self._inflator.unused_data else self._decompressed.getvalue()


def _too_long(longest: int) -> APIConnectionError:
    message = f"the response is longer than {longest:,} bytes"
    return APIConnectionError(message, billing=billing_of("too_long", sent=True), again=False)
