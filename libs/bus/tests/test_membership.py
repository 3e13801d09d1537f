"""A killed reader's successor gets its partitions at once, however long the session timeout is."""

import asyncio
import os
import secrets
import signal
import sys
from pathlib import Path

import pytest

from millrace_bus.broker import RebalanceListener, TopicPartition, TopicSpec
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.membership import Membership
from millrace_testkit.servers import KafkaServer

LONGER_THAN_THE_TEST = 300.0

READER = """
import asyncio, sys
from pathlib import Path
from millrace_bus.broker import RebalanceListener
from millrace_bus.kafka import KafkaBroker, KafkaSettings

class Told(RebalanceListener):
    async def revoked(self, partitions): ...
    async def assigned(self, partitions):
        print("assigned", flush=True)

async def main(bootstrap, group, topic, members):
    settings = KafkaSettings(bootstrap, session_timeout_seconds=300.0, members=Path(members))
    consumer = KafkaBroker(settings).consumer(group, Told())
    await consumer.start()
    await consumer.subscribe([topic])
    while True:
        await consumer.poll(10, 1.0)

asyncio.run(main(*sys.argv[1:]))
"""


class Told(RebalanceListener):
    def __init__(self) -> None:
        self.got: asyncio.Future[set[TopicPartition]] = asyncio.get_running_loop().create_future()

    async def revoked(self, partitions):
        """Nothing is kept."""

    async def assigned(self, partitions):
        if not self.got.done():
            self.got.set_result(set(partitions))


@pytest.mark.broker
async def test_a_killed_reader_is_followed_at_once(kafka: KafkaServer, tmp_path: Path):
    group = topic = f"followed-{secrets.token_hex(4)}"
    settings = KafkaSettings(
        kafka.bootstrap, session_timeout_seconds=LONGER_THAN_THE_TEST, members=tmp_path
    )
    broker = KafkaBroker(settings)
    await broker.create_topics([TopicSpec(topic, 2, {})])
    first = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READER, kafka.bootstrap, group, topic, str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert first.stdout is not None
    assert await first.stdout.readline() == b"assigned\n"
    os.kill(first.pid, signal.SIGKILL)
    await first.wait()

    told = Told()
    consumer = broker.consumer(group, told)
    await consumer.start()
    try:
        await consumer.subscribe([topic])
        async with asyncio.timeout(60):
            assert await told.got == {TopicPartition(topic, 0), TopicPartition(topic, 1)}
    finally:
        await consumer.stop()


def test_only_one_living_member_holds_a_place(tmp_path: Path):
    first, second = Membership(tmp_path, "group"), Membership(tmp_path, "group")
    assert first.hold()
    assert first.predecessor() is None
    first.remember("member-1")
    assert not second.hold()
    second.remember("member-2")  # not its to say
    first.release()
    assert second.hold()
    assert second.predecessor() == "member-1"
    second.remember("m-2")
    second.release()
    assert first.hold()
    assert first.predecessor() == "m-2"
    first.release()
