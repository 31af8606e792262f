"""What `on_event` and the log get of a call, on every way that a call can take."""

from __future__ import annotations

import asyncio
import logging
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from stepfun_async import (
    APIConnectionError,
    AsyncClient,
    AttemptEnded,
    BadRequestError,
    Budget,
    BudgetExceededError,
    CallEnded,
    CallStarted,
    Client,
    ConfigurationError,
    InternalServerError,
    InvalidRequestError,
    Limits,
    QueueTimeoutError,
    RetryPolicy,
    SaveError,
    StepFunError,
    TextToImage,
)
from stepfun_async._call.outcomes import Outcome
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState
from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario
from tests.support.scripted import IMAGE, Scripted, refusal

pytestmark = pytest.mark.anyio

LARGE: Final = "step-2x-large"
PROMPT = "a very private lake"
FIELDS = {
    "stepfun_call",
    "stepfun_operation",
    "stepfun_model",
    "stepfun_attempt",
    "stepfun_attempts",
    "stepfun_status",
    "stepfun_billing",
    "stepfun_billed",
    "stepfun_maybe_billed",
    "stepfun_queued",
    "stepfun_elapsed",
    "stepfun_wait",
    "stepfun_trace_id",
}
QUICK = RetryPolicy(base=0, connect_base=0)


def client_of(events: list[Any], *responses: HTTPResponse | Exception, **more: Any) -> AsyncClient:
    left = list(responses)

    async def respond(call: HTTPRequest, progress: SendState) -> HTTPResponse:
        progress.mark_sent()
        response = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(response, Exception):
            raise response
        return response

    base: dict[str, Any] = {"base_url": "https://stepfun.test:8443/v1", "retry": QUICK, "transport": Scripted(respond)}
    return AsyncClient("sk-canary-123456", **{**base, "on_event": events.append, **more})


async def test_a_call_has_an_event_when_it_begins_at_each_attempt_and_when_it_ends() -> None:
    events: list[Any] = []
    async with client_of(events, refusal(503), IMAGE) as client:
        response = await client.images.generate(PROMPT, model=LARGE, size="256x256")
    started, first, second, ended = events
    assert started == CallStarted(
        call=started.call,
        operation="text_to_image",
        model=LARGE,
        server="stepfun.test",
        port=8443,
        request=TextToImage(prompt=PROMPT, model=LARGE, size="256x256"),
    )
    assert (first.attempt, first.billing, first.status, type(first.error).__name__) == (
        1,
        "rejected",
        503,
        "InternalServerError",
    )
    assert first.wait is not None
    assert (second.attempt, second.billing, second.status, second.error, second.wait, second.trace_id) == (
        2,
        "executed",
        200,
        None,
        None,
        "trace-1",
    )
    assert (ended.attempts, ended.billing, ended.billed, ended.maybe_billed, ended.error) == (2, "executed", 1, 1, None)
    assert ended.response == response
    assert ended.elapsed >= ended.queued >= 0
    assert len({event.call for event in events}) == 1


