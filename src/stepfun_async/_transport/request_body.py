"""Bodies of requests: of known length, in pieces, as often as asked for. An image on disk is sent from there."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Self, cast

from .._core.errors import APIConnectionError
from .._core.outcomes import billing_of
from .._core.wire import HTTPRequest, SendState, encode_json
from .._runtime.event_loop import finished_in_thread
from .._runtime.files import CHUNK_SIZE, FileChangedError, FileSource

_Part = bytes | FileSource

JSON = "application/json"

LONG = 1024 * 1024
"""Characters from which on JSON is written in a thread: that takes milliseconds then."""


_JOINED = 64 * 1024
"""Bytes of an image in memory up to which it goes in one piece with the texts around it: fewer packets."""


class RequestBody:
    """The body of a request.

    Iterating yields its pieces, from the start each time. So an attempt can be repeated, and nothing has to be closed
    if it is interrupted.

    Attributes:
        content_type: its content type; `None` without a body.
        length: its length in bytes; `None` without a body.
        whole: the whole body, if it is one piece in memory; otherwise `None`.

    Args:
        content_type: its content type; `None` without a body.
        parts: its parts.
        progress: the state of the attempt, for errors of files that have changed.
    """

    __slots__ = ("_parts", "_progress", "content_type", "length", "whole")

    def __init__(self, content_type: str | None, parts: Sequence[_Part], progress: SendState) -> None:
        self.content_type = content_type
        self.whole: bytes | None = None
        self.length: int | None = None
        self._parts = parts
        self._progress = progress
        first = parts[0]
        if len(parts) > 1 or not isinstance(first, bytes):
            self.length = sum(len(part) if isinstance(part, bytes) else part.size for part in parts)
            return
        self.whole = first
        if content_type is not None:
            self.length = len(first)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(chain.from_iterable(map(_plan, self._parts)), self._progress)


async def body_of(call: HTTPRequest, progress: SendState) -> RequestBody:
    """Encode the body of `call`.

    Args:
        call: the request.
        progress: the state of the attempt.

    Raises:
        InvalidRequestError: it cannot be encoded as JSON.
        APIConnectionError: a file to send has changed since it was read, or is gone.
    """
    if call.content is not None:
        return RequestBody(JSON, (call.content,), progress)
    if call.json is not None:
        long = _length_of(call.json) > LONG
        data = await finished_in_thread(partial(encode_json, call.json)) if long else encode_json(call.json)
        return RequestBody(JSON, (data,), progress)
    if not (call.files or call.form):
        return RequestBody(None, (b"",), progress)
    boundary = secrets.token_hex(16)
    body = RequestBody(f"multipart/form-data; boundary={boundary}", tuple(_form(call, boundary.encode())), progress)
    await _check_files(call)
    return body


def _length_of(json: Mapping[str, object]) -> int:
    """Return the approximate number of characters of text in `json`."""
    length = 0
    for value in json.values():
        if isinstance(value, str):
            length += len(value)
        elif isinstance(value, Mapping):
            length += _length_of(cast("Mapping[str, object]", value))
    return length


# --- forms --------------------------------------------------------------------------------------


def _form(call: HTTPRequest, boundary: bytes) -> Iterator[_Part]:
    """Yield the parts of a multipart form, texts first; adjacent parts in memory are joined."""
    texts = bytearray()
    for name, text in call.form.items():
        texts += b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n' % (boundary, _quoted(name))
        texts += text.encode("utf-8", "surrogatepass") + b"\r\n"
    for name, upload in call.files.items():
        named = (boundary, _quoted(name), _quoted(upload.filename), upload.content_type.encode())
        texts += b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: %b\r\n\r\n' % named
        if isinstance(upload.content, bytes) and len(upload.content) <= _JOINED:
            texts += upload.content
        else:
            yield bytes(texts)
            yield upload.content
            texts.clear()
        texts += b"\r\n"
    yield bytes(texts) + b"--%b--\r\n" % boundary


_SPECIAL = re.compile(r'["\\\x00-\x1a\x1c-\x1f]')


def _quoted(name: str) -> bytes:
    """Return `name` as browsers write it between the quotes of a form's header."""
    return _SPECIAL.sub(_escape, name).encode("utf-8", "surrogatepass")


def _escape(match: re.Match[str]) -> str:
    return "\\\\" if match[0] == "\\" else f"%{ord(match[0]):02X}"


# --- files --------------------------------------------------------------------------------------


async def _check_files(call: HTTPRequest) -> None:
    """Check that the files have not changed, before anything is sent."""
    for upload in call.files.values():
        if isinstance(upload.content, FileSource):
            await _read(upload.content, 0, 0, sent=False)


def _plan(part: _Part) -> Iterator[bytes | tuple[FileSource, int]]:
    """Return the pieces of `part`: bytes, or a file and an offset."""
    if isinstance(part, bytes):
        return iter((part,) if part else ())
    return ((part, start) for start in range(0, part.size, CHUNK_SIZE))


class _Pieces:
    """The pieces of a body, for one attempt.

    It is not an async generator: one that is not exhausted, because its call was cancelled, is left to the garbage
    collector, about which trio warns.
    """

    def __init__(self, plan: Iterator[bytes | tuple[FileSource, int]], progress: SendState) -> None:
        self._plan = plan
        self._progress = progress

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._plan:
            if isinstance(piece, bytes):
                return piece
            source, start = piece
            return await _read(source, start, CHUNK_SIZE, sent=self._progress.sent)
        raise StopAsyncIteration


async def _read(source: FileSource, start: int, length: int, *, sent: bool | None) -> bytes:
    try:
        return await finished_in_thread(partial(source.read_piece, start, length))
    except FileChangedError as error:
        message = f"{error} since it was read, so the request was not sent whole: create a new one"
        raise APIConnectionError(message, billing=billing_of("lost", sent=sent), again=False) from error
