"""Dead letters on a real Kafka, which refuses what is too large."""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from millrace_bus.broker import TopicSpec
from millrace_bus.dead_letters import (
    CONNECT,
    CUT,
    SPRING,
)
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.retry import Backoff
from millrace_bus.stream import StreamSettings, StreamWorker, each
from millrace_bus.topology import ensure_topics
from millrace_testkit.counting import (
    WIRE,
    Counting,
    PairCodec,
    seen_record,
)
from millrace_testkit.eventually import eventually, running
from millrace_testkit.servers import KafkaServer


@pytest.mark.broker
async def test_what_does_not_fit_into_the_dead_letters_does_not_hold_up_its_partition(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    """Two megabytes where one is taken are cut; 64 MB of zeros, which are a few kB on the wire, fit; and it goes on."""
    topic = f"large-{secrets.token_hex(4)}"
    broker = KafkaBroker(KafkaSettings(kafka.bootstrap, session_timeout_seconds=6))
    await ensure_topics(broker)
    await broker.create_topics(
        [
            TopicSpec(topic, 1, {"max.message.bytes": "8000000"}),
            TopicSpec(f"{topic}.dlq", 1, {"max.message.bytes": "1048588"}),
        ]
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, compression_type="gzip", max_request_size=100 << 20
    )
    await producer.start()
    for number, value in enumerate((os.urandom(2_000_000), bytes(64 << 20), None)):
        record = seen_record(number, "good")
        await producer.send_and_wait(
            topic, value=value or record.value, key=b"k", headers=record.headers, partition=0
        )
    await producer.stop()
    heart = Counting()
    worker = StreamWorker(
        f"large-{topic}",
        [topic],
        wire=WIRE,
        process=each(heart.handle),
        codec=PairCodec(),
        broker=broker,
        settings=StreamSettings(tmp_path, poll_seconds=0.1, backoff=Backoff(0.05, 0.5)),
        chance=lambda: 0.5,
    )
    async with running(worker):
        letters = await records_of(broker, f"{topic}.dlq", 2)
        await eventually(lambda: set(worker.positions.values()) == {3}, within=30)
    said = [dict(record.headers) for record in letters]
    assert [headers.get(CUT) for headers in said] == [b"2000000", None]
    assert [headers[CONNECT + "offset"] for headers in said] == [b"0", b"1"]
    assert [len(record.value or b"") for record in letters] == [256 << 10, 64 << 20]
    assert said[0][SPRING + "original-timestamp-type"] == b"CreateTime"


async def records_of(broker: KafkaBroker, topic: str, count: int) -> list[Any]:
    consumer = broker.consumer()
    await consumer.start()
    try:
        for place in await consumer.assign([topic]):
            consumer.seek(place, 0)
        found: list[Any] = []
        async with asyncio.timeout(60):
            while len(found) < count:
                for records in (await consumer.poll(100, 1.0)).values():
                    found += records
        return found
    finally:
        await consumer.stop()
