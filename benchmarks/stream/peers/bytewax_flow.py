"""Bytewax: state in memory with its recovery store (at least once), JSON in and JSON out; rows are scored by the batch."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from heart import TOLD, Remembered, load_model, vector

score = load_model()
brokers = [TOLD["BENCH_BOOTSTRAP"]]


def read(messages: list[Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    return [(message.key.decode(), orjson.loads(message.value)) for message in messages]


def remember(
    remembered: Remembered | None, event: dict[str, Any]
) -> tuple[Remembered, tuple[str, list[float]]]:
    remembered = deque() if remembered is None else remembered
    return remembered, (event["id"], vector(event, remembered))


def answer(items: list[tuple[str, tuple[str, list[float]]]]) -> Iterable[Any]:
    answers = score([numbers for _, (_, numbers) in items])
    return [
        KafkaSinkMessage(name.encode(), orjson.dumps({"id": name, "prediction": said}))
        for (_, (name, _)), said in zip(items, answers, strict=True)
    ]


flow = Dataflow("bench")
source = kafka.input("input", flow, brokers=brokers, topics=[TOLD["BENCH_INPUT"]])
parsed = op.flat_map_batch("read", source.oks, read)
vectors = op.stateful_map("features", parsed, remember)
answers = op.flat_map_batch("score", vectors, answer)
kafka.output(
    "output",
    answers,
    brokers=brokers,
    topic=TOLD["BENCH_OUTPUT"],
    add_config={
        "compression.type": "lz4",
        "acks": "all",
        "enable.idempotence": "true",
        "linger.ms": "0",
    },
)
