"""The steps of a call: the normal response, or what a fault makes of it.

This module chooses the steps. `transport` performs them in the process, and `asgi` over HTTP.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, cast

from stepfun_async._core.results import FILTERED
from stepfun_async._core.wire import HTTPResponse

from .faults import Fault, FaultKind, short


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Wait for ever."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop the connection without a response."""


_PIECES = 50
_HEARTBEATS = 5

Afterwards = Literal["close", "stop-reading"]
"""How to treat a connection whose request is still arriving."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the response.

    Attributes:
        response: the response.
        pace: seconds between two pieces of it; `None` for one piece.
        cut: whether the connection is dropped half-way, after the full length was announced.
        heartbeats: the number of spaces before the body, each sent by itself.
        traced: whether the response is the service's own, and so has a trace id.
        then: what to do with the connection afterwards; `None` for the usual.
        keep_alive: seconds to keep the idle connection afterwards; `None` for the default.
    """

    response: HTTPResponse
    pace: float | None = None
    cut: bool = False
    heartbeats: int = 0
    traced: bool = True
    then: Afterwards | None = None
    keep_alive: float | None = None

    @property
    def body(self) -> bytes:
        """The whole body, including heartbeats."""
        return b" " * self.heartbeats + self.response.body

    def pieces(self) -> list[bytes]:
        """The parts of the body to send, in order."""
        body = self.response.body
        if self.cut:
            return [body[: len(body) // 2]]
        if self.heartbeats:
            return [*[b" "] * self.heartbeats, body]
        length = len(body) if self.pace is None else math.ceil(len(body) / _PIECES)
        return [body[start : start + length] for start in range(0, len(body), length or 1)]


Step = Wait | Hang | Drop | Send


def steps_of(fault: Fault | None, respond: Callable[[], HTTPResponse]) -> Iterator[Step]:
    """Yield the steps of a call with `fault`.

    Args:
        fault: the fault; `None` for none.
        respond: does the work and bills it; called only if the kind bills, when its step is due.
    """
    if fault is None:
        yield Send(respond())
    elif not fault.facts.bills:
        yield _UNDONE[fault.kind](fault)
    elif fault.kind == "delay":
        yield Wait(fault.seconds)
        yield Send(respond())
    else:
        response = respond()
        yield _DONE[fault.kind](fault, response) if response.status == 200 else Send(response)


def _status(fault: Fault) -> Step:
    status = fault.status or 500
    headers = {"retry-after": short(fault.seconds)} if fault.seconds else {}
    return Send(error_response(status, f"the scenario of the embedded engine says {fault}", "scenario", headers))


def _html(fault: Fault) -> Step:
    status = fault.status or fault.facts.statuses[0]
    page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>gateway</body></html>"
    return Send(HTTPResponse(status, {"content-type": "text/html"}, page.encode()))


def _redirect(fault: Fault) -> Step:
    status = fault.status or fault.facts.statuses[0]
    return Send(HTTPResponse(status, {"location": "https://elsewhere.invalid/v1", "content-type": "text/plain"}, b""))


def _error_in_200(fault: Fault) -> Step:
    return Send(error_response(200, f"the scenario of the embedded engine says {fault}", "scenario"))


def _early(then: Afterwards) -> Callable[[Fault], Step]:
    def send(fault: Fault) -> Step:
        status = fault.status or fault.facts.statuses[0]
        why = f"the scenario of the embedded engine says {fault}"
        headers = {"connection": "close"} if then == "close" else {}
        return Send(error_response(status, why, "scenario", headers), then=then)

    return send


_UNDONE: Mapping[FaultKind, Callable[[Fault], Step]] = {
    "status": _status,
    "html": _html,
    "redirect": _redirect,
    "hang": lambda fault: Hang(),
    "drop-before": lambda fault: Drop(),
    "error-in-200": _error_in_200,
    "mid-upload": _early("close"),
    "stop-reading": _early("stop-reading"),
}
"""The steps of a call for which no work is done."""


def _spoilt(spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Fault, HTTPResponse], Step]:
    def send(fault: Fault, response: HTTPResponse) -> Step:
        content = cast("dict[str, Any]", json.loads(response.body))
        data = [spoil(image) for image in content["data"]]
        body = {**content, "data": [image for image in data if image]}
        return Send(replace(response, body=json.dumps(body).encode()))

    return send


_ENVOY = b"upstream connect error or disconnect/reset before headers. reset reason: connection termination"
_VARNISH = b"""<!DOCTYPE html>
<html>
  <head>
    <title>503 Backend fetch failed</title>
  </head>
  <body>
    <h1>Error 503 Backend fetch failed</h1>
    <p>Backend fetch failed</p>
    <p>Varnish cache server</p>
  </body>
</html>
"""


def _envoy(fault: Fault, response: HTTPResponse) -> Step:
    """The response of Envoy 1.40.0 when the server closed the connection without one."""
    return Send(HTTPResponse(503, {"content-type": "text/plain", "server": "envoy"}, _ENVOY), traced=False)


def _varnish(fault: Fault, response: HTTPResponse) -> Step:
    """The response of Varnish 7.1.1 in that case."""
    named = {"server": "Varnish", "via": "1.1 varnish (Varnish/7.1)", "retry-after": short(fault.time)}
    return Send(HTTPResponse(503, {"content-type": "text/html; charset=utf-8", **named}, _VARNISH), traced=False)


def _litellm(fault: Fault, response: HTTPResponse) -> Step:
    """The response of LiteLLM 1.106.12 after a timeout."""
    error = {"message": "litellm.Timeout: the request timed out", "type": None, "param": None, "code": "408"}
    named = {"content-type": "application/json", "x-litellm-call-id": "embedded", "server": "uvicorn"}
    return Send(HTTPResponse(408, named, json.dumps({"error": error}).encode()), traced=False)


def _accepted(fault: Fault, response: HTTPResponse) -> Step:
    body = {
        "task_id": "embedded-task",
        "status": "queued",
        "message": f"the scenario of the embedded engine says {fault}",
    }
    return Send(replace(response, status=202, body=json.dumps(body).encode()))


def _kept_alive(fault: Fault, response: HTTPResponse) -> Step:
    named = {**response.headers, "keep-alive": f"timeout={short(fault.time)}"}
    return Send(replace(response, headers=named), keep_alive=fault.time)


_DONE: Mapping[FaultKind, Callable[[Fault, HTTPResponse], Step]] = {
    "drop-after": lambda fault, response: Drop(),
    "drip": lambda fault, response: Send(response, pace=fault.seconds),
    "truncated": lambda fault, response: Send(response, cut=True),
    "bad-json": lambda fault, response: Send(replace(response, body=response.body[: len(response.body) // 2])),
    "bad-base64": _spoilt(lambda image: {"seed": image["seed"], "finish_reason": "success", "b64_json": "iVBO*?"}),
    "empty": _spoilt(lambda image: {}),
    "filtered": _spoilt(lambda image: {"seed": image["seed"], "finish_reason": FILTERED}),
    "envoy-503": _envoy,
    "varnish-503": _varnish,
    "litellm-408": _litellm,
    "accepted": _accepted,
    "heartbeat": lambda fault, response: Send(response, pace=fault.seconds, heartbeats=_HEARTBEATS),
    "keep-alive": _kept_alive,
}
"""The steps of a response whose image was made and charged."""


def error_response(
    status: int, message: str, kind: str, headers: Mapping[str, str] = MappingProxyType({})
) -> HTTPResponse:
    """Return an error response in StepFun's form, with the challenge that HTTP requires of every 401."""
    body = json.dumps({"error": {"message": message, "type": kind}}).encode()
    challenge = {"www-authenticate": "Bearer"} if status == 401 else {}
    return HTTPResponse(status, {"content-type": "application/json", **challenge, **headers}, body)