class Telling:
    """A server whose response is a link, and which remembers the headers that it was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []

    async def response(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        progress.mark_sent()
        self.seen.append((call.path, dict(call.headers)))
        return IMAGE if call.path.startswith("/") else HTTPResponse(200, {}, b"a picture")


@pytest.mark.parametrize(
    ("put", "sent"),
    [
        ({"X-Team": "art"}, {"x-team": "art"}),
        ({"X-Own": "event"}, {"x-own": "call"}),
        ({"x-bad": "line\nbreak", "x-team": "art"}, {}),
        ({"host": "elsewhere"}, {}),
    ],
)
async def test_headers_that_on_event_puts_in_are_sent_to_the_api_alone(
    put: dict[str, str], sent: dict[str, str]
) -> None:
    def on_event(event: object) -> None:
        if isinstance(event, CallStarted):
            event.headers.update(put)

    server = Telling()
    async with client_of([], transport=Scripted(server.response), on_event=on_event) as client:
        await client.images.generate(PROMPT, model=LARGE, size="256x256", extra_headers={"X-Own": "call"})
        with suppress(StepFunError):
            await client.images.download("https://elsewhere.test/picture.png")
    (_, api), (link, none) = server.seen
    assert {name.lower(): value for name, value in api.items()} == {"x-own": "call", **sent}
    assert (link, none) == ("https://elsewhere.test/picture.png", {})


async def test_each_call_has_a_number_of_its_own() -> None:
    events: list[Any] = []
    async with client_of(events, IMAGE) as client:
        for _ in range(3):
            await client.images.generate(PROMPT)
    assert len({event.call for event in events}) == 3


async def test_what_is_refused_before_it_is_a_call_has_no_event() -> None:
    events: list[Any] = []
    async with client_of(events, IMAGE, budget=Budget(0, prices={LARGE: 1})) as client:
        with pytest.raises(InvalidRequestError):
            await client.images.generate("", model=LARGE)
        with pytest.raises(BudgetExceededError):
            await client.images.generate(PROMPT, model=LARGE)
    assert events == []


@pytest.mark.parametrize(
    ("response", "billing", "error"),
    [
        (refusal(400), "rejected", BadRequestError),
        (APIConnectionError("lost", billing="unknown"), "unknown", APIConnectionError),
        (ZeroDivisionError("a defect"), "unknown", ZeroDivisionError),
    ],
)
async def test_the_events_of_a_failure_have_its_error(response: Any, billing: str, error: type[Exception]) -> None:
    events: list[Any] = []
    async with client_of(events, response) as client:
        with pytest.raises(error) as caught:
            await client.images.generate(PROMPT)
    _, attempt, ended = events
    assert (attempt.billing, attempt.error) == (billing, caught.value)
    assert (ended.billing, ended.error, ended.response, ended.billed) == (billing, caught.value, None, 0)
    assert ended.maybe_billed == (billing == "unknown")


async def test_a_call_that_never_got_its_slot_ends_without_an_attempt() -> None:
    events: list[Any] = []
    async with client_of(events, IMAGE, limits=Limits(1)) as client, client.limits.limiter.permit(None, entry=False):
        with pytest.raises(QueueTimeoutError):
            await client.images.generate(PROMPT, queue_timeout=0)
    started, ended = events
    assert isinstance(started, CallStarted)
    assert (ended.attempts, ended.billing, type(ended.error)) == (0, "not_sent", QueueTimeoutError)


async def test_a_cancelled_call_has_events_too() -> None:
    events: list[Any] = []
    engine = Engine(scenario=Scenario("hang"))
    client = AsyncClient(base_url="embedded", transport=EmbeddedTransport(engine), on_event=events.append)
    async with client, anyio.create_task_group() as group:
        group.start_soon(client.images.generate, PROMPT)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    _, attempt, ended = events
    assert (attempt.billing, ended.billing, ended.maybe_billed) == ("unknown", "unknown", 1)
    assert isinstance(ended.error, anyio.get_cancelled_exc_class())


async def test_an_image_that_is_fetched_by_its_link_is_a_call_of_its_own_inside(tmp_path: Path) -> None:
    events: list[Any] = []
    async with AsyncClient(base_url="embedded", on_event=events.append) as client:
        await client.images.generate(PROMPT, model=LARGE, size="256x256", response_format="url", save_to=tmp_path / "a")
        await client.models.list()
        await client.account.retrieve()
    assert [(type(event).__name__, event.operation) for event in events] == [
        ("CallStarted", "text_to_image"),
        ("AttemptEnded", "text_to_image"),
        ("CallStarted", "download"),
        ("AttemptEnded", "download"),
        ("CallEnded", "download"),
        ("CallEnded", "text_to_image"),
        ("CallStarted", "models"),
        ("AttemptEnded", "models"),
        ("CallEnded", "models"),
        ("CallStarted", "account"),
        ("AttemptEnded", "account"),
        ("CallEnded", "account"),
    ]
    assert {event.server for event in events if isinstance(event, CallStarted)} == {"embedded"}
    assert {event.billing for event in events if isinstance(event, AttemptEnded)} == {"executed", "not_sent"}


async def test_a_function_that_fails_does_not_cost_the_image(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: object) -> None:
        raise LookupError("the metrics are gone")

    async with AsyncClient(base_url="embedded", on_event=fail) as client:
        assert (await client.images.generate(PROMPT, model=LARGE, size="256x256")).image.width == 256
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "on_event failed for CallStarted; the call continues",
        "on_event failed for AttemptEnded; the call continues",
        "on_event failed for CallEnded; the call continues",
    ]


def test_the_sync_client_tells_too() -> None:
    events: list[Any] = []
    with Client(base_url="embedded", on_event=events.append) as client:
        client.images.generate(PROMPT, model=LARGE, size="256x256")
    assert [type(event) for event in events] == [CallStarted, AttemptEnded, CallEnded]


async def _coroutine(event: object) -> None: ...


@pytest.mark.parametrize("given", [5, "print", _coroutine])
def test_on_event_is_a_plain_function(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_event is a plain function of one event"):
        Client(base_url="embedded", on_event=given)


async def test_no_event_shows_prompt_image_or_key() -> None:
    events: list[Any] = []
    async with client_of(events, refusal(503), IMAGE) as client:
        await client.images.generate(PROMPT)
    shown = repr(events)
    assert PROMPT not in shown
    assert "PNG" not in shown
    assert "canary" not in shown
    assert b"canary" not in pickle.dumps(events)


# --- the log


async def test_nothing_is_made_without_a_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: object, **__: object) -> None:
        raise AssertionError("an event was made")

    for name in ("CallStarted", "AttemptEnded", "CallEnded"):
        monkeypatch.setattr(f"stepfun_async._call.record.{name}", made)
    logging.getLogger("stepfun_async").setLevel(logging.WARNING)
    try:
        async with AsyncClient(base_url="embedded") as client:
            await client.images.generate(PROMPT, model=LARGE, size="256x256")
    finally:
        logging.getLogger("stepfun_async").setLevel(logging.NOTSET)


async def test_levels_and_words_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "stepfun_async")
    async with client_of([], refusal(503, retry_after=0.001), IMAGE, APIConnectionError("secret words")) as client:
        await client.images.generate(PROMPT)
        with pytest.raises(APIConnectionError):
            await client.images.generate(PROMPT)
    emitted = [
        (record.levelname, record.getMessage().partition(": ")[2])
        for record in caplog.records
        if record.name == "stepfun_async"
    ]
    assert emitted == [
        ("DEBUG", "started"),
        ("INFO", "attempt 1 ended with InternalServerError 503, retried in 0.00 s"),
        ("DEBUG", "attempt 2 succeeded"),
        ("DEBUG", "succeeded"),
        ("DEBUG", "started"),
        ("DEBUG", "attempt 1 ended with APIConnectionError"),
        ("WARNING", "ended with APIConnectionError, 1 of 1 attempts may have been billed for nothing"),
    ]


async def test_the_log_holds_the_listed_fields_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "stepfun_async")
    async with client_of([], refusal(429), IMAGE) as client:
        await client.images.generate(PROMPT, negative_prompt="fog", cfg_scale=2)
    plain = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
    for record in caplog.records:
        if record.name != "stepfun_async":
            continue
        assert {name for name in vars(record) if name not in plain} == FIELDS
        assert PROMPT not in str(vars(record))
        assert "fog" not in str(vars(record))
        assert "canary" not in str(vars(record))
    assert {record.stepfun_model for record in caplog.records if record.name == "stepfun_async"} == {  # type: ignore[attr-defined]
        "step-image-edit-2"
    }


def test_a_program_that_did_not_set_up_logging_sees_nothing() -> None:
    """Warnings of loggers without a handler would go to stderr."""
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("stepfun_async").handlers)


# --- what is plugged in raises


class Interrupt(BaseException):
    """As Ctrl-C is, of no kind that anything expects."""


KINDS = [Interrupt, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
RAISED: dict[str, type[Any]] = {"CallStarted": CallStarted, "AttemptEnded": AttemptEnded, "CallEnded": CallEnded}


class Raising:
    """An `on_event` that raises `error` at the `nth` event of a kind, and notes all events."""

    def __init__(self, at: type[Any], error: BaseException, nth: int = 1) -> None:
        self.events: list[Any] = []
        self._at, self._error, self._left = at, error, nth

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, self._at):
            self._left -= 1
            if not self._left:
                raise self._error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", RAISED.values(), ids=RAISED)
async def test_what_is_paid_is_settled_and_kept_before_an_interruption_goes_on(
    at: type[Any], kind: type[BaseException], tmp_path: Path
) -> None:
    sent, on_event, budget = at is not CallStarted, Raising(at, kind("stop")), Budget(1, prices={LARGE: 1})
    limits = Limits(max_concurrency=1, requests_per_minute=1_000)
    client = client_of([], IMAGE, on_event=on_event, budget=budget, limits=limits)
    with pytest.raises(kind, match="stop") as caught:
        await client.images.generate(PROMPT, model=LARGE, size="256x256", save_to=tmp_path / "lake.png")
    assert (tmp_path / "lake.png").exists() == sent
    assert (int(budget.spent), int(budget.held)) == (int(sent), 0)
    assert client.usage.billed == int(sent)
    assert limits.state.in_flight == 0
    assert [type(event) for event in on_event.events].count(CallEnded) == 1
    assert list(tmp_path.iterdir()) == ([tmp_path / "lake.png"] if sent else [])
    cause = caught.value.__cause__
    assert (isinstance(cause, SaveError) and cause.response.image.path == tmp_path / "lake.png") or not sent


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", RAISED.values(), ids=RAISED)
async def test_the_reader_of_a_map_gets_the_interruption(at: type[Any], kind: type[BaseException]) -> None:
    """Raised where the worker runs, it would end the loop, which only the reader survives."""
    responses = [IMAGE] * 6
    async with client_of([], *responses, on_event=Raising(at, kind("stop"), nth=2)) as client:
        came: list[Outcome] = []

        async def read() -> None:
            async for outcome in client.images.map([TextToImage(prompt=PROMPT)] * len(responses)):
                came.append(outcome)  # noqa: PERF401 - what came before it raises is to be seen

        with pytest.raises(kind, match="stop"):
            await read()
        assert came
        assert client.usage.billed >= len(came)
        assert client.limits.state.in_flight == 0


async def test_an_image_in_memory_is_behind_the_interruption() -> None:
    on_event = Raising(AttemptEnded, Interrupt("stop"))
    with pytest.raises(Interrupt) as caught:
        await client_of([], IMAGE, on_event=on_event).images.generate(PROMPT)
    assert isinstance(caught.value.__cause__, SaveError)
    assert caught.value.__cause__.response.image.data
    assert on_event.events[-1].response.image.data


async def test_an_interruption_is_raised_instead_of_a_further_attempt() -> None:
    on_event = Raising(AttemptEnded, Interrupt("stop"))
    client = client_of([], refusal(503), IMAGE, on_event=on_event)
    with pytest.raises(Interrupt) as caught:
        await client.images.generate(PROMPT)
    assert isinstance(caught.value.__cause__, InternalServerError)
    assert client.usage.attempts == 1


@pytest.mark.parametrize(
    ("at", "nth"), [(CallStarted, 2), (AttemptEnded, 1), (AttemptEnded, 2), (CallEnded, 1), (CallEnded, 2)]
)
async def test_a_linked_image_is_fetched_and_saved_although_something_interrupts(
    at: type[Any], nth: int, tmp_path: Path
) -> None:
    on_event = Raising(at, Interrupt("stop"), nth)
    path = tmp_path / "lake.png"
    async with AsyncClient(base_url="embedded", on_event=on_event) as client:
        with pytest.raises(Interrupt):
            await client.images.generate(PROMPT, model=LARGE, size="256x256", response_format="url", save_to=path)
    assert path.exists()
    assert on_event.events[-1].operation == "text_to_image"


class RaisingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise LookupError("no such attribute")


class RaisingHandler(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        raise LookupError("no such attribute")


def _raising_factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = logging.LogRecord(*args, **kwargs)
    record.stepfun_call = "mine"
    return record


@pytest.mark.parametrize("plugged", ["filter", "handler", "factory", "all levels"])
async def test_logging_that_fails_does_not_cost_the_image(
    plugged: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("stepfun_async")
    logger.setLevel(logging.DEBUG)
    monkeypatch.setattr(logger, "filters", [RaisingFilter()] if plugged == "filter" else [])
    monkeypatch.setattr(logger, "handlers", [RaisingHandler()] if plugged == "handler" else [])
    if plugged == "all levels":
        monkeypatch.setattr(logger, "isEnabledFor", lambda level: {}[level])
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(_raising_factory if plugged == "factory" else factory)
    try:
        response = await client_of([], refusal(503), IMAGE, on_event=None).images.generate(PROMPT)
    finally:
        logging.setLogRecordFactory(factory)
        logger.setLevel(logging.NOTSET)
    assert response.image.data
    assert ("logging failed; the call continues" in capsys.readouterr().err) == (plugged != "all levels")


async def test_a_log_handler_that_interrupts_is_settled_first() -> None:
    class Interrupts(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "attempt" in record.getMessage():
                raise Interrupt

    logger, handler = logging.getLogger("stepfun_async"), Interrupts()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        client = client_of([], IMAGE, on_event=None)
        with pytest.raises(Interrupt):
            await client.images.generate(PROMPT)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert client.usage.billed == 1
