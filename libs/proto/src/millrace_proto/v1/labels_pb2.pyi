from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class LabelObserved(_message.Message):
    __slots__ = ("pipeline", "pipeline_version", "event_id", "known_at_us", "number", "text")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWN_AT_US_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    pipeline_version: int
    event_id: str
    known_at_us: int
    number: float
    text: str
    def __init__(self, pipeline: _Optional[str] = ..., pipeline_version: _Optional[int] = ..., event_id: _Optional[str] = ..., known_at_us: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class LabelRetracted(_message.Message):
    __slots__ = ("pipeline", "pipeline_version", "event_id", "known_at_us")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWN_AT_US_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    pipeline_version: int
    event_id: str
    known_at_us: int
    def __init__(self, pipeline: _Optional[str] = ..., pipeline_version: _Optional[int] = ..., event_id: _Optional[str] = ..., known_at_us: _Optional[int] = ...) -> None: ...
