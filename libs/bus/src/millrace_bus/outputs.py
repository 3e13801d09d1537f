"""From what a handler yields to what is written: ids, sequence, causality and trace context, decided in one place."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from millrace_bus.broker import Producer, TopicPartition
from millrace_contracts import cloudevents
from millrace_contracts.message import Origin, Outgoing
from millrace_contracts.wire import WireTable
from millrace_kernel.ids import derived_id
from millrace_kernel.time import rfc3339
from millrace_telemetry.tracing import Tracing


class Outputs:
    """Turns a service's events into records. One for each (source, input partition)."""

    def __init__(self, source: str, wire: WireTable, tracing: Tracing) -> None:
        self.source = source
        self._source_header = ("ce_source", source.encode())
        self._wire = wire
        self._tracing = tracing

    def record(self, event: object, cause: Origin, sequence: bytes | None, index: int) -> Outgoing:
        """The record of one output. `index` counts the outputs of the same cause: it makes the derived id unique."""
        encoder = self._wire.encoder(event)
        cause_id = cause.id_bytes
        if encoder.id is None:
            event_id = derived_id(cause_id.decode(), encoder.type, self.source, str(index))
        else:
            event_id = encoder.id(event)
        key = encoder.key(event).encode()
        recorded = cause.recorded_bytes
        traceparent = self._tracing.sent(encoder.trace, cause.traceparent, encoder.type, encoder.topic, event_id)
        headers = cloudevents.headers(
            id=event_id.encode(),
            source=self._source_header,
            type=encoder.type_header,
            time=recorded if encoder.time is None else rfc3339(encoder.time(event)).encode(),
            subject=key,
            sequence=sequence,
            recorded_time=recorded,
            correlation_id=cause.correlation_bytes,
            causation_id=cause_id,
            traceparent=traceparent,
        )
        return Outgoing(encoder.topic, key, encoder.encode(event), headers)


async def by_partition(producer: Producer, messages: Iterable[Outgoing]) -> Mapping[TopicPartition, Sequence[Outgoing]]:
    """Each message's place, by its key. CRC-32 as librdkafka's default, so that other clients find the same partition."""
    counts: dict[str, int] = {}
    placed: dict[TopicPartition, list[Outgoing]] = defaultdict(list)
    for message in messages:
        topic = message.topic
        count = counts.get(topic)
        if count is None:
            count = counts[topic] = await producer.partitions(topic)
        placed[TopicPartition(topic, crc32(message.key or b"") % count)].append(message)
    return placed
