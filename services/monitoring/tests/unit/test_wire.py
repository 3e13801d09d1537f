"""The bytes of the bus and monitoring's own events say the same."""

import math

import pytest

from millrace_contracts.catalogue import Writer, catalogue
from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline
from millrace_contracts.wire import WireError
from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import EventId, ModelVersionNumber, PipelineName
from millrace_kernel.profile import to_json
from millrace_kernel.time import Instant
from millrace_monitoring.adapters.wire import WIRE
from millrace_monitoring.domain import events
from millrace_monitoring.domain.events import Kind, Role, Severity
from millrace_proto.v1 import alerts_pb2, drift_pb2, labels_pb2, models_pb2, pipelines_pb2
from millrace_proto.v1.predictions_pb2 import PredictionMade
from millrace_testkit.memory import MemoryRecord

NOON = Instant(1_764_000_000_000_000)
BIKES = PipelineName("bikes")
FILE = """
metadata: {name: bikes}
spec:
  event:  {id: id, time: at}
  fields: {temp: float}
  label:  {field: cnt, kind: regression}
"""


def decoded(proto, **headers):
    name = f"millrace.v1.{type(proto).__name__}"
    given = {
        "ce_id": b"the-id",
        "ce_type": name.encode(),
        "ce_recordedtime": b"2025-11-24T16:00:00.000000Z",
    }
    record = MemoryRecord(
        "topic", 0, 7, 0, b"key", proto.SerializeToString(), tuple({**given, **headers}.items())
    )
    message = Message(record)
    assert WIRE.decode(message)
    return message.event


def a_prediction(**changes):
    fields = {
        "pipeline": "bikes",
        "pipeline_version": 3,
        "event_id": "event-1",
        "event_time_us": NOON - 5,
        "model_version": 2,
        "epoch": 4,
        "role": 1,
        "value": 12.5,
        "numbers": (1.0, 2.0),
        "categories": ("sun",),
    }
    return PredictionMade(**{**fields, **changes})


def test_it_reads_and_writes_what_the_catalogue_says():
    topics = catalogue().topics
    written = {
        event
        for topic in topics.values()
        if topic.writer is Writer.MONITORING
        for event in topic.events
    }
    readable = {
        event
        for topic in topics.values()
        if Writer.MONITORING in topic.readers
        for event in topic.events
    }

    assert written == WIRE.encoded_types
    assert readable >= WIRE.decoded_types


def test_a_prediction():
    event = decoded(a_prediction())

    assert event == events.PredictionMade(
        id="the-id",
        pipeline=BIKES,
        pipeline_version=3,
        event_id=EventId("event-1"),
        event_time=Instant(NOON - 5),
        recorded_at=NOON,
        model_version=ModelVersionNumber(2),
        epoch=4,
        role=Role.CHAMPION,
        answer=12.5,
        numbers=(1.0, 2.0),
        categories=("sun",),
    )


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"value": 0.0}, 0.0),
        ({"value": None}, None),
        ({"value": math.nan}, None),
        ({"value": math.inf}, None),
        ({"value": None, "class_label": "sun", "probabilities": (0.2, 0.8)}, "sun"),
    ],
)
def test_the_answer_of_a_prediction(changes, answer):
    assert decoded(a_prediction(**changes)).answer == answer


@pytest.mark.parametrize(
    ("number", "role"),
    [(1, Role.CHAMPION), (2, Role.CHALLENGER), (3, Role.FALLBACK), (4, Role.REQUEST)],
)
def test_the_role_of_a_prediction(number, role):
    assert decoded(a_prediction(role=number)).role is role


@pytest.mark.parametrize("truth", [0.0, 7.5, "sun"])
def test_a_label(truth):
    given = {"text": truth} if isinstance(truth, str) else {"number": truth}

    event = decoded(labels_pb2.LabelObserved(pipeline="bikes", event_id="event-1", **given))

    assert event == events.LabelObserved("the-id", BIKES, EventId("event-1"), NOON, truth)


def test_a_retracted_label():
    event = decoded(labels_pb2.LabelRetracted(pipeline="bikes", event_id="event-1"))

    assert event == events.LabelRetracted("the-id", BIKES, EventId("event-1"))


@pytest.mark.parametrize("kind", ["ModelPromoted", "ModelRolledBack"])
def test_a_new_champion(kind, a_profile):
    profile = a_profile()
    proto = getattr(models_pb2, kind)(
        pipeline="bikes", version=2, epoch=4, reference_profile=to_json(profile)
    )

    event = decoded(proto)

    assert event == getattr(events, kind)("the-id", BIKES, ModelVersionNumber(2), 4, profile)


