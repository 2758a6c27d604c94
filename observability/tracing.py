"""Traces by OpenTelemetry: from the request through the workflow to the provider's call.

Off unless an endpoint is named; then nothing here costs more than the look at a variable, and the
SDK is not even imported. A span names ids and counts, never an address or content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer
    from temporalio.contrib.opentelemetry import TracingInterceptor

# The standard's own variables, which its exporter reads itself.
STANDARD_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
TRACES_PATH = "/v1/traces"
_W3C = TraceContextTextMapPropagator()
_tracer: Tracer | None = None


def trace_to(endpoint: str, service: str) -> None:
    """Export spans to an OTLP/HTTP endpoint from now on; nothing where none is named.

    `endpoint`: the collector's base URL; empty: as the standard's variables say. `service`: the name
    of this process in traces.
    """
    if not endpoint and not any(os.environ.get(name) for name in STANDARD_VARIABLES):
        return
    from observability.spans import exporting_tracer

    use_tracer(exporting_tracer(endpoint and endpoint.rstrip("/") + TRACES_PATH, service))


def use_tracer(tracer: Tracer | None) -> None:
    """Make spans with this tracer from now on; None: make none."""
    global _tracer
    _tracer = tracer


def is_on() -> bool:
    """Whether spans are made."""
    return _tracer is not None


def interceptors() -> list[TracingInterceptor]:
    """What a Temporal client needs for traces to go through workflows; none while tracing is off."""
    if _tracer is None:
        return []
    from temporalio.contrib.opentelemetry import TracingInterceptor

    return [TracingInterceptor(_tracer)]


def trace_ids() -> dict[str, object]:
    """trace_id and span_id of the span under way, for log lines; empty without one."""
    if _tracer is None:
        return {}
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(span.trace_id),
        "span_id": trace.format_span_id(span.span_id),
    }


def trace_parent() -> str | None:
    """The span under way as a `traceparent` (W3C), to be kept with what it has asked for.

    Of a service that calls us in its own process, too, whatever tracer it has.
    """
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def continued(parent: str | None) -> Iterator[None]:
    """Spans made inside belong to the trace of this `traceparent`; None: of whatever is under way."""
    if _tracer is None or parent is None:
        yield
        return
    token = contexts.attach(_W3C.extract({"traceparent": parent}, contexts.Context()))
    try:
        yield
    finally:
        contexts.detach(token)


@contextmanager
def span(
    name: str, attributes: Mapping[str, Any], *, is_server: bool = False
) -> Iterator[Span | None]:
    """A span around what happens inside, and the current one there; None while tracing is off."""
    if _tracer is None:
        yield None
        return
    kind = trace.SpanKind.SERVER if is_server else trace.SpanKind.INTERNAL
    with _tracer.start_as_current_span(name, attributes=dict(attributes), kind=kind) as made:
        yield made


def begin_call(name: str, attributes: Mapping[str, Any], parent: str | None = None) -> Span | None:
    """The span of a call to a provider, not ended yet; None while tracing is off.

    Where `parent` (the traceparent of who asked for it) is of another trace than the work under way,
    the span belongs to the asker's trace and links to the work: a group drives messages of many.
    """
    if _tracer is None:
        return None
    working = trace.get_current_span().get_span_context()
    asked = contexts.get_current() if parent is None else _W3C.extract({"traceparent": parent})
    asker = trace.get_current_span(asked).get_span_context()
    is_elsewhere = asker.is_valid and asker.trace_id != working.trace_id
    return _tracer.start_span(
        name,
        context=asked if is_elsewhere else contexts.get_current(),
        kind=trace.SpanKind.CLIENT,
        attributes=dict(attributes),
        links=[trace.Link(working)] if is_elsewhere and working.is_valid else [],
    )


def end_call(made: Span | None, attributes: Mapping[str, Any], *, is_error: bool = False) -> None:
    """End the span of a call with what came of it."""
    if made is None:
        return
    made.set_attributes(dict(attributes))
    if is_error:
        made.set_status(trace.StatusCode.ERROR)
    made.end()
