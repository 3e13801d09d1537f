"""What ingestion's tests share: pipelines as users write them, and the shortest way to say something to one."""

from collections.abc import Callable
from typing import Any

import pytest

from millrace_contracts.pipeline_file import read_pipeline
from millrace_ingestion.domain.events import Kind, Submission
from millrace_ingestion.domain.validation import Rules, compile_rules
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant, parse_rfc3339

NOON = parse_rfc3339("2026-11-21T12:00:00Z")

FILE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {{name: {name}}}
spec:
  source: {{topic: {topic}}}
  event: {{{event}}}
  fields: {{{fields}}}
  features: [{features}]
  label: {{{label}}}
"""


def pipeline_of(
    name: str = "bikes",
    version: int = 1,
    topic: str | None = None,
    event: str = "id: id, time: at, entity: station",
    fields: str = "temp: float, hour: int, weather: category",
    features: str = "",
    label: str = "field: cnt, kind: regression, delay: 1h",
) -> Pipeline:
    text = FILE.format(
        name=name,
        topic=topic or f"millrace.raw.{name}",
        event=event,
        fields=fields,
        features=features,
        label=label,
    )
    return read_pipeline(text, version=version)


LABEL_MEAN = "{name: hired_mean, agg: mean, of: label, window: 7d}"


def row_of(**changes: Any) -> dict[str, Any]:
    """A good event of the pipeline above; a change to `...` leaves the key out."""
    row = {
        "id": "e1",
        "at": "2026-11-21T11:00:00Z",
        "station": "s7",
        "temp": 20.5,
        "hour": 11,
        "weather": "clear",
    } | changes
    return {name: value for name, value in row.items() if value is not ...}


def submitted(body: dict[str, Any], kind: Kind = Kind.EVENT, **more: Any) -> Submission:
    return Submission(kind, body, **({"recorded_at": NOON} | more))


@pytest.fixture(scope="session")
def noon() -> Instant:
    return NOON


@pytest.fixture(scope="session")
def pipeline() -> Callable[..., Pipeline]:
    return pipeline_of


@pytest.fixture(scope="session")
def rules() -> Callable[..., Rules]:
    return lambda **changes: compile_rules(pipeline_of(**changes))


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    return row_of


@pytest.fixture(scope="session")
def submit() -> Callable[..., Submission]:
    return submitted


@pytest.fixture(scope="session")
def label_mean() -> str:
    """A feature that aggregates labels."""
    return LABEL_MEAN
