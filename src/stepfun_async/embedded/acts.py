"""What happens to a call, as steps: the plain answer, or what a fault makes of it.

The steps are decided here; how one is acted out, a lost connection say, is the business of whoever
carries the answer: `transport` in-process, `web` over HTTP.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

from stepfun_async._core.results import FILTERED
from stepfun_async._core.wire import Reply

from .faults import Fault, FaultKind, short


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing happens for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing happens any more."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is lost without an answer."""


_PIECES = 50


@dataclass(frozen=True, slots=True)
class Send:
    """The answer goes out.

    Attributes:
        reply: the answer.
        pace: seconds between two pieces of it; None for one piece.
        cut: whether the connection is lost half-way, with the length of the whole announced.
    """

    reply: Reply
    pace: float | None = None
    cut: bool = False

    def pieces(self) -> list[bytes]:
        """The parts of the body that are sent, in order."""
        body = self.reply.body
        if self.cut:
            return [body[: len(body) // 2]]
        length = len(body) if self.pace is None else math.ceil(len(body) / _PIECES)
        return [body[start : start + length] for start in range(0, len(body), length or 1)]


Step = Wait | Hang | Drop | Send


def steps_of(fault: Fault | None, answer: Callable[[], Reply]) -> Iterator[Step]:
    """What happens to a call that meets `fault`.

    Args:
        fault: None for a call that meets none.
        answer: does the work and bills it; called only where the kind bills, when its step is due.
    """
    if fault is None:
        yield Send(answer())
    elif not fault.facts.bills:
        yield _UNDONE[fault.kind](fault)
    elif fault.kind == "delay":
        yield Wait(fault.seconds)
        yield Send(answer())
    else:
        reply = answer()
        yield _DONE[fault.kind](fault, reply) if reply.status == 200 else Send(reply)


def _status(fault: Fault) -> Step:
    status = fault.status or 500
    headers = {"retry-after": short(fault.seconds)} if fault.seconds else {}
    return Send(error_reply(status, f"the scenario of the embedded engine says {fault}", "scenario", headers))


def _html(fault: Fault) -> Step:
    status = fault.status or fault.facts.statuses[0]
    page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>gateway</body></html>"
    return Send(Reply(status, {"content-type": "text/html"}, page.encode()))


def _redirect(fault: Fault) -> Step:
    status = fault.status or fault.facts.statuses[0]
    return Send(Reply(status, {"location": "https://elsewhere.invalid/v1", "content-type": "text/plain"}, b""))


_UNDONE: Mapping[FaultKind, Callable[[Fault], Step]] = {
    "status": _status,
    "html": _html,
    "redirect": _redirect,
    "hang": lambda fault: Hang(),
    "drop-before": lambda fault: Drop(),
}
"""What comes of a call that nothing is done for."""


def _spoilt(spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Fault, Reply], Step]:
    def send(fault: Fault, reply: Reply) -> Step:
        content = cast("dict[str, Any]", json.loads(reply.body))
        data = [spoil(picture) for picture in content["data"]]
        body = {**content, "data": [picture for picture in data if picture]}
        return Send(replace(reply, body=json.dumps(body).encode()))

    return send


_DONE: Mapping[FaultKind, Callable[[Fault, Reply], Step]] = {
    "drop-after": lambda fault, reply: Drop(),
    "drip": lambda fault, reply: Send(reply, pace=fault.seconds),
    "truncated": lambda fault, reply: Send(reply, cut=True),
    "bad-json": lambda fault, reply: Send(replace(reply, body=reply.body[: len(reply.body) // 2])),
    "bad-base64": _spoilt(lambda picture: {"seed": picture["seed"], "finish_reason": "success", "b64_json": "iVBO*?"}),
    "empty": _spoilt(lambda picture: {}),
    "filtered": _spoilt(lambda picture: {"seed": picture["seed"], "finish_reason": FILTERED}),
}
"""What becomes of an answer whose picture was made and charged."""


def error_reply(status: int, message: str, kind: str, headers: Mapping[str, str] = MappingProxyType({})) -> Reply:
    """An error answer in StepFun's form."""
    body = json.dumps({"error": {"message": message, "type": kind}}).encode()
    return Reply(status, {"content-type": "application/json", **headers}, body)
