"""The service as a process, on a real Kafka, killed while it works: what it answered 202 for is there, once."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager

import httpx2
import pytest

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message, Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_local.ports import free_port
from millrace_proto.v1.events_pb2 import EventAccepted
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_testkit.eventually import eventually
from millrace_testkit.servers import KafkaServer

pytestmark = pytest.mark.broker

NAME = "killed-ingestion"
ROWS, AT_ONCE = 3_000, 100


@asynccontextmanager
async def service(environment):
    """`python -m millrace_ingestion`, ready; killed without warning at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "millrace_ingestion", env=environment, stderr=asyncio.subprocess.PIPE
    )
    reading = asyncio.ensure_future(process.communicate())
    try:
        url = f"http://127.0.0.1:{environment['INGESTION_PORT']}"
        async with httpx2.AsyncClient(base_url=url, timeout=10) as http:
            await eventually(lambda: is_up(http, reading), within=60, what="the service is ready")
            yield http
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await reading


async def is_up(http, reading):
    assert not reading.done(), reading.result()[1].decode()
    try:
        return (await http.get("/health/ready")).status_code == 200
    except httpx2.TransportError:
        return False


async def apply(broker, pipeline):
    applied = PipelineApplied(
        pipeline=NAME, version=1, spec_json=pipeline_to_json(pipeline)
    ).SerializeToString()
    producer = broker.producer()
    await producer.start()
    headers = [("ce_type", b"millrace.v1.PipelineApplied"), ("ce_id", NAME.encode())]
    message = Outgoing("millrace.pipelines", NAME.encode(), applied, headers)
    await producer.send("millrace.pipelines", 0, [message])
    await producer.stop()


async def send_until_taken(http, row, numbers):
    """As a client does: again, until it is told 202."""
    lines = [json.dumps(row(id=f"e{number}", station=f"s{number % 9}")) for number in numbers]
    while True:
        body = "\n".join(lines).encode()
        answer = await http.post(
            f"/v1/pipelines/{NAME}/events",
            content=body,
            headers={"content-type": "application/x-ndjson"},
        )
        if answer.status_code == 202:
            return
        assert answer.status_code in (404, 503), answer.text
        await asyncio.sleep(0.1)


async def accepted(broker):
    """How often a fencing reader of millrace.events sees each event of this pipeline."""
    consumer = broker.consumer()
    await consumer.start()
    places = await consumer.assign(["millrace.events"])
    for place, offset in (await consumer.beginnings(places)).items():
        consumer.seek(place, offset)
    ends = {place: end for place, end in (await consumer.ends(places)).items() if end}
    newest, seen = {}, Counter()
    reached = dict.fromkeys(ends, 0)
    while any(reached[place] < end for place, end in ends.items()):
        for place, records in (await consumer.poll(5_000, 1.0)).items():
            reached[place] = records[-1].offset + 1
            for message in map(Message, records):
                event = EventAccepted.FromString(message.value)
                fence = newest.get((message.source, place), b"")
                if event.pipeline == NAME and fence < message.sequence:
                    newest[message.source, place] = message.sequence
                    seen[event.event_id] += 1
    await consumer.stop()
    return seen


async def test_what_was_answered_with_202_is_counted_once_whatever_is_killed(
    kafka: KafkaServer, pipeline, row, tmp_path
):
    broker = KafkaBroker(KafkaSettings(kafka.bootstrap))
    await ensure_topics(broker)
    await apply(
        broker, pipeline(NAME, event="id: id, time: at, entity: station, max_ahead: 36500d")
    )
    environment = {
        "PATH": os.defpath,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
        "INGESTION_PORT": str(free_port()),
        "INGESTION_STATE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    batches = [range(first, first + AT_ONCE) for first in range(0, ROWS, AT_ONCE)]
    for third in (
        batches[:10],
        batches[9:20],
        batches[19:],
    ):  # the last of each is sent again to the next
        async with service(environment) as http:
            for numbers in third:
                await send_until_taken(http, row, numbers)

    async with service(environment):

        async def all_there():
            return len(await accepted(broker)) == ROWS

        await eventually(all_there, within=60, what="all events accepted")

    assert await accepted(broker) == Counter(f"e{number}" for number in range(ROWS))
