from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictionRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PREDICTION_ROLE_UNSPECIFIED: _ClassVar[PredictionRole]
    PREDICTION_ROLE_CHAMPION: _ClassVar[PredictionRole]
    PREDICTION_ROLE_CHALLENGER: _ClassVar[PredictionRole]
    PREDICTION_ROLE_FALLBACK: _ClassVar[PredictionRole]
    PREDICTION_ROLE_REQUEST: _ClassVar[PredictionRole]
PREDICTION_ROLE_UNSPECIFIED: PredictionRole
PREDICTION_ROLE_CHAMPION: PredictionRole
PREDICTION_ROLE_CHALLENGER: PredictionRole
PREDICTION_ROLE_FALLBACK: PredictionRole
PREDICTION_ROLE_REQUEST: PredictionRole

class PredictionMade(_message.Message):
    __slots__ = ("pipeline", "pipeline_version", "event_id", "entity", "event_time_us", "model_version", "epoch", "role", "value", "class_label", "probabilities", "numbers", "categories", "trial", "seconds", "quantiles", "interval", "text")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_US_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CLASS_LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    pipeline_version: int
    event_id: str
    entity: str
    event_time_us: int
    model_version: int
    epoch: int
    role: PredictionRole
    value: float
    class_label: str
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    numbers: _containers.RepeatedScalarFieldContainer[float]
    categories: _containers.RepeatedScalarFieldContainer[str]
    trial: int
    seconds: float
    quantiles: _containers.RepeatedScalarFieldContainer[float]
    interval: _containers.RepeatedScalarFieldContainer[float]
    text: str
    def __init__(self, pipeline: _Optional[str] = ..., pipeline_version: _Optional[int] = ..., event_id: _Optional[str] = ..., entity: _Optional[str] = ..., event_time_us: _Optional[int] = ..., model_version: _Optional[int] = ..., epoch: _Optional[int] = ..., role: _Optional[_Union[PredictionRole, str]] = ..., value: _Optional[float] = ..., class_label: _Optional[str] = ..., probabilities: _Optional[_Iterable[float]] = ..., numbers: _Optional[_Iterable[float]] = ..., categories: _Optional[_Iterable[str]] = ..., trial: _Optional[int] = ..., seconds: _Optional[float] = ..., quantiles: _Optional[_Iterable[float]] = ..., interval: _Optional[_Iterable[float]] = ..., text: _Optional[str] = ...) -> None: ...
