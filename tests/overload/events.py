"""The load: numbered events of a stationary law, each with its label; and which of them have been accepted, and scored."""

import json
import random  # noqa: TID251  seeded by the event's number
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

PIPELINE_NAME = "mills"
RAW_TOPIC = f"millrace.raw.{PIPELINE_NAME}"
PIPELINE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {{name: mills, owner: tests, description: a linear law that stays as it is}}
spec:
  event:  {{id: id, time: at, entity: mill}}
  fields: {{load: float, heat: float, site: category}}
  features:
    - {{name: load_change, expr: "load - lag(load, 1)"}}
    - {{name: heat_mean_1h, agg: mean, of: heat, window: 1h}}
  label: {{field: wear, kind: regression, delay: 10m}}
  model:
    candidates: [linear]
    search: {{trials: 1}}
    train_on: {{last: 1500, first: {first}}}
    holdout: {{last: 200}}
    fallback: heat
  gates:
    - {{metric: mae, max: 50}}
  monitoring: {{window: 1000}}
  retraining: {{cooldown: 1000h}}
"""
NEVER = 100_000_000  # labelled rows before the first model: then the fallback answers
ENTITIES = 5_000
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_SITES = "abcd"


@dataclass(frozen=True, slots=True)
class Event:
    number: int
    key: bytes
    value: bytes


def event(number: int, padding: int = 0) -> Event:
    """The number says it all: the same number is the same event. `padding`: bytes that nobody needs, and lz4 halves."""
    chance = random.Random(number)
    load, heat = chance.gauss(0, 1), chance.gauss(0, 1)
    mill = f"mill-{number % ENTITIES}"
    row = {
        "id": str(number),
        "at": (_BEGAN + timedelta(seconds=number / 10)).isoformat(),
        "mill": mill,
        "load": round(load, 4),
        "heat": round(heat, 4),
        "site": _SITES[number % 4],
        "wear": round(20 + 4 * load + 2 * heat + chance.gauss(0, 0.3), 4),
    }
    if padding:
        row["padding"] = chance.randbytes(padding // 2).hex()
    return Event(number, mill.encode(), json.dumps(row).encode())


class Book:
    """Numbers given out, and what has become of them. A byte each, so that millions fit."""

    def __init__(self) -> None:
        self._accepted = bytearray()
        self.accepted = 0

    def next(self, count: int) -> range:
        """Numbers that nobody else has."""
        start = len(self._accepted)
        self._accepted.extend(bytes(count))
        return range(start, start + count)

    def accept(self, numbers: Iterable[int]) -> None:
        """The broker has these: it said so, or ingestion did with a 202."""
        for number in numbers:
            self.accepted += not self._accepted[number]
            self._accepted[number] = 1

    def compare(self, counts: Sequence[int]) -> "Comparison":
        """`counts`: how often each number was found. What was never acknowledged may be there or not, but once."""
        padded = [*counts[: len(self._accepted)]] + [0] * (len(self._accepted) - len(counts))
        lost = [
            n
            for n, (yes, found) in enumerate(zip(self._accepted, padded, strict=True))
            if yes and not found
        ]
        doubled = [number for number, found in enumerate(counts) if found > 1]
        unknown = [number for number in range(len(padded), len(counts)) if counts[number]]
        unsure = sum(
            found > 0 and not yes for yes, found in zip(self._accepted, padded, strict=True)
        )
        return Comparison(
            self.accepted, sum(found > 0 for found in padded), lost, doubled, unknown, unsure
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """`unsure` were found though no answer came for them: sent, and the acknowledgement lost."""

    accepted: int
    found: int
    lost: Sequence[int]
    doubled: Sequence[int]
    unknown: Sequence[int]
    unsure: int

    @property
    def is_exact(self) -> bool:
        return not (self.lost or self.doubled or self.unknown)

    def __str__(self) -> str:
        return (
            f"accepted {self.accepted}, found {self.found}, lost {len(self.lost)} {list(self.lost[:5])}, doubled "
            f"{len(self.doubled)} {list(self.doubled[:5])}, unknown {len(self.unknown)}, unsure {self.unsure}"
        )


class Counts:
    """How often each number was seen, at most 255 times."""

    def __init__(self) -> None:
        self._counts = array("B")

    def add(self, number: int) -> None:
        if number >= len(self._counts):
            self._counts.frombytes(
                bytes(max(number + 1, 2 * len(self._counts)) - len(self._counts))
            )
        self._counts[number] = min(255, self._counts[number] + 1)

    def __getitem__(self, place: slice) -> list[int]:
        return self._counts[place].tolist()

    def whole(self) -> list[int]:
        return self._counts.tolist()
