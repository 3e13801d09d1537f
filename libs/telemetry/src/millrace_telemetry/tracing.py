"""Distributed tracing along the bus, by OpenTelemetry's messaging conventions.

A sampled message gets one `process` span (child of the span that sent it, and linked to it); each output gets a `send`
span whose context travels in the message. An unsampled message costs one look into a dictionary: it carries no
`traceparent`, and only the entry (ingestion) decides to sample, so nobody downstream decides again.
"""

from collections.abc import Mapping
from typing import Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)

from millrace_contracts.catalogue import Trace

_MESSAGING = {"messaging.system": "kafka"}
_LARGEST = 1 << 64


class Handled(Protocol):
    """What tracing looks at in a message."""

    @property
    def headers(self) -> Mapping[str, bytes]: ...
    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def correlation_id(self) -> str: ...


class Tracing:
    """One service's traces. Without a provider nothing is recorded, and contexts pass through untouched."""

    def __init__(
        self,
        provider: TracerProvider | None = None,
        *,
        group: str = "",
        sampling_ratio: float = 0.0,
    ) -> None:
        self._tracer = provider.get_tracer("millrace") if provider else None
        self._provider = provider
        self._group = group
        self._bound = int(sampling_ratio * _LARGEST)

    def process(self, message: Handled) -> Span | None:
        """The span in which a sampled message is handled; None, at next to no cost, for all others."""
        header = message.headers.get("traceparent")
        if header is None or self._tracer is None:
            return None
        sender = read_traceparent(header.decode(errors="replace"))
        if sender is None or not sender.trace_flags.sampled:
            return None
        name = message.type.rpartition(".")[2] or message.topic
        return self._tracer.start_span(
            f"process {name}",
            context=_context(sender),
            kind=SpanKind.CONSUMER,
            links=[
                Link(sender)
            ],  # the convention's default; the parent is for tools that drop links
            attributes=_MESSAGING
            | {
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": message.topic,
                "messaging.destination.partition.id": str(message.partition),
                "messaging.kafka.offset": message.offset,
                "messaging.consumer.group.name": self._group,
                "messaging.message.id": message.id,
                "messaging.message.conversation_id": message.correlation_id,
                "cloudevents.event_type": message.type,
                **_replay(message),
            },
        )

    def sent(
        self, rule: Trace, parent: str | None, event_type: str, topic: str, event_id: str
    ) -> str | None:
        """The `traceparent` that an output carries; a `send` span when it is sampled, None when it is not."""
        if self._tracer is None:  # whatever came goes on
            return parent
        if parent is None and rule is Trace.FOLLOW:
            return None
        if rule is Trace.ENTRY and parent is None and not self._chosen(event_id):
            return None
        sender = read_traceparent(parent) if parent else None
        starts_own = rule is Trace.ROOT or sender is None
        span = self._tracer.start_span(
            f"send {event_type.rpartition('.')[2]}",
            context=Context() if starts_own or sender is None else _context(sender),
            kind=SpanKind.PRODUCER,
            links=[Link(sender)] if sender and rule is Trace.ROOT else None,
            attributes=_MESSAGING
            | {
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": topic,
                "messaging.message.id": event_id,
                "cloudevents.event_type": event_type,
            },
        )
        span.end()
        return write_traceparent(span.get_span_context())

    def work(self, name: str, parent: str | None) -> Span | None:
        """A span for long work between two messages, such as a fit; None when its cause was not sampled."""
        sender = read_traceparent(parent) if parent else None
        if self._tracer is None or sender is None:
            return None
        return self._tracer.start_span(name, context=_context(sender), kind=SpanKind.INTERNAL)

    def flush(self) -> None:
        """Hand what is recorded to the exporter; called once, when the service stops."""
        if self._provider is not None:
            self._provider.force_flush()
            self._provider.shutdown()

    def _chosen(self, event_id: str) -> bool:
        """By the id and the ratio alone, so that an event handled again is sampled again."""
        # the first half of a uuid5: its second half begins with the variant, which is no chance
        return self._bound > 0 and int(event_id.replace("-", "")[:16], 16) < self._bound


def _replay(message: Handled) -> dict[str, str | int]:
    """A replayed dead letter goes on with the trace it died in; its span says which message it repeats."""
    original = message.headers.get("millrace-replay-of")
    return {"millrace.replay.of": original.decode(errors="replace")} if original else {}


def finish(span: Span, error: BaseException | None = None) -> None:
    """End a span; a failure is told in it."""
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(StatusCode.ERROR, str(error))
    span.end()


def write_traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def read_traceparent(text: str) -> SpanContext | None:
    """W3C trace context, version 00. None for what is not one: a producer's mistake must not stop its events."""
    parts = text.split("-")
    if len(parts) < 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        context = SpanContext(
            int(parts[1], 16),
            int(parts[2], 16),
            is_remote=True,
            trace_flags=TraceFlags(int(parts[3], 16)),
        )
    except ValueError:
        return None
    return context if context.is_valid else None


def _context(sender: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(sender), Context())


NO_TRACING = Tracing()
