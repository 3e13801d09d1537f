"""Between the bytes on the bus and training's own events: the only place that knows the generated classes."""

import math
from typing import Any

from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import PipelineFileError, pipeline_from_json
from millrace_contracts.wire import Encoder, WireError, WireTable, instant_of
from millrace_kernel.evidence import Evidence
from millrace_kernel.ids import (
    EntityId,
    EventId,
    ModelVersionNumber,
    PipelineName,
    RunId,
    derived_id,
)
from millrace_kernel.time import Instant
from millrace_proto.v1 import (
    commands_pb2,
    drift_pb2,
    features_pb2,
    labels_pb2,
    models_pb2,
    pipelines_pb2,
    training_pb2,
)
from millrace_training.domain import events
from millrace_training.domain.costs import Cost
from millrace_training.domain.events import LabelValue, Place

_DRIFTED = {
    drift_pb2.DRIFT_KIND_DATA: "data",
    drift_pb2.DRIFT_KIND_PREDICTION: "prediction",
    drift_pb2.DRIFT_KIND_CONCEPT: "concept",
}


def _place(message: Message) -> Place:
    return Place(message.topic, message.partition, message.offset)


def pipeline_applied(message: Message) -> events.PipelineApplied:
    proto = pipelines_pb2.PipelineApplied.FromString(message.value)
    try:
        versions = tuple(
            pipeline_from_json(text) for text in (*proto.earlier_spec_json, proto.spec_json)
        )
    except PipelineFileError as error:
        raise WireError(
            f"version {proto.version} of pipeline {proto.pipeline} is not understood here: {error}"
        ) from error
    return events.PipelineApplied(PipelineName(proto.pipeline), versions)


def features_computed(message: Message) -> events.FeaturesComputed:
    proto = features_pb2.FeaturesComputed.FromString(message.value)
    return events.FeaturesComputed(
        PipelineName(proto.pipeline),
        proto.pipeline_version,
        EventId(proto.event_id),
        EntityId(proto.entity),
        instant_of(proto.event_time_us),
        tuple(proto.numbers),
        tuple(proto.categories),
        message.recorded_at,
        _place(message),
    )


def label_observed(message: Message) -> events.LabelObserved:
    proto = labels_pb2.LabelObserved.FromString(message.value)
    return events.LabelObserved(
        PipelineName(proto.pipeline),
        EventId(proto.event_id),
        instant_of(proto.known_at_us),
        _truth(proto),
        message.recorded_at,
        _place(message),
    )


def _truth(proto: labels_pb2.LabelObserved) -> LabelValue:
    if proto.HasField("text") and proto.text:
        return proto.text
    if proto.HasField("number") and math.isfinite(proto.number):
        return proto.number
    raise ValueError(f"the label of event {proto.event_id} is neither a finite number nor a text")


def label_retracted(message: Message) -> events.LabelRetracted:
    proto = labels_pb2.LabelRetracted.FromString(message.value)
    return events.LabelRetracted(
        PipelineName(proto.pipeline),
        EventId(proto.event_id),
        instant_of(proto.known_at_us),
        message.recorded_at,
        _place(message),
    )


def drift_detected(message: Message) -> events.DriftDetected:
    proto = drift_pb2.DriftDetected.FromString(message.value)
    subject = _subject(proto)
    because = (
        f"{subject} drifted ({proto.method} {proto.statistic:.4g} beyond {proto.threshold:.4g} "
        f"over {proto.window_events:,} events)"
    )
    return events.DriftDetected(
        PipelineName(proto.pipeline), subject, because, message.recorded_at, _began(proto)
    )


def drift_cleared(message: Message) -> events.DriftCleared:
    proto = drift_pb2.DriftCleared.FromString(message.value)
    return events.DriftCleared(PipelineName(proto.pipeline), _subject(proto), message.recorded_at)


def _subject(proto: drift_pb2.DriftDetected | drift_pb2.DriftCleared) -> str:
    kind = _DRIFTED[proto.kind]
    return f"{kind}/{proto.subject}" if kind == "data" else kind


def performance_degraded(message: Message) -> events.PerformanceDegraded:
    proto = drift_pb2.PerformanceDegraded.FromString(message.value)
    because = (
        f"{proto.metric} is {proto.value:.4g} over {proto.window_events:,} labelled predictions, "
        f"worse than {proto.bound:.4g}; it was {proto.reference:.4g} on the holdout"
    )
    subject = f"performance/{proto.metric}"
    return events.PerformanceDegraded(
        PipelineName(proto.pipeline), subject, because, message.recorded_at, _began(proto)
    )


