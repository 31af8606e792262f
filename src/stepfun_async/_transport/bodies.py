"""Bodies of answers, which are never longer than they may be."""

from __future__ import annotations

import io
import zlib

import anyio
import anyio.to_thread

from .._core.errors import APIConnectionError
from .._core.outcomes import billing_of
from .._core.wire import Reply
from .http1 import Head

MAX_BODY = 256 * 1024 * 1024
"""Bytes of the longest answer that is read; a 4096x4096 picture in base64 takes a third."""

MAX_PICTURE = 64 * 1024 * 1024
"""Bytes of the longest picture that is fetched from a link: 4096x4096 pixels of four bytes each."""


class Intake:
    """Takes one answer in, decompressed where it came compressed unasked.

    No library's decoders are used, since they unpack a few bytes to gigabytes before anybody can say
    stop. A coding that cannot be undone is left on, and named in the reply's `content-encoding`.

    Args:
        head: status and headers of the answer.
        longest: bytes that the body may have, packed and unpacked.
    """

    full = False
    """Whether `drain` is to be awaited before more is fed."""

    def __init__(self, head: Head, longest: int) -> None:
        self._head = head
        self._longest = longest
        self._whole = io.BytesIO()

    def feed(self, data: bytes) -> None:
        """Take a piece of the body.

        Raises:
            APIConnectionError: the body is longer than it may be.
        """
        if self._whole.tell() + len(data) > self._longest:
            raise _too_long(self._longest)
        self._whole.write(data)

    async def drain(self) -> None:
        """Put away what was fed so far."""

    async def abandon(self) -> None:
        """Forget what was fed: the answer will never be whole."""

    async def finish(self) -> Reply:
        """The whole answer.

        Raises:
            APIConnectionError: it is too long when unpacked, or its packed form has no end.
        """
        status, headers = self._head
        body = self._whole.getvalue()
        coding = headers.get("content-encoding", "").strip().lower()
        if not body or coding in ("", "identity"):
            headers.pop("content-encoding", None)
        elif (unpacked := await anyio.to_thread.run_sync(_unpacked, body, coding, self._longest)) is not None:
            body = unpacked
            del headers["content-encoding"]
        return Reply(status, headers, body)


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
