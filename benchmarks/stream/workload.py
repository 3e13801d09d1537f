"""What every contender is asked: the same events, the same 28 features of them, the same XGBoost model."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import orjson
import xgboost
from numpy.typing import NDArray

from millrace_contracts.pipeline_file import read_pipeline

TREES, DEPTH = 100, 6
TRAINING_ROWS = 20_000
SEED = 11
NAME = "stream"
ENTITIES = 1_000
RAW_FIELDS = tuple(f"f{number:02d}" for number in range(20))
WINDOW_SECONDS = 10
WINDOWED = ("f00", "f01", "f02")  # the mean of each in the window, the event itself included
EXPRESSIONS = {
    "product": "f00 * f01",
    "difference": "f02 - f03",
    "size": "abs(f04)",
    "larger": "max(f05, f06)",
    "scaled": "f07 / (1 + abs(f08))",
}
COLUMNS = (*RAW_FIELDS, *EXPRESSIONS, *(f"{name}_mean" for name in WINDOWED))
_BEGINNING = (
    1_764_000_000_000  # milliseconds: event times go on from here, one millisecond an event
)
_ROWS = 4_096  # different measurements, in turn

PIPELINE = read_pipeline(
    f"""
apiVersion: millrace/v1
kind: Pipeline
metadata: {{name: {NAME}}}
spec:
  source: {{topic: millrace.raw.{NAME}}}
  event:  {{id: id, time: at, entity: machine, lateness: 0s}}
  fields: {{{", ".join(f"{name}: float" for name in RAW_FIELDS)}}}
  features:
{"".join(f"    - {{name: {name}, expr: '{text}'}}{chr(10)}" for name, text in EXPRESSIONS.items())}
{"".join(f"    - {{name: {name}_mean, agg: mean, of: {name}, window: {WINDOW_SECONDS}s}}{chr(10)}" for name in WINDOWED)}
  label:  {{field: wear, kind: regression}}
""",
    version=1,
)


@dataclass(frozen=True, slots=True)
class RawEvent:
    key: bytes
    value: bytes


def event_id(number: int) -> str:
    return f"event-{number:09d}"


def events(first: int, count: int) -> Iterator[RawEvent]:
    """Events `first` to `first + count - 1` of the one history that all contenders see, keyed by entity."""
    rows = np.round(np.random.default_rng(SEED).normal(size=(_ROWS, len(RAW_FIELDS))), 6).tolist()
    for number in range(first, first + count):
        machine = f"machine-{number % ENTITIES}"
        body = {"id": event_id(number), "at": _BEGINNING + number, "machine": machine}
        body.update(zip(RAW_FIELDS, rows[number % _ROWS], strict=True))
        yield RawEvent(machine.encode(), orjson.dumps(body))


def make_model() -> tuple[xgboost.Booster, NDArray[np.float32]]:
    """The model, and a few rows it answers: a regression with interactions, so that trees of depth 6 are grown to it."""
    generator = np.random.default_rng(SEED)
    matrix = generator.normal(size=(TRAINING_ROWS, len(COLUMNS))).astype(np.float32)
    target = (
        matrix[:, 0] * matrix[:, 1]
        + np.sin(matrix[:, 2] * 2)
        + np.abs(matrix[:, 3:8]).sum(axis=1)
        + matrix[:, -3:].sum(axis=1)
        + generator.normal(scale=0.5, size=TRAINING_ROWS)
    )
    parameters = {
        "objective": "reg:squarederror",
        "max_depth": DEPTH,
        "tree_method": "hist",
        "seed": SEED,
        "nthread": 1,
    }
    return xgboost.train(parameters, xgboost.DMatrix(matrix, label=target), TREES), matrix[:100]
