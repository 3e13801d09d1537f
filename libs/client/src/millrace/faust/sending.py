"""What an agent sends: CloudEvents that readers can fence, and that name their cause."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from faust.types import TopicT
from google.protobuf.message import Message as Protobuf

from millrace.faust.application import Application
from millrace.faust.codec import Heard
from millrace_contracts.catalogue import Trace
from millrace_contracts.cloudevents import CONTENT_TYPE, SPEC_VERSION, Header, sequence
from millrace_kernel.ids import DerivedIds

_JSON: Header = ("content-type", b"application/json")

Value = Protobuf | Mapping[str, object] | bytes


@dataclass(frozen=True, slots=True)
class Output:
    """A topic of the user's own, and the CloudEvents type of what is sent to it."""

    topic: TopicT
    type: str


def output(app: Application, name: str, *, type: str, partitions: int = 1) -> Output:  # noqa: A002  CloudEvents' own word
    """A topic to send to; it is created with so many partitions when it does not exist."""
    own = app.topic(
        name,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        partitions=partitions,
    )
    return Output(own, type)


class Send:
    """Sends on account of one event. Outputs are acknowledged one after the other, in the order of the calls."""

    def __init__(self, app: Application, cause: Heard) -> None:
        self._app = app
        self._cause = cause
        self._index = 0

    async def __call__(self, to: Output, *, key: str, value: Value) -> str:
        """Send one event and wait until all in-sync replicas have it; its id.

        `value` is a protobuf message, or a mapping that becomes JSON, or bytes that are JSON already. Sent again for
        the same cause it has the same id and the same `ce_sequence`, so readers drop the second.
        """
        index, self._index = self._index, self._index + 1
        name = to.topic.get_topic_name()
        event_id, headers = self._headers(to.type, name, key, index)
        content, content_type = _content(value)
        await to.topic.maybe_declare()
        await self._app.producer.send_and_wait(
            name, key.encode(), content, None, None, [*headers, content_type]
        )
        return event_id

    def _headers(self, kind: str, topic: str, key: str, index: int) -> tuple[str, list[Header]]:
        cause = self._cause.message
        source = f"{self._app.conf.id}/{cause.topic}/{cause.partition}"
        event_id = DerivedIds(source, kind, str(index)).of(cause.id_bytes)
        headers: list[Header] = [
            SPEC_VERSION,
            ("ce_id", event_id.encode()),
            ("ce_source", source.encode()),
            ("ce_type", kind.encode()),
            ("ce_time", cause.recorded_bytes),
            ("ce_subject", key.encode()),
            ("ce_recordedtime", cause.recorded_bytes),
            ("ce_correlationid", cause.correlation_bytes),
            ("ce_causationid", cause.id_bytes),
            ("ce_sequence", sequence(cause.offset, index)),
        ]
        parent = cause.traceparent
        traceparent = self._app.tracing.sent(Trace.FOLLOW, parent, kind, topic, event_id)
        if traceparent is not None:
            trace = traceparent.encode()
            headers += [("traceparent", trace), ("ce_traceparent", trace)]
        return event_id, headers


def _content(value: Value) -> tuple[bytes, Header]:
    if isinstance(value, Protobuf):
        return value.SerializeToString(deterministic=True), CONTENT_TYPE
    return value if isinstance(value, bytes) else orjson.dumps(dict(value)), _JSON
