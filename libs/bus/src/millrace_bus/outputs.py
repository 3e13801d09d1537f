"""From what a handler yields to what is written: ids, sequence, causality and trace context, decided in one place."""

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from millrace_bus.broker import Producer, TopicPartition
from millrace_contracts.catalogue import Trace
from millrace_contracts.cloudevents import CONTENT_TYPE, SPEC_VERSION, time_header
from millrace_contracts.message import Origin, Outgoing
from millrace_contracts.wire import WireTable
from millrace_kernel.ids import DerivedIds
from millrace_telemetry.tracing import Tracing

_REMEMBERED_INDEXES = 8


class Outputs:
    """Turns a service's events into records. One for each (source, input partition)."""

    def __init__(self, source: str, wire: WireTable, tracing: Tracing) -> None:
        self.source = source
        self._source_header = ("ce_source", source.encode())
        self._wire = wire
        self._encoder_of = wire.encoder_of
        self._tracing = tracing
        self._ids: dict[tuple[str, int], DerivedIds] = {}

    def record(self, event: object, cause: Origin, sequence: bytes | None, index: int) -> Outgoing:
        """The record of one output. `index` counts the outputs of the same cause: it makes the derived id unique."""
        encoder = self._encoder_of(type(event)) or self._wire.encoder(event)
        cause_id = cause.id_bytes
        event_id = (
            self._derived(encoder.type, index).of(cause_id)
            if encoder.id is None
            else encoder.id(event)
        )
        key = encoder.key(event).encode()
        recorded = cause.recorded_bytes
        headers = [
            SPEC_VERSION,
            ("ce_id", event_id.encode()),
            self._source_header,
            encoder.type_header,
            ("ce_time", recorded if encoder.time is None else time_header(encoder.time(event))),
            ("ce_subject", key),
            CONTENT_TYPE,
            ("ce_recordedtime", recorded),
            ("ce_correlationid", cause.correlation_bytes),
            ("ce_causationid", cause_id),
        ]
        if sequence is not None:
            headers.append(("ce_sequence", sequence))
        if cause.traceparent is not None or encoder.trace is not Trace.FOLLOW:
            traceparent = self._tracing.sent(
                encoder.trace, cause.traceparent, encoder.type, encoder.topic, event_id
            )
            if traceparent is not None:
                trace = traceparent.encode()
                headers += (("traceparent", trace), ("ce_traceparent", trace))
        return Outgoing(encoder.topic, key, encoder.encode(event), headers)

    def _derived(self, event_type: str, index: int) -> DerivedIds:
        ids = self._ids.get((event_type, index))
        if ids is None:
            ids = DerivedIds(self.source, event_type, str(index))
            if index < _REMEMBERED_INDEXES:
                self._ids[event_type, index] = ids
        return ids


async def by_partition(
    producer: Producer, messages: Iterable[Outgoing]
) -> Mapping[TopicPartition, Sequence[Outgoing]]:
    """Each message's place, by its key. CRC-32 as librdkafka's default, so that other clients find the same partition."""
    topics: dict[str, list[list[Outgoing]]] = {}
    for message in messages:
        topic = message.topic
        parts = topics.get(topic)
        if parts is None:
            parts = topics[topic] = [[] for _ in range(await producer.partitions(topic))]
        parts[crc32(message.key or b"") % len(parts)].append(message)
    return {
        TopicPartition(topic, number): part
        for topic, parts in topics.items()
        for number, part in enumerate(parts)
        if part
    }
