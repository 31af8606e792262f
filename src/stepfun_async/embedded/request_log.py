"""A line in the log for each request that the server answers."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepfun_async._core.text import escaped
from stepfun_async._runtime.log import is_logged, log

NOTED = "stepfun_async.noted"
"""The key in a request's scope of the words that the application adds to its log line, such as the model."""

_LONGEST = 100


class RequestLog:
    """ASGI middleware that logs method, path, the words added by `note`, status and seconds, at INFO."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_logged(logging.INFO):
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        noted: list[str] = []
        scope[NOTED] = noted
        status = "no response"

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            asked = " ".join(_short(word) for word in (scope["method"], scope["path"], *noted))
            log(logging.INFO, "%s: %s in %.2f s", asked, status, time.monotonic() - began)


def _short(word: str) -> str:
    text = escaped(word)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def note(scope: Scope, *words: object) -> None:
    """Add words to the log line of a request; values that are not text are ignored."""
    noted = scope.get(NOTED)
    if noted is not None:
        noted.extend(word for word in words if isinstance(word, str) and word)
