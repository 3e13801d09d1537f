"""Watching the stream from outside while it runs: which events have been scored by now."""

import asyncio

from tests.chaos.history import number_of
from tests.chaos.world import World

from millrace_bus.broker import Consumer, TopicPartition
from millrace_kernel.errors import TransientError
from millrace_proto.v1 import predictions_pb2

PREDICTIONS = "millrace.predictions"
_AGAIN_SECONDS = 0.1


class Progress:
    """Follows the predictions through every outage. `run` until cancelled."""

    def __init__(self, world: World, events: int) -> None:
        self._world = world
        self._seen = bytearray(events)
        self._positions: dict[TopicPartition, int] = {}
        self.scored = 0
        """Different events that were scored at least once."""
        self.with_value = 0
        """Of these, those whose first answer has a value."""

    async def run(self) -> None:
        while True:
            consumer = self._world.broker.consumer()
            try:
                await consumer.start()
                await self._follow(consumer)
            except TransientError:
                await asyncio.sleep(_AGAIN_SECONDS)
            finally:
                await consumer.stop()

    async def _follow(self, consumer: Consumer) -> None:
        places = await consumer.assign([PREDICTIONS])
        for place in places:
            consumer.seek(place, self._positions.get(place, 0))
        while True:
            for place, records in (await consumer.poll(5_000, 0.2)).items():
                self._positions[place] = records[-1].offset + 1
                for record in records:
                    self._note(record.value or b"")
                await asyncio.sleep(0)

    def _note(self, value: bytes) -> None:
        prediction = predictions_pb2.PredictionMade.FromString(value)
        number = number_of(prediction.event_id)
        if not self._seen[number]:
            self._seen[number] = 1
            self.scored += 1
            self.with_value += prediction.HasField("value")
