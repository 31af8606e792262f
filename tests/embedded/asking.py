"""Ways to ask the engine that several test modules share."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from PIL import Image as pillow

from stepfun_async._core.requests import ImageRequest
from stepfun_async._core.wire import HTTPRequest, HTTPResponse
from stepfun_async.embedded import Engine


def content(reply: HTTPResponse) -> dict[str, Any]:
    """The JSON of an answer."""
    answer: dict[str, Any] = json.loads(reply.body)
    return answer


def message(reply: HTTPResponse) -> str:
    """What an error answer says."""
    return str(content(reply)["error"]["message"])


def png(engine: Engine, request: ImageRequest) -> bytes:
    """The picture that the engine makes for a request, as a PNG."""
    reply = engine.respond(request.to_call())
    assert reply.status == 200, reply.body
    return base64.b64decode(content(reply)["data"][0]["b64_json"])


def decoded(data: bytes) -> pillow.Image:
    """A picture, with its pixels read."""
    image = pillow.open(io.BytesIO(data))
    image.load()
    return image


def photo(width: int = 96, height: int = 64, format: str = "PNG") -> bytes:
    """A picture to send, with something recognisable in it."""
    image = pillow.linear_gradient("L").resize((width, height)).convert("RGB")
    image.paste((200, 30, 40), (width // 4, height // 4, width // 2, height // 2))
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def post(path: str, **parameters: Any) -> HTTPRequest:
    """A call as any client might send it, valid or not."""
    return HTTPRequest("POST", path, json=parameters)


def get(path: str, key: str | None = None) -> HTTPRequest:
    """A question that is not for a picture."""
    return HTTPRequest("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
