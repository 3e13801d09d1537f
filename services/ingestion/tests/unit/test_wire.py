from math import isnan, nan

import pytest

from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_contracts.wire import WireError
from millrace_ingestion.adapters.wire import PIPELINES_WIRE, RAW_WIRE
from millrace_ingestion.domain.events import (
    EventAccepted,
    EventLabelled,
    LabelObserved,
    LabelRetracted,
)
from millrace_kernel.ids import derived_id
from millrace_proto.v1.events_pb2 import EventAccepted as WireEventAccepted
from millrace_proto.v1.events_pb2 import EventLabelled as WireEventLabelled
from millrace_proto.v1.labels_pb2 import LabelObserved as WireLabelObserved
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_testkit.memory import MemoryRecord

ACCEPTED = EventAccepted("bikes", 3, "e1", "s7", 1_000, (1.5, nan), ("a", ""))


def applied(value: bytes) -> Message:
    headers = (("ce_type", b"millrace.v1.PipelineApplied"),)
    return Message(MemoryRecord("millrace.pipelines", 0, 0, 0, b"bikes", value, headers))


def test_an_accepted_event_goes_to_its_entity_under_an_id_of_its_own():
    encoder = RAW_WIRE.encoder(ACCEPTED)

    assert (encoder.topic, encoder.key(ACCEPTED)) == ("millrace.events", "bikes/s7")
    assert encoder.id(ACCEPTED) == derived_id("event", "bikes", "e1")
    assert encoder.time(ACCEPTED) == 1_000


def test_an_accepted_event_keeps_missing_numbers_and_texts():
    wire = WireEventAccepted.FromString(RAW_WIRE.encoder(ACCEPTED).encode(ACCEPTED))

    assert (wire.pipeline, wire.pipeline_version, wire.event_id) == ("bikes", 3, "e1")
    assert (wire.entity, wire.event_time_us, list(wire.texts)) == ("s7", 1_000, ["a", ""])
    assert wire.numbers[0] == 1.5
    assert isnan(wire.numbers[1])


@pytest.mark.parametrize(("value", "number", "text"), [(0.0, 0.0, None), ("a", None, "a")])
def test_a_label_is_a_number_or_a_text(value, number, text):
    label = LabelObserved("bikes", 3, "e1", 2_000, value)
    encoder = RAW_WIRE.encoder(label)

    wire = WireLabelObserved.FromString(encoder.encode(label))

    assert (encoder.topic, encoder.key(label)) == ("millrace.labels", "bikes/e1")
    assert (wire.number if wire.HasField("number") else None) == number
    assert (wire.text if wire.HasField("text") else None) == text


def test_a_retraction_goes_where_the_label_went():
    assert (
        RAW_WIRE.encoder(LabelRetracted("bikes", 3, "e1", 1)).key(
            LabelRetracted("bikes", 3, "e1", 1)
        )
        == "bikes/e1"
    )


@pytest.mark.parametrize("number", [None, 0.0, 12.5])
def test_a_label_for_features_goes_to_its_entity(number):
    labelled = EventLabelled("bikes", 3, "e1", "s7", 1_000, 2_000, number, retracted=number is None)
    encoder = RAW_WIRE.encoder(labelled)

    wire = WireEventLabelled.FromString(encoder.encode(labelled))

    assert (encoder.topic, encoder.key(labelled)) == ("millrace.events", "bikes/s7")
    assert (wire.known_at_us, wire.event_time_us, wire.retracted) == (2_000, 1_000, number is None)
    assert (wire.number if wire.HasField("number") else None) == number


def test_an_applied_pipeline_is_read_with_its_version(pipeline):
    message = applied(
        PipelineApplied(spec_json=pipeline_to_json(pipeline(version=5))).SerializeToString()
    )

    assert PIPELINES_WIRE.decode(message)
    assert message.event == pipeline(version=5)


@pytest.mark.parametrize("value", [b"\xff", PipelineApplied(spec_json="{").SerializeToString()])
def test_an_applied_pipeline_that_is_none_is_a_wire_error(value):
    with pytest.raises(WireError):
        PIPELINES_WIRE.decode(applied(value))
