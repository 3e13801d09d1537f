"""A stream that changes in the middle, and its pipeline."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pytest

from millrace_backtest.fits import FitStore
from millrace_backtest.recording import Recording, recorded
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import HOUR, Instant, parse_rfc3339, rfc3339

BEGIN = parse_rfc3339("2026-01-01T00:00:00Z")
FILE = """
metadata: {name: mill}
spec:
  event: {id: id, time: at}
  fields: {x: float, z: float}
  label: {field: y, kind: regression, delay: 2h}
  model:
    candidates: [linear]
    train_on: {last: 150, first: 100}
    holdout: {last: 30}
  monitoring: {window: 50}
  retraining: {on: [drift, performance], cooldown: 12h}
"""


@dataclass(frozen=True)
class Sent:
    recorded_at: Instant
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def event(number: int, **body: object) -> Sent:
    at = Instant(BEGIN + number * HOUR)
    return Sent(at, orjson.dumps({"id": str(number), "at": rfc3339(at), **body}))


def label(number: int, value: object, delay: int = 2 * HOUR) -> Sent:
    happened = BEGIN + number * HOUR
    body = {"id": str(number), "label": value, "known_at": rfc3339(Instant(happened + delay))}
    header = (("ce_type", b"millrace.label"),)
    return Sent(Instant(happened + delay), orjson.dumps(body), header)


def stream(events: int, change_at: int, seed: int = 3) -> list[Sent]:
    """y = 10x + noise, and -10x from `change_at` on; a label two hours after its event."""
    generator = np.random.default_rng(seed)
    messages: list[tuple[int, int, Sent]] = []
    for number in range(events):
        x, z, noise = generator.normal(size=3).tolist()
        y = (10.0 if number < change_at else -10.0) * x + noise
        messages += [
            (number, 1, event(number, x=x, z=z)),
            (number + 2, 0, label(number, y)),
        ]
    return [message for _, _, message in sorted(messages, key=lambda each: each[:2])]


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    return read_pipeline(FILE, version=1)


@pytest.fixture(scope="session")
def recording(pipeline: Pipeline) -> Recording:
    return recorded(pipeline, stream(600, change_at=300))


@pytest.fixture(scope="session")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tests keep their fits: what one has made, the next finds."""
    return tmp_path_factory.mktemp("fits")


@pytest.fixture
def store(fits: Path) -> FitStore:
    return FitStore(fits)


@pytest.fixture(scope="session")
def written() -> str:
    """The pipeline file."""
    return FILE


@pytest.fixture(scope="session")
def played() -> Callable[..., list[Sent]]:
    """Makes a stream: `played(events, change_at=…)`."""
    return stream
