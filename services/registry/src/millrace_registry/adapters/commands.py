"""Appends what people ask for to the topic of commands."""

from millrace_bus.broker import Broker
from millrace_bus.outputs import Outputs, by_partition
from millrace_contracts.message import Cause
from millrace_registry.adapters.wire import COMMANDS
from millrace_registry.domain.events import Command
from millrace_telemetry.tracing import Tracing


class BusCommands:
    """A producer per command: they are few, and one that failed leaves nothing behind to get wrong."""

    def __init__(self, broker: Broker, tracing: Tracing) -> None:
        self._broker = broker
        self._outputs = Outputs("millrace/registry/http", COMMANDS, tracing)

    async def send(self, command: Command, *, traceparent: str | None = None) -> None:
        """Return when the broker has acknowledged. Raises TransientError; sent again with its id it counts once."""
        itself = Cause(
            command.id, command.at, command.id, traceparent
        )  # a person's word starts the causal chain
        message = self._outputs.record(command, itself, None, 0)
        producer = self._broker.producer()
        await producer.start()
        try:
            for place, messages in (await by_partition(producer, [message])).items():
                await producer.send(place.topic, place.partition, messages)
        finally:
            await producer.stop()
