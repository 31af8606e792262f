"""OpenTelemetry for calls: `AsyncClient(on_event=OpenTelemetry())`.

A call for an image is recorded as one client span by the semantic conventions for generative AI, and one
measurement of `gen_ai.client.operation.duration`. The conventions are those of
https://github.com/open-telemetry/semantic-conventions-genai, still in development; attributes that they
do not define start with `stepfun.`. Downloads and calls for models and account are not generative AI
operations: they get a client span without `gen_ai.` attributes, and are left out of the duration, which
they would distort.

The headers that the application's propagators inject for the span, by default a `traceparent`, are sent with each
attempt to the API, so that the spans of a gateway or server become its children.

While a call runs, its span is the current one, so that the spans of an instrumented HTTP library become
its children. OpenTelemetry restores the context with a token that is valid only in the context it was made in;
anywhere else `detach` logs a traceback. Most calls start and end in one context, but a call that is dropped
half-way ends wherever it is collected. So no token is used: when a call ends and its own context is the
current one, the previous context is restored; otherwise nothing is changed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from ._core.errors import APIConnectionError, ConfigurationError, QueueTimeoutError
from ._core.events import AttemptEnded, CallEnded, CallStarted, Event
from ._core.results import ContentFilteredError, SaveError
from ._core.version import __version__
from ._runtime.log import log

_INSTALLED = find_spec("opentelemetry") is not None

if TYPE_CHECKING or _INSTALLED:
    from opentelemetry import context, metrics, propagate, trace

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from ._core.requests import ImageRequest
    from ._core.results import ImagesResponse

__all__ = ["OpenTelemetry"]

_Attributes: TypeAlias = dict[str, str | float | list[str]]

_DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bucket boundaries in seconds, as the conventions specify."""

_LONGEST = 4096
"""The maximum bytes of a recorded text: StepFun's longest prompt in the widest characters."""

_CONTENT = (("text", "prompt"), ("negative_prompt", "negative_prompt"))
"""The fields of a request that are content: the type of the message part, and the field's name."""

_CANCELLED = frozenset({"CancelledError", "Cancelled"})
"""The exceptions that asyncio and trio raise in a cancelled call."""

_OWN_WORDS = (APIConnectionError, ContentFilteredError, QueueTimeoutError)
"""Errors whose message is never from the server and quotes neither prompt nor path."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A call that has not ended.

    Attributes:
        span: its span.
        labels: the attributes that its measurements share.
        before: the context that was current when it started.
        inside: that context with `span` as the current span, if the span is valid.
    """

    span: Span
    labels: _Attributes
    before: Context
    inside: Context