def _began(proto: drift_pb2.DriftDetected | drift_pb2.PerformanceDegraded) -> Instant | None:
    """Where the detector's window begins: at the cut that proved the change (adwin), or with the first window that shows it."""
    return instant_of(proto.window_start_us) if proto.window_start_us else None


def retrain(message: Message) -> events.Retrain:
    proto = commands_pb2.Retrain.FromString(message.value)
    return events.Retrain(PipelineName(proto.pipeline), proto.actor, proto.reason)


def pause_pipeline(message: Message) -> events.PausePipeline:
    proto = commands_pb2.PausePipeline.FromString(message.value)
    return events.PausePipeline(PipelineName(proto.pipeline), proto.paused)


def model_promoted(message: Message) -> events.ModelPromoted:
    proto = models_pb2.ModelPromoted.FromString(message.value)
    return events.ModelPromoted(PipelineName(proto.pipeline), _champion(proto))


def model_rolled_back(message: Message) -> events.ModelRolledBack:
    proto = models_pb2.ModelRolledBack.FromString(message.value)
    return events.ModelRolledBack(PipelineName(proto.pipeline), _champion(proto))


def _champion(proto: models_pb2.ModelPromoted | models_pb2.ModelRolledBack) -> events.Champion:
    return events.Champion(
        version=ModelVersionNumber(proto.version),
        epoch=proto.epoch,
        pipeline_version=proto.pipeline_version,
        artifact_uri=proto.artifact_uri,
        artifact_sha256=proto.artifact_sha256,
        run_id=proto.run_id,
        artifact_signature=proto.artifact_signature,
        signing_key_id=proto.signing_key_id,
        algorithm=proto.algorithm,
    )


def model_rejected(message: Message) -> events.ModelRejected:
    proto = models_pb2.ModelRejected.FromString(message.value)
    return events.ModelRejected(PipelineName(proto.pipeline), RunId(proto.run_id))


def request_id(run: events.Run) -> str:
    """The id under which a run's request is published: what comes of the run names it as its cause."""
    return derived_id("retrain-requested", run.run_id)


def retrain_requested(event: events.RetrainRequested) -> bytes:
    run = event.run
    return training_pb2.RetrainRequested(
        pipeline=run.pipeline,
        pipeline_version=run.pipeline_version,
        run_id=run.run_id,
        run_number=run.number,
        trigger=run.trigger.value,
        cause_id=run.cause_id,
        as_of_us=run.as_of,
    ).SerializeToString(deterministic=True)


def retrain_skipped(event: events.RetrainSkipped) -> bytes:
    return training_pb2.RetrainSkipped(
        pipeline=event.pipeline,
        trigger=event.cause.trigger.value,
        cause_id=event.cause.id,
        reason=event.reason.value,
        detail=event.detail,
        pipeline_version=event.pipeline_version,
    ).SerializeToString(deterministic=True)


def training_started(event: events.TrainingStarted) -> bytes:
    return training_pb2.TrainingStarted(
        pipeline=event.run.pipeline,
        run_id=event.run.run_id,
        vectors_version=event.dataset.vectors_version,
        labels_version=event.dataset.labels_version,
        rows=event.dataset.rows,
    ).SerializeToString(deterministic=True)


def trial_completed(event: events.TrialCompleted) -> bytes:
    trial = event.trial
    return training_pb2.TrialCompleted(
        pipeline=event.run.pipeline,
        run_id=event.run.run_id,
        trial=trial.number,
        algorithm=trial.algorithm,
        parameters_json=trial.parameters_json,
        metrics=trial.metrics,
        cpu_seconds=trial.cpu_seconds,
        loss=trial.loss,
        state=trial.state,
    ).SerializeToString(deterministic=True)


def training_completed(event: events.TrainingCompleted) -> bytes:
    run, dataset, candidate = event.run, event.dataset, event.candidate
    cost = candidate.cost or Cost()
    return training_pb2.TrainingCompleted(
        pipeline=run.pipeline,
        pipeline_version=run.pipeline_version,
        run_id=run.run_id,
        run_number=run.number,
        trigger=run.trigger.value,
        cause_id=run.cause_id,
        algorithm=candidate.algorithm,
        parameters_json=candidate.parameters_json,
        artifact_uri=candidate.artifact_uri,
        artifact_sha256=candidate.artifact_sha256,
        dataset_uri=dataset.uri,
        dataset_sha256=dataset.sha256,
        train_rows=candidate.train_rows,
        holdout_rows=candidate.holdout_rows,
        metrics=candidate.metrics,
        champion_metrics=candidate.champion_metrics,
        champion_version=candidate.champion_version,
        better_probability=candidate.better_probability,
        reference_profile=candidate.reference_profile,
        fit_seconds=candidate.fit_seconds,
        cpu_seconds=candidate.cpu_seconds,
        as_of_us=run.as_of,
        artifact_signature=candidate.artifact_signature,
        signing_key_id=candidate.signing_key_id,
        vectors_version=dataset.vectors_version,
        labels_version=dataset.labels_version,
        record_json=candidate.record_json,
        wall_seconds=cost.wall_seconds,
        peak_memory_bytes=cost.peak_memory_bytes,
        joules=cost.joules,
        **_evidence(candidate.evidence),
    ).SerializeToString(deterministic=True)


