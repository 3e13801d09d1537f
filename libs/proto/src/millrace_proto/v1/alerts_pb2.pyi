from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class AlertRaised(_message.Message):
    __slots__ = ("pipeline", "fingerprint", "severity", "summary", "cause_id")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    CAUSE_ID_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    fingerprint: str
    severity: str
    summary: str
    cause_id: str
    def __init__(self, pipeline: _Optional[str] = ..., fingerprint: _Optional[str] = ..., severity: _Optional[str] = ..., summary: _Optional[str] = ..., cause_id: _Optional[str] = ...) -> None: ...

class AlertResolved(_message.Message):
    __slots__ = ("pipeline", "fingerprint", "cause_id")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CAUSE_ID_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    fingerprint: str
    cause_id: str
    def __init__(self, pipeline: _Optional[str] = ..., fingerprint: _Optional[str] = ..., cause_id: _Optional[str] = ...) -> None: ...
