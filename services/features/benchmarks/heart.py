# ruff: noqa: INP001, T201  a script that prints
"""How many events a second go through the heart on one core: bikes hired, hour by hour, with the labels an hour later.

python services/features/benchmarks/heart.py [stations] [hours]
"""

import math
import sys
import time
from collections.abc import Iterator

from millrace_contracts.pipeline_file import read_pipeline
from millrace_features.application.handlers import on_event, on_label
from millrace_features.application.pipelines import PipelinesHeard
from millrace_features.domain.events import EventAccepted, EventLabelled, PipelineApplied
from millrace_features.domain.history import History
from millrace_kernel.ids import EntityId, EventId, PipelineName
from millrace_kernel.time import HOUR, Instant

BIKES = PipelineName("bikes")
PIPELINE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {name: bikes, owner: city-bikes, description: bikes hired in the next hour}
spec:
  source: {topic: millrace.raw.bikes}
  event: {id: id, time: timestamp, entity: station, lateness: 1h}
  fields:
    {hr: int, weekday: int, workingday: bool, weathersit: category, temp: float, hum: float, windspeed: float}
  features:
    - {name: hour_again, expr: hr}
    - {name: warm_and_dry, expr: temp * (1 - hum)}
    - {name: temp_mean_24h, agg: mean, of: temp, window: 24h}
    - {name: temp_change, expr: "temp - lag(temp, 1)"}
    - {name: hired_mean_7d, agg: mean, of: label, window: 7d}
  label: {field: cnt, kind: regression, delay: 1h, maturity: 1h}
"""


class Remembered:
    """Histories in a dict."""

    def __init__(self) -> None:
        self._histories: dict[str, History] = {}

    def of(self, pipeline: PipelineName, entity: EntityId) -> History | None:  # noqa: ARG002  there is one
        return self._histories.get(entity)

    def put(self, pipeline: PipelineName, entity: EntityId, history: History) -> None:  # noqa: ARG002
        self._histories[entity] = history


def stream(stations: int, hours: int) -> Iterator[EventAccepted | EventLabelled]:
    for hour in range(hours):
        for station in range(stations):
            entity, event_id = EntityId(f"station-{station}"), EventId(f"{station}-{hour}")
            temp = 10 + 8 * math.sin(hour / 24) + station / 7
            numbers = (float(hour % 24), float(hour // 24 % 7), 1.0, temp, 0.4, 3.5)
            at = Instant(hour * HOUR)
            yield EventAccepted(BIKES, 1, event_id, entity, at, numbers, ("clear",))
            if hour:
                earlier = Instant(at - HOUR)
                yield EventLabelled(
                    BIKES, 1, EventId(f"{station}-{hour - 1}"), entity, earlier, at, temp * 9
                )


def main() -> None:
    stations, hours = (int(argument) for argument in [*sys.argv[1:], "20", "1000"][:2])
    plans, histories = PipelinesHeard(), Remembered()
    plans.apply(PipelineApplied(BIKES, (read_pipeline(PIPELINE, version=1),)))
    messages = list(stream(stations, hours))
    began = time.process_time()
    vectors = 0
    for message in messages:
        if isinstance(message, EventAccepted):
            vectors += sum(1 for _ in on_event(message, plans, histories))
        else:
            on_label(message, plans, histories)
    seconds = time.process_time() - began
    print(
        f"{vectors / seconds:,.0f} vectors/s ({len(messages) / seconds:,.0f} messages/s, {vectors} vectors)"
    )


if __name__ == "__main__":
    main()
