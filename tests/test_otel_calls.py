"""Real calls, on the embedded engine, as OpenTelemetry sees them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import INVALID_SPAN, StatusCode

from stepfun_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncClient,
    BadRequestError,
    Client,
    ContentFilteredError,
    InvalidRequestError,
    Limits,
    QueueTimeoutError,
    RateLimitError,
    RetryPolicy,
    TextToImage,
)
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario
from stepfun_async.testing import run
from stepfun_async.testing.virtual import Backend
from tests.support.telemetry import Telemetry, attributes, own, parent

pytestmark = pytest.mark.anyio

SMALL: Any = {"model": "step-2x-large", "size": "256x256"}
NAME = "generate_content step-2x-large"
AT_ONCE = RetryPolicy(base=0.0, connect_base=0.0)


class Instrumented:
    """The embedded engine behind a transport that makes spans, as an instrumented HTTP library does."""

    def __init__(self, telemetry: Telemetry, engine: Engine | None = None) -> None:
        self._tracer = telemetry.tracers.get_tracer("an HTTP library")
        self._inner = EmbeddedTransport(engine or Engine())
        self.called = anyio.Event()
        self.parents: list[str | None] = []

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        self.parents.append(call.headers.get("traceparent"))
        with self._tracer.start_as_current_span(call.method):
            self.called.set()
            return await self._inner.send(call, progress)

    async def aclose(self) -> None:
        pass


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def options(telemetry: Telemetry, *faults: str, **other: Any) -> Any:
    engine = EmbeddedTransport(Engine(scenario=Scenario(*faults)))
    return {"base_url": "embedded", "transport": engine, "on_event": telemetry.hook, "retry": AT_ONCE, **other}


def requests(count: int) -> Iterator[TextToImage]:
    return (TextToImage(prompt="a lake", seed=seed, **SMALL) for seed in range(1, count + 1))


def named(telemetry: Telemetry, name: str) -> list[ReadableSpan]:
    return [span for span in telemetry.spans if span.name == name]


# --- AsyncClient --------------------------------------------------------------------------------


async def test_a_call_is_one_span_that_says_what_was_asked_and_what_came(telemetry: Telemetry) -> None:
    async with AsyncClient(**options(telemetry)) as client:
        response = await client.images.generate("a lake", seed=1, **SMALL)
    said = attributes(telemetry.span)
    queued = said.pop("stepfun.queued")
    assert telemetry.span.name == NAME
    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert 0 <= queued <= telemetry.points("gen_ai.client.operation.duration")[0].sum
    assert said.pop("gen_ai.response.id", None) == response.id
    assert said == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "stepfun",
        "gen_ai.request.model": "step-2x-large",
        "gen_ai.request.seed": 1,
        "gen_ai.output.type": "image",
        "gen_ai.response.finish_reasons": ("success",),
        "server.address": "embedded",
        "stepfun.operation": "text_to_image",
        "stepfun.attempts": 1,
        "stepfun.billing": "executed",
        "stepfun.maybe_billed": 1,
        "stepfun.trace_id": response.trace_id,
    }


async def test_the_spans_of_an_http_library_are_below_the_call_and_the_call_below_the_caller(
    telemetry: Telemetry,
) -> None:
    tracer = telemetry.tracers.get_tracer("an application")
    async with AsyncClient(**options(telemetry, transport=Instrumented(telemetry))) as client:
        with tracer.start_as_current_span("caller") as caller:
            await client.images.generate("a lake", **SMALL)
            assert trace.get_current_span() is caller
    post, call, around = telemetry.spans
    assert (parent(post), parent(call), parent(around)) == (own(call), own(around), None)


async def test_each_attempt_is_sent_with_the_trace_of_its_call(telemetry: Telemetry) -> None:
    transport = Instrumented(telemetry, Engine(scenario=Scenario("429*1")))
    async with AsyncClient(**options(telemetry, transport=transport)) as client:
        await client.images.generate("a lake", **SMALL)
        await client.images.generate("a lake", **SMALL)
        await client.models.list()
    first, second, models = (
        traceparent(span) for span in telemetry.spans if span.name != "POST" and span.name != "GET"
    )
    assert transport.parents == [first, first, second, models]


async def test_a_trace_that_the_caller_gives_prevails(telemetry: Telemetry) -> None:
    transport = Instrumented(telemetry)
    given = f"00-{1:032x}-{2:016x}-01"
    async with AsyncClient(**options(telemetry, transport=transport)) as client:
        await client.images.generate("a lake", extra_headers={"Traceparent": given}, **SMALL)
    assert transport.parents == [given]


def traceparent(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_fan_outs_calls_are_below_its_reader(telemetry: Telemetry, ordered: bool) -> None:
    tracer = telemetry.tracers.get_tracer("an application")
    transport = Instrumented(telemetry)
    async with AsyncClient(**options(telemetry, transport=transport, limits=Limits(3))) as client:
        with tracer.start_as_current_span("reader") as reader:
            async for _ in client.images.map(requests(10), ordered=ordered):
                assert trace.get_current_span() is reader
    (around,) = named(telemetry, "reader")
    calls = named(telemetry, NAME)
    assert {parent(call) for call in calls} == {own(around)}
    assert sorted(attributes(call)["gen_ai.request.seed"] for call in calls) == list(range(1, 11))
    assert sorted(parent(post) or 0 for post in named(telemetry, "POST")) == sorted(own(call) for call in calls)
    assert telemetry.hook._running == {}


async def test_calls_at_once_do_not_become_each_others_children(telemetry: Telemetry) -> None:
    async with AsyncClient(**options(telemetry)) as client, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(lambda: client.images.generate("a lake", **SMALL))
    assert [parent(span) for span in telemetry.spans] == [None] * 5
    assert len({span.get_span_context().trace_id for span in telemetry.spans}) == 5  # type: ignore[union-attr]


async def test_an_attempt_that_was_retried_is_an_event(telemetry: Telemetry) -> None:
    async with AsyncClient(**options(telemetry, "429*1")) as client:
        await client.images.generate("a lake", **SMALL)
        attempts = client.usage.attempts
    first, second = (dict(event.attributes or {}) for event in telemetry.span.events)
    assert first["error.type"] == RateLimitError.__name__
    assert (first["http.response.status_code"], first["stepfun.billing"]) == (429, "rejected")
    assert first["stepfun.wait"] == 0.0
    assert (second["http.response.status_code"], second["stepfun.billing"]) == (200, "executed")
    assert "stepfun.wait" not in second
    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert attempts == sum(telemetry.counts("stepfun.client.attempts", "stepfun.billing").values()) == 2


async def test_a_lost_response_is_an_error_that_may_have_been_billed(telemetry: Telemetry) -> None:
    async with AsyncClient(**options(telemetry, "drop-after")) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.images.generate("a lake", **SMALL)
    span, said = telemetry.span, attributes(telemetry.span)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, str(caught.value))
    assert (said["error.type"], said["stepfun.billing"]) == ("APIConnectionError", "unknown")
    assert (said["stepfun.attempts"], said["stepfun.maybe_billed"]) == (1, 1)
    assert telemetry.counts("stepfun.client.attempts", "stepfun.billing") == {"unknown": 1}


async def test_a_filtered_image_is_a_response_unless_the_image_is_needed(telemetry: Telemetry, tmp_path: Path) -> None:
    async with AsyncClient(**options(telemetry, "filtered")) as client:
        await client.images.generate("a lake", **SMALL)
        with pytest.raises(ContentFilteredError):
            await client.images.generate("a lake", save_to=tmp_path / "lake.png", **SMALL)
    answered, failed = telemetry.spans
    assert [span.status.status_code for span in (answered, failed)] == [StatusCode.UNSET, StatusCode.ERROR]
    for span in (answered, failed):
        assert attributes(span)["gen_ai.response.finish_reasons"] == ("content_filtered",)
    assert attributes(failed)["error.type"] == "ContentFilteredError"


async def test_a_cancelled_call_is_an_error_of_one_name_and_leaves_nothing(telemetry: Telemetry) -> None:
    transport = Instrumented(telemetry, Engine(scenario=Scenario("hang")))
    tracer = telemetry.tracers.get_tracer("an application")
    async with AsyncClient(**options(telemetry, transport=transport)) as client:
        with tracer.start_as_current_span("caller") as caller:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(_cancel_when, transport.called, scope)
                    await client.images.generate("a lake", **SMALL)
            assert trace.get_current_span() is caller
    (span,) = named(telemetry, NAME)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "it may have been billed")
    assert attributes(span)["error.type"] == "cancelled"
    assert telemetry.counts("stepfun.client.attempts", "error.type") == {"cancelled": 1}
    assert telemetry.hook._running == {}


async def _cancel_when(happened: anyio.Event, scope: anyio.CancelScope) -> None:
    await happened.wait()
    scope.cancel()


async def test_a_call_that_never_got_its_slot_has_no_attempt(telemetry: Telemetry) -> None:
    transport = Instrumented(telemetry, Engine(scenario=Scenario("hang")))
    async with (
        AsyncClient(**options(telemetry, transport=transport, limits=Limits(1))) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(lambda: client.images.generate("a lake", **SMALL))
        await transport.called.wait()
        with pytest.raises(QueueTimeoutError):
            await client.images.generate("a lake", queue_timeout=0.0, **SMALL)
        group.cancel_scope.cancel()
    refused = next(span for span in named(telemetry, NAME) if span.events == ())
    assert attributes(refused)["error.type"] == "QueueTimeoutError"
    assert attributes(refused)["stepfun.attempts"] == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_deadline_is_an_error_by_its_name(telemetry: Telemetry, backend: Backend) -> None:
    async def main() -> pytest.ExceptionInfo[APITimeoutError]:
        async with AsyncClient(**options(telemetry, "hang", timeout=0.3)) as client:
            with pytest.raises(APITimeoutError) as caught:
                await client.images.generate("a lake", **SMALL)
        return caught

    caught = run(main, backend=backend)
    assert attributes(telemetry.span)["error.type"] == "APITimeoutError"
    assert telemetry.span.status.description == str(caught.value)
    assert telemetry.counts("stepfun.client.attempts", "error.type") == {"cancelled": 1}


async def test_a_fan_out_that_is_left_early_ends_its_spans(telemetry: Telemetry) -> None:
    async with AsyncClient(**options(telemetry, limits=Limits(3))) as client:
        async with client.images.map(requests(50)) as outcomes:
            await anext(outcomes)
        assert telemetry.hook._running == {}
    assert 1 <= len(telemetry.spans) < 50
    assert trace.get_current_span() is INVALID_SPAN


async def test_a_request_that_is_refused_has_no_span(telemetry: Telemetry) -> None:
    async with AsyncClient(**options(telemetry)) as client:
        with pytest.raises(InvalidRequestError):
            await client.images.generate("a lake", model="step-2x-large", size="99x99")  # type: ignore[arg-type]
    assert telemetry.spans == ()


async def test_downloads_and_questions_are_spans_of_their_own(telemetry: Telemetry, tmp_path: Path) -> None:
    async with AsyncClient(**options(telemetry)) as client:
        linked = await client.images.generate("a lake", response_format="url", **SMALL)
        await client.images.download(linked.image)
        await client.models.list()
        await client.account.retrieve()
    assert [span.name for span in telemetry.spans] == [NAME, "stepfun download", "stepfun models", "stepfun account"]
    assert [point.count for point in telemetry.points("gen_ai.client.operation.duration")] == [1]


async def test_a_download_within_a_call_is_below_it(telemetry: Telemetry, tmp_path: Path) -> None:
    async with AsyncClient(**options(telemetry)) as client:
        await client.images.generate("a lake", response_format="url", save_to=tmp_path / "lake.png", **SMALL)
    download, call = telemetry.spans
    assert (download.name, call.name) == ("stepfun download", NAME)
    assert parent(download) == own(call)


@pytest.mark.parametrize("faults", [(), ("451",), ("bad-json",), ("truncated",)], ids=str)
async def test_no_words_or_images_are_exported(telemetry: Telemetry, faults: tuple[str, ...]) -> None:
    async with AsyncClient(**options(telemetry, *faults)) as client:
        async for _ in client.images.map([TextToImage(prompt="a secret lake", **SMALL)]):
            assert telemetry.span.name == NAME
    assert "secret" not in str(telemetry)
    assert len(str(telemetry)) < 20_000


async def test_a_servers_words_are_not_exported_although_they_quote_the_request(telemetry: Telemetry) -> None:
    async with AsyncClient(**options(telemetry, validation="off")) as client:
        with pytest.raises(BadRequestError, match="secret"):
            await client.images.generate("a lake", model="step-2x-large", size="secret")  # type: ignore[arg-type]
    assert telemetry.span.status.description == "nothing was billed"
    assert "secret" not in str(telemetry)


# --- Client -------------------------------------------------------------------------------------


def test_the_sync_clients_calls_are_below_the_callers_span(telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("an application")
    transport = Instrumented(telemetry)
    with Client(**options(telemetry, transport=transport)) as client, tracer.start_as_current_span("caller") as caller:
        client.images.generate("a lake", **SMALL)
        assert trace.get_current_span() is caller
    post, call, around = telemetry.spans
    assert (parent(post), parent(call), parent(around)) == (own(call), own(around), None)


def test_the_sync_clients_fan_out_is_below_its_reader(telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("an application")
    with Client(**options(telemetry, limits=Limits(3))) as client, tracer.start_as_current_span("reader"):
        assert len(list(client.images.map(requests(10)))) == 10
    (around,) = named(telemetry, "reader")
    assert {parent(call) for call in named(telemetry, NAME)} == {own(around)}
    assert telemetry.hook._running == {}


def test_threads_that_share_a_client_have_their_own_traces(telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("an application")

    def work(number: int) -> None:
        with tracer.start_as_current_span(f"worker {number}"):
            client.images.generate("a lake", seed=number, **SMALL)

    with Client(**options(telemetry)) as client:
        in_threads(work, 6)
    workers = {own(span): span.name for span in telemetry.spans if span.name.startswith("worker")}
    calls = named(telemetry, NAME)
    assert len(calls) == 6
    for call in calls:
        assert workers[parent(call) or 0] == f"worker {attributes(call)['gen_ai.request.seed']}"


def in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, count + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_sync_call_that_its_clients_closing_ends_is_an_error(telemetry: Telemetry) -> None:
    called = threading.Event()

    class Hanging(Instrumented):
        async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
            called.set()
            return await super().send(call, progress)

    transport = Hanging(telemetry, Engine(scenario=Scenario("hang")))
    client = Client(**options(telemetry, transport=transport))

    def work(_: int) -> None:
        with pytest.raises(APIConnectionError):
            client.images.generate("a lake", **SMALL)

    thread = threading.Thread(target=work, args=(0,))
    thread.start()
    assert called.wait(10)
    client.close()
    thread.join()
    (span,) = named(telemetry, NAME)
    assert attributes(span)["error.type"] == "APIConnectionError"
    assert telemetry.hook._running == {}
