"""`millrace dlq` by its own entry, on a real Kafka, against a service that reads there."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from millrace.cli import main
from millrace_bus.broker import TopicPartition, TopicSpec
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.retry import Backoff
from millrace_bus.stream import StreamSettings, StreamWorker, each
from millrace_bus.topology import catalogue_topics
from millrace_contracts.message import Message, Outgoing
from millrace_kernel.errors import PermanentError
from millrace_testkit.counting import WIRE, Counted, Counting, PairCodec, Seen, seen_record
from millrace_testkit.eventually import eventually, running
from millrace_testkit.servers import KafkaServer

pytestmark = pytest.mark.broker


class Picky(Counting):
    """Refuses one entity until the fixed deployment."""

    fixed = False

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[str] = []
        self.causes: list[Message] = []

    def handle(self, message: Message, state: Any) -> Any:
        self.causes.append(message)
        return super().handle(message, state)

    def next(self, known: tuple[int, float] | None, seen: Seen) -> Counted:
        if seen.entity == "bad" and not self.fixed:
            raise PermanentError("bad is not understood yet")
        self.counted.append(seen.event_id)
        return super().next(known, seen)


def asked(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The command's answer as JSON; it runs its own event loop, so never inside one."""
    capfd.readouterr()
    assert main(["dlq", *arguments, "-o", "json"]) == code
    return json.loads(capfd.readouterr().out)


@pytest.fixture
def topic() -> str:
    return f"dlq-{secrets.token_hex(4)}"


@asynccontextmanager
async def reading(
    broker: KafkaBroker, topic: str, folder: Path, *hearts: Picky
) -> AsyncIterator[None]:
    workers = [
        StreamWorker(
            f"reader-{number}-{topic}",
            [topic],
            wire=WIRE,
            process=each(heart.handle),
            codec=PairCodec(),
            broker=broker,
            settings=StreamSettings(
                folder / f"{number}", poll_seconds=0.1, backoff=Backoff(0.05, 0.5)
            ),
            chance=lambda: 0.5,
        )
        for number, heart in enumerate(hearts)
    ]
    async with running(*workers):
        yield


async def send(broker: KafkaBroker, topic: str, *records: Outgoing) -> None:
    producer = broker.producer()
    await producer.start()
    try:
        await producer.send(topic, 0, records)
    finally:
        await producer.stop()


async def length(broker: KafkaBroker, topic: str) -> int:
    consumer = broker.consumer()
    await consumer.start()
    try:
        return (await consumer.ends([TopicPartition(topic, 0)]))[TopicPartition(topic, 0)]
    finally:
        await consumer.stop()


