"""Bodies: a request's in one piece, and an answer's, which is never longer than it may be."""

from __future__ import annotations

import io
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self, cast

import anyio
import anyio.to_thread
import httpx

from .._config import hidden
from .._core.errors import APIConnectionError, StepFunError
from .._core.outcomes import billing_of
from .._core.wire import Call, Reply, encode_json

MAX_BODY = 256 * 1024 * 1024
"""Bytes of the longest answer that is read; a 4096x4096 picture in base64 takes a third."""

MAX_PICTURE = 64 * 1024 * 1024
"""Bytes of the longest picture that is fetched from a link: 4096x4096 pixels of four bytes each."""


# --- requests out -------------------------------------------------------------------------------


def request_for(call: Call, url: str, headers: Mapping[str, str]) -> httpx.Request:
    """The request that says `call`.

    Raises:
        InvalidRequestError: JSON cannot say the body.
        APIConnectionError: `url` is none.
    """
    try:
        request = _encoded(call, url, headers)
    except (httpx.InvalidURL, ValueError) as error:
        if isinstance(error, StepFunError):
            raise
        message = f"the address cannot be used: {error}"
        raise APIConnectionError(message, billing="not_sent", again=False) from error
    request.stream = _Body(request.read())
    return request


def _encoded(call: Call, url: str, headers: Mapping[str, str]) -> httpx.Request:
    said = {**headers, **{name.lower(): hidden(value) for name, value in call.headers.items()}}
    if call.json is not None:
        said["content-type"] = "application/json"
        return httpx.Request(call.method, url, headers=said, content=encode_json(call.json))
    if call.files or call.form:
        files = {name: (upload.filename, upload.data, upload.content_type) for name, upload in call.files.items()}
        fields = {name: (None, text.encode("utf-8", "surrogatepass")) for name, text in call.form.items()}
        return httpx.Request(call.method, url, headers=said, files=cast("Any", {**fields, **files}))
    return httpx.Request(call.method, url, headers=said)


class _Body(httpx.AsyncByteStream):
    """A body in one piece.

    httpx's own is an async generator, and one that is left half-way, because its call was cancelled, is
    left to the garbage collector, of which trio complains.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._data)


class _Once:
    """An async iterator over one item, or none when it is empty."""

    def __init__(self, item: bytes) -> None:
        self._item = item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._item:
            raise StopAsyncIteration
        item, self._item = self._item, b""
        return item


# --- answers in ---------------------------------------------------------------------------------


async def read(response: httpx.Response, longest: int) -> Reply:
    """The whole answer, decompressed where it came compressed unasked.

    httpx's own decoders are not used, since they unpack a few bytes to gigabytes before anybody can
    say stop. A coding that cannot be undone is left on, and named in the reply's `content-encoding`.

    Args:
        response: the answer, of which only the head is read.
        longest: bytes that the body may have, packed and unpacked.

    Raises:
        APIConnectionError: the body is longer, or its packed form has no end.
    """
    headers = dict(response.headers)
    try:
        body = await _gathered(cast("httpx.AsyncByteStream", response.stream), longest)
    finally:
        await response.aclose()
    coding = headers.get("content-encoding", "").strip().lower()
    if not body or coding in ("", "identity"):
        headers.pop("content-encoding", None)
    elif (unpacked := await anyio.to_thread.run_sync(_unpacked, body, coding, longest)) is not None:
        body = unpacked
        del headers["content-encoding"]
    return Reply(response.status_code, headers, body)


async def _gathered(stream: httpx.AsyncByteStream, longest: int) -> bytes:
    """All pieces as one: kept as one all along, since a million tiny pieces take much more than their bytes."""
    whole = io.BytesIO()
    # A body that is too long is left by cancelling: that ends every generator on the way to the socket.
    with anyio.CancelScope() as scope:
        async for piece in stream:
            if whole.tell() + len(piece) > longest:
                scope.cancel()
            else:
                whole.write(piece)
    if scope.cancel_called:
        raise _too_long(longest)
    return whole.getvalue()


_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls each coding."""

_HEADLESS = -15
"""What it calls deflate without its head, which some servers send."""


def _unpacked(body: bytes, coding: str, longest: int) -> bytes | None:
    """`body`, which is not empty, without `coding`; None where that cannot be undone."""
    if coding not in _WINDOWS:
        return None
    headless = coding == "deflate" and (body[0] & 15 != 8 or int.from_bytes(body[:2], "big") % 31)
    inflator = zlib.decompressobj(_HEADLESS if headless else _WINDOWS[coding])
    try:
        unpacked = inflator.decompress(body, longest + 1)
    except zlib.error:
        return None
    if len(unpacked) > longest:
        raise _too_long(longest)
    if not inflator.eof:
        message = f"the answer was broken off: its {coding} has no end"
        raise APIConnectionError(message, billing=billing_of("lost", sent=True))
    return None if inflator.unused_data else unpacked


def _too_long(longest: int) -> APIConnectionError:
    message = f"the answer is longer than {longest:,} bytes"
    return APIConnectionError(message, billing=billing_of("too_long", sent=True), again=False)
