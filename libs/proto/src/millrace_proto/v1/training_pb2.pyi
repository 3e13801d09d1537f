from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RetrainRequested(_message.Message):
    __slots__ = ("pipeline", "pipeline_version", "run_id", "run_number", "trigger", "cause_id", "as_of_us")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    CAUSE_ID_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    pipeline_version: int
    run_id: str
    run_number: int
    trigger: str
    cause_id: str
    as_of_us: int
    def __init__(self, pipeline: _Optional[str] = ..., pipeline_version: _Optional[int] = ..., run_id: _Optional[str] = ..., run_number: _Optional[int] = ..., trigger: _Optional[str] = ..., cause_id: _Optional[str] = ..., as_of_us: _Optional[int] = ...) -> None: ...

class RetrainSkipped(_message.Message):
    __slots__ = ("pipeline", "trigger", "cause_id", "reason", "detail", "pipeline_version")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    CAUSE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    trigger: str
    cause_id: str
    reason: str
    detail: str
    pipeline_version: int
    def __init__(self, pipeline: _Optional[str] = ..., trigger: _Optional[str] = ..., cause_id: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., pipeline_version: _Optional[int] = ...) -> None: ...

class TrainingStarted(_message.Message):
    __slots__ = ("pipeline", "run_id", "vectors_version", "labels_version", "rows")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    VECTORS_VERSION_FIELD_NUMBER: _ClassVar[int]
    LABELS_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    run_id: str
    vectors_version: int
    labels_version: int
    rows: int
    def __init__(self, pipeline: _Optional[str] = ..., run_id: _Optional[str] = ..., vectors_version: _Optional[int] = ..., labels_version: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class TrialCompleted(_message.Message):
    __slots__ = ("pipeline", "run_id", "trial", "algorithm", "parameters_json", "metrics", "cpu_seconds", "loss", "state")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_JSON_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    run_id: str
    trial: int
    algorithm: str
    parameters_json: str
    metrics: _containers.ScalarMap[str, float]
    cpu_seconds: float
    loss: float
    state: str
    def __init__(self, pipeline: _Optional[str] = ..., run_id: _Optional[str] = ..., trial: _Optional[int] = ..., algorithm: _Optional[str] = ..., parameters_json: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., cpu_seconds: _Optional[float] = ..., loss: _Optional[float] = ..., state: _Optional[str] = ...) -> None: ...

class SliceMetrics(_message.Message):
    __slots__ = ("by", "value", "rows", "metrics")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    BY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    by: str
    value: str
    rows: int
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, by: _Optional[str] = ..., value: _Optional[str] = ..., rows: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...

class NaiveBaseline(_message.Message):
    __slots__ = ("name", "metrics", "better_probability")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    BETTER_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    name: str
    metrics: _containers.ScalarMap[str, float]
    better_probability: float
    def __init__(self, name: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., better_probability: _Optional[float] = ...) -> None: ...

class ModelSchema(_message.Message):
    __slots__ = ("numbers", "categories", "label_kind", "classes")
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    LABEL_KIND_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    numbers: _containers.RepeatedScalarFieldContainer[str]
    categories: _containers.RepeatedScalarFieldContainer[str]
    label_kind: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, numbers: _Optional[_Iterable[str]] = ..., categories: _Optional[_Iterable[str]] = ..., label_kind: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ...) -> None: ...

