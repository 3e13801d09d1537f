from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DriftKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRIFT_KIND_UNSPECIFIED: _ClassVar[DriftKind]
    DRIFT_KIND_DATA: _ClassVar[DriftKind]
    DRIFT_KIND_PREDICTION: _ClassVar[DriftKind]
    DRIFT_KIND_CONCEPT: _ClassVar[DriftKind]

class ChallengerVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHALLENGER_VERDICT_UNSPECIFIED: _ClassVar[ChallengerVerdict]
    CHALLENGER_VERDICT_UNDECIDED: _ClassVar[ChallengerVerdict]
    CHALLENGER_VERDICT_BETTER: _ClassVar[ChallengerVerdict]
    CHALLENGER_VERDICT_WORSE: _ClassVar[ChallengerVerdict]
    CHALLENGER_VERDICT_SLOW: _ClassVar[ChallengerVerdict]
    CHALLENGER_VERDICT_FAILING: _ClassVar[ChallengerVerdict]
DRIFT_KIND_UNSPECIFIED: DriftKind
DRIFT_KIND_DATA: DriftKind
DRIFT_KIND_PREDICTION: DriftKind
DRIFT_KIND_CONCEPT: DriftKind
CHALLENGER_VERDICT_UNSPECIFIED: ChallengerVerdict
CHALLENGER_VERDICT_UNDECIDED: ChallengerVerdict
CHALLENGER_VERDICT_BETTER: ChallengerVerdict
CHALLENGER_VERDICT_WORSE: ChallengerVerdict
CHALLENGER_VERDICT_SLOW: ChallengerVerdict
CHALLENGER_VERDICT_FAILING: ChallengerVerdict

class DriftDetected(_message.Message):
    __slots__ = ("pipeline", "kind", "subject", "method", "statistic", "threshold", "model_version", "window_start_us", "window_end_us", "window_events", "reference_mean", "window_mean", "also")
    class AlsoEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    STATISTIC_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_US_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_US_FIELD_NUMBER: _ClassVar[int]
    WINDOW_EVENTS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_MEAN_FIELD_NUMBER: _ClassVar[int]
    WINDOW_MEAN_FIELD_NUMBER: _ClassVar[int]
    ALSO_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    kind: DriftKind
    subject: str
    method: str
    statistic: float
    threshold: float
    model_version: int
    window_start_us: int
    window_end_us: int
    window_events: int
    reference_mean: float
    window_mean: float
    also: _containers.ScalarMap[str, float]
    def __init__(self, pipeline: _Optional[str] = ..., kind: _Optional[_Union[DriftKind, str]] = ..., subject: _Optional[str] = ..., method: _Optional[str] = ..., statistic: _Optional[float] = ..., threshold: _Optional[float] = ..., model_version: _Optional[int] = ..., window_start_us: _Optional[int] = ..., window_end_us: _Optional[int] = ..., window_events: _Optional[int] = ..., reference_mean: _Optional[float] = ..., window_mean: _Optional[float] = ..., also: _Optional[_Mapping[str, float]] = ...) -> None: ...

class DriftCleared(_message.Message):
    __slots__ = ("pipeline", "kind", "subject", "method", "statistic", "threshold", "model_version")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    STATISTIC_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    kind: DriftKind
    subject: str
    method: str
    statistic: float
    threshold: float
    model_version: int
    def __init__(self, pipeline: _Optional[str] = ..., kind: _Optional[_Union[DriftKind, str]] = ..., subject: _Optional[str] = ..., method: _Optional[str] = ..., statistic: _Optional[float] = ..., threshold: _Optional[float] = ..., model_version: _Optional[int] = ...) -> None: ...

class PerformanceDegraded(_message.Message):
    __slots__ = ("pipeline", "metric", "value", "bound", "reference", "model_version", "window_start_us", "window_end_us", "window_events")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_US_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_US_FIELD_NUMBER: _ClassVar[int]
    WINDOW_EVENTS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    metric: str
    value: float
    bound: float
    reference: float
    model_version: int
    window_start_us: int
    window_end_us: int
    window_events: int
    def __init__(self, pipeline: _Optional[str] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., bound: _Optional[float] = ..., reference: _Optional[float] = ..., model_version: _Optional[int] = ..., window_start_us: _Optional[int] = ..., window_end_us: _Optional[int] = ..., window_events: _Optional[int] = ...) -> None: ...

class DataQualityViolated(_message.Message):
    __slots__ = ("pipeline", "column", "rule", "value", "threshold", "window_events")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    WINDOW_EVENTS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    column: str
    rule: str
    value: float
    threshold: float
    window_events: int
    def __init__(self, pipeline: _Optional[str] = ..., column: _Optional[str] = ..., rule: _Optional[str] = ..., value: _Optional[float] = ..., threshold: _Optional[float] = ..., window_events: _Optional[int] = ...) -> None: ...

class ChallengerCompared(_message.Message):
    __slots__ = ("pipeline", "champion_version", "challenger_version", "metric", "champion_value", "challenger_value", "events", "trial", "step", "epoch", "step_events", "loss", "difference", "lower", "upper", "confidence", "verdict", "champion_seconds", "challenger_seconds", "champion_errors", "challenger_errors")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_VERSION_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_VERSION_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_VALUE_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_VALUE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STEP_EVENTS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_ERRORS_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_ERRORS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    champion_version: int
    challenger_version: int
    metric: str
    champion_value: float
    challenger_value: float
    events: int
    trial: int
    step: int
    epoch: int
    step_events: int
    loss: str
    difference: float
    lower: float
    upper: float
    confidence: float
    verdict: ChallengerVerdict
    champion_seconds: float
    challenger_seconds: float
    champion_errors: float
    challenger_errors: float
    def __init__(self, pipeline: _Optional[str] = ..., champion_version: _Optional[int] = ..., challenger_version: _Optional[int] = ..., metric: _Optional[str] = ..., champion_value: _Optional[float] = ..., challenger_value: _Optional[float] = ..., events: _Optional[int] = ..., trial: _Optional[int] = ..., step: _Optional[int] = ..., epoch: _Optional[int] = ..., step_events: _Optional[int] = ..., loss: _Optional[str] = ..., difference: _Optional[float] = ..., lower: _Optional[float] = ..., upper: _Optional[float] = ..., confidence: _Optional[float] = ..., verdict: _Optional[_Union[ChallengerVerdict, str]] = ..., champion_seconds: _Optional[float] = ..., challenger_seconds: _Optional[float] = ..., champion_errors: _Optional[float] = ..., challenger_errors: _Optional[float] = ...) -> None: ...
