"""A machine with what it remembers of entities is lost: another goes on from the snapshot, and the vectors are the same."""

import math

import pytest

from millrace_bus.snapshots import Snapshots
from millrace_features.bootstrap import assemble
from millrace_features.entrypoints.worker import components
from millrace_features.settings import Settings
from millrace_testkit.blobs import MemoryBlobs
from millrace_testkit.eventually import eventually, running

FIELDS = "temp: float, weather: category"
FEATURES = (
    "{name: change, expr: 'temp - lag(temp, 1)'}",
    "{name: temp_mean, agg: mean, of: temp, window: 30s}",
    "{name: hired_mean, agg: mean, of: label, window: 30s}",
)
FIRST, ALL = 90, 150


@pytest.fixture
def bikes(pipeline):
    return pipeline(*FEATURES, fields=FIELDS, lateness="10s")


async def tell(bed, numbers):
    for number in numbers:
        await bed.event(number, math.nan if number % 11 == 0 else float(number % 17))
        if number % 2:
            await bed.label(number, float(number))


def published(bed):
    return [
        (message.partition, message.key, message.value, message.headers["ce_id"], message.sequence)
        for message in bed.effective()
    ]


async def test_vectors_are_the_same_whichever_machine_computes_them(new_bed, bikes, caplog):
    caplog.set_level("INFO", logger="millrace_bus.homes")
    bed, undisturbed = await new_bed("moved"), await new_bed("undisturbed")
    snapshots = Snapshots("features", MemoryBlobs(), lambda: "cluster")

    def machine(name):
        settings = Settings(
            millrace_home=bed.folder, millrace_instance=name, state_snapshot_seconds=0.05
        )
        assert settings.state_directory == bed.folder / "features" / name
        return running(*components(assemble(settings, broker=bed.broker, snapshots=snapshots)))

    def is_saved():
        places = [place for place in bed.broker.places("millrace.events") if bed.broker.logs[place]]
        return places and all(snapshots.positions(place) for place in places)

    await bed.apply(bikes)
    async with machine("one"):
        await tell(bed, range(FIRST))
        await bed.answered(FIRST)
        await eventually(is_saved)
    async with machine("two"):
        await tell(bed, range(FIRST, ALL))
        await bed.answered(ALL)
    assert "state restored" in caplog.text

    await undisturbed.apply(bikes)
    async with undisturbed.features():
        await tell(undisturbed, range(ALL))
        await undisturbed.answered(ALL)
    assert published(bed) == published(undisturbed)
