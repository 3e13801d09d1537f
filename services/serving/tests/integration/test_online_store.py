"""The newest vector of each entity, followed from the topic and kept on disk."""

from dataclasses import dataclass

import pytest

from millrace_bus.broker import TopicPartition
from millrace_bus.fence import REPLAY_FOR
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Outgoing
from millrace_kernel.errors import TransientError
from millrace_kernel.time import DAY, HOUR, Instant
from millrace_proto.v1.features_pb2 import FeaturesComputed
from millrace_serving.adapters.online_store import OnlineStore
from millrace_serving.adapters.wire import WIRE
from millrace_testkit.eventually import eventually, running

NOON = Instant(1_764_000_000_000_000)


@dataclass
class Clock:
    """The broker stamps records with its machine's time, so this one runs from there."""

    at: int = 0

    def now(self) -> Instant:
        return Instant(self.at)


@pytest.fixture
async def bed(make_bed):
    bed = make_bed()
    await ensure_topics(bed.broker)
    return bed


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_store(bed, clock):
    def make(broker=None, keep=30 * DAY):
        return OnlineStore(
            bed.folder / "online", broker or bed.broker, WIRE,
            clock=clock, keep=keep, chance=lambda: 0.0,
        )  # fmt: skip

    return make


async def say(bed, entity, number, *, minute=0, partition=0, key=None):
    proto = FeaturesComputed(
        pipeline="bikes", pipeline_version=1, event_id=f"e{number}", entity=entity,
        event_time_us=NOON + minute * 60_000_000, numbers=[float(number), float("nan")],
        categories=["rain"],
    )  # fmt: skip
    await bed.send(
        "millrace.features", partition, "FeaturesComputed", key or f"bikes/{entity}", proto
    )


def number_of(store, entity):
    found = store.newest("bikes", entity)
    return None if found is None else found.numbers[0]


async def test_the_newest_vector_of_each_entity_is_told_from_whatever_partition(bed, make_store):
    store = make_store()
    await say(bed, "s1", 1)
    await say(bed, "s2", 2, partition=3)
    async with running(store):
        await eventually(lambda: store.is_current)
        assert (number_of(store, "s1"), number_of(store, "s2")) == (1.0, 2.0)
        await say(bed, "s1", 3, minute=1)
        await eventually(lambda: number_of(store, "s1") == 3.0)
        await say(bed, "s1", 4, minute=2, partition=2)  # the topic has got more partitions
        await eventually(lambda: number_of(store, "s1") == 4.0)

        found = store.newest("bikes", "s1")
        assert (found.event_id, found.entity, found.event_time) == ("e4", "s1", NOON + 120_000_000)
        assert found.numbers[1] != found.numbers[1]
        assert (found.categories, found.pipeline_version) == (("rain",), 1)
        assert store.newest("bikes", "s3") is None
        assert store.newest("trams", "s1") is None


async def test_a_late_vector_and_one_that_comes_again_do_not_replace_a_newer_one(bed, make_store):
    store = make_store()
    async with running(store):
        await say(bed, "s1", 1, minute=5)
        await say(bed, "s1", 2, minute=5)  # the same time: the later one of its source counts
        await say(bed, "s1", 3, minute=4)
        bed.written = 0
        await say(bed, "s1", 1, minute=5)  # sent again, with its old sequence
        await say(bed, "s2", 9)
        await eventually(lambda: number_of(store, "s2") == 9.0)

        assert number_of(store, "s1") == 2.0


async def test_a_restart_goes_on_from_its_own_position(bed, make_store):
    await say(bed, "s1", 1)
    store = make_store()
    async with running(store):
        await eventually(lambda: number_of(store, "s1") == 1.0)
    assert number_of(store, "s1") is None  # closed
    await say(bed, "s2", 2)
    sought = []
    again = make_store(Sought(bed.broker, sought))

    async with running(again):
        assert number_of(again, "s1") == 1.0
        await eventually(lambda: number_of(again, "s2") == 2.0)

    assert (TopicPartition("millrace.features", 0), 1) in sought


