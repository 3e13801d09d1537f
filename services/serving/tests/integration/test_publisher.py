"""The publisher port: the real one and the fake pass one suite; then what only the real one does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from millrace_bus.broker import TopicPartition
from millrace_bus.retry import Backoff
from millrace_bus.topology import ensure_topics
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import ModelVersionNumber
from millrace_proto.v1.predictions_pb2 import PredictionMade as Proto
from millrace_serving.adapters.publisher import BusPublisher
from millrace_serving.adapters.wire import WIRE
from millrace_serving.application.ports import Publisher
from millrace_serving.domain.answers import Answer
from millrace_serving.domain.events import PredictionMade, Role
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

TOPIC = "millrace.predictions"


class BusHarness:
    """The real one, on a broker that can be made to refuse."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.away = False
        self.broker.fault = self._fault

    def _fault(self, errand: str, place: TopicPartition) -> None:
        if self.away:
            raise TransientError("away")

    def publisher(self, room: int, **more: int) -> BusPublisher:
        return BusPublisher(
            self.broker,
            WIRE,
            instance="serving-0",
            started=1,
            chance=lambda: 0.5,
            room=room,
            backoff=Backoff(0.001, 0.01),
            **more,
        )

    @asynccontextmanager
    async def started(self, room: int, **more: int) -> AsyncIterator[Publisher]:
        await ensure_topics(self.broker)
        publisher = self.publisher(room, **more)
        async with running(publisher):
            yield publisher

    async def block(self) -> None:
        self.away = True

    async def unblock(self) -> None:
        self.away = False

    def written(self) -> list[str]:
        """By partition, in the order of each."""
        seen: dict[str, None] = {}
        for record in self.broker.records(TOPIC):
            seen[Proto.FromString(record.value).event_id] = None
        return list(seen)


class FakeHarness:
    def __init__(self, publisher) -> None:
        self.fake = publisher

    @asynccontextmanager
    async def started(self, room: int) -> AsyncIterator[Publisher]:
        self.room = room
        yield self.fake

    async def block(self) -> None:
        await self.fake.make_room(self.room)

    async def unblock(self) -> None:
        await self.fake.make_room(1_000_000)

    def written(self) -> list[str]:
        return [one.vector.event_id for one in self.fake.published]


@pytest.fixture(params=["bus", "fake"])
def harness(request, make_world, make_pipeline):
    return (
        BusHarness()
        if request.param == "bus"
        else FakeHarness(make_world(make_pipeline()).publisher)
    )


@pytest.fixture
def predictions(make_vector) -> Callable[..., list[PredictionMade]]:
    def make(ids: Sequence[object]) -> list[PredictionMade]:
        made = PredictionMade(make_vector(), ModelVersionNumber(1), 1, Role.REQUEST, Answer(1.0))
        return [made._replace(vector=make_vector(str(one))) for one in ids]

    return make


async def test_what_is_published_is_written_once(harness, predictions):
    async with harness.started(room=100) as publisher:
        await publisher.publish(predictions(range(50)))
        await publisher.publish(predictions([]))
        await publisher.publish(predictions(range(50, 60)))
        await eventually(lambda: len(harness.written()) == 60)

    assert sorted(map(int, harness.written())) == list(range(60))


async def test_who_finds_no_room_waits_and_nothing_is_dropped(harness, predictions):
    async with harness.started(room=10) as publisher:
        await harness.block()
        publishing = [
            asyncio.create_task(publisher.publish(predictions([f"{n}-{row}" for row in range(7)])))
            for n in range(4)
        ]
        await asyncio.sleep(0.02)
        assert [task.done() for task in publishing] == [True, False, False, False]

        await harness.unblock()
        await asyncio.gather(*publishing)
        await eventually(lambda: len(harness.written()) == 28)


async def test_more_than_there_is_room_for_goes_in_parts(harness, predictions):
    async with harness.started(room=10) as publisher:
        publishing = asyncio.create_task(publisher.publish(predictions(range(35))))
        await harness.unblock()
        await publishing
        await eventually(lambda: len(harness.written()) == 35)


async def test_expecting_may_be_nested_and_lets_errors_through(harness):
    async with harness.started(room=10) as publisher:
        with pytest.raises(KeyError), publisher.expecting(), publisher.expecting():
            raise KeyError


async def test_an_answer_is_written_with_a_sequence_that_grows_and_an_id_of_its_own(predictions):
    harness = BusHarness()
    async with harness.started(room=100) as publisher:
        await publisher.publish(predictions(range(20)))
        await eventually(lambda: len(harness.written()) == 20)

    records = harness.broker.records(TOPIC)
    headers = [dict(record.headers) for record in records]
    assert {one["ce_source"] for one in headers} == {b"millrace/serving/requests/serving-0/1"}
    assert len({one["ce_id"] for one in headers}) == 20
    for number in range(4):
        mine = [
            one["ce_sequence"]
            for one, record in zip(headers, records, strict=True)
            if record.partition == number
        ]
        assert mine == sorted(set(mine))


