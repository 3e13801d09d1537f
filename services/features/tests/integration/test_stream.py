"""Events in, vectors out, on the in-memory broker: each once, and the same bytes whatever happens to the process."""

import math

import pytest

from millrace_bus.broker import TopicPartition
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import derived_id
from millrace_testkit.eventually import eventually

FIELDS = "temp: float, weather: category"
FEATURES = (
    "{name: change, expr: 'temp - lag(temp, 1)'}",
    "{name: rainy, expr: 'weather == \"rain\"'}",
    "{name: temp_mean, agg: mean, of: temp, window: 30s}",
    "{name: hired_mean, agg: mean, of: label, window: 30s}",
)
EVENTS = 120


@pytest.fixture
def bikes(pipeline):
    return pipeline(*FEATURES, fields=FIELDS, lateness="10s")


async def tell(bed, numbers):
    """Events a second, within ten seconds out of order; a label for every other, corrected now and then."""
    for number in sorted(numbers, key=lambda number: (number // 10, number * 7 % 10)):
        await bed.event(number, math.nan if number % 11 == 0 else float(number % 17))
        if number % 2:
            await bed.label(number, float(number))
        if number % 5 == 0:
            await bed.label(number, 0.5, after=9)


def published(bed):
    """All that a fencing reader can tell apart, in the order of each partition."""
    return [
        (message.partition, message.key, message.value, message.headers["ce_id"], message.sequence)
        for message in bed.effective()
    ]


async def test_vectors_carry_what_the_pipeline_says_about_each_event(bed, bikes):
    await bed.apply(bikes)
    async with bed.features():
        for number in (0, 3, 6):
            await bed.event(number, float(number), texts=["rain" if number else ""])
        await bed.label(0, 8.0)
        await bed.label(3, 4.0)
        await bed.label(0, None, after=20)
        await bed.event(9, 9.0)
        await bed.event(24, 24.0)
        vectors = await bed.answered(5)

    first, fourth, last = (vectors[name] for name in ("e0", "e9", "e24"))
    assert [math.isnan(number) for number in first.numbers] == [False, True, True, False, True]
    assert (list(first.categories), first.late) == ([""], False)
    assert list(fourth.numbers) == [9.0, 3.0, 1.0, 4.5, 6.0]
    assert list(last.numbers) == [24.0, 15.0, 1.0, 8.4, 4.0]
    assert list(last.categories) == ["rain"]


async def test_a_vector_is_found_by_its_entity_and_has_the_id_that_its_event_gives(bed, bikes):
    await bed.apply(bikes)
    async with bed.features():
        await bed.event(4, 1.0)
        await bed.answered(1)

    [message] = bed.effective()
    assert message.key == b"bikes/station-1"
    assert message.id == derived_id("vector", "bikes", "e4")
    assert message.type == "millrace.v1.FeaturesComputed"


async def test_a_restart_in_the_middle_gives_the_same_bytes_and_nothing_twice(new_bed, bikes):
    straight, interrupted = await new_bed("straight"), await new_bed("interrupted")
    for bed in (straight, interrupted):
        await bed.apply(bikes)
        await tell(bed, range(EVENTS // 2))
    async with interrupted.features():
        await interrupted.answered(EVENTS // 2)
    for bed in (straight, interrupted):
        await tell(bed, range(EVENTS // 2, EVENTS))
    for bed in (straight, interrupted):
        async with bed.features():
            await bed.answered(EVENTS)

    assert sorted(published(interrupted)) == sorted(published(straight))
    assert len(interrupted.records()) == EVENTS


@pytest.mark.parametrize("errand", ["append", "acknowledge"])
async def test_lost_sends_and_lost_acknowledgements_change_no_byte(new_bed, bikes, errand):
    straight, troubled = await new_bed("straight"), await new_bed("troubled")
    troubles = {"left": 3}

    def fault(at: str, place: TopicPartition) -> None:
        if place.topic == "millrace.features" and at == errand and troubles["left"]:
            troubles["left"] -= 1
            raise TransientError("the broker is away")

    troubled.broker.fault = fault
    for bed in (straight, troubled):
        await bed.apply(bikes)
        await tell(bed, range(EVENTS))
        async with bed.features():
            await bed.answered(EVENTS)
            await eventually(lambda bed=bed: bed is straight or not troubles["left"])

    assert sorted(published(troubled)) == sorted(published(straight))


async def test_a_lost_state_is_built_again_from_the_events_with_the_same_bytes(bed, bikes):
    await bed.apply(bikes)
    await tell(bed, range(EVENTS))
    async with bed.features():
        await bed.answered(EVENTS)
    before, count = published(bed), len(bed.records())

    bed.folder = bed.folder / "another machine"
    async with bed.features():
        await eventually(lambda: len(bed.records()) == 2 * count)

    assert published(bed) == before
    contents = sorted(record.value for record in bed.records())
    assert contents[::2] == contents[1::2]


async def test_events_wait_for_the_version_that_they_name(bed, bikes, pipeline):
    newer = pipeline("{name: double, expr: 2 * temp}", fields=FIELDS, version=2)
    await bed.apply(bikes)
    await bed.event(0, 1.0)
    await bed.event(3, 2.0, version=2)
    await bed.event(6, 3.0, version=1)
    async with bed.features():
        await bed.apply(newer, bikes)
        vectors = await bed.answered(3)

    assert [vectors[f"e{number}"].pipeline_version for number in (0, 3, 6)] == [1, 2, 1]
    assert list(vectors["e3"].numbers) == [2.0, 4.0]


async def test_events_of_an_ended_pipeline_do_not_stop_the_stream(bed, bikes):
    await bed.end("bikes")
    await bed.event(0, 1.0, version=7)
    async with bed.features():
        await eventually(lambda: sum(bed.broker.group_offsets("millrace-features").values()) == 1)
        await bed.apply(bikes)
        await bed.event(3, 1.0)
        vectors = await bed.answered(1)

    assert list(vectors) == ["e3"]


async def test_a_misshapen_event_goes_to_the_dead_letters_and_the_stream_goes_on(bed, bikes):
    await bed.apply(bikes)
    await bed.event(0, 1.0, 2.0)
    await bed.event(3, 1.0)
    async with bed.features():
        vectors = await bed.answered(1)

    assert list(vectors) == ["e3"]
    [letter] = bed.broker.records("millrace.events.dlq")
    assert b"event e0 carries 2 numbers" in b" ".join(dict(letter.headers).values())
