"""Protobuf to and from the domain: the only place in ingestion that knows the generated classes."""

from millrace_contracts.hot_fields import doubles, opening, texts
from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import pipeline_from_json
from millrace_contracts.wire import Encoder, RawWire, WireError, WireTable
from millrace_ingestion.domain.events import (
    EventAccepted,
    EventLabelled,
    LabelObserved,
    LabelRetracted,
)
from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import derived_id
from millrace_kernel.pipeline import Pipeline
from millrace_proto.v1 import events_pb2, labels_pb2, pipelines_pb2

_NUMBERS, _TEXTS = 0x32, 0x3A  # tags of EventAccepted's fields 6 and 7


def pipeline_applied(message: Message) -> Pipeline:
    applied = pipelines_pb2.PipelineApplied.FromString(message.value)
    try:
        return pipeline_from_json(applied.spec_json)
    except PermanentError as error:
        raise WireError(
            f"pipeline {applied.pipeline} version {applied.version} is not understood here: {error}"
        ) from error


def event_accepted(event: EventAccepted) -> bytes:
    pipeline, version, event_id, entity, time, numbers, its_texts = event
    begin = opening(pipeline, version, event_id, entity, time)
    return begin + doubles(_NUMBERS, numbers) + texts(_TEXTS, its_texts)


def event_labelled(event: EventLabelled) -> bytes:
    return events_pb2.EventLabelled(
        pipeline=event.pipeline,
        pipeline_version=event.pipeline_version,
        event_id=event.event_id,
        entity=event.entity,
        event_time_us=event.event_time,
        known_at_us=event.known_at,
        number=event.number,
        retracted=event.retracted,
    ).SerializeToString()


def label_observed(event: LabelObserved) -> bytes:
    value = event.value
    return labels_pb2.LabelObserved(
        pipeline=event.pipeline,
        pipeline_version=event.pipeline_version,
        event_id=event.event_id,
        known_at_us=event.known_at,
        number=None if isinstance(value, str) else value,
        text=value if isinstance(value, str) else None,
    ).SerializeToString()


def label_retracted(event: LabelRetracted) -> bytes:
    return labels_pb2.LabelRetracted(
        pipeline=event.pipeline,
        pipeline_version=event.pipeline_version,
        event_id=event.event_id,
        known_at_us=event.known_at,
    ).SerializeToString()


def _by_entity(event: EventAccepted | EventLabelled) -> str:
    return f"{event.pipeline}/{event.entity}"


def _by_event(event: LabelObserved | LabelRetracted) -> str:
    return f"{event.pipeline}/{event.event_id}"


RAW_WIRE = RawWire(
    [
        Encoder(
            EventAccepted,
            "millrace.v1.EventAccepted",
            key=_by_entity,
            encode=event_accepted,
            id=lambda event: derived_id("event", event.pipeline, event.event_id),
            time=lambda event: event.event_time,
        ),
        Encoder(
            EventLabelled,
            "millrace.v1.EventLabelled",
            key=_by_entity,
            encode=event_labelled,
            time=lambda event: event.known_at,
        ),
        Encoder(
            LabelObserved,
            "millrace.v1.LabelObserved",
            key=_by_event,
            encode=label_observed,
            time=lambda event: event.known_at,
        ),
        Encoder(
            LabelRetracted,
            "millrace.v1.LabelRetracted",
            key=_by_event,
            encode=label_retracted,
            time=lambda event: event.known_at,
        ),
    ]
)

PIPELINES_WIRE = WireTable({"millrace.v1.PipelineApplied": pipeline_applied})
