"""Between the bytes on the bus and serving's own events."""

from functools import lru_cache
from struct import Struct
from typing import Any

from typing_extensions import override

from millrace_contracts.hot_fields import doubles, opening, text, texts, varint, whole
from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import PipelineFileError, pipeline_from_json
from millrace_contracts.wire import Encoder, WireTable, instant_of
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.time import Instant
from millrace_proto.v1.deployments_pb2 import DeploymentFailed as DeploymentFailedProto
from millrace_proto.v1.deployments_pb2 import ModelDeployed as ModelDeployedProto
from millrace_proto.v1.features_pb2 import FeaturesComputed as FeaturesComputedProto
from millrace_proto.v1.models_pb2 import ApprovalRequested as ApprovalRequestedProto
from millrace_proto.v1.models_pb2 import ChallengerStarted as ChallengerStartedProto
from millrace_proto.v1.models_pb2 import ModelPromoted as ModelPromotedProto
from millrace_proto.v1.models_pb2 import ModelRejected as ModelRejectedProto
from millrace_proto.v1.models_pb2 import ModelRetired as ModelRetiredProto
from millrace_proto.v1.models_pb2 import ModelRolledBack as ModelRolledBackProto
from millrace_proto.v1.pipelines_pb2 import PipelineApplied as PipelineAppliedProto
from millrace_proto.v1.predictions_pb2 import PredictionRole
from millrace_serving.domain.canary import (
    PARTS,
    ChallengerEnded,
    ChallengerStarted,
    Trial,
)
from millrace_serving.domain.champions import Champion, ModelPromoted, ModelRolledBack
from millrace_serving.domain.events import (
    DeploymentFailed,
    FeaturesComputed,
    ModelDeployed,
    PipelineApplied,
    PredictionMade,
    Role,
)

# tags of PredictionMade's fields 6 to 18
_VERSION, _EPOCH, _ROLE, _VALUE_TAG, _CLASS_LABEL = 0x30, 0x38, 0x40, 0x49, 0x52
_PROBABILITIES, _NUMBERS, _CATEGORIES, _TRIAL, _SECONDS = 0x5A, 0x62, 0x6A, 0x70, 0x79
_QUANTILES, _INTERVAL = 0x82, 0x8A
_TEXT = b"\x92\x01"
_VALUE = Struct("<Bd").pack  # a tag and a double of its own

_ROLES = {
    Role.CHAMPION: PredictionRole.PREDICTION_ROLE_CHAMPION,
    Role.CHALLENGER: PredictionRole.PREDICTION_ROLE_CHALLENGER,
    Role.FALLBACK: PredictionRole.PREDICTION_ROLE_FALLBACK,
    Role.REQUEST: PredictionRole.PREDICTION_ROLE_REQUEST,
}


def pipeline_applied(message: Message) -> PipelineApplied:
    proto = PipelineAppliedProto.FromString(message.value)
    try:
        versions = [
            pipeline_from_json(text) for text in (*proto.earlier_spec_json, proto.spec_json)
        ]
    except PipelineFileError as error:
        # bytes that don't decode: the follower says so and skips them
        raise ValueError(str(error)) from error
    return PipelineApplied(PipelineName(proto.pipeline), tuple(versions))


def features_computed(message: Message) -> FeaturesComputed:
    proto: Any = FeaturesComputedProto.FromString(
        message.value
    )  # its texts are what they are called
    return FeaturesComputed(
        proto.pipeline,
        proto.pipeline_version,
        proto.event_id,
        proto.entity,
        instant_of(proto.event_time_us),
        tuple(proto.numbers[:]),  # a slice copies faster than iterating
        tuple(proto.categories),
    )


def model_promoted(message: Message) -> ModelPromoted:
    return ModelPromoted(_champion(ModelPromotedProto.FromString(message.value)))


def model_rolled_back(message: Message) -> ModelRolledBack:
    proto = ModelRolledBackProto.FromString(message.value)
    return ModelRolledBack(_champion(proto), ModelVersionNumber(proto.previous_version))


def _champion(
    proto: ModelPromotedProto | ModelRolledBackProto | ChallengerStartedProto,
) -> Champion:
    return Champion(
        pipeline=PipelineName(proto.pipeline),
        pipeline_version=proto.pipeline_version,
        version=ModelVersionNumber(proto.version),
        epoch=proto.epoch,
        artifact_uri=proto.artifact_uri,
        artifact_sha256=proto.artifact_sha256,
        run_id=proto.run_id,
        artifact_signature=proto.artifact_signature,
        signing_key_id=proto.signing_key_id,
    )


def challenger_started(message: Message) -> ChallengerStarted:
    proto = ChallengerStartedProto.FromString(message.value)
    return ChallengerStarted(
        Trial(
            number=proto.trial,
            step=proto.step,
            challenger=_champion(proto),
            champion=ModelVersionNumber(proto.champion_version),
            share=round(min(max(proto.traffic_share, 0.0), 1.0) * PARTS),
            since=instant_of(proto.since_us),
            started=instant_of(proto.started_us),
        )
    )


