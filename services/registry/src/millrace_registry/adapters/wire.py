"""Between the bytes on the bus and the registry's own events."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message as ProtoMessage

from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_contracts.wire import Encoder, WireTable, instant_of
from millrace_kernel.ids import ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_proto.v1.commands_pb2 import ApprovePromotion as ApprovePromotionProto
from millrace_proto.v1.commands_pb2 import PausePipeline as PausePipelineProto
from millrace_proto.v1.commands_pb2 import RejectPromotion as RejectPromotionProto
from millrace_proto.v1.commands_pb2 import Retrain as RetrainProto
from millrace_proto.v1.commands_pb2 import RollBack as RollBackProto
from millrace_proto.v1.deployments_pb2 import DeploymentFailed as DeploymentFailedProto
from millrace_proto.v1.drift_pb2 import ChallengerCompared as ChallengerComparedProto
from millrace_proto.v1.drift_pb2 import ChallengerVerdict
from millrace_proto.v1.models_pb2 import ApprovalRequested as ApprovalRequestedProto
from millrace_proto.v1.models_pb2 import ChallengerStarted as ChallengerStartedProto
from millrace_proto.v1.models_pb2 import GateVerdict as GateVerdictProto
from millrace_proto.v1.models_pb2 import ModelPromoted as ModelPromotedProto
from millrace_proto.v1.models_pb2 import ModelRegistered as ModelRegisteredProto
from millrace_proto.v1.models_pb2 import ModelRejected as ModelRejectedProto
from millrace_proto.v1.models_pb2 import ModelRetired as ModelRetiredProto
from millrace_proto.v1.models_pb2 import ModelRolledBack as ModelRolledBackProto
from millrace_proto.v1.pipelines_pb2 import PipelineApplied as PipelineAppliedProto
from millrace_proto.v1.training_pb2 import TrainingCompleted as TrainingCompletedProto
from millrace_registry.domain.events import (
    ApprovalRequested,
    ApprovePromotion,
    ChallengerCompared,
    ChallengerStarted,
    Change,
    Command,
    Comparison,
    DeploymentFailed,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
    ModelRetired,
    ModelRolledBack,
    PausePipeline,
    PipelineApplied,
    RejectPromotion,
    Retrain,
    RollBack,
    TrainingCompleted,
    Verdict,
)
from millrace_registry.domain.evidence import Baseline, Evidence, Schema, Slice

LONGEST_ID = 400  # characters; what the tables' keys have room for
EARLIER_BYTES = 700_000  # of earlier files in one message: with the rest it stays below the 1 MB that brokers take


def _storable(message: Message, proto: ProtoMessage) -> None:
    """Raise ValueError for what bytes can say and a database cannot keep: NUL in a text, an id without end."""
    values = {field.name: value for field, value in proto.ListFields() if isinstance(value, str)}
    for name, value in (values | {"ce_id": message.id}).items():
        if "\0" in value:
            raise ValueError(f"{name} holds a NUL character")
        if name in ("pipeline", "run_id", "cause_id", "ce_id") and len(value) > LONGEST_ID:
            raise ValueError(f"{name} has {len(value)} characters; at most {LONGEST_ID} are kept")


def training_completed(message: Message) -> TrainingCompleted:
    proto = TrainingCompletedProto.FromString(message.value)
    _storable(message, proto)
    return TrainingCompleted(
        pipeline=PipelineName(proto.pipeline),
        pipeline_version=proto.pipeline_version,
        run_id=RunId(proto.run_id),
        run_number=proto.run_number,
        trigger=proto.trigger,
        cause_id=proto.cause_id,
        algorithm=proto.algorithm,
        parameters_json=proto.parameters_json,
        artifact_uri=proto.artifact_uri,
        artifact_sha256=proto.artifact_sha256,
        artifact_signature=proto.artifact_signature,
        signing_key_id=proto.signing_key_id,
        dataset_uri=proto.dataset_uri,
        dataset_sha256=proto.dataset_sha256,
        train_rows=proto.train_rows,
        holdout_rows=proto.holdout_rows,
        metrics=dict(proto.metrics),
        champion_metrics=dict(proto.champion_metrics),
        champion_version=ModelVersionNumber(proto.champion_version),
        better_probability=proto.better_probability,
        reference_profile=proto.reference_profile,
        fit_seconds=proto.fit_seconds,
        cpu_seconds=proto.cpu_seconds,
        as_of=instant_of(proto.as_of_us),
        id=message.id,
        at=message.recorded_at,
        card_uri=proto.card_uri,
        card_sha256=proto.card_sha256,
        evidence=_evidence(proto),
    )


def _evidence(proto: TrainingCompletedProto) -> Evidence:
    schema, baseline = proto.schema, proto.baseline
    scores = sorted(proto.column_scores.items(), key=lambda item: (-item[1], item[0]))
    return Evidence(
        slices=tuple(
            Slice(each.by, each.value, each.rows, dict(each.metrics)) for each in proto.slices
        ),
        baseline=Baseline(baseline.name, dict(baseline.metrics), baseline.better_probability)
        if proto.HasField("baseline")
        else None,
        schema=Schema(
            tuple(schema.numbers),
            tuple(schema.categories),
            schema.label_kind,
            tuple(schema.classes),
        )
        if proto.HasField("schema")
        else None,
        column_scores=dict(scores),
    )


T = TypeVar("T")


def _version_command(
    kind: Callable[[PipelineName, ModelVersionNumber, str, str, str, Instant], T],
    proto_kind: type[Any],
) -> Callable[[Message], T]:
    """The three commands about a version have the same fields."""

    def decode(message: Message) -> T:
        proto = proto_kind.FromString(message.value)
        _storable(message, proto)
        name, version = PipelineName(proto.pipeline), ModelVersionNumber(proto.version)
        return kind(name, version, proto.actor, proto.reason, message.id, message.recorded_at)

    return decode


approve_promotion = _version_command(ApprovePromotion, ApprovePromotionProto)
reject_promotion = _version_command(RejectPromotion, RejectPromotionProto)
roll_back = _version_command(RollBack, RollBackProto)


def pause_pipeline(message: Message) -> PausePipeline:
    proto = PausePipelineProto.FromString(message.value)
    _storable(message, proto)
    name = PipelineName(proto.pipeline)
    return PausePipeline(
        name, proto.paused, proto.actor, proto.reason, message.id, message.recorded_at
    )


def deployment_failed(message: Message) -> DeploymentFailed:
    proto = DeploymentFailedProto.FromString(message.value)
    _storable(message, proto)
    name, version = PipelineName(proto.pipeline), ModelVersionNumber(proto.version)
    return DeploymentFailed(
        name,
        version,
        proto.epoch,
        proto.instance,
        proto.reason,
        message.id,
        message.recorded_at,
        proto.trial,
    )


_COMPARISONS = {
    ChallengerVerdict.CHALLENGER_VERDICT_UNDECIDED: Comparison.UNDECIDED,
    ChallengerVerdict.CHALLENGER_VERDICT_BETTER: Comparison.BETTER,
    ChallengerVerdict.CHALLENGER_VERDICT_WORSE: Comparison.WORSE,
    ChallengerVerdict.CHALLENGER_VERDICT_SLOW: Comparison.SLOW,
    ChallengerVerdict.CHALLENGER_VERDICT_FAILING: Comparison.FAILING,
}


def challenger_compared(message: Message) -> ChallengerCompared:
    """A verdict that is not understood here decides nothing."""
    proto = ChallengerComparedProto.FromString(message.value)
    _storable(message, proto)
    return ChallengerCompared(
        pipeline=PipelineName(proto.pipeline),
        version=ModelVersionNumber(proto.challenger_version),
        champion=ModelVersionNumber(proto.champion_version),
        trial=proto.trial,
        step=proto.step,
        verdict=_COMPARISONS.get(proto.verdict, Comparison.UNDECIDED),
        events=proto.events,
        step_events=proto.step_events,
        loss=proto.loss,
        difference=proto.difference,
        lower=proto.lower,
        upper=proto.upper,
        confidence=proto.confidence,
        seconds=proto.challenger_seconds,
        errors=proto.challenger_errors,
        id=message.id,
        at=message.recorded_at,
    )


def encode_pipeline_applied(event: PipelineApplied) -> bytes:
    return PipelineAppliedProto(
        pipeline=event.pipeline,
        version=event.file.version,
        spec_json=pipeline_to_json(event.file),
        spec_sha256=event.digest,
        earlier_spec_json=_newest_that_fit(event.earlier),
    ).SerializeToString(deterministic=True)


def _newest_that_fit(earlier: Sequence[Pipeline]) -> list[str]:
    texts: list[str] = []
    room = EARLIER_BYTES
    for file in reversed(earlier):
        text = pipeline_to_json(file)
        room -= len(text.encode())
        if room < 0:
            break
        texts.append(text)
    return texts[::-1]


def encode_model_registered(event: ModelRegistered) -> bytes:
    training = event.model.training
    return ModelRegisteredProto(
        pipeline=event.pipeline,
        version=event.model.version,
        run_id=training.run_id,
        algorithm=training.algorithm,
        artifact_uri=training.artifact_uri,
        artifact_sha256=training.artifact_sha256,
        metrics=training.metrics,
        pipeline_version=training.pipeline_version,
        artifact_signature=training.artifact_signature,
        signing_key_id=training.signing_key_id,
    ).SerializeToString(deterministic=True)


def encode_model_rejected(event: ModelRejected) -> bytes:
    return ModelRejectedProto(
        pipeline=event.pipeline,
        version=event.version,
        run_id=event.run_id,
        reason=event.reason,
        verdicts=_verdicts(event.verdicts),
    ).SerializeToString(deterministic=True)


def encode_challenger_started(event: ChallengerStarted) -> bytes:
    training, trial = event.model.training, event.trial
    return ChallengerStartedProto(
        pipeline=event.pipeline,
        version=event.version,
        artifact_uri=training.artifact_uri,
        artifact_sha256=training.artifact_sha256,
        traffic_share=trial.share / 100,
        pipeline_version=training.pipeline_version,
        run_id=training.run_id,
        artifact_signature=training.artifact_signature,
        signing_key_id=training.signing_key_id,
        trial=trial.number,
        step=trial.step,
        champion_version=trial.champion,
        epoch=trial.epoch,
        since_us=trial.since,
        started_us=trial.started,
        learnt_until_us=training.as_of,
        reason=event.reason,
    ).SerializeToString(deterministic=True)


def encode_approval_requested(event: ApprovalRequested) -> bytes:
    return ApprovalRequestedProto(
        pipeline=event.pipeline, version=event.version, verdicts=_verdicts(event.verdicts)
    ).SerializeToString(deterministic=True)


def encode_model_promoted(event: ModelPromoted) -> bytes:
    training = event.model.training
    return ModelPromotedProto(
        pipeline=event.pipeline,
        pipeline_version=training.pipeline_version,
        version=event.model.version,
        epoch=event.epoch,
        previous_version=event.previous,
        run_id=training.run_id,
        trigger=training.trigger,
        cause_id=training.cause_id,
        algorithm=training.algorithm,
        artifact_uri=training.artifact_uri,
        artifact_sha256=training.artifact_sha256,
        metrics=training.metrics,
        reference_profile=training.reference_profile,
        verdicts=_verdicts(event.verdicts),
        artifact_signature=training.artifact_signature,
        signing_key_id=training.signing_key_id,
    ).SerializeToString(deterministic=True)


def encode_model_rolled_back(event: ModelRolledBack) -> bytes:
    training = event.model.training
    return ModelRolledBackProto(
        pipeline=event.pipeline,
        pipeline_version=training.pipeline_version,
        version=event.model.version,
        epoch=event.epoch,
        previous_version=event.previous,
        reason=event.reason,
        algorithm=training.algorithm,
        artifact_uri=training.artifact_uri,
        artifact_sha256=training.artifact_sha256,
        metrics=training.metrics,
        reference_profile=training.reference_profile,
        run_id=training.run_id,
        artifact_signature=training.artifact_signature,
        signing_key_id=training.signing_key_id,
    ).SerializeToString(deterministic=True)


def encode_model_retired(event: ModelRetired) -> bytes:
    retired = ModelRetiredProto(pipeline=event.pipeline, version=event.version, reason=event.reason)
    return retired.SerializeToString(deterministic=True)


def _verdicts(verdicts: Sequence[Verdict]) -> list[GateVerdictProto]:
    return [
        GateVerdictProto(gate=one.gate, passed=one.passed, evidence=one.evidence)
        for one in verdicts
    ]


def encode_version_command(event: ApprovePromotion | RejectPromotion | RollBack) -> bytes:
    """The three commands about a version have the same fields."""
    kinds = {
        ApprovePromotion: ApprovePromotionProto,
        RejectPromotion: RejectPromotionProto,
        RollBack: RollBackProto,
    }
    proto = kinds[type(event)](
        pipeline=event.pipeline, version=event.version, actor=event.actor, reason=event.reason
    )
    return proto.SerializeToString(deterministic=True)


def encode_pause_pipeline(event: PausePipeline) -> bytes:
    return PausePipelineProto(
        pipeline=event.pipeline, paused=event.paused, actor=event.actor, reason=event.reason
    ).SerializeToString(deterministic=True)


def encode_retrain(event: Retrain) -> bytes:
    proto = RetrainProto(pipeline=event.pipeline, actor=event.actor, reason=event.reason)
    return proto.SerializeToString(deterministic=True)


def _pipeline(event: PipelineApplied | Change | Command) -> str:
    """Every topic that the registry writes is keyed by pipeline."""
    return event.pipeline


def _id(event: Command) -> str:
    return event.id


_ENCODED: Mapping[type, Callable[[Any], bytes]] = {
    PipelineApplied: encode_pipeline_applied,
    ModelRegistered: encode_model_registered,
    ModelRejected: encode_model_rejected,
    ChallengerStarted: encode_challenger_started,
    ApprovalRequested: encode_approval_requested,
    ModelPromoted: encode_model_promoted,
    ModelRolledBack: encode_model_rolled_back,
    ModelRetired: encode_model_retired,
}
_ASKED: Mapping[type, Callable[[Any], bytes]] = {
    ApprovePromotion: encode_version_command,
    RejectPromotion: encode_version_command,
    RollBack: encode_version_command,
    PausePipeline: encode_pause_pipeline,
    Retrain: encode_retrain,
}

WIRE = WireTable(
    decoders={
        "millrace.v1.TrainingCompleted": training_completed,
        "millrace.v1.ApprovePromotion": approve_promotion,
        "millrace.v1.RejectPromotion": reject_promotion,
        "millrace.v1.RollBack": roll_back,
        "millrace.v1.PausePipeline": pause_pipeline,
        "millrace.v1.DeploymentFailed": deployment_failed,
        "millrace.v1.ChallengerCompared": challenger_compared,
    },
    encoders=[
        Encoder(kind, f"millrace.v1.{kind.__name__}", key=_pipeline, encode=encode)
        for kind, encode in _ENCODED.items()
    ],
)

# What people ask for over the registry's HTTP goes the way of every command: through the topic.
COMMANDS = WireTable(
    decoders={},
    encoders=[
        Encoder(kind, f"millrace.v1.{kind.__name__}", key=_pipeline, encode=encode, id=_id)
        for kind, encode in _ASKED.items()
    ],
)
