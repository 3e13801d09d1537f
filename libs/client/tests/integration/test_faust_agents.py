"""Users' own Faust agents on a real Kafka: the documented example as a process, and the rules in this one."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from zlib import crc32

import pytest

from millrace.faust import agent, application, output, topic
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message, Outgoing
from millrace_kernel.errors import PermanentError, TransientError
from millrace_proto.v1.predictions_pb2 import (
    PREDICTION_ROLE_CHALLENGER,
    PREDICTION_ROLE_CHAMPION,
    PredictionMade,
)
from millrace_service.settings import PlatformSettings
from millrace_testkit.eventually import eventually
from millrace_testkit.reading import everything

EXAMPLE = Path(__file__).parents[4] / "examples" / "agents" / "large_demand.py"
PREDICTIONS, LETTERS = "millrace.predictions", "millrace.predictions.dlq"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]  # seconds; far more than it takes


class Serving:
    """What serving would have written: predictions with its headers, in its order."""

    def __init__(self, bootstrap: str, pipeline: str) -> None:
        self.bootstrap = bootstrap
        self.pipeline = pipeline
        self._sequence = 0

    def said(self, number: int, value: float, role=PREDICTION_ROLE_CHAMPION) -> Outgoing:
        made = PredictionMade(
            pipeline=self.pipeline,
            event_id=f"e{number}",
            entity=f"station-{number % 5}",
            role=role,
            value=value,
        )
        return self.record(number, made.SerializeToString())

    def record(self, number: int, value: bytes) -> Outgoing:
        self._sequence += 1
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", f"{self.pipeline}/p{number}".encode()),
            ("ce_source", f"{self.pipeline}/serving".encode()),
            ("ce_type", b"millrace.v1.PredictionMade"),
            ("ce_sequence", b"%016d.00000" % self._sequence),
            ("ce_recordedtime", b"2026-01-01T00:00:00.000000Z"),
            ("ce_correlationid", b"the entry"),
            ("traceparent", TRACE.encode()),
        ]
        return Outgoing(PREDICTIONS, f"{self.pipeline}/e{number}".encode(), value, headers)

    async def send(self, records: Sequence[Outgoing]) -> None:
        """All into one partition, so that their order is one."""
        producer = KafkaBroker(KafkaSettings(self.bootstrap)).producer()
        await producer.start()
        try:
            count = await producer.partitions(PREDICTIONS)
            await producer.send(PREDICTIONS, crc32(self.pipeline.encode()) % count, records)
        finally:
            await producer.stop()


@pytest.fixture
async def serving(kafka):
    await ensure_topics(KafkaBroker(KafkaSettings(kafka.bootstrap)))
    return Serving(kafka.bootstrap, f"bikes-{secrets.token_hex(4)}")


async def heard_on(serving: Serving, name: str) -> list[Message]:
    """What a reader with a fence sees of this test's events."""
    if name not in await KafkaBroker(KafkaSettings(serving.bootstrap)).topics():
        return []
    messages = await everything(serving.bootstrap, name)
    return [message for message in messages if serving.pipeline.encode() in message.headers["ce_causationid"]]  # fmt: skip


