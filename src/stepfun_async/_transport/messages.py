"""Requests and answers in httpx's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import cast

import anyio
import httpx

from .._config import hidden
from .._core.errors import APIConnectionError
from .._core.wire import Call, Progress, Reply
from .bodies import Intake
from .uploads import Body, body_of


async def request_for(call: Call, url: str, headers: Mapping[str, str], progress: Progress) -> httpx.Request:
    """The request that says `call`.

    Raises:
        InvalidRequestError: JSON cannot say the body.
        APIConnectionError: `url` is none, or a file to send has changed.
    """
    body = await body_of(call, progress)
    said = {**headers, **{name.lower(): hidden(value) for name, value in call.headers.items()}}
    if body.content_type is not None:
        said |= {"content-type": body.content_type, "content-length": str(body.length)}
    stream = _Stream(body)
    try:
        request = httpx.Request(call.method, url, headers=said, content=stream if body.length else None)
    except (httpx.InvalidURL, ValueError) as error:
        message = f"the address cannot be used: {error}"
        raise APIConnectionError(message, billing="not_sent", again=False) from error
    request.stream = stream
    return request


class _Stream(httpx.AsyncByteStream):
    """A body as httpx sends it."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)


async def read(response: httpx.Response, call: Call, longest: int) -> Reply:
    """The whole answer to `call`.

    httpx's own decoders are not used, since they unpack a few bytes to gigabytes before anybody can say stop.

    Args:
        response: the answer, of which only the head is read.
        call: what it answers.
        longest: bytes that the body may have, packed and unpacked.

    Raises:
        APIConnectionError: the body is longer, or its packed form has no end.
    """
    intake = Intake(call, response.status_code, dict(response.headers), longest)
    try:
        try:
            await _feed(intake, cast("httpx.AsyncByteStream", response.stream))
        finally:
            await response.aclose()
        return await intake.finish()
    except BaseException:
        await intake.abandon()
        raise


async def _feed(intake: Intake, stream: httpx.AsyncByteStream) -> None:
    failure: APIConnectionError | None = None
    # A body that is too long is left by cancelling: that ends every generator on the way to the socket.
    with anyio.CancelScope() as scope:
        async for piece in stream:
            try:
                intake.feed(piece)
                if intake.full:
                    await intake.drain()
            except APIConnectionError as error:
                failure = error
                scope.cancel()
    if failure is not None:
        raise failure
