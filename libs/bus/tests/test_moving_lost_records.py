"""Records that a topic deletes before they were read: a reader stops rather than count without them, unless told to."""

import asyncio

import pytest

from millrace_bus.broker import TopicPartition
from millrace_bus.homes import LostRecordsError
from millrace_testkit.counting import Counting
from millrace_testkit.eventually import eventually, running

EVENTS = "millrace.events"
PLACES = [TopicPartition(EVENTS, number) for number in range(4)]


async def test_records_deleted_before_they_were_read_stop_the_service(bed):
    await bed.tell(20)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()
    await bed.tell(20)
    bed.broker.beginning = {PLACES[1]: len(bed.broker.logs[PLACES[1]]) - 2}
    with pytest.raises(
        LostRecordsError,
        match=r"millrace.events/1: .* up to offset 6, .* begins at 10 .*, and no newer snapshot is usable: 4 offsets",
    ):
        async with asyncio.timeout(5):
            await bed.worker("first").run()


async def test_an_operator_can_accept_the_loss(bed, caplog):
    await bed.tell(20)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()
    await bed.tell(20)
    bed.broker.beginning = {PLACES[1]: len(bed.broker.logs[PLACES[1]]) - 2}
    async with running(bed.worker("first", accept_lost_records=True)):
        await eventually(lambda: len({a.event_id for a in bed.answers()}) == 36)
    assert "4 offsets can't be read any more" in caplog.text
    last = [answer for answer in bed.answers() if answer.entity == "entity-5"][-1]
    assert last.count == 3, "two before, one lost, and this"


async def test_records_deleted_while_a_reader_was_too_slow_stop_it(bed):
    await bed.tell(20)
    counting = Counting()
    counting.blocked.add("entity-2")
    work = asyncio.ensure_future(bed.worker("first", counting).run())
    await eventually(lambda: len(bed.answers()) > 5)
    bed.broker.beginning = {PLACES[2]: len(bed.broker.logs[PLACES[2]])}
    await bed.tell(10)
    counting.blocked.clear()
    await asyncio.wait([work], timeout=5)
    with pytest.raises(LostRecordsError, match="retention was faster than this reader"):
        work.result()


async def test_a_new_partition_begins_where_its_topic_does(bed):
    await bed.tell(40)
    bed.broker.beginning = dict.fromkeys(PLACES, 2)
    async with running(bed.worker("first")):
        await eventually(lambda: len(bed.answers()) == 32)


async def test_with_no_usable_snapshot_and_no_beginning_the_service_stops(bed):
    await bed.tell(40)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    bed.damage_files()
    bed.broker.beginning = {PLACES[0]: 1}
    with pytest.raises(LostRecordsError, match="no snapshot is usable"):
        async with asyncio.timeout(5):
            await bed.worker("second").run()
