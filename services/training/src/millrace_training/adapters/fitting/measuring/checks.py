"""What a run measures for its pipeline's gates, and only for those: whatever no gate names costs nothing."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from millrace_artifacts.artifact import Model
from millrace_artifacts.scorer import Scores, scorer_of
from millrace_artifacts.signature import Signature
from millrace_kernel.evidence import Evidence, ModelSchema, NaiveBaseline
from millrace_kernel.pipeline import BASELINE, LabelKind
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.measuring.leaks import column_scores
from millrace_training.adapters.fitting.measuring.measure import better_probability, row_losses
from millrace_training.adapters.fitting.measuring.naive import Baseline
from millrace_training.adapters.fitting.measuring.robustness import (
    judge_of,
    missing_drop,
    noise_drop,
    overfit,
)
from millrace_training.adapters.fitting.measuring.slices import slices_of
from millrace_training.adapters.fitting.reading.rows import Rows

_TIMED_ROWS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is checked: `measured`, which has learnt `train`, its `scores` for the holdout, and what ships in `artifact`."""

    measured: Model
    shipped: Model
    artifact: bytes
    train: Rows
    holdout: Rows
    scores: Scores
    baseline: Baseline


def checked(job: FitJob, subject: Subject) -> tuple[dict[str, float], Evidence]:
    """Figures that gates bound beside metrics, and the evidence for the rest. What can't be measured is left out.

    `latency_us` is a clock's and differs from run to run, so none of it may become part of the artifact.
    """
    named = {gate.metric for gate in job.gates}
    signature = subject.measured.signature
    scores = column_scores(job, subject.train, subject.holdout) if "leak" in named else {}
    figures = _skills(job, subject, named)
    if scores:
        figures["leak"] = max(scores.values())
    if "artifact_bytes" in named:
        figures["artifact_bytes"] = float(len(subject.artifact))
    if "latency_us" in named:
        figures["latency_us"] = latency_us(subject.shipped, subject.holdout)
    asks_baseline = any(gate.better_than == BASELINE for gate in job.gates)
    return figures, Evidence(
        slices=slices_of(job, signature.classes, subject.holdout, subject.scores),
        baseline=_baseline(job, subject) if asks_baseline else None,
        schema=_schema(signature),
        column_scores=scores,
    )


def _schema(signature: Signature) -> ModelSchema:
    """Answers in words are told of by their model alone: an event that names them all would be too large."""
    classes = () if signature.label_kind is LabelKind.TEXT else signature.classes
    return ModelSchema(signature.numbers, signature.categories, signature.label_kind.value, classes)


def latency_us(model: Model, rows: Rows) -> float:
    """What answering one row takes of a processor, its encoding included: the median of some, in microseconds."""
    scorer = scorer_of(model)
    texts = rows.categories.tolist()
    places = [place % len(rows) for place in range(_TIMED_ROWS)]
    scorer.score(rows.numbers[:1], texts[:1])  # what is prepared at the first call is not counted
    times = []
    for place in places:
        row, words = rows.numbers[place : place + 1], texts[place : place + 1]
        began = time.thread_time_ns()
        scorer.score(row, words)
        times.append((time.thread_time_ns() - began) / 1_000)
    return float(np.median(times))


def _skills(job: FitJob, subject: Subject, named: set[str]) -> dict[str, float]:
    if not named & {"overfit", "noise_drop", "missing_drop"}:
        return {}
    judge = judge_of(job, scorer_of(subject.measured), subject.train)
    found: Mapping[str, float | None] = {
        "overfit": overfit(judge, subject.train, subject.holdout) if "overfit" in named else None,
        "noise_drop": noise_drop(judge, subject.holdout) if "noise_drop" in named else None,
        "missing_drop": missing_drop(judge, subject.holdout) if "missing_drop" in named else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _baseline(job: FitJob, subject: Subject) -> NaiveBaseline:
    """Against the best of them on these very rows: being chosen there, it looks rather too good, and the gate errs on the safe side."""
    classes, baseline = subject.measured.signature.classes, subject.baseline
    losses = row_losses(job.label_kind, classes, subject.holdout.labels, subject.scores)
    probability = better_probability(losses, baseline.losses, job.seed)
    return NaiveBaseline(baseline.name, baseline.metrics, probability)
