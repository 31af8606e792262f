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


def content(response: HTTPResponse) -> dict[str, Any]:
    """The JSON of a response."""
    parsed: dict[str, Any] = json.loads(response.body)
    return parsed


def message(response: HTTPResponse) -> str:
    """What an error response says."""
    return str(content(response)["error"]["message"])


def png(engine: Engine, request: ImageRequest) -> bytes:
    """The image that the engine makes for a request, as a PNG."""
    response = engine.respond(request.to_call())
    assert response.status == 200, response.body
    return base64.b64decode(content(response)["data"][0]["b64_json"])


def decoded(data: bytes) -> pillow.Image:
    """An image, with its pixels read."""
    image = pillow.open(io.BytesIO(data))
    image.load()
    return image


def photo(width: int = 96, height: int = 64, format: str = "PNG") -> bytes:
    """An image to send, with something recognisable in it."""
    image = pillow.linear_gradient("L").resize((width, height)).convert("RGB")
    image.paste((200, 30, 40), (width // 4, height // 4, width // 2, height // 2))
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def post(path: str, **parameters: Any) -> HTTPRequest:
    """A call as any client might send it, valid or not."""
    return HTTPRequest("POST", path, json=parameters)


def get(path: str, key: str | None = None) -> HTTPRequest:
    """A question that is not for an image."""
    return HTTPRequest("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
