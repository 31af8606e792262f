"""What becomes of a call's events in OpenTelemetry."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode

from stepfun_async import (
    APIConnectionError,
    BadRequestError,
    ContentFilteredError,
    Image,
    ImageEdit,
    ImagesResponse,
    MalformedResponseError,
    QueueTimeoutError,
    RateLimitError,
    SaveError,
    TextToImage,
    __version__,
)
from stepfun_async._core.errors import Billing
from stepfun_async._core.events import AttemptEnded, CallEnded, CallStarted
from stepfun_async._core.requests import ImageRequest
from stepfun_async.otel import OpenTelemetry
from tests.support.telemetry import Telemetry, attributes, own, parent

MODEL = "step-image-edit-2"
DURATION = "gen_ai.client.operation.duration"
ATTEMPTS = "stepfun.client.attempts"
RESPONSE = ImagesResponse((Image(finish_reason="success"),), id="img-1", trace_id="trace-1", model=MODEL)
SHARED = {
    "gen_ai.operation.name": "generate_content",
    "gen_ai.provider.name": "stepfun",
    "gen_ai.request.model": MODEL,
    "stepfun.operation": "text_to_image",
    "server.address": "api.stepfun.ai",
    "server.port": 443,
}


def started(call: int = 1, request: ImageRequest | None = None, **other: Any) -> CallStarted:
    asked = request or TextToImage(prompt="a lake")
    facts: dict[str, Any] = {
        "operation": asked.operation,
        "model": asked.model,
        "server": "api.stepfun.ai",
        "port": 443,
    }
    return CallStarted(call=call, request=asked, **(facts | other))


def asked_of_the_account(call: int = 1, operation: str = "account") -> CallStarted:
    return CallStarted(call=call, operation=operation, model=None, server="api.stepfun.ai", port=443)


def tried(call: int = 1, attempt: int = 1, billing: Billing = "executed", **other: Any) -> AttemptEnded:
    facts: dict[str, Any] = {"operation": "text_to_image", "model": MODEL, "elapsed": 0.5, "status": 200}
    return AttemptEnded(call=call, attempt=attempt, billing=billing, **(facts | other))


def ended(call: int = 1, **other: Any) -> CallEnded:
    facts: dict[str, Any] = {
        "operation": "text_to_image",
        "model": MODEL,
        "attempts": 1,
        "billing": "executed",
        "billed": 1,
        "maybe_billed": 1,
        "queued": 0.25,
        "elapsed": 3.0,
        "response": None if "error" in other else RESPONSE,
    }
    return CallEnded(call=call, **(facts | other))


def failed(error: BaseException, billing: Billing, maybe_billed: int = 0) -> CallEnded:
    return ended(error=error, billing=billing, billed=0, maybe_billed=maybe_billed)


def rejected(said: str) -> BadRequestError:
    return BadRequestError(f"400: {said}", status=400, billing="rejected", trace_id="trace-9")


def in_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_call_becomes_one_client_span_by_the_conventions() -> None:
    telemetry = Telemetry()
    for event in (started(), tried(), ended()):
        telemetry.hook(event)
    span = telemetry.span
    assert (span.name, span.kind) == (f"generate_content {MODEL}", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        **SHARED,
        "gen_ai.output.type": "image",
        "gen_ai.response.id": "img-1",
        "gen_ai.response.finish_reasons": ("success",),
        "stepfun.attempts": 1,
        "stepfun.billing": "executed",
        "stepfun.maybe_billed": 1,
        "stepfun.queued": 0.25,
        "stepfun.trace_id": "trace-1",
    }
    scope = span.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("stepfun_async", __version__)


def test_what_a_sampler_decides_by_is_there_when_the_span_begins() -> None:
    telemetry = Telemetry()
    telemetry.hook(started())
    span: Any = trace.get_current_span()
    assert SHARED.items() <= span.attributes.items()
    telemetry.hook(ended())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": 7, "n": 3}, {"gen_ai.request.seed": 7, "gen_ai.request.choice.count": 3}),
        ({"seed": 0, "n": 1}, {"gen_ai.request.seed": 0}),
        ({"seed": 2**63, "n": 2**63}, {}),
        ({"seed": True, "n": "3"}, {}),
    ],
    ids=str,
)
def test_seed_and_number_are_said_where_they_are_numbers_that_fit(given: dict[str, Any], said: dict[str, int]) -> None:
    telemetry = Telemetry()
    telemetry.hook(started(request=TextToImage(prompt="a lake", **given)))
    telemetry.hook(ended())
    names = ("gen_ai.request.seed", "gen_ai.request.choice.count")
    assert {name: value for name, value in attributes(telemetry.span).items() if name in names} == said


def test_a_call_without_model_or_port_leaves_them_out() -> None:
    telemetry = Telemetry()
    telemetry.hook(started(model=None, port=None))
    telemetry.hook(ended())
    assert telemetry.span.name == "generate_content"
    assert not {"server.port", "gen_ai.request.model"} & attributes(telemetry.span).keys()


@pytest.mark.parametrize("operation", ["download", "models", "account"])
def test_what_is_no_generation_is_a_span_but_not_in_the_duration(operation: str) -> None:
    telemetry = Telemetry()
    telemetry.hook(asked_of_the_account(operation=operation))
    telemetry.hook(tried(billing="not_sent"))
    telemetry.hook(ended(operation=operation, billing="not_sent", billed=0, maybe_billed=0, response=None))
    assert (telemetry.span.name, telemetry.span.kind) == (f"stepfun {operation}", SpanKind.CLIENT)
    assert not [name for name in attributes(telemetry.span) if name.startswith("gen_ai.")]
    assert telemetry.points(DURATION) == []
    assert telemetry.counts(ATTEMPTS, "stepfun.operation") == {operation: 1}


def test_every_attribute_has_a_line_on_its_page() -> None:
    telemetry = Telemetry(capture_content=True)
    telemetry.hook(started(request=TextToImage(prompt="a lake", seed=1, n=2)))
    telemetry.hook(tried(billing="unknown", error=asyncio.CancelledError(), wait=1.0, trace_id="trace-0"))
    telemetry.hook(ended(error=SaveError("not saved", response=RESPONSE)))
    events = [dict(event.attributes or {}) for event in telemetry.span.events]
    points = [point.attributes for metric in (DURATION, ATTEMPTS) for point in telemetry.points(metric)]
    names = {name for said in (attributes(telemetry.span), *events, *points) for name in said} | {DURATION, ATTEMPTS}
    page = (Path(__file__).parent.parent / "docs" / "observability.md").read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


# --- attempts -----------------------------------------------------------------------------------


def test_each_attempt_is_an_event_and_one_that_was_made_good_is_no_failure() -> None:
    telemetry = Telemetry()
    busy = RateLimitError("429: slow down", status=429, billing="rejected")
    telemetry.hook(started())
    telemetry.hook(tried(billing="rejected", status=429, error=busy, wait=1.5, trace_id="trace-0"))
    telemetry.hook(tried(attempt=2, trace_id="trace-1"))
    telemetry.hook(ended(attempts=2))
    span = telemetry.span
    assert [event.name for event in span.events] == ["stepfun.attempt"] * 2
    assert dict(span.events[0].attributes or {}) == {
        "stepfun.attempt": 1,
        "stepfun.billing": "rejected",
        "stepfun.elapsed": 0.5,
        "stepfun.wait": 1.5,
        "stepfun.trace_id": "trace-0",
        "http.response.status_code": 429,
        "error.type": "RateLimitError",
    }
    assert dict(span.events[1].attributes or {}) == {
        "stepfun.attempt": 2,
        "stepfun.billing": "executed",
        "stepfun.elapsed": 0.5,
        "stepfun.trace_id": "trace-1",
        "http.response.status_code": 200,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(span)
    assert "error.type" not in telemetry.points(DURATION)[0].attributes


def test_attempts_are_counted_by_what_is_known_about_money() -> None:
    telemetry = Telemetry()
    lost = APIConnectionError("the connection was lost")
    telemetry.hook(started())
    telemetry.hook(tried(billing="unknown", status=None, error=lost, wait=1.0))
    telemetry.hook(tried(attempt=2, billing="unknown", status=None, error=lost, wait=1.0))
    telemetry.hook(tried(attempt=3))
    telemetry.hook(ended(attempts=3, maybe_billed=3))
    assert telemetry.counts(ATTEMPTS, "stepfun.billing") == {"unknown": 2, "executed": 1}
    assert telemetry.counts(ATTEMPTS, "error.type") == {"APIConnectionError": 2, None: 1}
    assert all(SHARED.items() <= point.attributes.items() for point in telemetry.points(ATTEMPTS))


# --- duration -----------------------------------------------------------------------------------


def test_the_duration_is_measured_in_the_buckets_of_the_conventions() -> None:
    telemetry = Telemetry()
    telemetry.hook(started())
    telemetry.hook(ended(elapsed=3.0))
    (point,) = telemetry.points(DURATION)
    assert (point.count, point.sum) == (1, 3.0)
    assert point.explicit_bounds[:2] == (0.01, 0.02)
    assert point.explicit_bounds[-2:] == (40.96, 81.92)
    assert dict(point.attributes) == SHARED
    assert '"unit": "s"' in str(telemetry)


def test_the_duration_of_a_failure_has_the_error_of_its_span() -> None:
    telemetry = Telemetry()
    telemetry.hook(started())
    telemetry.hook(failed(rejected("no"), "rejected"))
    (point,) = telemetry.points(DURATION)
    assert dict(point.attributes) == {**SHARED, "error.type": "BadRequestError"}
    assert attributes(telemetry.span)["error.type"] == "BadRequestError"


def test_two_hooks_measure_into_one_meter_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    other = OpenTelemetry(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
    for call, hook in enumerate((telemetry.hook, other)):
        hook(started(call))
        hook(ended(call))
    assert sum(point.count for point in telemetry.points(DURATION)) == 2
    assert caplog.records == []


# --- failures -----------------------------------------------------------------------------------

FILTERED = ImagesResponse((Image(finish_reason="content_filtered"),), id="img-2", trace_id="trace-2")


@pytest.mark.parametrize(
    ("event", "kind", "description"),
    [
        (
            failed(APIConnectionError("no connection to api.stepfun.ai; nothing was sent"), "not_sent"),
            "APIConnectionError",
            "no connection to api.stepfun.ai; nothing was sent",
        ),
        (
            failed(QueueTimeoutError("no slot within 1 second"), "not_sent"),
            "QueueTimeoutError",
            "no slot within 1 second",
        ),
        (
            failed(ContentFilteredError("withheld by the filter", response=FILTERED), "executed", 1),
            "ContentFilteredError",
            "withheld by the filter",
        ),
        (failed(rejected("the prompt 'secret' is bad"), "rejected"), "BadRequestError", "nothing was billed"),
        (failed(rejected("the prompt 'secret' is bad"), "rejected", 1), "BadRequestError", "it may have been billed"),
        (
            failed(MalformedResponseError("secret", body=b"secret"), "unknown", 1),
            "MalformedResponseError",
            "it may have been billed",
        ),
        (
            failed(SaveError("'secret.png' is there", response=RESPONSE), "executed", 1),
            "SaveError",
            "the image was made and billed",
        ),
        (failed(asyncio.CancelledError("secret"), "unknown", 1), "cancelled", "it may have been billed"),
        (failed(KeyboardInterrupt(), "not_sent"), "KeyboardInterrupt", "nothing was billed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_is_an_error_without_the_text_of_its_request(event: CallEnded, kind: str, description: str) -> None:
    telemetry = Telemetry()
    telemetry.hook(started(request=TextToImage(prompt="secret")))
    telemetry.hook(tried(billing=event.billing, error=event.error))
    telemetry.hook(event)
    span = telemetry.span
    assert span.status.status_code is StatusCode.ERROR
    assert (attributes(span)["error.type"], span.status.description) == (kind, description)
    assert "secret" not in str(telemetry)


def test_an_error_that_has_the_response_brings_its_ids() -> None:
    telemetry = Telemetry()
    telemetry.hook(started())
    telemetry.hook(failed(ContentFilteredError("withheld", response=FILTERED), "executed", 1))
    assert attributes(telemetry.span)["gen_ai.response.id"] == "img-2"
    assert attributes(telemetry.span)["gen_ai.response.finish_reasons"] == ("content_filtered",)
    assert attributes(telemetry.span)["stepfun.trace_id"] == "trace-2"


def test_an_error_response_brings_its_trace_id() -> None:
    telemetry = Telemetry()
    telemetry.hook(started())
    telemetry.hook(failed(rejected("no"), "rejected"))
    assert attributes(telemetry.span)["stepfun.trace_id"] == "trace-9"


# --- content ------------------------------------------------------------------------------------

IMAGE = b"\x89PNG secret pixels"


def test_no_content_is_recorded_unless_asked_for() -> None:
    telemetry = Telemetry()
    telemetry.hook(started(request=ImageEdit(image=IMAGE, prompt="secret words", negative_prompt="secret fears")))
    telemetry.hook(tried())
    telemetry.hook(ended(response=ImagesResponse((Image(data=IMAGE, url="https://secret/"),))))
    assert "secret" not in str(telemetry)


def test_captured_content_is_the_words_and_never_an_image() -> None:
    telemetry = Telemetry(capture_content=True)
    telemetry.hook(started(request=ImageEdit(image=IMAGE, prompt="a 湖", negative_prompt="fog")))
    telemetry.hook(ended(response=ImagesResponse((Image(data=IMAGE, url="https://secret/"),))))
    said = attributes(telemetry.span)["gen_ai.input.messages"]
    parts = [{"type": "text", "content": "a 湖"}, {"type": "negative_prompt", "content": "fog"}]
    assert json.loads(said) == [{"role": "user", "parts": parts}]
    assert "secret" not in str(telemetry)


def test_captured_content_brings_the_whole_messages_of_errors() -> None:
    telemetry = Telemetry(capture_content=True)
    telemetry.hook(started())
    telemetry.hook(failed(rejected("the prompt 'a lake' is bad"), "rejected"))
    assert telemetry.span.status.description == "400: the prompt 'a lake' is bad"


@given(st.text(st.characters() | st.sampled_from("\ud800湖")) | st.text("湖é", min_size=1300, max_size=2100))
def test_any_prompt_can_be_captured_and_is_cut_between_characters(prompt: str) -> None:
    telemetry = Telemetry(capture_content=True)
    telemetry.hook(started(request=TextToImage(prompt=prompt)))
    telemetry.hook(ended())
    ((part,),) = [message["parts"] for message in json.loads(attributes(telemetry.span)["gen_ai.input.messages"])]
    sayable = prompt.encode("utf-8", "replace").decode()
    assert len(part["content"].encode()) <= 4096
    assert part["content"] == sayable or sayable.startswith(part["content"].removesuffix("…"))


@pytest.mark.parametrize("prompt", [None, 7, b"bytes"])
def test_what_is_no_text_is_not_captured(prompt: Any) -> None:
    telemetry = Telemetry(capture_content=True)
    telemetry.hook(started(request=TextToImage(prompt=prompt)))
    telemetry.hook(ended())
    assert json.loads(attributes(telemetry.span)["gen_ai.input.messages"]) == [{"role": "user", "parts": []}]


def test_texts_of_the_server_are_recorded_as_exporters_can_carry_them() -> None:
    telemetry = Telemetry()
    odd = ImagesResponse((Image(finish_reason="\udfff"),), id="\ud800" + 9000 * "x", trace_id="\udc00")
    telemetry.hook(started())
    telemetry.hook(ended(response=odd))
    said = attributes(telemetry.span)
    texts = [said["gen_ai.response.id"], *said["gen_ai.response.finish_reasons"], said["stepfun.trace_id"]]
    assert all(0 < len(text.encode("utf-8")) <= 4096 for text in texts)


# --- the current span ---------------------------------------------------------------------------


def test_the_span_is_a_child_of_the_current_one_and_itself_current_during_the_call() -> None:
    telemetry = Telemetry()
    tracer = telemetry.tracers.get_tracer("an application")
    with tracer.start_as_current_span("outer") as outer:
        telemetry.hook(started())
        tracer.start_span("POST").end()
        telemetry.hook(ended())
        assert trace.get_current_span() is outer
    post, call, around = telemetry.spans
    assert parent(post) == own(call)
    assert parent(call) == own(around)


def test_after_a_call_the_context_is_what_it_was() -> None:
    telemetry = Telemetry()
    assert trace.get_current_span() is INVALID_SPAN
    telemetry.hook(started())
    assert trace.get_current_span() is not INVALID_SPAN
    telemetry.hook(ended())
    assert trace.get_current_span() is INVALID_SPAN


def test_a_call_that_ends_in_another_context_changes_nothing_there(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    elsewhere = Context()
    copy_context().run(telemetry.hook, started())
    tracer = telemetry.tracers.get_tracer("an application")
    with tracer.start_as_current_span("there") as there:
        telemetry.hook(ended())
        assert trace.get_current_span() is there
    elsewhere.run(telemetry.hook, started(2))
    telemetry.hook(ended(2))
    assert [span.name for span in telemetry.spans] == [
        f"generate_content {MODEL}",
        "there",
        f"generate_content {MODEL}",
    ]
    assert trace.get_current_span() is INVALID_SPAN
    assert caplog.records == []


def test_a_span_that_the_application_left_current_within_the_call_stays_current() -> None:
    telemetry = Telemetry()

    def call() -> None:
        telemetry.hook(started())
        tracer = telemetry.tracers.get_tracer("an application")
        with tracer.start_as_current_span("theirs") as theirs:
            telemetry.hook(ended())
            assert trace.get_current_span() is theirs

    copy_context().run(call)


def test_calls_at_once_in_their_own_contexts_keep_apart() -> None:
    telemetry = Telemetry()
    first, second = copy_context(), copy_context()
    first.run(telemetry.hook, started(1))
    second.run(telemetry.hook, started(2))
    first.run(telemetry.hook, ended(1))
    second.run(telemetry.hook, ended(2))
    assert [parent(span) for span in telemetry.spans] == [None, None]
    assert [context.run(trace.get_current_span) for context in (first, second)] == [INVALID_SPAN, INVALID_SPAN]


def test_a_span_that_is_not_sampled_is_current_too_and_is_measured() -> None:
    telemetry = Telemetry(sampler=ALWAYS_OFF)
    telemetry.hook(started())
    assert trace.get_current_span().get_span_context().is_valid
    telemetry.hook(tried())
    telemetry.hook(ended())
    assert trace.get_current_span() is INVALID_SPAN
    assert telemetry.spans == ()
    assert telemetry.points(DURATION)[0].count == 1
    assert telemetry.counts(ATTEMPTS, "stepfun.billing") == {"executed": 1}


# --- safety -------------------------------------------------------------------------------------


def test_events_of_calls_that_are_not_known_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    telemetry.hook(started(1))
    telemetry.hook(tried(2))
    telemetry.hook(ended(2))
    telemetry.hook(ended(1))
    telemetry.hook(ended(1))
    assert len(telemetry.spans) == 1
    assert telemetry.points(ATTEMPTS) == []
    assert caplog.records == []


def test_nothing_of_a_call_that_ended_is_kept() -> None:
    telemetry = Telemetry()
    request = TextToImage(prompt="a lake")
    gone = weakref.ref(request)
    for event in (started(request=request), tried(), ended()):
        telemetry.hook(event)
    del request, event
    gc.collect()
    assert gone() is None
    assert telemetry.hook._running == {}


def test_many_threads_may_tell_one_hook() -> None:
    telemetry = Telemetry()
    tracer = telemetry.tracers.get_tracer("an application")
    ready = threading.Barrier(8)

    def work(worker: int) -> None:
        ready.wait()
        with tracer.start_as_current_span(f"worker {worker}"):
            for call in range(worker * 1000, worker * 1000 + 50):
                telemetry.hook(started(call, TextToImage(prompt="a lake", seed=worker)))
                telemetry.hook(tried(call))
                telemetry.hook(ended(call))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    workers = {own(span): span.name for span in telemetry.spans if span.name.startswith("worker")}
    calls = [span for span in telemetry.spans if span.name.startswith("generate")]
    assert len(calls) == 400
    assert all(workers[parent(span) or 0] == f"worker {attributes(span)['gen_ai.request.seed']}" for span in calls)
    assert telemetry.counts(ATTEMPTS, "stepfun.billing") == {"executed": 400}
    assert telemetry.hook._running == {}


class Broken:
    """A tracer, and its span, that raise."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(f"no {name} today")