def challenger_ended(message: Message) -> ChallengerEnded:
    """ModelRejected, ModelRetired and ApprovalRequested say it in the same two fields."""
    proto = _ENDINGS[message.type].FromString(message.value)
    return ChallengerEnded(PipelineName(proto.pipeline), ModelVersionNumber(proto.version))


_ENDINGS: dict[str, type[ModelRejectedProto | ModelRetiredProto | ApprovalRequestedProto]] = {
    "millrace.v1.ModelRejected": ModelRejectedProto,
    "millrace.v1.ModelRetired": ModelRetiredProto,
    "millrace.v1.ApprovalRequested": ApprovalRequestedProto,
}


def encode_prediction_made(event: PredictionMade) -> bytes:
    pipeline, pipeline_version, event_id, entity, time, numbers, categories = event.vector
    value, class_label, probabilities, quantiles, interval, words = event.answer
    return b"".join(
        (
            opening(pipeline, pipeline_version, event_id, entity, time),
            _who(event.model_version, event.epoch, event.role),
            b"" if value is None else _VALUE(_VALUE_TAG, value),
            text(_CLASS_LABEL, class_label),
            doubles(_PROBABILITIES, probabilities),
            doubles(_NUMBERS, numbers),
            texts(_CATEGORIES, categories),
            whole(_TRIAL, event.trial),
            _VALUE(_SECONDS, event.seconds) if event.seconds else b"",
            doubles(_QUANTILES, quantiles),
            doubles(_INTERVAL, interval),
            _in_words(words),
        )
    )


def _in_words(words: str) -> bytes:
    if not words:
        return b""
    content = words.encode()
    return b"%b%b%b" % (_TEXT, varint(len(content)), content)


@lru_cache(maxsize=1_024)
def _who(model_version: int, epoch: int, role: Role) -> bytes:
    """Who answered: the same for all vectors of a call."""
    return whole(_VERSION, model_version) + whole(_EPOCH, epoch) + whole(_ROLE, _ROLES[role])


def encode_model_deployed(event: ModelDeployed) -> bytes:
    return ModelDeployedProto(
        pipeline=event.champion.pipeline,
        version=event.champion.version,
        epoch=event.champion.epoch,
        instance=event.instance,
        load_seconds=event.load_seconds,
    ).SerializeToString()


def encode_deployment_failed(event: DeploymentFailed) -> bytes:
    return DeploymentFailedProto(
        pipeline=event.champion.pipeline,
        version=event.champion.version,
        epoch=event.champion.epoch,
        instance=event.instance,
        reason=event.reason,
        trial=event.trial,
    ).SerializeToString()


def _prediction_key(event: PredictionMade) -> str:
    return f"{event.vector.pipeline}/{event.vector.event_id}"


def _prediction_time(event: PredictionMade) -> Instant:
    return event.vector.event_time


WIRE = WireTable(
    decoders={
        "millrace.v1.PipelineApplied": pipeline_applied,
        "millrace.v1.FeaturesComputed": features_computed,
        "millrace.v1.ModelPromoted": model_promoted,
        "millrace.v1.ModelRolledBack": model_rolled_back,
    },
    encoders=[
        Encoder(
            PredictionMade,
            "millrace.v1.PredictionMade",
            key=_prediction_key,
            encode=encode_prediction_made,
            id=lambda event: event.id,
            time=_prediction_time,
        ),
        Encoder(
            ModelDeployed,
            "millrace.v1.ModelDeployed",
            key=lambda event: event.champion.pipeline,
            encode=encode_model_deployed,
            id=lambda event: event.id,
        ),
        Encoder(
            DeploymentFailed,
            "millrace.v1.DeploymentFailed",
            key=lambda event: event.champion.pipeline,
            encode=encode_deployment_failed,
            id=lambda event: event.id,
        ),
    ],
)

# What trials are made of, for a follower of its own: nothing about a challenger holds a champion up.
TRIALS = WireTable(
    decoders={
        "millrace.v1.ChallengerStarted": challenger_started,
        "millrace.v1.ModelPromoted": model_promoted,
        "millrace.v1.ModelRolledBack": model_rolled_back,
        **dict.fromkeys(_ENDINGS, challenger_ended),
    }
)


class TrialVectors(WireTable):
    """The vectors that one challenger scores; those of other pipelines, and from before it begins, are not even decoded."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(
            {"millrace.v1.FeaturesComputed": features_computed},
            [
                Encoder(
                    PredictionMade,
                    "millrace.v1.PredictionMade",
                    key=_prediction_key,
                    encode=encode_prediction_made,
                    id=lambda event: event.id,
                    time=_prediction_time,
                )
            ],
        )
        self._prefix = f"{trial.pipeline}/".encode()
        self._since = trial.since

    @override
    def decode(self, message: Message) -> bool:
        if not (message.key or b"").startswith(self._prefix) or message.recorded_at < self._since:
            return False
        return super().decode(message)
