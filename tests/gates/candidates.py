"""Candidates made by the real fitting procedure and judged by the registry's real gates, as they hear of each other: in bytes."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from millrace_backtest.wires import Wires
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.pipeline import Pipeline, Trigger
from millrace_kernel.time import HOUR, Instant
from millrace_registry.adapters.wire import WIRE as REGISTRY
from millrace_registry.domain.events import ModelVersionNumber, Verdict
from millrace_registry.domain.gates import judge
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitResult, Winner
from millrace_training.adapters.running.records import fit_job
from millrace_training.adapters.wire import WIRE as TRAINING
from millrace_training.domain import events

NOW = Instant(1_764_000_000_000_000)
ROWS = 6_000
FILE = """
metadata: {{name: loans}}
spec:
  event:  {{id: id, time: at}}
  fields:
    income: float
    debt: float
    age: int
    settled: float
    job: category
    region: {{type: category, learn: false}}
    sex: {{type: category, learn: false}}
  label:  {{field: repaid, kind: binary}}
  model:
    candidates: [logistic]
    train_on: {{last: 5000, first: 100}}
    holdout: {{last: 500}}
  gates: [{gates}]
"""
GATES = {
    "baseline": "{metric: log_loss, better_than: baseline, confidence: 0.99}",
    "leak": "{metric: leak, max: 0.9}",
    "overfit": "{metric: overfit, max: 0.25}",
    "slice": "{slice: {by: region, metric: accuracy, worst: 0.6}}",
    "parity": "{fairness: {by: sex, measure: demographic_parity, max: 0.2}}",
    "opportunity": "{fairness: {by: sex, measure: equal_opportunity, max: 0.2}}",
    "impact": "{fairness: {by: sex, measure: disparate_impact, min: 0.7}}",
    "noise": "{metric: noise_drop, max: 0.1}",
    "missing": "{metric: missing_drop, max: 0.3}",
    "calibration": "{metric: calibration_error, max: 0.2}",
    "latency": "{metric: latency_us, max: 1000000}",  # a clock's: the test sets it by what a good one takes here
    "size": "{metric: artifact_bytes, max: 10000000}",
    "schema": "{schema: match}",
}


@dataclass
class World:
    """What lenders know. `settled` is nothing but noise, unless it leaks."""

    income: np.ndarray
    debt: np.ndarray
    age: np.ndarray
    settled: np.ndarray
    job: np.ndarray
    region: np.ndarray
    sex: np.ndarray
    repaid: np.ndarray


def world(seed: int = 3) -> World:
    random = np.random.default_rng(seed)
    income, debt = random.normal(size=ROWS), random.normal(size=ROWS)
    repaid = (2.0 * income - 1.5 * debt + random.logistic(size=ROWS) > 0) * 1.0
    return World(
        income=income,
        debt=debt,
        age=random.integers(18, 80, ROWS).astype(float),
        settled=random.normal(size=ROWS),
        job=random.choice(["clerk", "driver", "nurse"], ROWS),
        region=random.choice(["north", "south", "west"], ROWS, p=[0.15, 0.45, 0.4]),
        sex=random.choice(["f", "m"], ROWS),
        repaid=repaid,
    )


def pipeline(**changed: str) -> Pipeline:
    """Every gate, some of them otherwise."""
    gates = GATES | changed
    return read_pipeline(FILE.format(gates=", ".join(gates.values())), version=1)


def trained(file: Pipeline, data: World, folder: Path, winner: Winner | None = None) -> FitResult:
    """What the training service would have fitted; `winner` stands for what a search settled on."""
    path = folder / "dataset.parquet"
    numbers = np.column_stack([data.income, data.debt, data.age, data.settled])
    categories = np.column_stack([data.job, data.region, data.sex])
    table = {
        "event_id": [f"event-{number:05d}" for number in range(ROWS)],
        "event_time_us": pa.array(np.arange(ROWS) * HOUR),
        "numbers": pa.array(numbers.tolist()),
        "categories": pa.array(categories.tolist()),
        "label": pa.array(data.repaid),
    }
    pq.write_table(pa.table(table), path)
    return fit_candidates(replace(fit_job(run().trigger, file, path, threads=1), winner=winner))


def run() -> events.Run:
    return events.Run(
        PipelineName("loans"), RunId("run-1"), 1, 1, Trigger.FIRST, "cause-1", Instant(ROWS * HOUR)
    )


def judged(file: Pipeline, result: FitResult) -> dict[str, Verdict]:
    """The registry's verdicts by gate, as it would have heard of the run."""
    candidate = events.Candidate(
        algorithm=result.algorithm,
        parameters_json=result.parameters_json,
        artifact_uri="file:///artifact",
        artifact_sha256="0" * 64,
        artifact_signature=b"",
        signing_key_id="",
        train_rows=result.train_rows,
        holdout_rows=result.holdout_rows,
        metrics=result.metrics,
        champion_metrics=result.champion_metrics,
        champion_version=0,
        better_probability=result.better_probability or 0.0,
        reference_profile=result.reference_profile,
        fit_seconds=result.fit_seconds,
        cpu_seconds=result.cpu_seconds,
        evidence=result.evidence,
    )
    dataset = events.Dataset("file:///dataset", "0" * 64, 1, ROWS, 1, 1, NOW, NOW)
    said = events.TrainingCompleted(run(), dataset, candidate)
    (heard,) = Wires([REGISTRY]).carry(said, TRAINING, NOW)
    verdicts = judge(file, heard, ModelVersionNumber(0))
    return dict(zip(GATES, verdicts, strict=True))


def settled_on(algorithm: str, **parameters: float) -> Winner:
    return Winner(algorithm, json.dumps(parameters))
