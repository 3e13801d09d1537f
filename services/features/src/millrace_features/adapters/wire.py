"""Protobuf to and from the domain: the only place in features that knows the generated classes."""

import math
from typing import Any

from millrace_contracts.hot_fields import doubles, opening, texts, whole
from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import pipeline_from_json
from millrace_contracts.wire import Encoder, WireError, WireTable, instant_of
from millrace_features.domain.events import (
    EventAccepted,
    EventLabelled,
    FeaturesComputed,
    PipelineApplied,
)
from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import EntityId, EventId, PipelineName, derived_id
from millrace_proto.v1.events_pb2 import EventAccepted as EventAcceptedProto
from millrace_proto.v1.events_pb2 import EventLabelled as EventLabelledProto
from millrace_proto.v1.pipelines_pb2 import PipelineApplied as PipelineAppliedProto

_NUMBERS, _CATEGORIES, _LATE = 0x32, 0x3A, 0x40  # tags of FeaturesComputed's fields 6 to 8


def pipeline_applied(message: Message) -> PipelineApplied:
    proto = PipelineAppliedProto.FromString(message.value)
    try:
        versions = [pipeline_from_json(text) for text in proto.earlier_spec_json]
        versions.append(pipeline_from_json(proto.spec_json))
    except PermanentError as error:
        raise WireError(
            f"pipeline {proto.pipeline} version {proto.version} is not understood here: {error}"
        ) from error
    return PipelineApplied(PipelineName(proto.pipeline), tuple(versions))


def event_accepted(message: Message) -> EventAccepted:
    proto: Any = EventAcceptedProto.FromString(message.value)  # its texts are what they are called
    return EventAccepted(
        proto.pipeline,
        proto.pipeline_version,
        proto.event_id,
        proto.entity,
        instant_of(proto.event_time_us),
        tuple(proto.numbers[:]),  # a slice copies faster than iterating
        tuple(proto.texts),
    )


def event_labelled(message: Message) -> EventLabelled:
    proto = EventLabelledProto.FromString(message.value)
    known = proto.HasField("number") and not proto.retracted
    return EventLabelled(
        PipelineName(proto.pipeline),
        proto.pipeline_version,
        EventId(proto.event_id),
        EntityId(proto.entity),
        instant_of(proto.event_time_us),
        instant_of(proto.known_at_us),
        proto.number if known else math.nan,
    )


def features_computed(event: FeaturesComputed) -> bytes:
    pipeline, version, event_id, entity, time, numbers, categories, late = event
    begin = opening(pipeline, version, event_id, entity, time)
    return begin + doubles(_NUMBERS, numbers) + texts(_CATEGORIES, categories) + whole(_LATE, late)


EVENTS_WIRE = WireTable(
    decoders={
        "millrace.v1.EventAccepted": event_accepted,
        "millrace.v1.EventLabelled": event_labelled,
    },
    encoders=[
        Encoder(
            FeaturesComputed,
            "millrace.v1.FeaturesComputed",
            key=lambda event: f"{event.pipeline}/{event.entity}",
            encode=features_computed,
            id=lambda event: derived_id("vector", event.pipeline, event.event_id),
            time=lambda event: event.event_time,
        )
    ],
)

PIPELINES_WIRE = WireTable({"millrace.v1.PipelineApplied": pipeline_applied})
