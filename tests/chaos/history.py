"""The synthetic stream: a pipeline, and seeded events with labels whose law turns round three times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson

from millrace_kernel.time import Duration, Instant, parse_rfc3339, rfc3339

NAME = "chaos"
TOPIC = f"millrace.raw.{NAME}"
ENTITIES = 128
HTTP_ENTITIES = 13  # a tenth of the entities send their events over HTTP
SEGMENTS = 4  # the law turns round at each border: drifts, so that promotions happen
LABEL_TYPE = "millrace.label"

PIPELINE = f"""
apiVersion: millrace/v1
kind: Pipeline
metadata: {{name: {NAME}, owner: tests, description: a linear law that turns round}}
spec:
  event:  {{id: id, time: at, entity: machine}}
  fields: {{load: float, heat: float, site: category}}
  features:
    - {{name: load_change, expr: "load - lag(load, 1)"}}
    - {{name: load_sum_30m, agg: sum, of: load, window: 30m}}
    - {{name: heat_mean_30m, agg: mean, of: heat, window: 30m}}
    - {{name: events_2h, agg: count, window: 2h}}
    - {{name: wear_sum_2h, agg: sum, of: label, window: 2h}}
  label: {{field: wear, kind: regression, delay: 10m}}
  model:
    candidates: [linear]
    search: {{trials: 1, timeout: 10s}}
    train_on: {{last: 1500, first: 600}}
    holdout: {{last: 200}}
    fallback: 20.0
  gates:
    - {{metric: mae, max: 50}}
  promotion: {{strategy: direct}}
  monitoring: {{window: 400}}
  retraining: {{on: [drift, performance], cooldown: 5s, budget: {{runs_per_day: 200, cpu_minutes_per_day: 600}}}}
"""
_BEGAN = parse_rfc3339("2025-01-01T00:00:00Z")
_DAY = 86_400_000_000
_DELAY = Duration(600_000_000)


@dataclass(frozen=True, slots=True)
class Raw:
    """One raw message: the event `number`, or its label. `body` is the JSON object."""

    number: int
    entity: str
    is_label: bool
    body: bytes

    @property
    def is_for_http(self) -> bool:
        return int(self.entity.rpartition("-")[2]) < HTTP_ENTITIES


def event_id(number: int) -> str:
    return f"e{number}"


def number_of(event: str) -> int:
    return int(event[1:])


@dataclass(frozen=True)
class History:
    """`events` events over one day of event time, the same for the same seed. Every event has one label."""

    events: int
    seed: int

    @cached_property
    def messages(self) -> Sequence[Raw]:
        """Events and labels in the order in which they become known."""
        happened = [
            (self._at(number), 0, number, event) for number, event in enumerate(self._events())
        ]
        known = [
            (self._at(number) + _DELAY, 1, number, label)
            for number, label in enumerate(self._labels())
        ]
        return [raw for _, _, _, raw in sorted([*happened, *known], key=lambda item: item[:3])]

    def entity(self, number: int) -> str:
        return f"machine-{self._machines[number]}"

    def _at(self, number: int) -> Instant:
        return Instant(_BEGAN + number * (_DAY // self.events))

    @cached_property
    def _machines(self) -> Sequence[int]:
        chance = np.random.default_rng([self.seed, 1])
        return [int(machine) for machine in chance.integers(0, ENTITIES, self.events)]

    @cached_property
    def _columns(self) -> tuple[Sequence[float], Sequence[float], Sequence[float]]:
        """Load, heat and wear: wear follows load, in every second segment against it."""
        chance = np.random.default_rng([self.seed, 2])
        turned = np.arange(self.events) * SEGMENTS // self.events % 2
        load = chance.normal(0, 1, self.events) + 2.0 * turned
        heat = chance.normal(0, 1, self.events)
        wear = 20 + (4 - 8 * turned) * load + 2 * heat + chance.normal(0, 0.3, self.events)
        return load.round(6).tolist(), heat.round(6).tolist(), wear.round(6).tolist()

    def _events(self) -> Iterator[Raw]:
        load, heat, _ = self._columns
        for number in range(self.events):
            entity = self.entity(number)
            body = {"id": event_id(number), "at": rfc3339(self._at(number)), "machine": entity}
            body |= {"load": load[number], "heat": heat[number], "site": "ab"[number % 3 == 0]}
            yield Raw(number, entity, False, orjson.dumps(body))

    def _labels(self) -> Iterator[Raw]:
        _, _, wear = self._columns
        for number in range(self.events):
            at, entity = self._at(number), self.entity(number)
            body = {"id": event_id(number), "label": wear[number], "entity": entity}
            body |= {"event_time": rfc3339(at), "known_at": rfc3339(Instant(at + _DELAY))}
            yield Raw(number, entity, True, orjson.dumps(body))
