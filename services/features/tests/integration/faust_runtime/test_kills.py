"""The Faust process killed, paused and joined by another while events flow: readers see what the default runtime says."""

import asyncio
import signal

import numpy as np
import pytest

COUNT = 4_000
KILLS = 4
PARTS = 60
SESSION_SECONDS = 6  # as the processes are told

pytestmark = [pytest.mark.broker, pytest.mark.timeout(500)]  # seconds; far more than it takes


async def send_slowly(cluster, told):
    """Each partition's records in order, in many small pieces."""
    for part in range(PARTS):
        piece = {
            partition: records[len(records) * part // PARTS : len(records) * (part + 1) // PARTS]
            for partition, records in told.items()
        }
        await cluster.send(piece)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("keeps_its_folder", [True, False], ids=["same machine", "another machine"])
async def test_kills_change_nothing_that_a_reader_sees(
    cluster, tellings, bikes, counted, tmp_path, keeps_its_folder
):
    chance = np.random.default_rng(20261121)
    await cluster.apply(bikes())
    told = tellings.of(range(COUNT))
    answers, letters = counted(COUNT)
    async with cluster.reading() as vectors, cluster.reading("millrace.events.dlq") as dead:
        sending = asyncio.ensure_future(send_slowly(cluster, told))
        for kill in range(KILLS):
            home = tmp_path / ("faust" if keeps_its_folder else f"faust-{kill}")
            with cluster.features(home, "faust") as program:
                await vectors.until(answers * (kill + 1) // (KILLS + 2), program)
                await asyncio.sleep(float(chance.uniform(0, 0.3)))
            # here it is killed with SIGKILL
        with cluster.features(tmp_path / "faust", "faust") as program:
            await sending
            await vectors.until(answers, program)
            await dead.until(letters, program)

    undisturbed = await cluster.answers(tmp_path / "bus", COUNT)

    assert len(vectors.told()) == answers
    assert (vectors.told(), dead.letters()) == undisturbed


async def test_instances_that_come_stall_and_go_change_nothing_that_a_reader_sees(
    cluster, tellings, bikes, counted, tmp_path
):
    await cluster.apply(bikes())
    told = tellings.of(range(COUNT))
    answers, letters = counted(COUNT)
    async with cluster.reading() as vectors, cluster.reading("millrace.events.dlq") as dead:
        sending = asyncio.ensure_future(send_slowly(cluster, told))
        with cluster.features(tmp_path / "one", "faust") as one:
            await vectors.until(answers // 8, one)
            with cluster.features(tmp_path / "two", "faust") as two:
                await vectors.until(answers // 3, two)
                one.send_signal(signal.SIGSTOP)
                await asyncio.sleep(SESSION_SECONDS * 1.5)  # a zombie: the other has its partitions
                one.send_signal(signal.SIGCONT)
                await sending
                await vectors.until(answers * 3 // 4, two)
            # the second is killed with SIGKILL; the first must hold what both did
            await vectors.until(answers, one)
            await dead.until(letters, one)

    undisturbed = await cluster.answers(tmp_path / "bus", COUNT)

    assert len(vectors.told()) == answers
    assert (vectors.told(), dead.letters()) == undisturbed
