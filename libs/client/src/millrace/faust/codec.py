"""The platform's events as Faust hands them out: CloudEvents headers read, the value by its `ce_type`."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import faust
from faust.types import AppT
from faust.types import Message as FaustMessage
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Protobuf
from typing_extensions import override

from millrace.wire import event_classes
from millrace_contracts.message import Message
from millrace_contracts.wire import WireError


class FaustRecord:
    """A record out of Faust's message: its bytes as they came, its time in milliseconds."""

    __slots__ = ("headers", "key", "offset", "partition", "timestamp", "topic", "value")

    def __init__(self, message: FaustMessage) -> None:
        self.topic: str = message.topic
        self.partition: int = message.partition
        self.offset: int = message.offset
        self.timestamp = round(message.timestamp * 1_000)  # Faust counts seconds
        self.key: bytes | None = message.key
        self.value: bytes | None = message.value
        headers: Any = message.headers or ()
        self.headers: Sequence[tuple[str, bytes]] = (
            list(headers.items()) if isinstance(headers, dict) else headers
        )


class Heard:
    """One event, understood. `message` has its headers: id, source, sequence, recorded time, correlation, trace."""

    __slots__ = ("_value", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._value: Protobuf | None = None

    @property
    def type(self) -> str:
        """The full name, e.g. `millrace.v1.PredictionMade`."""
        return self.message.type

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def value(self) -> Any:  # noqa: ANN401  the class that `type` names
        """The generated class that `type` names, e.g. `PredictionMade`. Raises WireError for what does not decode."""
        if self._value is None:
            self._value = self._decoded()
        return self._value

    def _decoded(self) -> Protobuf:
        kind = _classes().get(self.type)
        if kind is None:
            raise WireError(
                f"{self.message!r} is of a type that this version of Millrace does not know"
            )
        try:
            return kind.FromString(self.message.value)
        except DecodeError as error:
            raise WireError(f"{self.message!r} does not decode as {self.type}: {error}") from error


class EventSchema(faust.Schema):  # type: ignore[type-arg]  # generic for type checkers only
    """Keys as text, values as `Heard`. Nothing is decoded here: Faust drops what a schema fails at."""

    @override
    def loads_key(self, app: AppT, message: FaustMessage, **_: Any) -> str:
        return (message.key or b"").decode("utf-8", "replace")

    @override
    def loads_value(self, app: AppT, message: FaustMessage, **_: Any) -> Heard:
        return Heard(Message(FaustRecord(message)))


@cache
def _classes() -> dict[str, type[Protobuf]]:
    return event_classes()
