"""Between the bytes on the bus and training's own events."""

from dataclasses import dataclass

import pytest

from millrace_contracts.catalogue import Writer, catalogue
from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_contracts.wire import WireError
from millrace_kernel.evidence import (
    Evidence,
    ModelSchema,
    NaiveBaseline,
    SliceMetrics,
)
from millrace_kernel.ids import RunId
from millrace_kernel.pipeline import Trigger
from millrace_proto.v1 import (
    commands_pb2,
    drift_pb2,
    features_pb2,
    labels_pb2,
    models_pb2,
    pipelines_pb2,
    training_pb2,
)
from millrace_training.adapters.wire import WIRE
from millrace_training.bootstrap import TOPICS
from millrace_training.domain import events
from millrace_training.domain.costs import Cost

AT = 1_772_323_200_000_000
RUN = events.Run("bikes", RunId("run-7"), 7, 3, Trigger.DRIFT, "the-drift", AT)
CAUSE = events.Cause(Trigger.DRIFT, "the-drift", AT, "data/temp", "temp drifted")
DATASET = events.Dataset("file:///d", "dd", 10, 60, 4, 5, AT, AT)


@dataclass(frozen=True)
class Record:
    value: bytes
    headers: tuple
    topic: str = "millrace.features"
    partition: int = 2
    offset: int = 17
    timestamp: int = AT // 1000
    key: bytes | None = b"bikes"


def decoded(message):
    kind = f"millrace.v1.{type(message).__name__}".encode()
    headers = (("ce_type", kind), ("ce_recordedtime", b"2026-03-01T00:00:00.000000Z"))
    received = Message(Record(message.SerializeToString(), headers))
    assert WIRE.decode(received)
    return received.event


def encoded(event, message):
    encoder = WIRE.encoder(event)
    assert encoder.type == f"millrace.v1.{message.__name__}"
    assert encoder.topic == "millrace.training"
    assert encoder.key(event) == "bikes"
    return message.FromString(encoder.encode(event))


def test_a_vector_is_read_with_its_place():
    vector = decoded(
        features_pb2.FeaturesComputed(
            pipeline="bikes",
            pipeline_version=3,
            event_id="e1",
            entity="s1",
            event_time_us=AT - 5,
            numbers=[1.5, 2.5],
            categories=["wet", ""],
        )
    )

    place = events.Place("millrace.features", 2, 17)
    assert vector == events.FeaturesComputed(
        "bikes", 3, "e1", "s1", AT - 5, (1.5, 2.5), ("wet", ""), AT, place
    )


def test_labels_are_numbers_or_classes():
    number = labels_pb2.LabelObserved(pipeline="bikes", event_id="e1", known_at_us=AT, number=0.0)
    text = labels_pb2.LabelObserved(pipeline="bikes", event_id="e1", known_at_us=AT, text="many")

    assert [decoded(number).value, decoded(text).value] == [0.0, "many"]


@pytest.mark.parametrize(
    "wrong", [{}, {"number": float("nan")}, {"number": float("inf")}, {"text": ""}]
)
def test_a_label_that_says_nothing_is_refused(wrong):
    with pytest.raises(WireError, match="label of event e1"):
        decoded(labels_pb2.LabelObserved(pipeline="bikes", event_id="e1", **wrong))


def test_a_drift_is_known_by_what_drifted_and_told_with_its_evidence():
    evidence = {"method": "psi", "statistic": 0.31, "threshold": 0.2, "window_events": 500}
    data = decoded(
        drift_pb2.DriftDetected(
            pipeline="bikes", kind=drift_pb2.DRIFT_KIND_DATA, subject="temp", **evidence
        )
    )
    concept = decoded(
        drift_pb2.DriftDetected(
            pipeline="bikes", kind=drift_pb2.DRIFT_KIND_CONCEPT, subject="error", **evidence
        )
    )
    cleared = decoded(
        drift_pb2.DriftCleared(pipeline="bikes", kind=drift_pb2.DRIFT_KIND_DATA, subject="temp")
    )

    assert data.subject == cleared.subject == "data/temp"
    assert concept.subject == "concept"
    assert data.because == "data/temp drifted (psi 0.31 beyond 0.2 over 500 events)"
    assert data.since is None


@pytest.mark.parametrize("kind", [drift_pb2.DriftDetected, drift_pb2.PerformanceDegraded])
def test_a_change_is_told_with_where_it_is_estimated_to_have_begun(kind):
    named = {"kind": drift_pb2.DRIFT_KIND_CONCEPT} if kind is drift_pb2.DriftDetected else {}
    told = decoded(kind(pipeline="bikes", window_start_us=AT, window_end_us=AT + 5, **named))
    assert told.since == AT


def test_a_fall_of_performance_is_told_with_its_evidence():
    degraded = decoded(
        drift_pb2.PerformanceDegraded(
            pipeline="bikes", metric="mae", value=9.25, bound=5, reference=4, window_events=1500
        )
    )

    assert degraded.because == (
        "mae is 9.25 over 1,500 labelled predictions, worse than 5; it was 4 on the holdout"
    )


def test_a_pipeline_comes_with_the_versions_before_it(pipeline):
    text = pipeline_to_json(pipeline)
    message = pipelines_pb2.PipelineApplied(
        pipeline="bikes", version=1, spec_json=text, earlier_spec_json=[text]
    )

    assert decoded(message) == events.PipelineApplied("bikes", (pipeline, pipeline))


def test_a_pipeline_file_of_a_later_platform_is_refused_in_words():
    with pytest.raises(WireError, match="version 4 of pipeline bikes is not understood here"):
        decoded(
            pipelines_pb2.PipelineApplied(
                pipeline="bikes", version=4, spec_json='{"spec": {"new": 1}}'
            )
        )


