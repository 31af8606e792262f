"""Answers of the service, as bytes on a connection."""

from __future__ import annotations

import base64
import json

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A whole PNG of one pixel."""

REFUSAL = json.dumps({"error": {"message": "no", "type": "test"}}).encode()
"""The body of a refusal in the API's own words."""


def http_response(
    body: bytes, *, status: str = "200 OK", headers: str = "", content_type: str = "application/json"
) -> bytes:
    """The bytes of an HTTP response."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def image_response(*, trace_id: str = "trace-1", **more: object) -> bytes:
    """The bytes of a whole success."""
    item = {"seed": 7, "finish_reason": "success", "b64_json": base64.b64encode(PIXEL).decode()}
    body = json.dumps({"created": 1, "data": [item], **more}).encode()
    return http_response(body, headers=f"x-trace-id: {trace_id}\r\n")


def link_response(link: str) -> bytes:
    """The bytes of a success whose image is behind a link."""
    return http_response(
        json.dumps({"created": 1, "data": [{"seed": 7, "finish_reason": "success", "url": link}]}).encode()
    )


def data_response(*items: object) -> bytes:
    """The bytes of a success with whatever `items` in the place of images."""
    return http_response(json.dumps({"created": 1, "data": list(items)}).encode())