@contextmanager
def example(bootstrap: str, home: Path):
    """The example as its documentation starts it; killed at the end."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # noqa: TID251
    environment = kept | {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
        "MILLRACE_HOME": str(home),
    }
    with (home / "log").open("ab") as log:
        program = subprocess.Popen(
            [sys.executable, str(EXAMPLE), "worker", "--without-web"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield program
    except BaseException as error:
        error.add_note((home / "log").read_text()[-4_000:])
        raise
    finally:
        program.kill()
        program.wait()


async def test_the_example_flags_large_demand_once_whatever_happens_to_it(serving, tmp_path):
    name = "bikes.large-demand"
    first = [serving.said(number, 400.0 + 20 * number) for number in range(10)]
    first.append(serving.said(10, 900.0, role=PREDICTION_ROLE_CHALLENGER))
    second = [serving.said(number, 600.0) for number in range(11, 20)]
    large = [*range(5, 10), *range(11, 20)]

    async def flagged(count: int, program: subprocess.Popen[bytes]) -> None:
        async def came() -> bool:
            assert program.poll() is None, "the agent ended by itself"
            return len(await heard_on(serving, name)) >= count

        await eventually(came, within=90, what=f"{count} flags")

    await serving.send(first)
    with example(serving.bootstrap, tmp_path) as program:
        await flagged(5, program)
    await serving.send(
        [*first[-4:], *second]
    )  # the first ones again, as a restarted writer sends them
    with example(serving.bootstrap, tmp_path) as program:
        await flagged(len(large), program)

    messages = await heard_on(serving, name)
    assert [json.loads(message.value)["event_id"] for message in messages] == [
        f"e{n}" for n in large
    ]
    assert len({message.id for message in messages}) == len(large)
    one = messages[0]
    assert one.type == "bikes.v1.LargeDemand"
    assert one.key == b"station-0"
    assert one.headers["ce_causationid"] == f"{serving.pipeline}/p5".encode()
    assert one.correlation_id == "the entry"
    assert one.headers["ce_recordedtime"] == b"2026-01-01T00:00:00.000000Z"
    assert one.headers["content-type"] == b"application/json"
    assert one.headers["traceparent"].decode().split("-")[1] == TRACE.split("-")[1]


@asynccontextmanager
async def started(app):
    starting = asyncio.ensure_future(app.start())
    try:
        yield
    finally:
        starting.cancel()
        await app.stop()


async def test_failures_are_told_apart_and_order_is_kept(serving, tmp_path):
    name = f"agents-{secrets.token_hex(4)}"
    platform = PlatformSettings(
        kafka_bootstrap_servers=serving.bootstrap,
        kafka_session_timeout_seconds=6,
        millrace_home=tmp_path,
    )
    app = application(name, platform=platform)
    counted = output(app, name, type="test.v1.Counted")
    away = {"left": 3}
    heard_ids = []

    @agent(app, topic(app, PREDICTIONS))
    async def count(heard, send):
        if heard.value.pipeline != serving.pipeline:
            return
        if heard.value.event_id == "e1":
            raise PermanentError("e1 is not to be counted")
        if heard.value.event_id == "e2" and away["left"]:
            away["left"] -= 1
            raise TransientError("not now")
        heard_ids.append(heard.value.event_id)
        await send(counted, key=heard.value.entity, value=heard.value)
        await send(counted, key=heard.value.entity, value=b"{}")

    records = [serving.said(number, 1.0) for number in range(5)]
    await serving.send([*records, serving.record(7, b"\xff broken"), serving.said(8, 1.0)])
    async with started(app):
        await eventually(lambda: len(heard_ids) == 5, within=90)

    assert heard_ids == ["e0", "e2", "e3", "e4", "e8"]
    assert away["left"] == 0
    messages = await heard_on(serving, name)
    assert len(messages) == len({message.id for message in messages}) == 10
    assert [m.headers["content-type"] for m in messages[:2]] == [b"application/protobuf", b"application/json"]  # fmt: skip
    consumer_letters = await everything(serving.bootstrap, LETTERS)
    reasons = [
        m.headers["__connect.errors.exception.message"]
        for m in consumer_letters
        if serving.pipeline in m.id
    ]
    assert reasons[0] == b"e1 is not to be counted"
    assert b"does not decode" in reasons[1]
    assert len(reasons) == 2


async def test_an_unknown_topic_is_refused_with_those_that_there_are(tmp_path):
    app = application("unknown", platform=PlatformSettings(millrace_home=tmp_path))
    with pytest.raises(Exception, match=r"there is no topic millrace\.nothing; .*millrace\.events"):
        topic(app, "millrace.nothing")
