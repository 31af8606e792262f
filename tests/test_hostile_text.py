"""What a server says reaches terminals, logs and errors without anything that a terminal obeys or a reader misreads."""

from __future__ import annotations

import json
import logging
import pickle
from typing import Any

import pytest

from stepfun_async import AsyncClient, RetryPolicy, StepFunError
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from tests.support.scripted import IMAGE, Scripted

pytestmark = pytest.mark.anyio

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\x7f no\r\nbill: 0 calls, nothing was charged\u2028and\u2066more"
CONTROLS = "\x1b\x07\x9b\x7f\u202e\u2066\u2028\r"
TRACE = {"x-trace-id": "t\x1b[5m\u202e\x9b"}


def harmless(text: str, *, lines: int = 1) -> bool:
    return not any(control in text for control in CONTROLS) and len(text.rstrip("\n").splitlines()) <= lines


def error_of(**more: Any) -> bytes:
    return json.dumps({"error": {"message": EVIL, "type": EVIL, **more}}).encode()


RESPONSES = {
    "an error": HTTPResponse(400, TRACE, error_of()),
    "an error of another form": HTTPResponse(418, TRACE, json.dumps({"detail": [{"msg": EVIL}]}).encode()),
    "an error as text": HTTPResponse(404, TRACE, EVIL.encode()),
    "a page": HTTPResponse(502, {**TRACE, "server": EVIL}, f"<html><title>{EVIL}</title></html>".encode()),
    "an error without words": HTTPResponse(500, TRACE, json.dumps({EVIL: EVIL}).encode()),
    "a success without a picture": HTTPResponse(200, TRACE, json.dumps({"message": EVIL, "data": []}).encode()),
    "a task": HTTPResponse(202, TRACE, json.dumps({"task_id": EVIL}).encode()),
    "a packed answer": HTTPResponse(200, {**TRACE, "content-encoding": EVIL}, b"..."),
    "an odd link": HTTPResponse(200, TRACE, json.dumps({"data": [{"url": f"http://[{EVIL}"}]}).encode()),
    "broken base64": HTTPResponse(200, TRACE, json.dumps({"data": [{"b64_json": EVIL}]}).encode()),
}


def client_of(response: HTTPResponse, **more: Any) -> AsyncClient:
    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        progress.mark_sent()
        return response

    options: dict[str, Any] = {"base_url": "https://stepfun.test/v1", "retry": RetryPolicy(max_attempts=1), **more}
    return AsyncClient("sk-test-1234", transport=Scripted(respond), **options)


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
async def test_errors_and_logs_say_what_a_server_says_with_escapes(
    response: HTTPResponse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StepFunError) as caught:
        await client_of(response).images.generate("a lake")
    error = pickle.loads(pickle.dumps(caught.value))
    for text in (str(error), error.message, *error.args, error.trace_id, getattr(error, "type", None) or ""):
        assert harmless(text), ascii(text)
    assert error.trace_id.startswith("t\\u001b")
    for record in caplog.records:
        if record.name == "stepfun_async":
            assert harmless(record.getMessage())
            assert harmless(str(vars(record)["stepfun_trace_id"]))


async def test_the_trace_id_of_a_success_is_shown_with_escapes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    response = await client_of(HTTPResponse(200, TRACE, IMAGE.body)).images.generate("a lake", model="step-2x-large")
    assert response.trace_id == "t\\u001b[5m\\u202e\\u009b"
    trace_ids = [vars(record)["stepfun_trace_id"] for record in caplog.records if "attempt 1" in record.getMessage()]
    assert trace_ids == [response.trace_id]


async def test_a_model_of_ones_own_forges_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    model: dict[str, Any] = {"model": EVIL}
    caplog.set_level(logging.DEBUG)
    await client_of(IMAGE, validation="off").images.generate("a lake", **model)
    assert all(harmless(record.getMessage()) for record in caplog.records)
