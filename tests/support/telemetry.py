"""OpenTelemetry that stays in memory: what spans and measurements came of events."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from stepfun_async.otel import OpenTelemetry


class Telemetry:
    """Providers that remember, and the hook that calls them."""

    def __init__(self, *, capture_content: bool = False, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.hook = OpenTelemetry(
            tracer_provider=self.tracers, meter_provider=self.meters, capture_content=capture_content
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that ended, in the order of their ends."""
        return self._exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        """The one span that ended."""
        (span,) = self.spans
        return span

    def points(self, metric: str) -> list[Any]:
        """The data points of `metric`; none where nothing was measured."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
        found = [one for scope in scopes for one in scope.metrics if one.name == metric]
        return [point for one in found for point in one.data.data_points]

    def counts(self, metric: str, label: str) -> dict[Any, int]:
        """The sums of the counter `metric` by one of its attributes."""
        counts: dict[Any, int] = {}
        for point in self.points(metric):
            key = point.attributes.get(label)
            counts[key] = counts.get(key, 0) + point.value
        return counts

    def __str__(self) -> str:
        """Everything that was exported."""
        data = self._reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + (data.to_json() if data else "")


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> int | None:
    """The id of the span above; None for a root."""
    return span.parent.span_id if span.parent else None


def own(span: ReadableSpan) -> int:
    """The id of a span."""
    context = span.get_span_context()
    assert context is not None
    return int(context.span_id)
