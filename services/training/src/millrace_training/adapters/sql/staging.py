"""Where vectors and labels wait for the lake: written in the bus's own transaction, so that none is lost or doubled."""

import sys
from array import array
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, insert

from millrace_training.adapters.tables import staged_labels, staged_vectors
from millrace_training.domain.events import FeaturesComputed, LabelObserved, LabelRetracted

assert sys.byteorder == "little", (
    "numbers are staged as the machine has them, and read as little-endian"
)

_encode_categories = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Tally:
    """About how many rows are staged: counted up as they are written, counted exactly after each settling."""

    rows: int = 0


class SqlStaging:
    """`application.ports.Lake`: rows gather until the transaction ends, and are written in bulk."""

    def __init__(self, connection: Connection, tally: Tally) -> None:
        self._connection = connection
        self._tally = tally
        self._vectors: list[dict[str, Any]] = []
        self._labels: list[dict[str, Any]] = []

    def add_vector(self, event: FeaturesComputed) -> None:
        topic, partition, offset = event.place
        self._vectors.append(
            {
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "pipeline": event.pipeline,
                "pipeline_version": event.pipeline_version,
                "event_id": event.event_id,
                "entity": event.entity,
                "event_time_us": event.event_time,
                "recorded_at_us": event.recorded_at,
                "numbers": array("d", event.numbers).tobytes(),
                "categories": _encode_categories(event.categories),
            }
        )

    def add_label(self, event: LabelObserved | LabelRetracted) -> None:
        topic, partition, offset = event.place
        value = event.value if isinstance(event, LabelObserved) else None
        self._labels.append(
            {
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "pipeline": event.pipeline,
                "event_id": event.event_id,
                "known_at_us": event.known_at,
                "recorded_at_us": event.recorded_at,
                "retracted": value is None,
                "number": value if isinstance(value, float) else None,
                "text": value if isinstance(value, str) else None,
            }
        )

    def flush(self) -> None:
        if self._vectors:
            self._connection.execute(insert(staged_vectors), self._vectors)
        if self._labels:
            self._connection.execute(insert(staged_labels), self._labels)
        self._tally.rows += len(self._vectors) + len(self._labels)
        self._vectors, self._labels = [], []
