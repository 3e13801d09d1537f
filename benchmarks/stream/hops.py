"""Where an event's time goes on its way through the topics: from the records' own timestamps, which say when each was built.

All that follows from an event carries the correlation id of its raw record, which is that record's place; so each topic's
records are matched with the raw ones. Timestamps are whole milliseconds: only medians and tails over many say something.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from benchmarks.stream.figures import Json, percentile

from millrace_bus.broker import Broker, Consumer, TopicPartition
from millrace_contracts.message import Record

HOPS = ("millrace.events", "millrace.features", "millrace.predictions")
_POLL_RECORDS, _POLL_SECONDS = 10_000, 1.0


class Trail:
    """Remembers where the topics end; afterwards, reads what has come since."""

    def __init__(self, broker: Broker, source: str) -> None:
        self._consumer: Consumer = broker.consumer()
        self._topics = (source, *HOPS)
        self._began: Mapping[TopicPartition, int] = {}

    async def open(self) -> None:
        await self._consumer.start()
        self._began = await self._consumer.ends(await self._consumer.assign(self._topics))

    async def close(self) -> None:
        await self._consumer.stop()

    async def read(self) -> dict[str, dict[bytes, int]]:
        """Per topic the time (ms) of each record since `open`, by the place of the raw record that it descends from."""
        ends = await self._consumer.ends(list(self._began))
        left = sum(ends[place] - began for place, began in self._began.items())
        found: dict[str, dict[bytes, int]] = {topic: {} for topic in self._topics}
        for place, offset in self._began.items():
            self._consumer.seek(place, offset)
        while left > 0:
            for place, records in (await self._consumer.poll(_POLL_RECORDS, _POLL_SECONDS)).items():
                left -= len(records)
                for record in records:
                    found[place.topic][_origin(record)] = record.timestamp
        return found


def _origin(record: Record) -> bytes:
    place = f"{record.topic}/{record.partition}/{record.offset}".encode()
    return dict(record.headers).get("ce_correlationid", place)


def hops(times: Mapping[str, Mapping[bytes, int]], skip: int) -> Json:
    """Milliseconds from topic to topic, for the events after the first `skip`."""
    topics = list(times)
    origins = sorted(times[topics[0]], key=lambda origin: times[topics[0]][origin])[skip:]
    result: Json = {}
    for before, after in pairwise(topics):
        waits = sorted(
            times[after][origin] - times[before][origin]
            for origin in origins
            if origin in times[before] and origin in times[after]
        )
        result[f"{before} -> {after}"] = _summary(waits)
    return result


def _summary(waits: Sequence[int]) -> Json:
    if not waits:
        return {}
    shares = {"p10_ms": 0.1, "p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99}
    return {name: percentile(waits, share) for name, share in shares.items()}