async def test_a_topic_made_anew_is_read_from_its_beginning(bed, make_store, make_bed):
    for number in range(3):
        await say(bed, "s1", number, minute=number)
    store = make_store()
    async with running(store):
        await eventually(lambda: number_of(store, "s1") == 2.0)
    anew = make_bed()
    await ensure_topics(anew.broker)
    await say(anew, "s2", 7)

    again = make_store(anew.broker)
    async with running(again):
        await eventually(lambda: number_of(again, "s2") == 7.0)


async def test_what_was_written_too_long_ago_is_absent_and_swept_away(bed, make_store, clock):
    store = make_store(keep=HOUR)
    await say(bed, "s1", 1)
    [record] = bed.broker.records("millrace.features")
    clock.at = record.timestamp * 1_000
    async with running(store):
        await eventually(lambda: number_of(store, "s1") == 1.0)
        assert store.sweep() == 0
        clock.at += HOUR + 1_000_000
        assert number_of(store, "s1") is None
        assert store.sweep() == 1
        clock.at = record.timestamp * 1_000
        assert number_of(store, "s1") is None


async def test_a_sweep_takes_away_all_that_is_over_however_many(
    bed, make_store, clock, monkeypatch
):
    monkeypatch.setattr("millrace_serving.adapters.online_store._AT_ONCE", 3)
    store = make_store(keep=HOUR)
    for number in range(10):
        await say(bed, f"s{number}", number)
    clock.at = bed.broker.records("millrace.features")[0].timestamp * 1_000
    async with running(store):
        await eventually(lambda: store.is_current)
        clock.at += 2 * HOUR
        assert store.sweep() == 10


async def test_what_was_too_old_when_it_was_read_is_not_kept(bed, make_store, clock):
    store = make_store(keep=HOUR)
    await say(bed, "s1", 1)
    clock.at = bed.broker.records("millrace.features")[0].timestamp * 1_000 + 2 * HOUR
    async with running(store):
        await eventually(lambda: store.is_current)
        assert store.sweep() == 0


async def test_a_message_for_one_reader_alone_and_one_without_a_value_say_nothing(bed, make_store):
    """A replayed dead letter is some other service's; a tombstone is nobody's vector."""
    await say(bed, "s1", 1)
    await say(bed, "s1", 2, minute=1)
    place = TopicPartition("millrace.features", 0)
    replayed = bed.broker.records("millrace.features")[1]
    bed.broker.logs[place].pop()
    headers = [*replayed.headers, (REPLAY_FOR, b"monitoring")]
    without = Outgoing(place.topic, replayed.key, None, list(replayed.headers))
    again = Outgoing(place.topic, replayed.key, replayed.value, headers)
    await bed.broker.producer().send(place.topic, place.partition, [again, without])
    await say(bed, "s2", 9)
    store = make_store()
    async with running(store):
        await eventually(lambda: number_of(store, "s2") == 9.0)

        assert number_of(store, "s1") == 1.0
        assert store.newest("", "") is None  # as an empty message would be read


async def test_what_does_not_decode_is_passed_over_and_a_broker_that_is_away_waited_for(
    bed, make_store
):
    await bed.send("millrace.features", 0, "FeaturesComputed", "bikes/s1", value=b"\xff\xff")
    await say(bed, "s1", 1)
    broker = Away(bed.broker)
    store = make_store(broker)

    async with running(store):  # ready at once: nobody waits for it
        assert not store.is_current
        broker.is_away = False
        await eventually(lambda: number_of(store, "s1") == 1.0)
    assert broker.refused


class Away:
    """A broker whose consumers cannot start yet."""

    def __init__(self, broker) -> None:
        self._broker = broker
        self.is_away, self.refused = True, 0

    def consumer(self):
        consumer, start = self._broker.consumer(), None
        start = consumer.start

        async def refuse():
            if self.is_away:
                self.refused += 1
                raise TransientError("away")
            await start()

        consumer.start = refuse
        return consumer


class Sought:
    """Notes where consumers are told to go on."""

    def __init__(self, broker, sought) -> None:
        self._broker, self._sought = broker, sought

    def consumer(self):
        consumer = self._broker.consumer()
        seek = consumer.seek

        def noted(place, offset):
            self._sought.append((place, offset))
            seek(place, offset)

        consumer.seek = noted
        return consumer
