from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelRegistered(_message.Message):
    __slots__ = ("pipeline", "version", "run_id", "algorithm", "artifact_uri", "artifact_sha256", "metrics", "pipeline_version", "artifact_signature", "signing_key_id")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_URI_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SHA256_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    run_id: str
    algorithm: str
    artifact_uri: str
    artifact_sha256: str
    metrics: _containers.ScalarMap[str, float]
    pipeline_version: int
    artifact_signature: bytes
    signing_key_id: str
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., run_id: _Optional[str] = ..., algorithm: _Optional[str] = ..., artifact_uri: _Optional[str] = ..., artifact_sha256: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., pipeline_version: _Optional[int] = ..., artifact_signature: _Optional[bytes] = ..., signing_key_id: _Optional[str] = ...) -> None: ...

class GateVerdict(_message.Message):
    __slots__ = ("gate", "passed", "evidence")
    GATE_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    gate: str
    passed: bool
    evidence: str
    def __init__(self, gate: _Optional[str] = ..., passed: _Optional[bool] = ..., evidence: _Optional[str] = ...) -> None: ...

class ModelRejected(_message.Message):
    __slots__ = ("pipeline", "version", "run_id", "reason", "verdicts")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    run_id: str
    reason: str
    verdicts: _containers.RepeatedCompositeFieldContainer[GateVerdict]
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., run_id: _Optional[str] = ..., reason: _Optional[str] = ..., verdicts: _Optional[_Iterable[_Union[GateVerdict, _Mapping]]] = ...) -> None: ...

class ChallengerStarted(_message.Message):
    __slots__ = ("pipeline", "version", "artifact_uri", "artifact_sha256", "traffic_share", "pipeline_version", "run_id", "artifact_signature", "signing_key_id", "trial", "step", "champion_version", "epoch", "since_us", "started_us", "learnt_until_us", "reason")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_URI_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SHA256_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_SHARE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SINCE_US_FIELD_NUMBER: _ClassVar[int]
    STARTED_US_FIELD_NUMBER: _ClassVar[int]
    LEARNT_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    artifact_uri: str
    artifact_sha256: str
    traffic_share: float
    pipeline_version: int
    run_id: str
    artifact_signature: bytes
    signing_key_id: str
    trial: int
    step: int
    champion_version: int
    epoch: int
    since_us: int
    started_us: int
    learnt_until_us: int
    reason: str
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., artifact_uri: _Optional[str] = ..., artifact_sha256: _Optional[str] = ..., traffic_share: _Optional[float] = ..., pipeline_version: _Optional[int] = ..., run_id: _Optional[str] = ..., artifact_signature: _Optional[bytes] = ..., signing_key_id: _Optional[str] = ..., trial: _Optional[int] = ..., step: _Optional[int] = ..., champion_version: _Optional[int] = ..., epoch: _Optional[int] = ..., since_us: _Optional[int] = ..., started_us: _Optional[int] = ..., learnt_until_us: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ApprovalRequested(_message.Message):
    __slots__ = ("pipeline", "version", "verdicts")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    verdicts: _containers.RepeatedCompositeFieldContainer[GateVerdict]
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., verdicts: _Optional[_Iterable[_Union[GateVerdict, _Mapping]]] = ...) -> None: ...

class ModelPromoted(_message.Message):
    __slots__ = ("pipeline", "pipeline_version", "version", "epoch", "previous_version", "run_id", "trigger", "cause_id", "algorithm", "artifact_uri", "artifact_sha256", "metrics", "reference_profile", "verdicts", "artifact_signature", "signing_key_id")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    CAUSE_ID_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_URI_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SHA256_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PROFILE_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    pipeline_version: int
    version: int
    epoch: int
    previous_version: int
    run_id: str
    trigger: str
    cause_id: str
    algorithm: str
    artifact_uri: str
    artifact_sha256: str
    metrics: _containers.ScalarMap[str, float]
    reference_profile: bytes
    verdicts: _containers.RepeatedCompositeFieldContainer[GateVerdict]
    artifact_signature: bytes
    signing_key_id: str
    def __init__(self, pipeline: _Optional[str] = ..., pipeline_version: _Optional[int] = ..., version: _Optional[int] = ..., epoch: _Optional[int] = ..., previous_version: _Optional[int] = ..., run_id: _Optional[str] = ..., trigger: _Optional[str] = ..., cause_id: _Optional[str] = ..., algorithm: _Optional[str] = ..., artifact_uri: _Optional[str] = ..., artifact_sha256: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., reference_profile: _Optional[bytes] = ..., verdicts: _Optional[_Iterable[_Union[GateVerdict, _Mapping]]] = ..., artifact_signature: _Optional[bytes] = ..., signing_key_id: _Optional[str] = ...) -> None: ...

class ModelRolledBack(_message.Message):
    __slots__ = ("pipeline", "pipeline_version", "version", "epoch", "previous_version", "reason", "algorithm", "artifact_uri", "artifact_sha256", "metrics", "reference_profile", "run_id", "artifact_signature", "signing_key_id")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_URI_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SHA256_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PROFILE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    pipeline_version: int
    version: int
    epoch: int
    previous_version: int
    reason: str
    algorithm: str
    artifact_uri: str
    artifact_sha256: str
    metrics: _containers.ScalarMap[str, float]
    reference_profile: bytes
    run_id: str
    artifact_signature: bytes
    signing_key_id: str
    def __init__(self, pipeline: _Optional[str] = ..., pipeline_version: _Optional[int] = ..., version: _Optional[int] = ..., epoch: _Optional[int] = ..., previous_version: _Optional[int] = ..., reason: _Optional[str] = ..., algorithm: _Optional[str] = ..., artifact_uri: _Optional[str] = ..., artifact_sha256: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., reference_profile: _Optional[bytes] = ..., run_id: _Optional[str] = ..., artifact_signature: _Optional[bytes] = ..., signing_key_id: _Optional[str] = ...) -> None: ...

class ModelRetired(_message.Message):
    __slots__ = ("pipeline", "version", "reason")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    reason: str
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
