"""What others say, from the bytes on the bus to the registry's own events."""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message as ProtoMessage

from millrace_contracts.message import Message
from millrace_contracts.wire import instant_of
from millrace_kernel.evidence import Evidence, ModelSchema, NaiveBaseline, SliceMetrics
from millrace_kernel.ids import ModelVersionNumber, PipelineName, RunId
from millrace_kernel.time import Instant
from millrace_proto.v1.commands_pb2 import ApprovePromotion as ApprovePromotionProto
from millrace_proto.v1.commands_pb2 import PausePipeline as PausePipelineProto
from millrace_proto.v1.commands_pb2 import RejectPromotion as RejectPromotionProto
from millrace_proto.v1.commands_pb2 import RollBack as RollBackProto
from millrace_proto.v1.deployments_pb2 import DeploymentFailed as DeploymentFailedProto
from millrace_proto.v1.drift_pb2 import ChallengerCompared as ChallengerComparedProto
from millrace_proto.v1.drift_pb2 import ChallengerVerdict
from millrace_proto.v1.training_pb2 import ModelCardMade as ModelCardMadeProto
from millrace_proto.v1.training_pb2 import TrainingCompleted as TrainingCompletedProto
from millrace_registry.domain.events import (
    ApprovePromotion,
    ChallengerCompared,
    Comparison,
    DeploymentFailed,
    ModelCardMade,
    PausePipeline,
    RejectPromotion,
    RollBack,
    TrainingCompleted,
)

LONGEST_ID = 400  # characters; what the tables' keys have room for


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
        evidence=_evidence(proto),
    )


def model_card_made(message: Message) -> ModelCardMade:
    proto = ModelCardMadeProto.FromString(message.value)
    _storable(message, proto)
    return ModelCardMade(
        pipeline=PipelineName(proto.pipeline),
        run_id=RunId(proto.run_id),
        run_number=proto.run_number,
        uri=proto.card_uri,
        sha256=proto.card_sha256,
    )


def _evidence(proto: TrainingCompletedProto) -> Evidence:
    schema, baseline = proto.schema, proto.baseline
    scores = sorted(proto.column_scores.items(), key=lambda item: (-item[1], item[0]))
    return Evidence(
        slices=tuple(
            SliceMetrics(each.by, each.value, each.rows, dict(each.metrics))
            for each in proto.slices
        ),
        baseline=NaiveBaseline(baseline.name, dict(baseline.metrics), baseline.better_probability)
        if proto.HasField("baseline")
        else None,
        schema=ModelSchema(
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
