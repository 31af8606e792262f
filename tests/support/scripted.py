"""A transport without a server: what each call meets is a function of the test."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable

from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState

from .responses import PIXEL

Respond = Callable[[HTTPRequest, SendState], Awaitable[HTTPResponse]]

IMAGE = HTTPResponse(
    200,
    {"x-trace-id": "trace-1"},
    json.dumps(
        {"created": 1, "data": [{"seed": 7, "finish_reason": "success", "b64_json": base64.b64encode(PIXEL).decode()}]}
    ).encode(),
)


def refusal(status: int, *, retry_after: float | None = None) -> HTTPResponse:
    """An error response."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return HTTPResponse(status, headers, b'{"error": {"message": "no", "type": "scripted"}}')


class Scripted:
    """Answers each call with what `respond` returns."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.calls = 0

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        self.calls += 1
        return await self._respond(call, progress)

    async def aclose(self) -> None:
        pass
