"""The engine as an ASGI application, with faults that stall, slow or cut connections."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast

import anyio
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope
from starlette.types import Send as Emit

from stepfun_async._core.image_rules import ImageInput, Style
from stepfun_async._core.reasons import TRACE_HEADERS
from stepfun_async._core.registry import rows
from stepfun_async._core.wire import HTTPRequest, Upload
from stepfun_async._runtime.event_loop import finished_in_thread

from . import front_page, reference
from .backend import Stop
from .engine import Engine, Mount
from .openapi import describe
from .request_log import RequestLog, note
from .steps import Afterwards, Drop, Hang, Send, Step, Wait

_TEXTS = 1024 * 1024
"""The maximum bytes of a request besides its image."""


def _most_bytes() -> int:
    """Return the bytes of the largest image that a model of the tables takes."""
    rules = [rule.image if isinstance(rule, Style) else rule for row in rows() for rule in row.rules.values()]
    return max(rule.max_bytes or 0 for rule in rules if isinstance(rule, ImageInput))


MAX_BODY = _most_bytes() // 3 * 4 + _TEXTS
"""The maximum bytes of a request body: one with the largest image, in base64."""

_PLANS = {"/v1": False, "/step_plan/v1": True}
"""The paths at which the API is mounted, and whether each is the Step Plan's."""

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
CONNECTION = "stepfun_async.connection"
"""The key of the `Connection` in the state of a request."""


class Connection(Protocol):
    """The operations of a fault on the connection of a request."""

    def abort(self) -> None:
        """Reset it."""
        ...

    def close(self) -> None:
        """Close it once all pending data is sent, and read nothing more."""
        ...

    def stop_reading(self) -> None:
        """Stop reading, and leave it open."""
        ...

    def keep_idle(self, seconds: float) -> None:
        """Close it after it has been idle for `seconds`."""
        ...


def app(engine: Engine, cors: Collection[str] = ()) -> Starlette:
    """Return the engine as an ASGI application: `/v1`, `/step_plan/v1`, and what describes them.

    `/` says what it is, `/docs` is the reference for people and `/openapi.json` for programs.
    It needs asyncio, and logs a line for each request, at INFO with the logger `stepfun_async`. Behind a server other
    than `serve` and `running`, faults that lose the connection raise `ConnectionAbortedError`, which makes such
    servers close it.

    Args:
        engine: the engine to serve.
        cors: the origins whose pages may call it from a browser, such as `https://example.com`; `*` for all.
    """
    mounts = [Route(f"{path}/{{rest:path}}", _API(engine, path)) for path in _PLANS]
    handlers: Mapping[type[Exception], Any] = dict.fromkeys((HTTPException, ClientDisconnect, Exception), _refuse)
    middleware = [Middleware(RequestLog)]
    if cors:
        middleware.append(Middleware(CORSMiddleware, allow_origins=list(cors), **_CORS))
    routes = [Route("/", partial(_about, engine)), *_reference(engine), *mounts]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


_CORS: Mapping[str, Any] = {
    "allow_methods": _METHODS,
    "allow_headers": ["*"],
    "expose_headers": [TRACE_HEADERS[0], "retry-after"],
}
"""The CORS headers: what a page of an allowed origin may send, and read of the responses."""


def _reference(engine: Engine) -> list[Route]:
    """Return the routes of the OpenAPI description, for programs and for people."""

    async def description(request: Request) -> Response:
        return JSONResponse(describe(engine, _PLANS))

    async def page(request: Request) -> Response:
        return HTMLResponse(reference.page(describe(engine, _PLANS)))

    return [Route("/openapi.json", description), Route("/docs", page)]


async def _about(engine: Engine, request: Request) -> Response:
    """Return what this is: a page for browsers, JSON for others."""
    if "text/html" in request.headers.get("accept", ""):
        text, policy = front_page.page(engine)
        return HTMLResponse(text, headers={"content-security-policy": policy, "vary": "accept"})
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    content = {
        "service": "stepfun-async embedded engine",
        "purpose": engine.backend.purpose,
        "base_urls": [*_PLANS],
        "models": list(dict.fromkeys(row.model for row in engine.backend.rows())),
        "bill": front_page.bill(engine, key.strip() if scheme.lower() == "bearer" else None),
    }
    return JSONResponse(content, headers={"vary": "accept"})


# --- requests -----------------------------------------------------------------------------------


class _API:
    """The API below a prefix, as an ASGI application: the engine decides which methods a path has.

    Args:
        engine: the engine.
        prefix: a key of `_PLANS`.
    """

    def __init__(self, engine: Engine, prefix: str) -> None:
        self._engine = engine
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Emit) -> None:
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        engine = self._engine
        path = request.url.path.removeprefix(self._prefix)
        fault = engine.next_fault(request.method, path)
        early = fault is not None and fault.facts.early
        stop = Stop() if engine.backend.stops and not early else None
        base = f"{request.url.scheme}://{request.url.netloc}{self._prefix}"
        mount = Mount(plan=_PLANS[self._prefix], keyless=False, base=base, stop=stop)
        head = HTTPRequest(_method(request), path, json={}, headers=_headers(request))
        try:
            call = head if early else await _call(request, head)
        except HTTPException as error:
            return _StepsResponse(iter([Send(engine.reject(head, error.detail, error.status_code, mount))]), None)
        said = call.form if call.json is None else call.json
        note(request.scope, said.get("model"), said.get("size"))
        return _StepsResponse(engine.perform(call, fault, mount), stop)


