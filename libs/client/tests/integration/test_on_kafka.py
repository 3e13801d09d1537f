"""Replay and tail on a real Kafka."""

import asyncio
import json
from dataclasses import replace

import pytest

from millrace.errors import ClientError
from millrace.feed import follow, read_all
from millrace.kafka import broker_of
from millrace.pipelines import pipeline_in_force
from millrace.replay.ordering import messages_of
from millrace.replay.pace import Pace, Sent
from millrace.replay.sending import Sender
from millrace.settings import Settings
from millrace_bus.broker import Broker
from millrace_bus.topology import catalogue_topics, user_topics
from millrace_contracts.message import Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_kernel.pipeline import Pipeline
from millrace_proto.v1.drift_pb2 import DRIFT_KIND_DATA, DriftDetected
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_testkit.servers import KafkaServer

pytestmark = pytest.mark.broker

ROWS = [
    {
        "id": f"b{hour}",
        "timestamp": f"2011-01-01T{hour:02d}:00:00Z",
        "station": station,
        "cnt": str(hour),
        "temp": "0.5",
    }
    for hour in range(24)
    for station in ("a", "b")
]


@pytest.fixture
async def broker(kafka: KafkaServer) -> Broker:
    made = broker_of(Settings.of({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap}))
    await made.create_topics(catalogue_topics())
    return made


async def put(broker: Broker, topic: str, type_name: str, key: str, value: bytes) -> None:
    producer = broker.producer()
    await producer.start()
    try:
        headers = [("ce_type", type_name.encode()), ("ce_source", b"test")]
        await producer.send(topic, 0, [Outgoing(topic, key.encode(), value, headers)])
    finally:
        await producer.stop()


async def values_of(broker: Broker, topic: str) -> dict[int, list[dict]]:
    consumer = broker.consumer()
    await consumer.start()
    try:
        places = await consumer.assign([topic])
        ends = await consumer.ends(places)
        for place in places:
            consumer.seek(place, 0)
        found: dict[int, list[dict]] = {place.partition: [] for place in places}
        while sum(map(len, found.values())) < sum(ends.values()):
            for place, records in (await consumer.poll(100, 1.0)).items():
                found[place.partition] += [json.loads(record.value) for record in records]
        return found
    finally:
        await consumer.stop()


async def test_a_replay_keeps_each_entitys_order_and_every_message(
    broker: Broker, bikes: Pipeline
) -> None:
    topic = "client-replay"
    pipeline = replace(bikes, topic=topic)
    await broker.create_topics(user_topics([topic], 4))
    messages = messages_of(pipeline, ROWS)
    seen: list[Sent] = []
    await Sender(broker).send_all(messages, Pace(), seen.append)
    assert seen[-1] == Sent(96, 48)
    found = await values_of(broker, topic)
    for station in ("a", "b"):
        sent = [json.loads(m.value) for m in messages if m.key == station.encode()]
        of_station = [
            [v for v in part if station in (v.get("station"), v.get("entity"))]
            for part in found.values()
        ]
        assert [part for part in of_station if part] == [sent]


async def test_events_are_read_and_followed(broker: Broker) -> None:
    drift = DriftDetected(pipeline="client-tail", kind=DRIFT_KIND_DATA, subject="temp")
    name = "millrace.v1.DriftDetected"
    following = follow(broker, (name,), from_beginning=False)
    await anext(following)
    await put(broker, "millrace.drift", name, "client-tail", drift.SerializeToString())

    async def first() -> str:
        async for batch in following:
            for happening in batch:
                if happening.pipeline == "client-tail":
                    return str(happening.fields["subject"])
        return ""

    assert await asyncio.wait_for(first(), 10) == "temp"
    await following.aclose()
    [read] = [e for e in await read_all(broker, (name,)) if e.pipeline == "client-tail"]
    assert read.fields["kind"] == "DRIFT_KIND_DATA"
    assert (read.source, read.sequence, read.type) == ("test", None, "DriftDetected")


async def test_the_newest_file_of_a_pipeline_is_in_force(broker: Broker, bikes: Pipeline) -> None:
    for version in (1, 2):
        pipeline = replace(bikes, name="client-file", version=version)
        event = PipelineApplied(
            pipeline="client-file", version=version, spec_json=pipeline_to_json(pipeline)
        )
        name = "millrace.v1.PipelineApplied"
        await put(broker, "millrace.pipelines", name, "client-file", event.SerializeToString())
    assert (await pipeline_in_force(broker, "client-file")).version == 2
    with pytest.raises(ClientError, match=r"no pipeline 'nobody'; known: .*client-file"):
        await pipeline_in_force(broker, "nobody", seconds=0)