class OpenTelemetry:
    """Record a client span and measurements for each call of the clients that use this as `on_event`.

    One object serves any number of clients, threads and event loops. It keeps nothing of calls that
    have ended, and never raises.

    Args:
        tracer_provider: the provider of the spans; by default the global one, even if that is set later.
        meter_provider: the provider of the measurements; by default likewise.
        capture_content: also record prompts and negative prompts, up to 4,096 bytes of each, and the
            messages of all errors, which may quote them or name files. Images are never recorded.

    Raises:
        ConfigurationError: opentelemetry-api is not installed.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        capture_content: bool = False,
    ) -> None:
        if not _INSTALLED:
            raise ConfigurationError('OpenTelemetry() needs opentelemetry-api: pip install "stepfun-async[otel]"')
        release = __version__
        meter = metrics.get_meter("stepfun_async", release, meter_provider)
        self._tracer = trace.get_tracer("stepfun_async", release, tracer_provider)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )
        self._attempts = meter.create_counter(
            "stepfun.client.attempts",
            unit="{attempt}",
            description="Attempts of calls, by billing state: executed and unknown may have been billed.",
        )
        self._capture_content = capture_content
        self._running: dict[int, _Running] = {}  # needs no lock, since each operation on it is atomic

    def __call__(self, event: Event) -> None:
        """Record `event`, in the task and context of its call. Never raises.

        Args:
            event: the event; ignored if the start of its call was not recorded.
        """
        try:
            if isinstance(event, CallStarted):
                self._begin(event)
            elif isinstance(event, AttemptEnded):
                self._record_attempt(event)
            else:
                self._end(event)
        except Exception:  # noqa: BLE001 - telemetry must not fail a call, whatever is plugged into it
            log(logging.WARNING, "OpenTelemetry could not record an event", exc_info=True)

    def _begin(self, event: CallStarted) -> None:
        labels = _shared_attributes(event)
        requested = _request_attributes(event.request, with_content=self._capture_content)
        before = context.get_current()
        span = self._tracer.start_span(_name(event), before, trace.SpanKind.CLIENT, {**labels, **requested})
        valid = span.get_span_context().is_valid  # invalid without an SDK; it must not hide a remote parent
        inside = trace.set_span_in_context(span, before) if valid else before
        self._running[event.call] = _Running(span, labels, before, inside)
        context.attach(inside)
        propagate.inject(event.headers, inside)

    def _record_attempt(self, event: AttemptEnded) -> None:
        call = self._running.get(event.call)
        if call is None:
            return
        failure = _failure(event.error)
        self._attempts.add(1, {**call.labels, "stepfun.billing": event.billing, **failure}, call.inside)
        if call.span.is_recording():
            call.span.add_event("stepfun.attempt", {**_attempt_attributes(event), **failure})

    def _end(self, event: CallEnded) -> None:
        call = self._running.pop(event.call, None)
        if call is None:
            return
        if context.get_current() is call.inside:
            context.attach(call.before)
        try:
            self._finish_span(call.span, event)
        finally:
            call.span.end()
        if "gen_ai.operation.name" in call.labels:
            self._duration.record(event.elapsed, {**call.labels, **_failure(event.error)}, call.inside)

    def _finish_span(self, span: Span, event: CallEnded) -> None:
        span.set_attributes({**_result_attributes(event), **_failure(event.error)})
        if event.error is not None:
            span.set_status(trace.StatusCode.ERROR, self._description(event, event.error))

    def _description(self, event: CallEnded, error: BaseException) -> str:
        """Describe the failure, without anything that may quote the request."""
        message = _clipped(str(error)) if self._capture_content or isinstance(error, _OWN_WORDS) else ""
        return message or _money(event)


def _name(event: CallStarted) -> str:
    if event.request is None:
        return f"stepfun {event.operation}"
    return _clipped(f"generate_content {event.model or ''}".rstrip())


def _shared_attributes(event: CallStarted) -> _Attributes:
    """The attributes of both the span and the measurements of a call, of few values each."""
    where = {"stepfun.operation": event.operation, "server.address": event.server, "server.port": event.port}
    if event.request is None:
        return _without_none(where)
    what = {"gen_ai.operation.name": "generate_content", "gen_ai.provider.name": "stepfun"}
    return _without_none({**what, "gen_ai.request.model": event.model, **where})


def _request_attributes(request: ImageRequest | None, *, with_content: bool) -> _Attributes:
    """The attributes of a request that only the span has."""
    if request is None:
        return {}
    return _without_none(
        {
            "gen_ai.output.type": "image",
            "gen_ai.request.choice.count": None if request.n == 1 else _int64(request.n),  # by the conventions
            "gen_ai.request.seed": _int64(request.seed),
        }
    ) | ({"gen_ai.input.messages": _messages(request)} if with_content else {})


def _messages(request: ImageRequest) -> str:
    """The prompts of a request, as the JSON of the conventions."""
    words = [(kind, getattr(request, field, None)) for kind, field in _CONTENT]
    parts = [{"type": kind, "content": _clipped(text)} for kind, text in words if isinstance(text, str)]
    return json.dumps([{"role": "user", "parts": parts}], ensure_ascii=False)


def _attempt_attributes(event: AttemptEnded) -> _Attributes:
    """The attributes of an attempt, for the event of the span."""
    return _without_none(
        {
            "stepfun.attempt": event.attempt,
            "stepfun.billing": event.billing,
            "stepfun.elapsed": event.elapsed,
            "stepfun.wait": event.wait,
            "stepfun.trace_id": event.trace_id,
            "http.response.status_code": event.status,
        }
    )


def _result_attributes(event: CallEnded) -> _Attributes:
    """The attributes of a call that has ended."""
    response = _response(event)
    source = response or event.error
    reasons = [_clipped(image.finish_reason) for image in (response.data if response else ()) if image.finish_reason]
    return _without_none(
        {
            "stepfun.attempts": event.attempts,
            "stepfun.billing": event.billing,
            "stepfun.maybe_billed": event.maybe_billed,
            "stepfun.queued": event.queued,
            "stepfun.trace_id": getattr(source, "trace_id", None),
            "gen_ai.response.id": response.id if response else None,
            "gen_ai.response.finish_reasons": reasons or None,
        }
    )


def _response(event: CallEnded) -> ImagesResponse | None:
    """The response, even if the call failed after it arrived; `None` if there was none."""
    if isinstance(event.error, ContentFilteredError | SaveError):
        return event.error.response
    return event.response


def _failure(error: BaseException | None) -> _Attributes:
    """The kind of a failure: the error's class, or `cancelled` on both asyncio and trio."""
    if error is None:
        return {}
    kind = type(error).__qualname__
    return {"error.type": "cancelled" if kind in _CANCELLED else kind}


def _money(event: CallEnded) -> str:
    if event.billing == "executed":
        return "the image was made and billed"
    return "it may have been billed" if event.maybe_billed else "nothing was billed"


def _without_none(values: Mapping[str, str | float | list[str] | None]) -> _Attributes:
    """Leave out `None`, and clip texts so that any exporter can send them."""
    known = {name: value for name, value in values.items() if value is not None}
    return {name: _clipped(value) if isinstance(value, str) else value for name, value in known.items()}


def _int64(value: object) -> int | None:
    """Return `value` if it is an integer that OpenTelemetry's protocol can encode, else `None`."""
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _clipped(text: str) -> str:
    """Replace what UTF-8 cannot encode, and clip the text if it is too long."""
    data = text.encode("utf-8", "replace")
    if len(data) <= _LONGEST:
        return data.decode("utf-8")
    mark = "…"
    return data[: _LONGEST - len(mark.encode())].decode("utf-8", "ignore") + mark
