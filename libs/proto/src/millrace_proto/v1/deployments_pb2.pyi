from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ModelDeployed(_message.Message):
    __slots__ = ("pipeline", "version", "epoch", "instance", "load_seconds")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LOAD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    epoch: int
    instance: str
    load_seconds: float
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., epoch: _Optional[int] = ..., instance: _Optional[str] = ..., load_seconds: _Optional[float] = ...) -> None: ...

class DeploymentFailed(_message.Message):
    __slots__ = ("pipeline", "version", "epoch", "instance", "reason", "trial")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    epoch: int
    instance: str
    reason: str
    trial: int
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., epoch: _Optional[int] = ..., instance: _Optional[str] = ..., reason: _Optional[str] = ..., trial: _Optional[int] = ...) -> None: ...