class Fragile:
    """A tracer whose spans take no attributes."""

    def __init__(self) -> None:
        self.ended = 0

    def start_span(self, *_: Any) -> Fragile:
        return self

    def get_span_context(self) -> Any:
        return INVALID_SPAN.get_span_context()

    def end(self) -> None:
        self.ended += 1

    def __getattr__(self, name: str) -> Any:
        raise OSError(f"no {name} today")


def test_what_is_plugged_in_may_fail_without_failing_the_call(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    telemetry.hook._tracer = Broken()  # type: ignore[assignment]
    for event in (started(), tried(), ended()):
        telemetry.hook(event)
    assert [(record.name, record.levelname) for record in caplog.records] == [("stepfun_async", "WARNING")]
    assert trace.get_current_span() is INVALID_SPAN


def test_a_span_that_takes_no_attributes_is_ended_all_the_same() -> None:
    telemetry = Telemetry()
    telemetry.hook._tracer = fragile = Fragile()  # type: ignore[assignment]
    for event in (started(), tried(), ended()):
        telemetry.hook(event)
    assert fragile.ended == 1
    assert telemetry.hook._running == {}


# --- without the SDK, or without OpenTelemetry --------------------------------------------------

CALL = """
from stepfun_async import TextToImage
from stepfun_async._core.events import AttemptEnded, CallEnded, CallStarted
from stepfun_async.otel import OpenTelemetry
from opentelemetry import trace

def call(hook):
    facts = dict(call=1, operation="text_to_image", model="m")
    hook(CallStarted(**facts, server="s", port=443, request=TextToImage(prompt="a lake")))
    hook(AttemptEnded(**facts, attempt=1, billing="executed", elapsed=1.0))
    inside = trace.get_current_span()
    hook(CallEnded(**facts, attempts=1, billing="executed", billed=1, maybe_billed=1, queued=0.0, elapsed=1.0))
    return inside
"""


def test_without_an_sdk_nothing_happens_and_a_remote_parent_stays() -> None:
    code = f"""{CALL}
from opentelemetry import context
call(OpenTelemetry())
remote = trace.SpanContext(1, 2, is_remote=True)
context.attach(trace.set_span_in_context(trace.NonRecordingSpan(remote)))
print(call(OpenTelemetry()).get_span_context() == trace.get_current_span().get_span_context() == remote)
"""
    assert in_fresh_process(code) == "True"


def test_a_global_provider_may_be_set_after_the_hook_was_made() -> None:
    code = f"""{CALL}
from opentelemetry.sdk.trace import TracerProvider
hook = OpenTelemetry()
trace.set_tracer_provider(TracerProvider())
print(call(hook).name)
"""
    assert in_fresh_process(code) == "generate_content m"


def test_without_opentelemetry_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
from stepfun_async import ConfigurationError
from stepfun_async.otel import OpenTelemetry
try:
    OpenTelemetry()
except ConfigurationError as error:
    print(error)
"""
    assert in_fresh_process(code).endswith('pip install "stepfun-async[otel]"')


def test_a_client_without_the_hook_loads_no_opentelemetry() -> None:
    code = """
import sys
from stepfun_async import Client
with Client(base_url="embedded") as client:
    client.account.retrieve()
print([name for name in sys.modules if name.startswith(("opentelemetry", "stepfun_async.otel"))])
"""
    assert in_fresh_process(code) == "[]"
