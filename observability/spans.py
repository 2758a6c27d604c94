"""The OpenTelemetry SDK as we use it: which spans are made, and what leaves this process of them."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import Status, Tracer

EXPORT_TIMEOUT_SECONDS = 5.0
_UPKEEP = ":Upkeep"
"""Temporal's spans are called StartWorkflow:Upkeep, …; it is started every ten seconds."""


class _NotUpkeep(Sampler):
    """Everything but the house's own routine, which nobody asked for and which never ends."""

    def should_sample(self, parent_context, trace_id, name, *args, **more) -> SamplingResult:  # type: ignore[no-untyped-def]  # the signature is the SDK's
        """Drop what starts Upkeep; what it does then is dropped by its parent."""
        wanted = ALWAYS_OFF if name.endswith(_UPKEEP) else ALWAYS_ON
        return wanted.should_sample(parent_context, trace_id, name, *args, **more)

    def get_description(self) -> str:
        """Its name in the SDK's logs."""
        return "NotUpkeep"


class WithoutPeople(SpanExporter):
    """Passes spans on without the words of exceptions, which may quote a row or an address.

    The class of an error stays: the interceptor writes it before a colon.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        """`exporter`: who sends them."""
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the exporter's."""
        return self._exporter.export([_without_words(span) for span in spans])

    def shutdown(self) -> None:
        """As the exporter's."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """As the exporter's."""
        return self._exporter.force_flush(timeout_millis)


def _without_words(span: ReadableSpan) -> ReadableSpan:
    if not span.status.description:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, span.status.description.partition(":")[0]),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def tracer_of(exporter: SpanExporter, service: str) -> Tracer:
    """A tracer whose spans leave by this exporter. It has no events: exceptions would be theirs."""
    provider = TracerProvider(
        sampler=ParentBased(_NotUpkeep()),
        resource=Resource.create({"service.name": service}),
        span_limits=SpanLimits(max_events=0),
    )
    provider.add_span_processor(BatchSpanProcessor(WithoutPeople(exporter)))
    return provider.get_tracer("carillon")


def exporting_tracer(endpoint: str, service: str) -> Tracer:
    """A tracer to an OTLP/HTTP endpoint; empty: to where the standard's variables say."""
    return tracer_of(
        OTLPSpanExporter(endpoint=endpoint or None, timeout=EXPORT_TIMEOUT_SECONDS), service
    )