def test_champions_and_commands_are_read():
    champion = {
        "pipeline": "bikes",
        "pipeline_version": 3,
        "version": 5,
        "epoch": 6,
        "artifact_uri": "u",
        "artifact_sha256": "s",
        "run_id": "run-7",
        "artifact_signature": b"signature",
        "signing_key_id": "key",
        "algorithm": "linear",
    }
    crowned = events.Champion(5, 6, 3, "u", "s", "run-7", b"signature", "key", "linear")

    assert decoded(models_pb2.ModelPromoted(**champion)) == events.ModelPromoted("bikes", crowned)
    assert decoded(models_pb2.ModelRolledBack(**champion)) == events.ModelRolledBack(
        "bikes", crowned
    )
    rejected = models_pb2.ModelRejected(
        pipeline="bikes", version=5, run_id="run-7", reason="too bad"
    )
    assert decoded(rejected) == events.ModelRejected("bikes", "run-7")
    assert decoded(
        commands_pb2.Retrain(pipeline="bikes", actor="ada", reason="r")
    ) == events.Retrain("bikes", "ada", "r")
    paused = commands_pb2.PausePipeline(pipeline="bikes", paused=True)
    assert decoded(paused) == events.PausePipeline("bikes", paused=True)


def test_a_request_carries_its_run_and_is_known_by_it():
    request = events.RetrainRequested(RUN, CAUSE, 1000, "because")

    message = encoded(request, training_pb2.RetrainRequested)

    assert (message.run_id, message.run_number, message.pipeline_version) == ("run-7", 7, 3)
    assert (message.trigger, message.cause_id, message.as_of_us) == ("drift", "the-drift", AT)
    assert WIRE.encoder(request).id(request) == WIRE.encoder(request).id(request)


def test_a_refusal_carries_its_reason_and_its_words():
    skipped = events.RetrainSkipped(
        "bikes", CAUSE, events.Skip.COOLING_DOWN, "an hour to go", pipeline_version=3
    )

    message = encoded(skipped, training_pb2.RetrainSkipped)

    assert message.pipeline_version == 3

    assert (message.trigger, message.cause_id) == ("drift", "the-drift")
    assert (message.reason, message.detail) == ("cooling_down", "an hour to go")


def test_a_start_carries_what_the_dataset_was_taken_from():
    message = encoded(events.TrainingStarted(RUN, DATASET), training_pb2.TrainingStarted)

    assert (message.run_id, message.rows, message.vectors_version, message.labels_version) == (
        "run-7",
        60,
        4,
        5,
    )


EVIDENCE = Evidence(
    slices=(SliceMetrics("city", "rome", 7, {"mae": 3.0}),),
    baseline=NaiveBaseline("mean", {"mae": 9.0}, 0.75),
    schema=ModelSchema(("x",), ("city",), "binary", ("0", "1")),
    column_scores={"x": 0.5},
)


def test_a_candidate_carries_everything_a_gate_or_a_person_asks_for():
    candidate = events.Candidate(
        "linear",
        "{}",
        "file:///a",
        "aa",
        b"signature",
        "key",
        40,
        20,
        {"mae": 1.0},
        {"mae": 2.0},
        4,
        0.97,
        b"profile",
        1.5,
        2.5,
        cost=Cost(2.5, 3.5, 4096, 0.0),
        record_json="{}",
        evidence=EVIDENCE,
    )

    message = encoded(
        events.TrainingCompleted(RUN, DATASET, candidate), training_pb2.TrainingCompleted
    )

    unset = {field.name for field in message.DESCRIPTOR.fields} - {
        field.name for field, _ in message.ListFields()
    }
    assert unset == set()
    assert (dict(message.metrics), dict(message.champion_metrics)) == ({"mae": 1.0}, {"mae": 2.0})
    assert (message.artifact_uri, message.dataset_uri) == ("file:///a", "file:///d")


def test_a_card_is_told_whole():
    made = events.ModelCardMade(RUN, "file:///c", "cc", Cost(1.5, 2.5, 4096, 0.5))
    message = encoded(made, training_pb2.ModelCardMade)

    assert {field.name for field, _ in message.ListFields()} == {
        field.name for field in message.DESCRIPTOR.fields
    }
    assert (message.run_id, message.card_uri, message.joules) == (RUN.run_id, "file:///c", 0.5)


def test_trials_and_failures_name_their_run():
    trial = events.Trial(2, "linear", "{}", {"mae": 1.0}, 0.5, 1.25, "pruned")
    message = encoded(events.TrialCompleted(RUN, trial), training_pb2.TrialCompleted)

    assert (message.trial, message.loss, message.state) == (2, 1.25, "pruned")
    assert encoded(events.TrainingFailed(RUN, "why"), training_pb2.TrainingFailed).reason == "why"


def test_the_energy_of_a_machine_that_does_not_tell_is_absent_and_not_zero():
    silent = events.TrainingFailed(RUN, "why", Cost(2.5, 3.5, 4096))
    telling = events.TrainingFailed(RUN, "why", Cost(2.5, 3.5, 4096, joules=0.0))

    told = encoded(silent, training_pb2.TrainingFailed)
    assert (told.cpu_seconds, told.wall_seconds, told.peak_memory_bytes) == (2.5, 3.5, 4096)
    assert not told.HasField("joules")
    assert encoded(telling, training_pb2.TrainingFailed).HasField("joules")


def test_the_wire_agrees_with_the_catalogue():
    read = {topic.name for topic in catalogue().topics.values() if Writer.TRAINING in topic.readers}
    written = set(catalogue().topics["millrace.training"].events)

    assert read == set(TOPICS)
    assert written == WIRE.encoded_types
