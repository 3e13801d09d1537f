"""The stack under load: started in a folder of its own, asked how far it is, read at the end."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
from tests.overload.events import PIPELINE, PIPELINE_NAME, Book, Comparison, Counts

from millrace_bus.broker import TopicPartition
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_contracts.message import Message
from millrace_local.ports import free_ports
from millrace_proto.v1.predictions_pb2 import PredictionMade
from millrace_testkit.reading import effective
from millrace_testkit.stack import MILLRACE, PROGRAMS, Stack

SERVICES = ("ingestion", "features", "serving", "training", "registry", "monitoring")
# What each service has to handle of one event that carries its label
_OF_ONE_EVENT = {
    "features": {"millrace.events": 1},
    "serving": {"millrace.features": 1},
    "training": {"millrace.features": 1, "millrace.labels": 1},
    "monitoring": {"millrace.predictions": 1, "millrace.labels": 1},
}
_PREDICTIONS = "millrace.predictions"
_POLL_SECONDS = 0.25
_COUNTER = "millrace_messages_consumed_total"
_KEPT = ("PATH", "HOME", "LANG", "JAVA_HOME", "MILLRACE_JARS")

Report = Callable[[str], None]


class StalledError(Exception):
    """Something stopped going on."""


@contextmanager
def stack_in(home: Path, **settings: str) -> Iterator[Stack]:
    """Kafka and the six services on free ports, without a tracing UI; ended, with all that belongs to them, afterwards."""
    ports = {
        f"{name}_PORT": str(port)
        for name, port in zip(PROGRAMS, free_ports(len(PROGRAMS)), strict=True)
    }
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}  # noqa: TID251  a user's shell
    ours = {"MILLRACE_HOME": str(home), "OTEL_TRACES_EXPORTER": "none"}
    stack = Stack(home, kept | ports | ours | settings)
    try:
        stack.millrace("up", "--detach", "--timeout", 240, timeout=300)
        yield stack
    finally:
        down = [str(MILLRACE), "down"]
        subprocess.run(down, env=stack.environment, capture_output=True, timeout=120, check=False)


def apply_pipeline(stack: Stack, *, first_model_after: int) -> None:
    file = stack.home / f"{PIPELINE_NAME}.yaml"
    file.write_text(PIPELINE.format(first=first_model_after))
    stack.millrace("apply", file)


def pids_of(stack: Stack) -> dict[str, int]:
    """Of the services that run now."""
    seen = {name: stack.process(name)["process"] for name in SERVICES}
    return {name: process["pid"] for name, process in seen.items() if process is not None}


def restarts_of(stack: Stack) -> dict[str, int]:
    return {name: stack.process(name)["restarts"] for name in SERVICES}


async def handled_by(http: httpx2.AsyncClient, stack: Stack, service: str) -> dict[str, int]:
    """How many messages of each topic this process of a service has handled."""
    text = (await http.get(f"{stack.url(service)}/metrics")).text
    found: dict[str, int] = {}
    for line in text.splitlines():
        if line.startswith(_COUNTER):
            topic = line.partition('topic="')[2].partition('"')[0]
            found[topic] = int(float(line.rpartition(" ")[2]))
    return found


async def events_handled(stack: Stack) -> dict[str, int]:
    """By service: how many events it has done its whole work for."""
    done = {}
    async with httpx2.AsyncClient(timeout=60) as http:
        for service, topics in _OF_ONE_EVENT.items():
            handled = await handled_by(http, stack, service)
            done[service] = min(handled.get(topic, 0) // times for topic, times in topics.items())
    return done


async def until_handled(
    stack: Stack, events: int, report: Report, *, patience_seconds: float = 120.0
) -> None:
    """Wait until every service has handled so many events. Raises StalledError when none gets on any more."""
    loop = asyncio.get_running_loop()
    before: Mapping[str, int] = {}
    moved, told = loop.time(), 0.0
    while True:
        now = await events_handled(stack)
        if all(count >= events for count in now.values()):
            return
        if now != before:
            before, moved = now, loop.time()
        if loop.time() - moved > patience_seconds:
            raise StalledError(f"of {events} events: {now}\n{stack.logs()}")
        if loop.time() - told > 15:
            told = loop.time()
            report(f"  of {events} events: {now}")
        await asyncio.sleep(_POLL_SECONDS)


class Reader:
    """Goes on through the predictions from where it was: what a careful reader of them sees."""

    def __init__(self, stack: Stack) -> None:
        self.counts = Counts()
        self._stack = stack
        self._positions: dict[TopicPartition, int] = {}
        self._newest: dict[tuple[str, int], bytes] = {}

    async def catch_up(self) -> None:
        """Read everything that is there now."""
        consumer = KafkaBroker(KafkaSettings(self._stack.bootstrap)).consumer()
        await consumer.start()
        try:
            places = await consumer.assign([_PREDICTIONS])
            ends = await consumer.ends(places)
            positions = self._positions or dict(await consumer.beginnings(places))
            for place, position in positions.items():
                consumer.seek(place, position)
            while any(positions[place] < ends[place] for place in places):
                for place, records in (await consumer.poll(10_000, 1.0)).items():
                    positions[place] = records[-1].offset + 1
                    self._count([Message(record) for record in records])
            self._positions = positions
        finally:
            await consumer.stop()

    def _count(self, messages: Sequence[Message]) -> None:
        for message in effective(messages, self._newest):
            self.counts.add(int(PredictionMade.FromString(message.value).event_id))


async def joined(stack: Stack) -> int:
    """How many predictions monitoring has met with their labels."""
    async with httpx2.AsyncClient(timeout=60) as http:
        url = f"{stack.url('monitoring')}/v1/pipelines/{PIPELINE_NAME}/status"
        versions = (await http.get(url)).json()["versions"]
    return sum(measured["events"] for measured in versions.values())


async def settled(stack: Stack, book: Book, reader: Reader, report: Report) -> Comparison:
    """Wait until all that was accepted has been handled everywhere, and say what became of it."""
    await until_handled(stack, book.accepted, report)
    await reader.catch_up()
    return book.compare(reader.counts.whole())


async def has_a_model(stack: Stack) -> bool:
    """Whether a trained model answers, and no longer the fallback."""
    async with httpx2.AsyncClient(timeout=60) as http:
        answer = await http.get(f"{stack.url('serving')}/v2/models/{PIPELINE_NAME}")
    return answer.status_code == 200 and bool(answer.json()["versions"])


def disk_gb(stack: Stack) -> float:
    """What the broker's log holds."""
    return sum(f.stat().st_size for f in (stack.home / "kafka").rglob("*.log")) / 1e9
