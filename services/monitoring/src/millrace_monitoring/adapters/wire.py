"""Between the bytes on the bus and monitoring's own events: the only place that knows the generated classes."""

import math

from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import PipelineFileError, pipeline_from_json
from millrace_contracts.wire import Encoder, WireError, WireTable, instant_of
from millrace_kernel.ids import EventId, ModelVersionNumber, PipelineName
from millrace_kernel.profile import profile_from_json
from millrace_monitoring.domain import events
from millrace_monitoring.domain.events import Kind, Role, Severity, Verdict
from millrace_proto.v1 import alerts_pb2, drift_pb2, labels_pb2, models_pb2, pipelines_pb2
from millrace_proto.v1.predictions_pb2 import PredictionMade, PredictionRole

LONGEST_EVENT_ID = 1000
_ROLES = {
    PredictionRole.PREDICTION_ROLE_CHAMPION: Role.CHAMPION,
    PredictionRole.PREDICTION_ROLE_CHALLENGER: Role.CHALLENGER,
    PredictionRole.PREDICTION_ROLE_FALLBACK: Role.FALLBACK,
    PredictionRole.PREDICTION_ROLE_REQUEST: Role.REQUEST,
}
_KINDS = {
    Kind.DATA: drift_pb2.DRIFT_KIND_DATA,
    Kind.PREDICTION: drift_pb2.DRIFT_KIND_PREDICTION,
    Kind.CONCEPT: drift_pb2.DRIFT_KIND_CONCEPT,
}


_VERDICTS = {
    Verdict.UNDECIDED: drift_pb2.CHALLENGER_VERDICT_UNDECIDED,
    Verdict.BETTER: drift_pb2.CHALLENGER_VERDICT_BETTER,
    Verdict.WORSE: drift_pb2.CHALLENGER_VERDICT_WORSE,
    Verdict.SLOW: drift_pb2.CHALLENGER_VERDICT_SLOW,
    Verdict.FAILING: drift_pb2.CHALLENGER_VERDICT_FAILING,
}


def pipeline_applied(message: Message) -> events.PipelineApplied:
    proto = pipelines_pb2.PipelineApplied.FromString(message.value)
    try:
        return events.PipelineApplied(
            pipeline_from_json(proto.spec_json),
            tuple(pipeline_from_json(text) for text in proto.earlier_spec_json),
        )
    except PipelineFileError as error:
        raise WireError(
            f"version {proto.version} of pipeline {proto.pipeline} is not understood here: {error}"
        ) from error


def prediction_made(message: Message) -> events.PredictionMade:
    proto = PredictionMade.FromString(message.value)
    answer: float | str | None = proto.class_label or proto.text or None
    if answer is None and proto.HasField("value") and math.isfinite(proto.value):
        answer = proto.value
    return events.PredictionMade(
        id=message.id,
        pipeline=PipelineName(proto.pipeline),
        pipeline_version=proto.pipeline_version,
        event_id=_event_id(proto.event_id),
        event_time=instant_of(proto.event_time_us),
        recorded_at=message.recorded_at,
        model_version=ModelVersionNumber(proto.model_version),
        epoch=proto.epoch,
        role=_ROLES[proto.role],
        answer=answer,
        numbers=tuple(proto.numbers),
        categories=tuple(proto.categories),
        trial=proto.trial,
        seconds=proto.seconds if math.isfinite(proto.seconds) else 0.0,
    )


def label_observed(message: Message) -> events.LabelObserved:
    proto = labels_pb2.LabelObserved.FromString(message.value)
    truth = proto.text if proto.HasField("text") else proto.number
    if not (proto.HasField("text") or proto.HasField("number")) or truth == "":
        raise ValueError(f"the label of event {proto.event_id} carries neither a number nor a text")
    if not isinstance(truth, str) and not math.isfinite(truth):
        raise ValueError(f"the label of event {proto.event_id} is {truth}")
    return events.LabelObserved(
        id=message.id,
        pipeline=PipelineName(proto.pipeline),
        event_id=_event_id(proto.event_id),
        recorded_at=message.recorded_at,
        truth=truth,
    )


def label_retracted(message: Message) -> events.LabelRetracted:
    proto = labels_pb2.LabelRetracted.FromString(message.value)
    return events.LabelRetracted(
        message.id, PipelineName(proto.pipeline), _event_id(proto.event_id)
    )


def model_promoted(message: Message) -> events.ModelPromoted:
    proto = models_pb2.ModelPromoted.FromString(message.value)
    return events.ModelPromoted(
        id=message.id,
        pipeline=PipelineName(proto.pipeline),
        version=ModelVersionNumber(proto.version),
        epoch=proto.epoch,
        profile=profile_from_json(proto.reference_profile),
    )


def model_rolled_back(message: Message) -> events.ModelRolledBack:
    proto = models_pb2.ModelRolledBack.FromString(message.value)
    return events.ModelRolledBack(
        id=message.id,
        pipeline=PipelineName(proto.pipeline),
        version=ModelVersionNumber(proto.version),
        epoch=proto.epoch,
        profile=profile_from_json(proto.reference_profile),
    )


def challenger_started(message: Message) -> events.ChallengerStarted:
    proto = models_pb2.ChallengerStarted.FromString(message.value)
    return events.ChallengerStarted(
        id=message.id,
        pipeline=PipelineName(proto.pipeline),
        version=ModelVersionNumber(proto.version),
        trial=proto.trial,
        step=proto.step,
        epoch=proto.epoch,
        champion_version=ModelVersionNumber(proto.champion_version),
        learnt_until=instant_of(proto.learnt_until_us),
    )


