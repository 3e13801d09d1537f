"""Quix Streams: state in its RocksDB with a changelog, at least once, JSON in and JSON out; rows are scored as they come."""

from collections import deque
from typing import Any

from heart import TOLD, load_model, vector
from quixstreams import Application
from quixstreams.state import State

score = load_model()
application = Application(
    broker_address=TOLD["BENCH_BOOTSTRAP"],
    consumer_group=TOLD["BENCH_GROUP"],
    auto_offset_reset="earliest",
    state_dir=TOLD["BENCH_STATE"],
    processing_guarantee="at-least-once",
    loglevel="WARNING",
    producer_extra_config={
        "compression.type": "lz4",
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": int(TOLD["BENCH_LINGER_MS"]),
    },
)
source = application.topic(TOLD["BENCH_INPUT"], value_deserializer="json", key_deserializer="str")
target = application.topic(TOLD["BENCH_OUTPUT"], value_serializer="json", key_serializer="str")


def answer(event: dict[str, Any], state: State) -> dict[str, Any]:
    remembered = deque(state.get("remembered", ()))
    numbers = vector(event, remembered)
    state.set("remembered", list(remembered))
    return {"id": event["id"], "prediction": score([numbers])[0]}


frame = application.dataframe(source)
frame = frame.apply(answer, stateful=True)
frame.to_topic(target, key=lambda said: said["id"])

if __name__ == "__main__":
    application.run()