def _evidence(evidence: Evidence) -> dict[str, Any]:
    """What was not measured stays absent."""
    baseline, schema = evidence.baseline, evidence.schema
    return {
        "slices": [
            training_pb2.SliceMetrics(
                by=each.by, value=each.value, rows=each.rows, metrics=each.metrics
            )
            for each in evidence.slices
        ],
        "baseline": baseline
        and training_pb2.NaiveBaseline(
            name=baseline.name,
            metrics=baseline.metrics,
            better_probability=baseline.better_probability,
        ),
        "schema": schema
        and training_pb2.ModelSchema(
            numbers=schema.numbers,
            categories=schema.categories,
            label_kind=schema.label_kind,
            classes=schema.classes,
        ),
        "column_scores": evidence.column_scores,
    }


def training_failed(event: events.TrainingFailed) -> bytes:
    run, cost = event.run, event.cost or Cost()
    return training_pb2.TrainingFailed(
        pipeline=run.pipeline,
        run_id=run.run_id,
        run_number=run.number,
        trigger=run.trigger.value,
        reason=event.reason,
        cpu_seconds=cost.cpu_seconds,
        wall_seconds=cost.wall_seconds,
        peak_memory_bytes=cost.peak_memory_bytes,
        joules=cost.joules,
    ).SerializeToString(deterministic=True)


def model_card_made(event: events.ModelCardMade) -> bytes:
    run, cost = event.run, event.cost
    return training_pb2.ModelCardMade(
        pipeline=run.pipeline,
        run_id=run.run_id,
        run_number=run.number,
        card_uri=event.uri,
        card_sha256=event.sha256,
        cpu_seconds=cost.cpu_seconds,
        wall_seconds=cost.wall_seconds,
        peak_memory_bytes=cost.peak_memory_bytes,
        joules=cost.joules,
    ).SerializeToString(deterministic=True)


def _of_run(event: events.TrainingStarted) -> str:
    return event.run.pipeline


WIRE = WireTable(
    decoders={
        "millrace.v1.PipelineApplied": pipeline_applied,
        "millrace.v1.FeaturesComputed": features_computed,
        "millrace.v1.LabelObserved": label_observed,
        "millrace.v1.LabelRetracted": label_retracted,
        "millrace.v1.DriftDetected": drift_detected,
        "millrace.v1.DriftCleared": drift_cleared,
        "millrace.v1.PerformanceDegraded": performance_degraded,
        "millrace.v1.ModelPromoted": model_promoted,
        "millrace.v1.ModelRolledBack": model_rolled_back,
        "millrace.v1.ModelRejected": model_rejected,
        "millrace.v1.Retrain": retrain,
        "millrace.v1.PausePipeline": pause_pipeline,
    },
    encoders=[
        Encoder(
            events.RetrainRequested,
            "millrace.v1.RetrainRequested",
            key=_of_run,
            encode=retrain_requested,
            id=lambda event: request_id(event.run),
        ),
        Encoder(
            events.RetrainSkipped,
            "millrace.v1.RetrainSkipped",
            key=lambda event: event.pipeline,
            encode=retrain_skipped,
        ),
        Encoder(
            events.TrainingStarted,
            "millrace.v1.TrainingStarted",
            key=_of_run,
            encode=training_started,
        ),
        Encoder(
            events.TrialCompleted,
            "millrace.v1.TrialCompleted",
            key=_of_run,
            encode=trial_completed,
            id=lambda event: derived_id(
                "trial-completed", event.run.run_id, str(event.trial.number)
            ),
        ),
        Encoder(
            events.TrainingCompleted,
            "millrace.v1.TrainingCompleted",
            key=_of_run,
            encode=training_completed,
        ),
        Encoder(
            events.ModelCardMade,
            "millrace.v1.ModelCardMade",
            key=_of_run,
            encode=model_card_made,
        ),
        Encoder(
            events.TrainingFailed, "millrace.v1.TrainingFailed", key=_of_run, encode=training_failed
        ),
    ],
)
