"""The same service three times: in-process, behind real HTTP, and behind respx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from typing import Any

import httpx
import respx

from stepfun_async._core.wire import HTTPRequest, HTTPResponse, Upload
from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario
from stepfun_async.embedded.server import running

KINDS = ("in-process", "http", "respx")


@dataclass
class Service:
    """A running service, and how a client reaches it."""

    kind: str
    engine: Engine
    options: dict[str, Any]


@contextmanager
def service(kind: str, *, scenario: Scenario | None = None, **settings: Any) -> Iterator[Service]:
    """A service of one of `KINDS`."""
    engine = Engine(scenario=scenario, **settings)
    with ExitStack() as stack:
        if kind == "in-process":
            options: dict[str, Any] = {"base_url": "embedded", "transport": EmbeddedTransport(engine)}
        elif kind == "http":
            options = {"base_url": stack.enter_context(running(engine)), "api_key": "sk-test"}
        else:
            options = {"base_url": "https://stepfun.test/v1", "api_key": "sk-test"}
            router = stack.enter_context(respx.mock(assert_all_called=False))
            router.route(host="stepfun.test").mock(side_effect=lambda request: _played(engine, request))
            router.route(host="embedded.invalid").mock(side_effect=lambda request: _played(engine, request))
        yield Service(kind, engine, options)


def _played(engine: Engine, request: httpx.Request) -> httpx.Response:
    response: HTTPResponse | None = None
    for step in engine.play(_call(request)):
        response = getattr(step, "response", response)
        if type(step).__name__ in ("Drop", "Hang"):
            raise httpx.ReadError("dropped", request=request)
    assert response is not None
    return httpx.Response(response.status, headers=dict(response.headers), content=response.body)


def _call(request: httpx.Request) -> HTTPRequest:
    headers = dict(request.headers)
    if request.url.host == "embedded.invalid":
        return HTTPRequest(request.method, str(request.url))
    path = request.url.path.removeprefix("/v1")
    body = request.read()
    kind = headers.get("content-type", "")
    if kind.startswith("multipart/"):
        form, files = parts_of(kind, body)
        return HTTPRequest(request.method, path, form=form, files=files, headers=headers)
    return HTTPRequest(request.method, path, json=json.loads(body) if body else None, headers=headers)


def parts_of(kind: str, body: bytes) -> tuple[dict[str, str], dict[str, Upload]]:
    """The fields and files of a multipart body, read with the standard library."""
    form: dict[str, str] = {}
    files: dict[str, Upload] = {}
    message = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
    for part in message.get_payload():
        name = str(part.get_param("name", header="content-disposition"))  # type: ignore[union-attr]
        data = part.get_payload(decode=True)  # type: ignore[union-attr]
        assert isinstance(data, bytes)
        filename = part.get_filename()  # type: ignore[union-attr]
        if filename is None:
            form[name] = data.decode()
        else:
            files[name] = Upload(filename, part.get_content_type(), data)  # type: ignore[union-attr]
    return form, files
