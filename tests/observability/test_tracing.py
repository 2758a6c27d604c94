"""Spans: whose trace they belong to, what leaves the process, and that nothing is made while off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from activities.tally import Tally
from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from observability import tracing
from observability.metrics import REGISTRY
from observability.spans import WithoutPeople, tracer_of

ASKED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """Tracing is on, and these spans left; ask after `flush`."""
    exporter = InMemorySpanExporter()
    tracing.use_tracer(tracer_of(exporter, "test"))
    yield exporter
    tracing.use_tracer(None)


def flushed(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The spans by name."""
    tracer = tracing._tracer
    assert tracer is not None
    provider = tracer.span_processor  # type: ignore[attr-defined]  # the SDK's tracer has it
    provider.force_flush()
    return {span.name: span for span in exporter.get_finished_spans()}


def trace_of(span: ReadableSpan) -> str:
    assert span.context
    return f"{span.context.trace_id:032x}"


def test_a_call_belongs_to_who_asked_and_links_to_the_work(exported: InMemorySpanExporter) -> None:
    with tracing.span("work", {}):
        tracing.end_call(tracing.begin_call("provider.send", {}, ASKED), {})

    spans = flushed(exported)
    call, work = spans["provider.send"], spans["work"]
    assert trace_of(call) == ASKED.split("-")[1]
    assert call.parent and f"{call.parent.span_id:016x}" == ASKED.split("-")[2]
    assert [link.context for link in call.links] == [work.context]


def test_a_call_of_the_trace_under_way_stays_below_the_work(exported: InMemorySpanExporter) -> None:
    with tracing.continued(ASKED), tracing.span("work", {}):
        tracing.end_call(tracing.begin_call("provider.send", {}, ASKED), {})

    spans = flushed(exported)
    assert spans["provider.send"].parent == spans["work"].context
    assert trace_of(spans["work"]) == ASKED.split("-")[1]


def test_what_was_asked_for_is_continued_from_its_traceparent(
    exported: InMemorySpanExporter,
) -> None:
    with tracing.span("request", {}):
        kept = tracing.trace_parent()
    with tracing.continued(kept), tracing.span("later", {}):
        ids = tracing.trace_ids()

    spans = flushed(exported)
    assert spans["later"].parent and spans["request"].context
    assert spans["later"].parent.span_id == spans["request"].context.span_id
    assert ids["trace_id"] == trace_of(spans["request"])


def test_a_service_with_a_tracer_of_its_own_is_continued_in_its_trace() -> None:
    with TracerProvider().get_tracer("theirs").start_as_current_span("checkout") as theirs:
        kept = tracing.trace_parent()

    assert kept and f"{theirs.get_span_context().trace_id:032x}" in kept
    assert tracing.trace_parent() is None


def test_upkeep_is_not_traced_nor_what_it_does(exported: InMemorySpanExporter) -> None:
    with tracing.span("StartWorkflow:Upkeep", {}), tracing.span("RunActivity:reconcile", {}):
        pass
    with tracing.span("StartWorkflow:RunCampaign", {}):
        pass

    assert flushed(exported).keys() == {"StartWorkflow:RunCampaign"}


def test_errors_leave_without_their_words(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="anna"), tracing.span("work", {}) as made:
        assert made is not None
        made.set_status(Status(StatusCode.ERROR, "ValueError: anna@example.com is taken"))
        raise ValueError("anna@example.com is taken")

    (span,) = flushed(exported).values()
    assert span.status.description == "ValueError"
    assert span.events == ()
    assert isinstance(WithoutPeople(exported), WithoutPeople)


def test_the_span_of_an_attempt_ends_with_what_was_answered(exported: InMemorySpanExporter) -> None:
    tally = Tally(kind="campaign", account="t", span=tracing.begin_call("provider.send", {}))
    tally.note(Answer(kind=AnswerClass.ACCEPTED), 100, 0.2)
    tally.tell(is_last=False)
    tally.note(Answer(kind=AnswerClass.UNKNOWN), 50, 0.2)
    tally.tell(is_last=True)

    span = flushed(exported)["provider.send"]
    assert dict(span.attributes or {}) == {
        "carillon.answers.accepted": 100,
        "carillon.answers.unknown": 50,
    }
    assert span.status.status_code is StatusCode.ERROR


def test_answers_are_counted_once_however_often_it_is_settled() -> None:
    def counted(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"kind": "single", "account": "u", **labels}) or 0

    tally = Tally(kind="single", account="u")
    for answer in (Answer(kind=AnswerClass.ACCEPTED), CALL_BY_MISSED):
        tally.note(answer, 1, 0.5)
        tally.tell(is_last=False)
    tally.tell(is_last=True)

    assert counted("carillon_answered_messages_total", answer="accepted") == 1
    assert counted("carillon_provider_requests_total", answer="not_written") == 1
    assert counted("carillon_provider_seconds_total") == 1.0
    assert counted("carillon_attempts_total") == 1


def test_off_it_makes_nothing_and_loads_nothing() -> None:
    script = (
        "import sys, worker, web.app, activities.tally\n"
        "from observability import tracing\n"
        "tracing.trace_to('', 'test')\n"
        "assert not tracing.is_on() and tracing.interceptors() == [] and tracing.trace_ids() == {}\n"
        "assert tracing.begin_call('provider.send', {}) is None\n"
        "with tracing.span('work', {}) as made: assert made is None\n"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(Path(__file__).parents[2])}
    )

    assert done.returncode == 0