class TrainingCompleted(_message.Message):
    __slots__ = ("pipeline", "pipeline_version", "run_id", "run_number", "trigger", "cause_id", "algorithm", "parameters_json", "artifact_uri", "artifact_sha256", "dataset_uri", "dataset_sha256", "train_rows", "holdout_rows", "metrics", "champion_metrics", "champion_version", "better_probability", "reference_profile", "fit_seconds", "cpu_seconds", "as_of_us", "artifact_signature", "signing_key_id", "vectors_version", "labels_version", "record_json", "slices", "baseline", "schema", "column_scores", "wall_seconds", "peak_memory_bytes", "joules")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ChampionMetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ColumnScoresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    CAUSE_ID_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_JSON_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_URI_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SHA256_FIELD_NUMBER: _ClassVar[int]
    DATASET_URI_FIELD_NUMBER: _ClassVar[int]
    DATASET_SHA256_FIELD_NUMBER: _ClassVar[int]
    TRAIN_ROWS_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_ROWS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_METRICS_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_VERSION_FIELD_NUMBER: _ClassVar[int]
    BETTER_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PROFILE_FIELD_NUMBER: _ClassVar[int]
    FIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    VECTORS_VERSION_FIELD_NUMBER: _ClassVar[int]
    LABELS_VERSION_FIELD_NUMBER: _ClassVar[int]
    RECORD_JSON_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    COLUMN_SCORES_FIELD_NUMBER: _ClassVar[int]
    WALL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    JOULES_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    pipeline_version: int
    run_id: str
    run_number: int
    trigger: str
    cause_id: str
    algorithm: str
    parameters_json: str
    artifact_uri: str
    artifact_sha256: str
    dataset_uri: str
    dataset_sha256: str
    train_rows: int
    holdout_rows: int
    metrics: _containers.ScalarMap[str, float]
    champion_metrics: _containers.ScalarMap[str, float]
    champion_version: int
    better_probability: float
    reference_profile: bytes
    fit_seconds: float
    cpu_seconds: float
    as_of_us: int
    artifact_signature: bytes
    signing_key_id: str
    vectors_version: int
    labels_version: int
    record_json: str
    slices: _containers.RepeatedCompositeFieldContainer[SliceMetrics]
    baseline: NaiveBaseline
    schema: ModelSchema
    column_scores: _containers.ScalarMap[str, float]
    wall_seconds: float
    peak_memory_bytes: int
    joules: float
    def __init__(self, pipeline: _Optional[str] = ..., pipeline_version: _Optional[int] = ..., run_id: _Optional[str] = ..., run_number: _Optional[int] = ..., trigger: _Optional[str] = ..., cause_id: _Optional[str] = ..., algorithm: _Optional[str] = ..., parameters_json: _Optional[str] = ..., artifact_uri: _Optional[str] = ..., artifact_sha256: _Optional[str] = ..., dataset_uri: _Optional[str] = ..., dataset_sha256: _Optional[str] = ..., train_rows: _Optional[int] = ..., holdout_rows: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., champion_metrics: _Optional[_Mapping[str, float]] = ..., champion_version: _Optional[int] = ..., better_probability: _Optional[float] = ..., reference_profile: _Optional[bytes] = ..., fit_seconds: _Optional[float] = ..., cpu_seconds: _Optional[float] = ..., as_of_us: _Optional[int] = ..., artifact_signature: _Optional[bytes] = ..., signing_key_id: _Optional[str] = ..., vectors_version: _Optional[int] = ..., labels_version: _Optional[int] = ..., record_json: _Optional[str] = ..., slices: _Optional[_Iterable[_Union[SliceMetrics, _Mapping]]] = ..., baseline: _Optional[_Union[NaiveBaseline, _Mapping]] = ..., schema: _Optional[_Union[ModelSchema, _Mapping]] = ..., column_scores: _Optional[_Mapping[str, float]] = ..., wall_seconds: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ..., joules: _Optional[float] = ...) -> None: ...

class ModelCardMade(_message.Message):
    __slots__ = ("pipeline", "run_id", "run_number", "card_uri", "card_sha256", "cpu_seconds", "wall_seconds", "peak_memory_bytes", "joules")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CARD_URI_FIELD_NUMBER: _ClassVar[int]
    CARD_SHA256_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WALL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    JOULES_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    run_id: str
    run_number: int
    card_uri: str
    card_sha256: str
    cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int
    joules: float
    def __init__(self, pipeline: _Optional[str] = ..., run_id: _Optional[str] = ..., run_number: _Optional[int] = ..., card_uri: _Optional[str] = ..., card_sha256: _Optional[str] = ..., cpu_seconds: _Optional[float] = ..., wall_seconds: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ..., joules: _Optional[float] = ...) -> None: ...

class TrainingFailed(_message.Message):
    __slots__ = ("pipeline", "run_id", "run_number", "trigger", "reason", "cpu_seconds", "wall_seconds", "peak_memory_bytes", "joules")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WALL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    JOULES_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    run_id: str
    run_number: int
    trigger: str
    reason: str
    cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int
    joules: float
    def __init__(self, pipeline: _Optional[str] = ..., run_id: _Optional[str] = ..., run_number: _Optional[int] = ..., trigger: _Optional[str] = ..., reason: _Optional[str] = ..., cpu_seconds: _Optional[float] = ..., wall_seconds: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ..., joules: _Optional[float] = ...) -> None: ...
