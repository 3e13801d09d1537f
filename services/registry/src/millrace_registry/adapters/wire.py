"""Between the bytes on the bus and the registry's own events: what it says, and the tables of both ways."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_contracts.wire import Encoder, WireTable
from millrace_kernel.pipeline import Pipeline
from millrace_proto.v1.commands_pb2 import ApprovePromotion as ApprovePromotionProto
from millrace_proto.v1.commands_pb2 import PausePipeline as PausePipelineProto
from millrace_proto.v1.commands_pb2 import RejectPromotion as RejectPromotionProto
from millrace_proto.v1.commands_pb2 import Retrain as RetrainProto
from millrace_proto.v1.commands_pb2 import RollBack as RollBackProto
from millrace_proto.v1.models_pb2 import ApprovalRequested as ApprovalRequestedProto
from millrace_proto.v1.models_pb2 import ChallengerStarted as ChallengerStartedProto
from millrace_proto.v1.models_pb2 import GateVerdict as GateVerdictProto
from millrace_proto.v1.models_pb2 import ModelPromoted as ModelPromotedProto
from millrace_proto.v1.models_pb2 import ModelRegistered as ModelRegisteredProto
from millrace_proto.v1.models_pb2 import ModelRejected as ModelRejectedProto
from millrace_proto.v1.models_pb2 import ModelRetired as ModelRetiredProto
from millrace_proto.v1.models_pb2 import ModelRolledBack as ModelRolledBackProto
from millrace_proto.v1.pipelines_pb2 import PipelineApplied as PipelineAppliedProto
from millrace_registry.adapters.decoding import (
    approve_promotion,
    challenger_compared,
    deployment_failed,
    model_card_made,
    pause_pipeline,
    reject_promotion,
    roll_back,
    training_completed,
)
from millrace_registry.domain.events import (
    ApprovalRequested,
    ApprovePromotion,
    ChallengerStarted,
    Change,
    Command,
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
    Verdict,
)

EARLIER_BYTES = 700_000  # of earlier files in one message: with the rest it stays below the 1 MB that brokers take


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
        "millrace.v1.ModelCardMade": model_card_made,
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
