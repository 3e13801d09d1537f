"""Traces follow the catalogue's rules, and cost nothing where nothing is sampled."""

from dataclasses import dataclass, field

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from millrace_contracts.catalogue import Trace
from millrace_kernel.ids import derived_id
from millrace_telemetry.tracing import Tracing, finish, read_traceparent

PARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@dataclass
class Handled:
    headers: dict[str, bytes] = field(default_factory=dict)
    topic: str = "millrace.drift"
    partition: int = 0
    offset: int = 3
    type: str = "millrace.v1.DriftDetected"
    id: str = "id-1"
    correlation_id: str = "first"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracing(provider, group="millrace-training")


def sent(tracing: Tracing, rule: Trace, parent: str | None) -> str | None:
    return tracing.sent(rule, parent, "millrace.v1.X", "topic", derived_id("x"))


def test_a_message_without_trace_context_makes_no_span(
    tracing: Tracing, spans: InMemorySpanExporter
):
    assert tracing.process(Handled()) is None
    assert tracing.process(Handled({"traceparent": PARENT.replace("-01", "-00").encode()})) is None
    assert sent(tracing, Trace.FOLLOW, None) is None
    assert not spans.get_finished_spans()


def test_flags_beyond_sampled_are_understood(tracing: Tracing, spans: InMemorySpanExporter):
    """OpenTelemetry writes 03: sampled, and a random trace id."""
    finish(tracing.process(Handled({"traceparent": PARENT.replace("-01", "-03").encode()})))
    assert len(spans.get_finished_spans()) == 1


def test_a_span_of_ours_is_understood_by_the_next_service(tracing: Tracing):
    assert (
        tracing.process(Handled({"traceparent": sent(tracing, Trace.ALWAYS, None).encode()}))
        is not None
    )


def test_a_sampled_message_is_handled_in_a_child_that_is_also_linked(
    tracing: Tracing, spans: InMemorySpanExporter
):
    finish(tracing.process(Handled({"traceparent": PARENT.encode()})))
    (span,) = spans.get_finished_spans()
    assert span.name == "process DriftDetected"
    assert span.kind is SpanKind.CONSUMER
    assert f"{span.parent.span_id:016x}" == "b" * 16
    assert span.links[0].context.span_id == span.parent.span_id
    assert span.attributes["messaging.destination.name"] == "millrace.drift"
    assert span.attributes["messaging.message.conversation_id"] == "first"


def test_an_output_goes_on_with_its_causes_trace(tracing: Tracing):
    context = read_traceparent(sent(tracing, Trace.FOLLOW, PARENT))
    assert f"{context.trace_id:032x}" == "a" * 32
    assert f"{context.span_id:016x}" != "b" * 16


def test_a_root_starts_a_trace_of_its_own_linked_to_its_cause(
    tracing: Tracing, spans: InMemorySpanExporter
):
    context = read_traceparent(sent(tracing, Trace.ROOT, PARENT))
    assert f"{context.trace_id:032x}" != "a" * 32
    assert f"{spans.get_finished_spans()[0].links[0].context.trace_id:032x}" == "a" * 32


def test_the_loop_is_traced_even_when_its_cause_was_not(tracing: Tracing):
    assert read_traceparent(sent(tracing, Trace.ALWAYS, None)).trace_flags.sampled


def test_the_entry_samples_by_the_events_id_so_that_doing_it_again_decides_again_alike():
    ids = [derived_id("event", str(number)) for number in range(2_000)]
    provider = TracerProvider(shutdown_on_exit=False)
    half = Tracing(provider, sampling_ratio=0.5)
    chosen = [half.sent(Trace.ENTRY, None, "t", "topic", event_id) is not None for event_id in ids]
    assert chosen == [
        half.sent(Trace.ENTRY, None, "t", "topic", event_id) is not None for event_id in ids
    ]
    assert 900 < sum(chosen) < 1_100
    assert all(
        Tracing(provider, sampling_ratio=1.0).sent(Trace.ENTRY, None, "t", "topic", event_id)
        for event_id in ids[:50]
    )
    assert not any(
        Tracing(provider, sampling_ratio=0.0).sent(Trace.ENTRY, None, "t", "topic", event_id)
        for event_id in ids[:50]
    )


def test_without_an_exporter_contexts_pass_through_untouched():
    assert sent(Tracing(), Trace.FOLLOW, PARENT) == PARENT


@pytest.mark.parametrize(
    "text", ["", "00", "00-zz-zz-01", "00-" + "0" * 32 + "-" + "b" * 16 + "-01", PARENT[:-3]]
)
def test_what_is_no_trace_context_is_ignored(text: str):
    assert read_traceparent(text) is None
