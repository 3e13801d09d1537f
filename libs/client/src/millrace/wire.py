"""From the bytes on the bus to plain values: the only place here that knows the generated classes."""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message as Protobuf

from millrace_contracts.catalogue import PACKAGE
from millrace_contracts.message import Message
from millrace_contracts.wire import WireTable
from millrace_proto.v1 import (
    alerts_pb2,
    commands_pb2,
    deployments_pb2,
    drift_pb2,
    events_pb2,
    features_pb2,
    labels_pb2,
    models_pb2,
    pipelines_pb2,
    predictions_pb2,
    training_pb2,
)

_MODULES = (
    alerts_pb2,
    commands_pb2,
    deployments_pb2,
    drift_pb2,
    events_pb2,
    features_pb2,
    labels_pb2,
    models_pb2,
    pipelines_pb2,
    predictions_pb2,
    training_pb2,
)
Fields = Mapping[str, Any]


def event_classes() -> dict[str, type[Protobuf]]:
    """The class of every event type, by its full name."""
    classes = (getattr(module, name) for module in _MODULES for name in _message_names(module))
    return {f"{PACKAGE}.{each.DESCRIPTOR.name}": each for each in classes}


def wire_of(types: Iterable[str]) -> WireTable:
    """A wire table that decodes these types (full names) into plain fields."""
    classes = event_classes()
    return WireTable({name: _decoder(classes[name]) for name in types})


def fields_of(message: Protobuf) -> dict[str, Any]:
    """A message's fields as plain values under their names: lists, dicts, enums by name; None for an optional one not set."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _message_names(module: Any) -> list[str]:  # noqa: ANN401  a generated module has no type of its own
    """The messages that travel by themselves: those that the catalogue names are among them."""
    return list(module.DESCRIPTOR.message_types_by_name)


def _decoder(kind: type[Protobuf]) -> Any:  # noqa: ANN401  what a wire table takes
    def decode(message: Message) -> dict[str, Any]:
        return fields_of(kind.FromString(message.value))

    return decode


def _value(message: Protobuf, field: FieldDescriptor) -> Any:  # noqa: ANN401  whatever the field holds
    if field.has_presence and not message.HasField(field.name):
        return None
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_plain(each, field) for each in value]
    return _plain(value, field)


def _plain(value: Any, field: FieldDescriptor) -> Any:  # noqa: ANN401  whatever the field holds
    if field.message_type is not None:
        return fields_of(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value