async def test_what_is_sent_again_has_the_same_id_and_sequence(predictions):
    harness = BusHarness()
    lost = iter([True, True])

    def lose_acknowledgements(errand: str, place: TopicPartition) -> None:
        if errand == "acknowledge" and next(lost, False):
            raise TransientError("lost")

    harness.broker.fault = lose_acknowledgements
    async with harness.started(room=100) as publisher:
        await publisher.publish(predictions(range(20)))
        await eventually(lambda: len(harness.broker.records(TOPIC)) > 20 and publisher.is_idle)

    seen = {
        (dict(record.headers)["ce_id"], dict(record.headers)["ce_sequence"])
        for record in harness.broker.records(TOPIC)
    }
    assert len(seen) == 20


async def test_when_it_is_stopped_it_first_sends_what_it_has_and_what_is_expected(predictions):
    harness = BusHarness()
    await ensure_topics(harness.broker)
    publisher = harness.publisher(room=100)
    run = asyncio.create_task(publisher.run())
    await publisher.ready.wait()
    harness.away = True
    await publisher.publish(predictions(range(10)))
    with publisher.expecting():
        run.cancel()
        await asyncio.sleep(0.01)
        harness.away = False
        await publisher.publish(predictions(range(10, 20)))
        await asyncio.sleep(0.01)
        assert not run.done()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert sorted(map(int, harness.written())) == list(range(20))
    with pytest.raises(TransientError, match="stopped"):
        await publisher.publish(predictions([99]))


def wide(prediction: PredictionMade, numbers: int = 1_000) -> PredictionMade:
    """About 32 kB."""
    vector = prediction.vector._replace(numbers=(1.0,) * numbers)
    return prediction._replace(vector=vector)


def is_refused(publisher: BusPublisher) -> bool:
    """Whether a request that comes now is."""
    try:
        with publisher.expecting():
            return False
    except TransientError:
        return True


async def test_room_is_a_matter_of_bytes_not_only_of_how_many(predictions):
    harness = BusHarness()
    async with harness.started(room=1_000, room_bytes=100_000) as publisher:
        await harness.block()
        many = [wide(one) for one in predictions(range(10))]
        publishing = asyncio.create_task(publisher.publish(many))
        await asyncio.sleep(0.02)
        taken_meanwhile = len(publisher._backlog.waiting)
        await harness.unblock()
        await publishing
        await eventually(lambda: len(harness.written()) == 10)

    assert taken_meanwhile == 3
    assert (publisher._backlog.bytes, publisher._outside_bytes) == (0, 0)


async def test_one_that_is_larger_than_the_room_goes_alone(predictions):
    harness = BusHarness()
    async with harness.started(room=1_000, room_bytes=1_000) as publisher:
        await publisher.publish([wide(one) for one in predictions(range(5))])
        await eventually(lambda: len(harness.written()) == 5)


async def test_while_as_much_waits_as_there_is_room_for_new_requests_are_refused(predictions):
    harness = BusHarness()
    async with harness.started(room=1_000, room_bytes=100_000) as publisher:
        await harness.block()
        with publisher.expecting():
            publishing = asyncio.create_task(
                publisher.publish([wide(one) for one in predictions(range(10))])
            )
            await asyncio.sleep(0.02)
            refused = is_refused(publisher)
            await harness.unblock()
            await publishing
        await eventually(lambda: len(harness.written()) == 10)
        with publisher.expecting():
            await publisher.publish(predictions(["later"]))
        await eventually(lambda: len(harness.written()) == 11)

    assert refused


async def test_who_gives_up_waiting_for_room_takes_up_none(predictions):
    harness = BusHarness()
    async with harness.started(room=1_000, room_bytes=100_000) as publisher:
        await harness.block()
        publishing = asyncio.create_task(
            publisher.publish([wide(one) for one in predictions(range(10))])
        )
        await asyncio.sleep(0.02)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        refused = is_refused(publisher)
        await harness.unblock()
        await eventually(lambda: publisher.is_idle)

    assert not refused
    assert (publisher._backlog.bytes, publisher._outside_bytes) == (0, 0)


async def test_only_so_many_requests_are_under_way_at_once():
    harness = BusHarness()
    async with harness.started(room=10, most_requests=2) as publisher:
        with (
            publisher.expecting(),
            publisher.expecting(),
            pytest.raises(TransientError),
            publisher.expecting(),
        ):
            pass
        with publisher.expecting():
            pass
