"""Reading whole topics as a careful reader does, without holding them: each event once, by the fence."""

from collections.abc import AsyncIterator, Sequence

from millrace_bus.broker import Broker
from millrace_contracts.message import Message
from millrace_testkit.reading import effective


async def effective_batches(
    broker: Broker, topic: str, *, at_once: int = 10_000
) -> AsyncIterator[Sequence[Message]]:
    """The effective messages of a topic, from its beginning to where it ends now, some of one partition at a time.

    The order within a partition is the topic's; a message that repeats what its source has said before is left out.
    """
    consumer = broker.consumer()
    await consumer.start()
    try:
        places = await consumer.assign([topic])
        ends, positions = await consumer.ends(places), dict(await consumer.beginnings(places))
        for place, position in positions.items():
            consumer.seek(place, position)
        newest: dict[tuple[str, int], bytes] = {}
        while any(positions[place] < ends[place] for place in places):
            for place, records in (await consumer.poll(at_once, 1.0)).items():
                positions[place] = records[-1].offset + 1
                kept = effective([Message(record) for record in records], newest)
                if kept:
                    yield kept
    finally:
        await consumer.stop()