def test_a_pipeline_and_its_earlier_files():
    first, second = (read_pipeline(FILE, version=version) for version in (1, 2))
    proto = pipelines_pb2.PipelineApplied(
        pipeline="bikes",
        version=2,
        spec_json=pipeline_to_json(second),
        earlier_spec_json=[pipeline_to_json(first)],
    )

    assert decoded(proto) == events.PipelineApplied(second, (first,))


@pytest.mark.parametrize(
    "broken",
    [
        a_prediction(role=0),
        a_prediction(event_id="n\0l"),
        a_prediction(event_id="x" * 1001),
        labels_pb2.LabelObserved(pipeline="bikes", event_id="event-1"),
        labels_pb2.LabelObserved(pipeline="bikes", event_id="event-1", text=""),
        labels_pb2.LabelObserved(pipeline="bikes", event_id="event-1", number=math.nan),
        pipelines_pb2.PipelineApplied(pipeline="bikes", version=1, spec_json="{}"),
    ],
    ids=["no role", "NUL", "long id", "no truth", "empty truth", "NaN", "no pipeline"],
)
def test_what_is_broken_can_never_be_handled(broken):
    with pytest.raises(WireError):
        decoded(broken)


def test_a_promotion_without_a_profile_can_never_be_handled():
    with pytest.raises(PermanentError, match="not a reference profile"):
        decoded(models_pb2.ModelPromoted(pipeline="bikes", version=1, epoch=1))


def written(event):
    encoder = WIRE.encoder(event)
    name = encoder.type.rpartition(".")[2]
    module = alerts_pb2 if name.startswith("Alert") else drift_pb2
    proto = getattr(module, name).FromString(encoder.encode(event))
    assert encoder.key(event) == "bikes"
    return proto, encoder.id(event) if encoder.id else None


def test_drift_that_is_detected():
    event = events.DriftDetected(
        id="drift-1",
        pipeline=BIKES,
        kind=Kind.CONCEPT,
        subject="error",
        method="adwin",
        statistic=3.5,
        threshold=2.5,
        model_version=ModelVersionNumber(2),
        window_start=Instant(5),
        window_end=Instant(9),
        window_events=40,
        reference_mean=8.0,
        window_mean=11.5,
        also={"hum": 0.5},
    )

    proto, identity = written(event)

    assert identity == "drift-1"
    assert proto == drift_pb2.DriftDetected(
        pipeline="bikes",
        kind=drift_pb2.DRIFT_KIND_CONCEPT,
        subject="error",
        method="adwin",
        statistic=3.5,
        threshold=2.5,
        model_version=2,
        window_start_us=5,
        window_end_us=9,
        window_events=40,
        reference_mean=8.0,
        window_mean=11.5,
        also={"hum": 0.5},
    )


def test_drift_that_is_cleared():
    event = events.DriftCleared(
        "cleared-1", BIKES, Kind.DATA, "temp", "psi", 0.1, 0.2, ModelVersionNumber(2)
    )

    proto, identity = written(event)

    assert identity == "cleared-1"
    assert proto == drift_pb2.DriftCleared(
        pipeline="bikes",
        kind=drift_pb2.DRIFT_KIND_DATA,
        subject="temp",
        method="psi",
        statistic=0.1,
        threshold=0.2,
        model_version=2,
    )


def test_degraded_performance_and_violated_quality():
    degraded = events.PerformanceDegraded(
        "d", BIKES, "mae", 12.0, 10.0, 8.0, ModelVersionNumber(2), Instant(5), Instant(9), 100
    )
    violated = events.DataQualityViolated("v", BIKES, "temp", "missing", 0.4, 0.05, 100)

    assert written(degraded) == (
        drift_pb2.PerformanceDegraded(
            pipeline="bikes",
            metric="mae",
            value=12.0,
            bound=10.0,
            reference=8.0,
            model_version=2,
            window_start_us=5,
            window_end_us=9,
            window_events=100,
        ),
        "d",
    )
    assert written(violated) == (
        drift_pb2.DataQualityViolated(
            pipeline="bikes",
            column="temp",
            rule="missing",
            value=0.4,
            threshold=0.05,
            window_events=100,
        ),
        "v",
    )


def test_alerts():
    raised = events.AlertRaised(BIKES, "bikes/data/temp", Severity.WARNING, "look", "drift-1")
    resolved = events.AlertResolved(BIKES, "bikes/data/temp", "cleared-1")

    assert written(raised)[0] == alerts_pb2.AlertRaised(
        pipeline="bikes",
        fingerprint="bikes/data/temp",
        severity="warning",
        summary="look",
        cause_id="drift-1",
    )
    assert written(resolved)[0] == alerts_pb2.AlertResolved(
        pipeline="bikes", fingerprint="bikes/data/temp", cause_id="cleared-1"
    )
