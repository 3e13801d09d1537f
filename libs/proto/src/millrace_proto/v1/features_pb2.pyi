from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class FeaturesComputed(_message.Message):
    __slots__ = ("pipeline", "pipeline_version", "event_id", "entity", "event_time_us", "numbers", "categories", "late")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_US_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    pipeline_version: int
    event_id: str
    entity: str
    event_time_us: int
    numbers: _containers.RepeatedScalarFieldContainer[float]
    categories: _containers.RepeatedScalarFieldContainer[str]
    late: bool
    def __init__(self, pipeline: _Optional[str] = ..., pipeline_version: _Optional[int] = ..., event_id: _Optional[str] = ..., entity: _Optional[str] = ..., event_time_us: _Optional[int] = ..., numbers: _Optional[_Iterable[float]] = ..., categories: _Optional[_Iterable[str]] = ..., late: _Optional[bool] = ...) -> None: ...
