"""Protobuf to and from the domain: the only place in features that knows the generated classes."""

import math

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
from millrace_proto.v1.features_pb2 import FeaturesComputed as FeaturesComputedProto
from millrace_proto.v1.pipelines_pb2 import PipelineApplied as PipelineAppliedProto


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
    proto = EventAcceptedProto.FromString(message.value)
    return EventAccepted(
        PipelineName(proto.pipeline),
        proto.pipeline_version,
        EventId(proto.event_id),
        EntityId(proto.entity),
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
    return FeaturesComputedProto(
        pipeline=event.pipeline,
        pipeline_version=event.pipeline_version,
        event_id=event.event_id,
        entity=event.entity,
        event_time_us=event.event_time,
        numbers=event.numbers,
        categories=event.categories,
        late=event.late,
    ).SerializeToString(deterministic=True)


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
