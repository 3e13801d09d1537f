"""The catalogue, the contracts and the services say the same: one topic, one writer and an example for every event."""

import importlib
import pkgutil
from pathlib import Path

import pytest
from google.protobuf import json_format, symbol_database
from google.protobuf.message import Message

import millrace_proto.v1
from millrace_contracts.catalogue import PACKAGE, Writer, catalogue
from millrace_contracts.wire import WireTable

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "proto" / "examples"
SERVICES = [writer.value for writer in Writer if writer is not Writer.CLIENT]

# declared for what comes next; nobody writes them yet
NOT_WRITTEN_YET = {
    "Forget",
}


def event_messages() -> dict[str, type[Message]]:
    """Every top-level message of the contracts that travels by itself (values inside others have no topic)."""
    found: dict[str, type[Message]] = {}
    for module in pkgutil.iter_modules(millrace_proto.v1.__path__):
        descriptor = importlib.import_module(f"millrace_proto.v1.{module.name}").DESCRIPTOR
        inner = {field.message_type.full_name for message in descriptor.message_types_by_name.values()
                 for field in message.fields if field.message_type is not None}  # fmt: skip
        for message in descriptor.message_types_by_name.values():
            if message.full_name not in inner:
                found[message.full_name] = symbol_database.Default().GetSymbol(message.full_name)
    return found


def wire_of(service: str) -> list[WireTable]:
    module = importlib.import_module(f"millrace_{service}.adapters.wire")
    return [value for value in vars(module).values() if isinstance(value, WireTable)]


def test_every_event_of_the_contracts_has_exactly_one_topic():
    in_topics = [event for topic in catalogue().topics.values() for event in topic.events]
    assert sorted(in_topics) == sorted(event_messages())


@pytest.mark.parametrize("event", sorted(event_messages()))
def test_every_event_has_an_example_that_decodes_and_comes_back(event: str):
    text = (EXAMPLES / f"{event.removeprefix(PACKAGE + '.')}.json").read_text()
    message = json_format.Parse(text, event_messages()[event]())
    assert message.pipeline == "bikes"
    assert event_messages()[event].FromString(
        message.SerializeToString(deterministic=True)
    ).SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


def test_no_example_is_of_an_event_that_is_gone():
    assert {path.stem for path in EXAMPLES.glob("*.json")} == {
        name.removeprefix(PACKAGE + ".") for name in event_messages()
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_writes_only_its_own_topics(service: str):
    for wire in wire_of(service):
        for event in wire.encoded_types:
            writer = catalogue().topic_of(event).writer
            assert writer in (service, Writer.CLIENT), (
                f"{service} writes {event}, which is {writer}'s"
            )


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_only_where_the_catalogue_says(service: str):
    for wire in wire_of(service):
        for event in wire.decoded_types:
            readers = catalogue().topic_of(event).readers
            assert service in readers, (
                f"{service} reads {event} but is not among the readers of its topic"
            )


def test_every_event_is_written_by_somebody():
    written = {
        event for service in SERVICES for wire in wire_of(service) for event in wire.encoded_types
    }
    missing = {
        event.removeprefix(PACKAGE + ".") for event in event_messages() if event not in written
    }
    assert missing == NOT_WRITTEN_YET


@pytest.mark.parametrize("topic", sorted(catalogue().topics))
def test_every_reader_reads_something_of_its_topic(topic: str):
    for reader in catalogue().topics[topic].readers:
        decoded = {event for wire in wire_of(reader) for event in wire.decoded_types}
        assert decoded & set(catalogue().topics[topic].events), f"{reader} reads nothing of {topic}"
