"""Pipeline files that the tests of reading them begin with."""

import json
from collections.abc import Callable

import pytest

BIKES = """\
apiVersion: millrace/v1
kind: Pipeline
metadata: {name: bikes, owner: city-bikes, description: bikes hired in the next hour}
spec:
  source:   {topic: millrace.raw.bikes}
  event:    {id: id, time: timestamp, entity: station}
  fields:   {hr: int, weekday: int, workingday: bool, weathersit: category, temp: float, hum: float, note: string}
  features:
    - {name: hour, expr: hr}
    - {name: warm_and_dry, expr: temp * (1 - hum)}
    - {name: temp_mean_24h, agg: mean, of: temp, window: 24h}
    - {name: temp_change, expr: temp - lag(temp, 1)}
    - {name: hired_mean_7d, agg: mean, of: label, window: 7d}     # only labels known by then
  label:    {field: cnt, kind: regression, delay: 1h, maturity: 1h}
  model:
    candidates: [xgboost, linear, random_forest]
    search: {trials: 20, timeout: 60s}
    train_on: {last: 20000}
    holdout: {last: 1000}
  gates:
    - {metric: mae, max: 120}
    - {metric: mae, better_than: champion, confidence: 0.95}
  promotion: {strategy: manual, min_labels: 200}
  monitoring:
    window: 500
    data_drift: {method: psi, threshold: 0.2}
    concept_drift: {detector: adwin, delta: 0.002}
  retraining:
    on: [drift, performance, schedule]
    schedule: "0 3 * * *"
    cooldown: 12h
    budget: {runs_per_day: 24, cpu_minutes_per_day: 60}
"""

SMALLEST = """\
metadata: {name: tiny}
spec:
  event: {id: id, time: at}
  fields: {x: float}
  label: {field: y, kind: binary}
"""


def spec(**sections: object) -> str:
    """A small correct file with some sections of it replaced, as JSON; None removes one."""
    whole: dict[str, object] = {
        "event": {"id": "id", "time": "at"},
        "fields": {"x": "float", "city": "category", "note": "string"},
        "label": {"field": "y", "kind": "regression"},
    }
    whole |= sections
    kept = {key: value for key, value in whole.items() if value is not None}
    return json.dumps({"metadata": {"name": "tiny"}, "spec": kept})


@pytest.fixture(scope="session")
def bikes_file() -> str:
    """The documentation's own, which says something in nearly every section."""
    return BIKES


@pytest.fixture(scope="session")
def smallest_file() -> str:
    """What has no default, and nothing else."""
    return SMALLEST


@pytest.fixture(scope="session")
def a_file() -> Callable[..., str]:
    """Writes one of some sections: `a_file(label=..., model=...)`."""
    return spec