async def _refuse(request: Request, error: Exception) -> Response:
    """Return the response to a request outside of the API, or to one that failed."""
    status, detail, headers = 500, str(error), None
    if isinstance(error, HTTPException):
        status, detail, headers = error.status_code, error.detail, error.headers
    kind = _KINDS.get(status, "request_params_invalid")
    return JSONResponse({"error": {"message": f"{detail}: {request.url.path}", "type": kind}}, status, headers)


_KINDS: Mapping[int, str] = {404: "not_found", 405: "method_not_allowed"}
"""The types of errors, by status."""


def _method(request: Request) -> str:
    return "GET" if request.method == "HEAD" else request.method


async def _call(request: Request, head: HTTPRequest) -> HTTPRequest:
    """Return `head` with the body of `request`.

    Raises:
        HTTPException: the body cannot be read.
    """
    limited = Request(request.scope, _limited(request.receive))
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        try:
            form, files = await _form(limited)
        except ValueError as error:  # raised by the form parser and not handled by starlette
            raise HTTPException(400, f"the form is broken: {error}") from error
        return replace(head, json=None, form=form, files=files)
    body = await limited.body()
    return replace(head, json=_json(body) if body else None)


def _headers(request: Request) -> dict[str, str]:
    return {name: request.headers[name] for name in ("authorization",) if name in request.headers}


def _limited(receive: Receive) -> Receive:
    """Wrap `receive`, and reject a body larger than `MAX_BODY`."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(cast("bytes", message.get("body", b"")))
        if taken > MAX_BODY:
            raise HTTPException(413, f"the body is larger than {MAX_BODY:,} bytes")
        return message

    return limited


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        content: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return cast("dict[str, Any]", content)


async def _form(request: Request) -> tuple[dict[str, str], dict[str, Upload]]:
    texts: dict[str, str] = {}
    files: dict[str, Upload] = {}
    async with request.form(max_part_size=MAX_BODY) as form:
        for field, value in form.multi_items():
            name = field.removesuffix("[]")  # some clients send one image as a list
            if name in texts or name in files:
                raise HTTPException(400, f"{name} is given twice; allowed: once")
            if isinstance(value, UploadFile):
                kind = value.content_type or "application/octet-stream"
                files[name] = Upload(value.filename or name, kind, await value.read())
            else:
                texts[name] = value
    return texts, files


# --- responses ----------------------------------------------------------------------------------


class _StepsResponse(Response):
    """An ASGI response that performs the engine's steps on the connection.

    Args:
        steps: the steps.
        stop: what to set if the client disconnects while an image is made; `None` to continue then.
    """

    def __init__(self, steps: Iterator[Step], stop: Stop | None) -> None:
        super().__init__()
        self._steps = steps
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Emit) -> None:
        over = False
        while not over:
            step = await self._next(receive)
            over = await _act(step, scope, receive, send)

    async def _next(self, receive: Receive) -> Step:
        take = partial(next, self._steps)
        if self._stop is None:
            return await finished_in_thread(take)
        async with _set_when_gone(self._stop, receive):
            return await finished_in_thread(take)


async def _act(step: Step, scope: Scope, receive: Receive, send: Emit) -> bool:
    """Perform `step`, and return whether it was the last one."""
    match step:
        case Wait(seconds):
            return await _gone_within(seconds, receive)
        case Hang():
            await _until_gone(receive)
        case Drop():
            await _lose(scope, receive, at_once=True)
        case Send():
            connection = _connection(scope)
            if connection is not None and step.keep_alive is not None:
                connection.keep_idle(step.keep_alive)
            await _send(step, receive, send)
            if step.cut:
                await _lose(scope, receive, at_once=False)
            elif connection is not None and step.then is not None:
                _AFTERWARDS[step.then](connection)
    return True


_AFTERWARDS: Mapping[Afterwards, Callable[[Connection], None]] = {
    "close": lambda connection: connection.close(),
    "stop-reading": lambda connection: connection.stop_reading(),
}


async def _send(step: Send, receive: Receive, send: Emit) -> None:
    response = step.response
    named = {**response.headers, "content-length": str(len(step.body))}
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    for piece in step.pieces():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        if step.pace and await _gone_within(step.pace, receive):
            return
    if not step.cut:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _lose(scope: Scope, receive: Receive, *, at_once: bool) -> None:
    """Close the connection: reset it at once, or close it after sending pending data."""
    connection = _connection(scope)
    if connection is None:
        raise ConnectionAbortedError("a fault of the embedded engine's scenario")
    if at_once:
        connection.abort()
    else:
        connection.close()
    await _until_gone(receive)


def _connection(scope: Scope) -> Connection | None:
    """The request's connection; `None` if the server does not provide it."""
    return cast("Connection | None", scope.get("state", {}).get(CONNECTION))


async def _gone_within(seconds: float, receive: Receive) -> bool:
    """Wait `seconds` or until the client disconnects, and return whether it did."""
    with anyio.move_on_after(seconds):
        await _until_gone(receive)
        return True
    return False


@asynccontextmanager
async def _set_when_gone(stop: Stop, receive: Receive) -> AsyncGenerator[None]:
    """Set `stop` if the client disconnects during the `async with` block."""

    async def watch() -> None:
        await _until_gone(receive)
        stop.set()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        yield
        group.cancel_scope.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