def model_rejected(message: Message) -> events.ChallengerEnded:
    proto = models_pb2.ModelRejected.FromString(message.value)
    return events.ChallengerEnded(PipelineName(proto.pipeline), ModelVersionNumber(proto.version))


def model_retired(message: Message) -> events.ChallengerEnded:
    proto = models_pb2.ModelRetired.FromString(message.value)
    return events.ChallengerEnded(PipelineName(proto.pipeline), ModelVersionNumber(proto.version))


def approval_requested(message: Message) -> events.ChallengerEnded:
    proto = models_pb2.ApprovalRequested.FromString(message.value)
    return events.ChallengerEnded(PipelineName(proto.pipeline), ModelVersionNumber(proto.version))


def drift_detected(event: events.DriftDetected) -> bytes:
    return drift_pb2.DriftDetected(
        pipeline=event.pipeline,
        kind=_KINDS[event.kind],
        subject=event.subject,
        method=event.method,
        statistic=event.statistic,
        threshold=event.threshold,
        model_version=event.model_version,
        window_start_us=event.window_start,
        window_end_us=event.window_end,
        window_events=event.window_events,
        reference_mean=event.reference_mean,
        window_mean=event.window_mean,
        also=event.also,
    ).SerializeToString(deterministic=True)


def drift_cleared(event: events.DriftCleared) -> bytes:
    return drift_pb2.DriftCleared(
        pipeline=event.pipeline,
        kind=_KINDS[event.kind],
        subject=event.subject,
        method=event.method,
        statistic=event.statistic,
        threshold=event.threshold,
        model_version=event.model_version,
    ).SerializeToString(deterministic=True)


def performance_degraded(event: events.PerformanceDegraded) -> bytes:
    return drift_pb2.PerformanceDegraded(
        pipeline=event.pipeline,
        metric=event.metric,
        value=event.value,
        bound=event.bound,
        reference=event.reference,
        model_version=event.model_version,
        window_start_us=event.window_start,
        window_end_us=event.window_end,
        window_events=event.window_events,
    ).SerializeToString(deterministic=True)


def data_quality_violated(event: events.DataQualityViolated) -> bytes:
    return drift_pb2.DataQualityViolated(
        pipeline=event.pipeline,
        column=event.column,
        rule=event.rule,
        value=event.value,
        threshold=event.threshold,
        window_events=event.window_events,
    ).SerializeToString(deterministic=True)


def challenger_compared(event: events.ChallengerCompared) -> bytes:
    return drift_pb2.ChallengerCompared(
        pipeline=event.pipeline,
        champion_version=event.champion_version,
        challenger_version=event.challenger_version,
        metric=event.metric,
        champion_value=event.champion_value,
        challenger_value=event.challenger_value,
        events=event.events,
        trial=event.trial,
        step=event.step,
        epoch=event.epoch,
        step_events=event.step_events,
        loss=event.loss,
        difference=event.difference,
        lower=event.lower,
        upper=event.upper,
        confidence=event.confidence,
        verdict=_VERDICTS[event.verdict],
        champion_seconds=event.champion_seconds,
        challenger_seconds=event.challenger_seconds,
        champion_errors=event.champion_errors,
        challenger_errors=event.challenger_errors,
    ).SerializeToString(deterministic=True)


def alert_raised(event: events.AlertRaised) -> bytes:
    return alerts_pb2.AlertRaised(
        pipeline=event.pipeline,
        fingerprint=event.fingerprint,
        severity=Severity(event.severity).value,
        summary=event.summary,
        cause_id=event.cause_id,
    ).SerializeToString(deterministic=True)


def alert_resolved(event: events.AlertResolved) -> bytes:
    return alerts_pb2.AlertResolved(
        pipeline=event.pipeline, fingerprint=event.fingerprint, cause_id=event.cause_id
    ).SerializeToString(deterministic=True)


def _event_id(text: str) -> EventId:
    """Refuses what a database cannot keep."""
    if len(text) > LONGEST_EVENT_ID or "\0" in text:
        raise ValueError(
            f"an event id of {len(text)} characters, or with NUL in it, cannot be kept"
        )
    return EventId(text)


def _key(event: events.Event) -> str:
    return event.pipeline


def _id(event: events.Said) -> str:
    return event.id


WIRE = WireTable(
    decoders={
        "millrace.v1.PipelineApplied": pipeline_applied,
        "millrace.v1.PredictionMade": prediction_made,
        "millrace.v1.LabelObserved": label_observed,
        "millrace.v1.LabelRetracted": label_retracted,
        "millrace.v1.ModelPromoted": model_promoted,
        "millrace.v1.ModelRolledBack": model_rolled_back,
        "millrace.v1.ChallengerStarted": challenger_started,
        "millrace.v1.ModelRejected": model_rejected,
        "millrace.v1.ModelRetired": model_retired,
        "millrace.v1.ApprovalRequested": approval_requested,
    },
    encoders=[
        Encoder(events.DriftDetected, "millrace.v1.DriftDetected", _key, drift_detected, _id),
        Encoder(events.DriftCleared, "millrace.v1.DriftCleared", _key, drift_cleared, _id),
        Encoder(
            events.PerformanceDegraded,
            "millrace.v1.PerformanceDegraded",
            _key,
            performance_degraded,
            _id,
        ),
        Encoder(
            events.DataQualityViolated,
            "millrace.v1.DataQualityViolated",
            _key,
            data_quality_violated,
            _id,
        ),
        Encoder(
            events.ChallengerCompared,
            "millrace.v1.ChallengerCompared",
            _key,
            challenger_compared,
            _id,
        ),
        Encoder(events.AlertRaised, "millrace.v1.AlertRaised", _key, alert_raised),
        Encoder(events.AlertResolved, "millrace.v1.AlertResolved", _key, alert_resolved),
    ],
)
