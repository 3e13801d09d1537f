"""The object store as a stream meets it: slow, away, failing now and then, damaged; and what is copied there, and when."""

import asyncio
import threading

from millrace_kernel.errors import TransientError
from millrace_testkit.eventually import eventually, running

EVENTS = "millrace.events"


async def test_with_no_usable_snapshot_the_state_is_built_from_the_beginning(bed, caplog):
    await bed.tell(40)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    bed.damage_files()
    async with running(bed.worker("second")):
        await eventually(lambda: len(bed.answers()) == 80)
    assert "built again from the topic's beginning" in caplog.text
    bed.assert_counted_once()


async def test_an_object_store_that_is_away_stops_no_stream(bed):
    def away(errand: str, key: str) -> None:
        raise TransientError("the object store is away")

    await bed.tell(40)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()  # so that the state is here
    bed.blobs.fault = away
    async with running(bed.worker("first")):
        await bed.tell(40)
        await bed.answered()
        failures = bed.metrics.snapshot_failures.labels(EVENTS)
        await eventually(lambda: failures._value.get() > 3)
        bed.blobs.fault = lambda errand, key: None
        await bed.saved()
    bed.assert_counted_once()


async def test_every_tenth_write_failing_is_tried_again(bed):
    writes = {"count": 0}

    def sometimes(errand: str, key: str) -> None:
        writes["count"] += errand == "put"
        if errand == "put" and writes["count"] % 10 == 0:
            raise TransientError("not now")

    bed.blobs.fault = sometimes
    async with running(bed.worker("first")):
        for _ in range(5):
            await bed.tell(20)
            await bed.saved()
    async with running(bed.worker("second")):
        await bed.tell(20)
        await bed.answered()
    bed.assert_counted_once()


async def test_a_partition_without_its_state_waits_for_the_object_store(bed, caplog):
    caplog.set_level("INFO")
    await bed.tell(40)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    left = {"count": 20}

    def away(errand: str, key: str) -> None:
        if left["count"]:
            left["count"] -= 1
            raise TransientError("the object store is away")

    bed.blobs.fault = away
    async with running(bed.worker("second", snapshot_seconds=1000.0)):
        await bed.tell(20)
        await bed.answered()
    assert len(bed.answers()) == 60
    assert "waits for its state" in caplog.text
    assert bed.restored(caplog) == 4
    bed.assert_counted_once()


async def test_a_slow_restore_holds_neither_its_neighbours_nor_a_rebalance(bed):
    await bed.tell(40)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    slow = threading.Event()

    def slowly(errand: str, key: str) -> None:
        if errand == "get" and f"/{EVENTS}-0/files/" in key:
            slow.wait(20)

    bed.blobs.fault = slowly
    try:
        async with running(bed.worker("second")):
            await bed.tell(20)
            others = {f"e{n}" for n in range(60) if n % 10 % 4}
            await eventually(lambda: others <= {a.event_id for a in bed.answers()})
            assert len({a.event_id for a in bed.answers()}) < 60
            async with running(bed.worker("third")):  # a rebalance, while the restore is under way
                await bed.tell(10)
                slow.set()
                await bed.answered()
    finally:
        slow.set()
    bed.assert_counted_once()


async def test_a_state_that_rests_is_not_copied_again(bed):
    await bed.tell(20)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
        written = len(bed.blobs.puts)
        await asyncio.sleep(0.5)  # ten intervals
        assert len(bed.blobs.puts) == written


async def test_what_is_copied_is_measured(bed):
    await bed.tell(20)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
        await eventually(lambda: bed.metrics.snapshots.labels(EVENTS)._sum.get() > 0)
        sample = bed.metrics.registry.get_sample_value
        await eventually(
            lambda: (
                sample("millrace_snapshot_duration_seconds_count", {"topic": EVENTS}) >= 4
                and sample("millrace_snapshot_sent_bytes_total", {"topic": EVENTS}) > 1_000
            )
        )
        ages = [
            sample("millrace_snapshot_age_seconds", {"topic": EVENTS, "partition": str(number)})
            for number in range(4)
        ]
        assert all(age is not None and age >= 0 for age in ages)
    gone = {"topic": EVENTS, "partition": "0"}
    assert sample("millrace_snapshot_age_seconds", gone) is None