def test_letters_are_listed_shown_and_replayed_once(
    kafka: KafkaServer,
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    broker = KafkaBroker(KafkaSettings(kafka.bootstrap, session_timeout_seconds=6))
    bad, other = Picky(), Picky()
    other.fixed = True

    async def die() -> None:
        await broker.create_topics([*catalogue_topics(), TopicSpec(topic, 1), TopicSpec(f"{topic}.dlq", 1)])  # fmt: skip
        broken = seen_record(3, "broken")
        broken.value = b"\xff\xffbroken"
        await send(broker, topic, *(seen_record(n, e) for n, e in enumerate(("a", "bad", "bad"))))
        await send(broker, topic, broken, seen_record(4, "a"))

        async def done() -> bool:
            return "e4" in bad.counted and await length(broker, f"{topic}.dlq") == 4

        async with reading(broker, topic, tmp_path, bad, other):
            await eventually(done, within=30)

    async def live(counted: int) -> None:
        bad.fixed = True
        async with reading(broker, topic, tmp_path, bad, other):
            await eventually(lambda: len(bad.counted) >= counted, within=30)
            end = await length(broker, topic)
            await send(broker, topic, seen_record(100 + end, "a"))  # what comes after all of it
            last = f"e{100 + end}"
            await eventually(lambda: last in bad.counted and last in other.counted, within=30)

    asyncio.run(die())
    rows = asked(capfd, "list", "--topic", topic)
    assert len(rows) == 4  # the broken one died in both
    mine = [row for row in rows if row["service"] == f"reader-0-{topic}"]
    mine.sort(key=lambda row: row["origin"])  # of what was read at once, broken bytes die first
    assert [(row["origin"], row["id"], row["replayed_at"]) for row in mine] == [
        (f"{topic}/0/1", "id-1", None),
        (f"{topic}/0/2", "id-2", None),
        (f"{topic}/0/3", "id-3", None),
    ]
    assert mine[0]["reason"] == "bad is not understood yet"
    assert "does not decode" in mine[2]["reason"]
    assert asked(capfd, "list", "-t", f"{topic}.dlq", "--since", "1h") == rows
    assert asked(capfd, "list", "-t", topic, "--pipeline", "nobody") == []

    whole = asked(capfd, "show", topic, mine[0]["place"])
    assert whole["value"]["content"]["entity"] == "bad"
    assert {"name": "kafka_dlt-original-offset", "value": "1"} in whole["headers"]
    assert asked(capfd, "show", topic, mine[2]["place"])["value"]["as"] == "hex"
    assert main(["dlq", "show", topic, mine[0]["place"]]) == 0
    assert "bad is not understood yet" in capfd.readouterr().out
    assert main(["dlq", "show", topic, "0/999"]) == 1
    assert main(["dlq", "show", "nowhere", "0/0"]) == 2

    dry = asked(capfd, "replay", topic, "--all", "--dry-run")
    assert {row["outcome"] for row in dry} == {"would be replayed"}
    assert all(row["replayed_at"] is None for row in asked(capfd, "list", "-t", topic))

    [one] = asked(capfd, "replay", topic, mine[1]["place"])
    assert one["outcome"] == "replayed"
    reader = mine[0]["service"]
    assert len(asked(capfd, "replay", topic, "--all", "--service", reader)) == 2
    assert asked(capfd, "replay", topic, "--all", "--service", reader) == []
    asked(capfd, "replay", topic, mine[0]["place"], mine[1]["place"])  # all again, on purpose
    done = asked(capfd, "list", "-t", topic)
    assert [row["replayed_at"] is not None for row in done if row["service"] == reader] == [
        True
    ] * 3

    asyncio.run(live(counted=4))
    assert sorted(bad.counted)[:2] != sorted(bad.counted)[1:3]
    assert sorted(e for e in bad.counted if len(e) == 2) == ["e0", "e1", "e2", "e4"]
    assert sorted(e for e in other.counted if len(e) == 2) == ["e0", "e1", "e2", "e4"]
    replays = [message for message in bad.causes if "millrace-replay-of" in message.headers]
    assert sorted(message.id for message in replays) == ["id-1", "id-2"]
    assert not [message for message in other.causes if "millrace-replay-of" in message.headers]
    # the broken one is broken still: a letter again, of the place where it stands now
    fresh = [row for row in asked(capfd, "list", "-t", topic) if row["replayed_at"] is None]
    assert f"{topic}/0/3" not in [row["origin"] for row in fresh if row["service"] == reader]
    assert [row["id"] for row in fresh if row["service"] == reader] == ["id-3"]


def test_a_letter_that_cant_be_replayed_fails_the_command(
    kafka: KafkaServer,
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    broker = KafkaBroker(KafkaSettings(kafka.bootstrap))

    async def foreign() -> None:
        await broker.create_topics([TopicSpec(topic, 1), TopicSpec(f"{topic}.dlq", 1)])
        await send(broker, f"{topic}.dlq", Outgoing(f"{topic}.dlq", b"k", b"\x1b[2J", []))

    asyncio.run(foreign())
    [row] = asked(capfd, "replay", topic, "--all", code=1)
    assert "do not say where it came from" in row["outcome"]
    assert main(["dlq", "list", "--topic", topic]) == 0
    assert main(["dlq", "show", topic, "0/0"]) == 0
    assert "\x1b" not in capfd.readouterr().out
    assert asyncio.run(length(broker, topic)) == 0
