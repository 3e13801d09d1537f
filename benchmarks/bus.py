"""The bus's stream form against a bare aiokafka loop that does the same reads, sends and RocksDB writes.

    make bench-bus            or    .venv/bin/python benchmarks/bus.py --events 200000 --runs 5

A real Kafka of its own on free ports; both contenders in turn (A B A B …), each run in a process of its own with a group
and a state folder of its own. The input carries the headers that ingestion writes; the bare loop sends each record's own key, value and headers
on, so that both send as many bytes of the same kind; it decodes nothing, builds no headers, knows no fence. Prints medians
and spread, writes results/bus.json.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from rocksdict import Options, Rdict, WriteBatch

from millrace_bus.broker import TopicSpec
from millrace_bus.kafka import FETCH_BYTES, MAX_BATCH_BYTES, KafkaBroker, KafkaSettings
from millrace_bus.stream import StreamSettings, StreamWorker, each
from millrace_contracts.message import Outgoing
from millrace_kernel.ids import derived_id
from millrace_kernel.time import Instant, rfc3339
from millrace_local.install import kafka_jars
from millrace_local.kafka import LocalKafka
from millrace_local.ports import free_ports
from millrace_local.process import start
from millrace_service.process import spare_the_collector
from millrace_testkit.counting import WIRE, Counting, PairCodec, seen_record

EVENTS, FEATURES = "millrace.events", "millrace.features"
PARTITIONS = 4
ENTITIES = 1_000
GOAL = 0.5
RESULTS = Path(__file__).parent / "results" / "bus.json"


async def fill(broker: KafkaBroker, events: int) -> None:
    """Events as ingestion writes them, about 200 bytes of value and headers each."""
    await broker.create_topics([TopicSpec(EVENTS, PARTITIONS), TopicSpec(FEATURES, PARTITIONS)])
    producer = broker.producer()
    await producer.start()
    for partition in range(PARTITIONS):
        mine = range(partition, events, PARTITIONS)
        messages = [as_ingested(number) for number in mine]
        await producer.send(EVENTS, partition, messages)
    await producer.stop()


def as_ingested(number: int) -> Outgoing:
    """An accepted event with every header that ingestion gives it."""
    entity = f"entity-{number % ENTITIES}"
    record = seen_record(number, entity)
    time_header = rfc3339(Instant(1_767_225_600_000_000 + number * 1_000_003)).encode()
    event_id = derived_id("event", "counting", str(number)).encode()
    headers = dict(record.headers) | {
        "ce_id": event_id,
        "ce_source": b"millrace/ingestion/millrace.raw.counting/0",
        "ce_time": time_header,
        "ce_subject": f"counting/{entity}".encode(),
        "content-type": b"application/protobuf",
        "ce_recordedtime": time_header,
        "ce_correlationid": event_id,
        "ce_causationid": f"millrace.raw.counting/0/{number}".encode(),
    }
    return Outgoing(EVENTS, record.key, record.value, list(headers.items()))


async def bare(bootstrap: str, events: int, folder: Path) -> float:
    """Seconds from the first batch to the last commit of a loop with nothing in it that could be left out."""
    consumer = AIOKafkaConsumer(
        EVENTS,
        bootstrap_servers=bootstrap,
        group_id=f"bare-{folder.name}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        max_batch_size=MAX_BATCH_BYTES,
    )
    await producer.start()
    await consumer.start()
    await producer.partitions_for(FEATURES)
    database = Rdict(str(folder), Options(raw_mode=True))
    state: dict[bytes, int] = {}
    done, began = 0, 0.0
    while done < events:
        batches = await consumer.getmany(timeout_ms=1_000, max_records=2_000)
        began = began or time.perf_counter()
        writes = WriteBatch(raw_mode=True)
        for place, records in batches.items():
            batch = producer.create_batch()
            changed = set()
            for record in records:
                key = record.key
                state[key] = state.get(key, 0) + 1
                changed.add(key)
                batch.append(
                    key=key, value=record.value, timestamp=None, headers=list(record.headers)
                )
            batch.close()
            await (await producer.send_batch(batch, FEATURES, partition=place.partition))
            for key in changed:
                writes.put(key, b"%d" % state[key])
            writes.put(b"p%d" % place.partition, b"%d" % (records[-1].offset + 1))
            done += len(records)
        database.write(writes)
    seconds = time.perf_counter() - began
    await consumer.stop()
    await producer.stop()
    database.close()
    return seconds


async def bus(bootstrap: str, events: int, folder: Path) -> float:
    """The same by the bus: decoding, headers, fence, ids, causality and (unsampled) tracing included."""
    heart = Counting()
    worker = _Timed(
        f"bench-{folder.name}",
        [EVENTS],
        wire=WIRE,
        process=each(heart.handle),
        codec=PairCodec(),
        broker=KafkaBroker(KafkaSettings(bootstrap)),
        settings=StreamSettings(folder, max_records=2_000),
        chance=lambda: 0.5,
    )
    running = asyncio.ensure_future(worker.run())
    while worker.handled < events:
        await asyncio.sleep(0.005)
        if running.done():
            running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return worker.last - worker.first


class _Timed(StreamWorker):
    """Notes when the first batch came and the last was committed."""

    handled = 0
    first = 0.0
    last = 0.0

    async def _advance(self, consumer, producer, batches) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        self.first = self.first or time.perf_counter()
        await super()._advance(consumer, producer, batches)
        self.handled = sum(partition.position for partition in self._stores.values())
        self.last = time.perf_counter()


CONTENDERS = {"bare": bare, "bus": bus}


def one_run(name: str, bootstrap: str, events: int) -> float:
    """Events per second of one run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            __file__,
            "--contender",
            name,
            "--bootstrap",
            bootstrap,
            "--events",
            str(events),
            "--folder",
            folder,
        ]
        output = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=120
        ).stdout
    return events / float(output.split()[-1])


def compare(events: int, runs: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as home:
        port, controller = free_ports(2)
        server = LocalKafka(Path(home) / "kafka", port, controller, kafka_jars())
        with start(server, Path(home) / "kafka.log"):
            asyncio.run(fill(KafkaBroker(KafkaSettings(server.bootstrap)), events))
            rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
            for number in range(runs + 1):
                for name, measured in rates.items():
                    rate = one_run(name, server.bootstrap, events)
                    if number:  # the first of each warms the broker's page cache and its JIT
                        measured.append(rate)
                        print(f"  run {number}: {name:5s} {rate:9,.0f} events/s", flush=True)
    ratios = [ours / floor for ours, floor in zip(rates["bus"], rates["bare"], strict=True)]
    return {
        "events": events,
        "runs": runs,
        "contenders": {name: _spread(values) for name, values in rates.items()},
        "ratio": _spread(ratios),
        "goal": GOAL,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--bootstrap")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.contender:
        spare_the_collector()  # as every service does, and for both contenders
        work = CONTENDERS[options.contender](options.bootstrap, options.events, options.folder)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(runner.run(work))
        return
    result = compare(options.events, options.runs)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    for name, spread in result["contenders"].items():  # type: ignore[attr-defined]  # as built above
        print(
            f"{name:5s} {spread['median']:9,.0f} events/s   ({spread['least']:,.0f} - {spread['most']:,.0f})"
        )
    ratio = result["ratio"]
    print(
        f"bus / bare: {ratio['median']:.2f} ({ratio['least']:.2f} - {ratio['most']:.2f}), goal at least {GOAL}"
    )  # type: ignore[index]
    print(
        f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}"
    )


if __name__ == "__main__":
    main()
