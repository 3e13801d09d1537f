"""What a careful reader sees on the topics: each event once, by the fence that every service keeps."""

from collections.abc import Sequence

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_contracts.message import Message


async def everything(bootstrap: str, topic: str) -> list[Message]:
    """All messages of a topic that are effective: the newest sequence of each source and partition only moves on."""
    consumer = KafkaBroker(KafkaSettings(bootstrap)).consumer()
    await consumer.start()
    try:
        places = await consumer.assign([topic])
        ends, positions = await consumer.ends(places), dict(await consumer.beginnings(places))
        newest: dict[tuple[str, int], bytes] = {}
        seen: list[Message] = []
        while any(positions[place] < ends[place] for place in places):
            for place, records in (await consumer.poll(10_000, 1.0)).items():
                positions[place] = records[-1].offset + 1
                seen += effective([Message(record) for record in records], newest)
        return seen
    finally:
        await consumer.stop()


def effective(messages: Sequence[Message], newest: dict[tuple[str, int], bytes]) -> list[Message]:
    kept = []
    for message in messages:
        place = (message.source, message.partition)
        if message.sequence is None or newest.get(place, b"") < message.sequence:
            newest[place] = message.sequence or b""
            kept.append(message)
    return kept
