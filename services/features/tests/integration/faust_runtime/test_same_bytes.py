"""Both runtimes answer the same events with the same bytes, on the real Kafka."""

import pytest

COUNT = 15_000  # with their labels, and what is sent twice, more than 20,000 messages
NEWER = 7_000

pytestmark = [pytest.mark.broker, pytest.mark.timeout(500)]  # seconds; far more than it takes


async def test_twenty_thousand_messages_give_the_same_bytes_in_both_runtimes(
    cluster, tellings, bikes, counted, tmp_path
):
    await cluster.apply(bikes(1))
    tellings.newer = NEWER
    told = tellings.of(range(COUNT))
    assert sum(len(records) for records in told.values()) > 20_000
    await cluster.send(told)
    answers, letters = counted(COUNT)
    async with cluster.reading() as vectors, cluster.reading("millrace.events.dlq") as dead:
        with cluster.features(tmp_path / "faust", "faust") as program:
            # it waits, in order and for good, for the version that the later events name
            await vectors.until(counted(NEWER)[0] * 9 // 10, program)
            await cluster.apply(bikes(2), bikes(1))
            await vectors.until(answers, program)
            await dead.until(letters, program)

    undisturbed = await cluster.answers(tmp_path / "bus", COUNT)

    assert len(vectors.told()) == answers
    assert (vectors.told(), dead.letters()) == undisturbed
