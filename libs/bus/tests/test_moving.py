"""State that moves: what one machine knew, another goes on from, and no reader can tell."""

import asyncio

import pytest

from millrace_bus.broker import TopicPartition
from millrace_bus.retry import Backoff
from millrace_bus.store import StateInUseError
from millrace_bus.topology import ensure_topics
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

EVENTS, FEATURES = "millrace.events", "millrace.features"
QUICK = Backoff(0.001, 0.01)
PLACES = [TopicPartition(EVENTS, number) for number in range(4)]


async def test_a_lost_machine_s_state_is_restored_and_the_rest_read_again(
    bed, new_bed, tmp_path, caplog
):
    caplog.set_level("INFO")
    await bed.tell(100)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
        taken = dict(bed.blobs.content), dict(bed.blobs.written)
        await bed.tell(60)
        await bed.answered()
    bed.blobs.content, bed.blobs.written = taken  # what came after the last snapshot is lost
    read_before = len(bed.answers())
    async with running(bed.worker("second")):
        await bed.tell(40)
        await bed.answered()
    assert bed.restored(caplog) == 4
    assert read_before + 60 + 40 == len(bed.answers()), "only what came after the snapshot"
    bed.assert_counted_once()
    undisturbed = await new_bed(tmp_path / "undisturbed")
    await undisturbed.tell(200)
    async with running(undisturbed.worker("only")):
        await undisturbed.answered()
    assert sorted(bed.effective()) == sorted(undisturbed.effective())


async def test_a_state_whose_past_the_topic_has_deleted_is_restored(bed, caplog):
    caplog.set_level("INFO")
    await bed.tell(100)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    bed.broker.beginning = {place: len(bed.broker.logs[place]) - 1 for place in PLACES}
    async with running(bed.worker("second")):
        await bed.tell(20)
        await bed.answered()
    assert bed.restored(caplog) == 4
    bed.assert_counted_once()


async def test_a_state_that_has_fallen_behind_the_topic_s_beginning_is_replaced(bed, caplog):
    caplog.set_level("INFO")
    await bed.tell(20)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()
    await bed.tell(30)
    async with running(bed.worker("second")):
        await bed.answered()
        await bed.saved()
    bed.broker.beginning = {place: len(bed.broker.logs[place]) for place in PLACES}
    caplog.clear()
    async with running(bed.worker("first", replay_records=1_000_000)):
        await bed.tell(10)
        await bed.answered()
    assert bed.restored(caplog) == 4
    bed.assert_counted_once()


@pytest.mark.parametrize(("replay_records", "restores"), [(4, 4), (1_000, 0)])
async def test_a_state_far_behind_its_snapshot_is_replaced_and_a_near_one_caught_up(
    bed, caplog, replay_records, restores
):
    caplog.set_level("INFO")
    await bed.tell(20)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()
    await bed.tell(40)
    async with running(bed.worker("second")):
        await bed.answered()
        await bed.saved()
    caplog.clear()
    async with running(bed.worker("first", replay_records=replay_records)):
        await bed.tell(10)
        await bed.answered()
    assert bed.restored(caplog) == restores
    bed.assert_counted_once()


async def test_two_instances_in_one_folder_are_told_so(bed):
    await bed.tell(10)
    async with running(bed.worker("first")):
        await bed.answered()
        bed.broker = MemoryBroker()  # in another group, or it would be given half the partitions
        await ensure_topics(bed.broker)
        work = asyncio.ensure_future(bed.worker("first").run())
        await asyncio.wait([work], timeout=5)
        with pytest.raises(StateInUseError, match="a MILLRACE_INSTANCE of its own"):
            work.result()


async def test_a_rebalance_that_the_broker_disturbs_is_made_good(bed):
    bed.broker.unanswered = 3
    await bed.tell(20)
    async with running(bed.worker("first")):
        await bed.answered()
    bed.assert_counted_once()


async def test_what_a_killed_process_left_half_done_is_swept_away(bed):
    for name in (".coming-x", ".going-x", ".checkpoint-x"):
        (bed.folder / "first" / name / "deep").mkdir(parents=True)
    await bed.tell(10)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    assert {path.name for path in (bed.folder / "first").iterdir()} == {
        f"{EVENTS}-{number}" for number in range(4)
    }


async def test_one_becomes_three_becomes_one_under_load(bed):
    """Every machine has its own folder, so that state truly moves through the object store."""

    enough = asyncio.Event()

    async def load() -> None:
        while not enough.is_set():
            await bed.tell(5)
            await asyncio.sleep(0.01)

    loading = asyncio.ensure_future(load())
    try:
        async with running(bed.worker("one")):
            await eventually(lambda: len(bed.answers()) > 50)
            async with running(bed.worker("two")):
                await eventually(lambda: len(bed.answers()) > 200)
                async with running(bed.worker("three")):
                    await eventually(lambda: len(bed.answers()) > 400)
            await eventually(lambda: len(bed.answers()) > 600)
            enough.set()
            await loading
            await bed.answered()
    finally:
        loading.cancel()
    bed.assert_counted_once()
