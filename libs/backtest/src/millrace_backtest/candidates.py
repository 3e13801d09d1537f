"""What a run ends with, as the training service's runner would tell it."""

import hashlib
from dataclasses import dataclass

from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import SECOND, Duration
from millrace_training.adapters.fitting.job import FitResult
from millrace_training.domain.costs import main_metric, points_gained
from millrace_training.domain.events import Candidate, Dataset, Run


@dataclass(frozen=True, slots=True)
class Costs:
    """`latency` of a run in recorded time; `cpu_seconds` is what the policy's budget counts for a run: a measured time would make another
    decision on another machine."""

    latency: Duration
    cpu_seconds: float


def candidate_of(
    pipeline: Pipeline, result: FitResult, compared_with: int, costs: Costs
) -> Candidate:
    """As the training service's runner makes one, but that nothing is stored or signed."""
    metric = main_metric(pipeline.primary_metric, result.metrics)
    return Candidate(
        algorithm=result.algorithm,
        parameters_json=result.parameters_json,
        artifact_uri="backtest",
        artifact_sha256=hashlib.sha256(result.artifact).hexdigest(),
        artifact_signature=b"",
        signing_key_id="",
        train_rows=result.train_rows,
        holdout_rows=result.holdout_rows,
        metrics=result.metrics,
        champion_metrics=result.champion_metrics,
        champion_version=compared_with,
        better_probability=result.better_probability or 0.0,
        reference_profile=result.reference_profile,
        fit_seconds=costs.latency / SECOND,
        cpu_seconds=costs.cpu_seconds,
        notes=result.notes,
        evidence=result.evidence,
        points=points_gained(metric, result.metrics, result.champion_metrics),
    )


def dataset_of(run: Run, result: FitResult) -> Dataset:
    """Nothing was written down."""
    return Dataset(
        "backtest", "", 0, result.learnt_rows + result.holdout_rows, 0, 0, run.as_of, run.as_of
    )
