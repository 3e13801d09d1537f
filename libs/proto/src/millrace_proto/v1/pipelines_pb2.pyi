from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PipelineApplied(_message.Message):
    __slots__ = ("pipeline", "version", "spec_json", "spec_sha256", "earlier_spec_json")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPEC_JSON_FIELD_NUMBER: _ClassVar[int]
    SPEC_SHA256_FIELD_NUMBER: _ClassVar[int]
    EARLIER_SPEC_JSON_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    spec_json: str
    spec_sha256: str
    earlier_spec_json: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., spec_json: _Optional[str] = ..., spec_sha256: _Optional[str] = ..., earlier_spec_json: _Optional[_Iterable[str]] = ...) -> None: ...
