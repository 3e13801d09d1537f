"""A cheap update: some trees more on what came since the champion's trees were grown (Friedman 2001: each corrects what is
left of the error), at about a tenth of a run's processor time.

The trees of the last full run, the base, stay as they are, and every update grows its own on top of the base, never on top of
another update: so a model does not grow for ever, and what the last update made of a passing mood is forgotten with it.
Only rows that the base has not learnt count: of its own rows nothing is left to correct. It answers through XGBoost's
own format; to write the whole model as ONNX again would cost more than the update.
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from millrace_artifacts.artifact import (
    Artifact,
    Learnt,
    Model,
    Native,
    NativeFormat,
    Parity,
    read_artifact,
    write_artifact,
)
from millrace_artifacts.errors import ArtifactError
from millrace_artifacts.scorer import scorer_of
from millrace_artifacts.signature import Signature
from millrace_training.adapters.fitting.algorithms.task import Task
from millrace_training.adapters.fitting.algorithms.xgboost_models import settings_of
from millrace_training.adapters.fitting.environment import environment
from millrace_training.adapters.fitting.job import (
    FEWEST_ROWS,
    FitJob,
    FitResult,
    NoCandidateError,
    TooFewRowsError,
)
from millrace_training.adapters.fitting.measuring.champion import measure_champion
from millrace_training.adapters.fitting.measuring.checks import Subject, checked
from millrace_training.adapters.fitting.measuring.measure import (
    PRIMARY_METRICS,
    better_probability,
    metrics_of,
    row_losses,
)
from millrace_training.adapters.fitting.measuring.naive import best_baseline
from millrace_training.adapters.fitting.online_updating import OnlineBase, online_base
from millrace_training.adapters.fitting.reading.encoding import blinded, encoded, targets
from millrace_training.adapters.fitting.reading.rows import Rows, Split, read_rows
from millrace_training.adapters.fitting.searching.recipes import WITHOUT, also_without, without_of
from millrace_training.adapters.fitting.shipping.export import (
    examples_of,
    libraries,
    reference_profile,
)
from millrace_training.adapters.fitting.shipping.finishing import balanced

TREES = 20  # rounds; with the usual rate they take nine tenths of what is left
ALGORITHM = "xgboost"
_BASE = "base_rounds"
_UNTIL = "base_until_us"
_HOLDOUT_SHARE = 5  # the holdout is at most a fifth of the rows
_AS_IT_IS = Parity(1.0, 0.0, 0)  # the ONNX form was not written, so XGBoost's answers


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """The trees of the last full run, and the event time of the newest row that they learnt."""

    booster: xgboost.Booster
    signature: Signature
    parameters: dict[str, Any]
    rounds: int
    until_us: int
    algorithm: str = ALGORITHM

    @property
    def note(self) -> str:
        rounds = f"an update: {TREES} rounds on top of {self.rounds}"
        return rounds + also_without(self.parameters)

    def model(self, rows: Rows, job: FitJob) -> Model:
        """The trees with some more, grown on these rows."""
        return _model(self, _grown(self, rows, job))


def run_update(job: FitJob) -> FitResult:
    """As `procedure.run`, for the champion's trees and some more. Raises FitError when the champion cannot be updated or
    too little has come since its base was trained."""
    began, started = time.perf_counter(), time.process_time()
    base = _base(job)
    split = _split(job, base)
    train, holdout, both = split.train, split.holdout, split.both
    measured, shipped = (base.model(rows, job) for rows in (train, both))
    scores = scorer_of(measured).score(holdout.numbers, holdout.categories.tolist())
    kind, classes = job.label_kind, base.signature.classes
    metrics = metrics_of(kind, classes, holdout.labels, scores)
    champion = measure_champion(job, holdout)
    better = None
    if champion.losses is not None:
        losses = row_losses(kind, classes, holdout.labels, scores)
        better = better_probability(losses, champion.losses, job.seed)
    primary = job.primary_metric if job.primary_metric in metrics else PRIMARY_METRICS[kind]
    parameters = json.dumps(base.parameters, sort_keys=True)
    artifact = Artifact(
        algorithm=base.algorithm,
        parameters=parameters,
        model=shipped,
        measured=measured,
        metrics=metrics,
        learnt=Learnt(
            rows=len(both),
            since_us=int(both.event_times[0]),
            until_us=int(both.event_times[-1]),
            holdout_rows=len(holdout),
            measured_until_us=int(train.event_times[-1]),
        ),
        libraries=libraries(),
        examples=examples_of(
            shipped, holdout
        ),  # the newest of them: to answer all is a sixth of the time
    )
    content = write_artifact(artifact)
    baseline = best_baseline(kind, classes, split.older, holdout, job.label_delay_us)
    subject = Subject(measured, shipped, content, train, holdout, scores, baseline)
    figures, evidence = checked(job, subject)
    return FitResult(
        algorithm=base.algorithm,
        parameters_json=parameters,
        artifact=content,
        metrics={**metrics, **figures},
        champion_metrics=champion.metrics,
        baseline_metrics=baseline.metrics,
        better_probability=better,
        reference_profile=reference_profile(base.signature, both, scores, metrics, primary or ""),
        trials=(),
        train_rows=len(train),
        holdout_rows=len(holdout),
        learnt_rows=len(both),
        fit_seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time() - started,
        notes=(
            base.note,
            *split.notes,
            *baseline.notes,
            *champion.notes,
        ),
        environment=environment(),
        evidence=evidence,
    )


def _base(job: FitJob) -> Base | OnlineBase:
    """Raises NoCandidateError for a champion that neither gets more trees nor goes on learning."""
    if job.champion is None:
        raise NoCandidateError(f"{job.pipeline}: no champion to update; a full run makes one")
    try:
        artifact = read_artifact(job.champion)
    except ArtifactError as error:
        raise NoCandidateError(f"{job.pipeline}: the champion can't be updated: {error}") from error
    native, signature = artifact.model.native, artifact.signature
    if native is None or native.format not in (NativeFormat.UBJ, NativeFormat.RIVER):
        raise NoCandidateError(
            f"{job.pipeline}: the champion is a {artifact.algorithm}, and only boosted trees are updated, and online learners; "
            "leave update out of retraining.on, or make xgboost the only candidate"
        )
    if (signature.numbers, signature.categories, signature.label_kind) != (
        job.numbers,
        job.categories,
        job.label_kind,
    ):
        raise NoCandidateError(
            f"{job.pipeline}: the champion has other columns; a full run comes first"
        )
    if artifact.model.only_onnx:
        raise NoCandidateError(
            f"{job.pipeline}: the champion is calibrated, or answers quantiles or an interval, and an update would lose that; "
            "leave update out of retraining.on"
        )
    if artifact.model.encoder is not None:
        raise NoCandidateError(
            f"{job.pipeline}: the champion reads text by a sentence encoder, which no update does; leave update out of retraining.on"
        )
    if native.format is NativeFormat.RIVER:
        return online_base(artifact, native)
    parameters: dict[str, Any] = json.loads(artifact.parameters)
    booster = xgboost.Booster(
        {"nthread": job.threads, "verbosity": 0}, model_file=bytearray(native.content)
    )
    rounds = int(parameters.get(_BASE, booster.num_boosted_rounds()))
    until = int(parameters.get(_UNTIL, artifact.learnt.until_us))
    marked = parameters | {_BASE: rounds, _UNTIL: until}
    return Base(booster[0:rounds], signature, marked, rounds, until)


def _split(job: FitJob, base: Base | OnlineBase) -> Split:
    """The rows that the base has not learnt: to learn from, to measure on, and both."""
    rows = read_rows(job)
    unknown = _without_unknown(job, base, rows)
    holdout = min(job.holdout_last, len(unknown) // _HOLDOUT_SHARE)
    border = len(unknown) - holdout
    start = max(0, border - job.train_on_last)
    if border - start < FEWEST_ROWS or not holdout:
        raise TooFewRowsError(
            f"{job.pipeline}: {len(unknown)} rows came since the champion's trees were grown; wait for more labels"
        )
    older, held_out = unknown.part(start, border), unknown.part(border, len(unknown))
    # no gap for the label's delay, as full runs have one: few rows came since the base, and what learns none of the newest is
    # another model than the one that ships. The champion's last update was measured the same way
    return Split(older, older, held_out, unknown.part(start, len(unknown)), ())


def _without_unknown(job: FitJob, base: Base | OnlineBase, rows: Rows) -> Rows:
    """Newer than what the base learnt; of a class that it does not know nothing can be added."""
    fresh = rows.event_times > base.until_us
    if job.label_kind.is_text:
        fresh &= np.isin(rows.labels.astype(str), base.signature.classes)
    return rows.chosen(fresh)


def _grown(base: Base, rows: Rows, job: FitJob) -> xgboost.Booster:
    parameters = {
        name: value
        for name, value in base.parameters.items()
        if name not in (_BASE, _UNTIL, WITHOUT, "rounds")
    }
    classes = len(base.signature.classes)
    settings, bins = settings_of(parameters, job.label_kind, classes, job.seed, job.threads)
    aims: NDArray[np.float64] = targets(rows.labels, base.signature.classes, job.label_kind)
    seen = blinded(rows, job, without_of(base.parameters))
    encoded_rows = encoded(base.signature, seen)
    weights = None
    if job.options.balance and classes:
        weights = balanced(Task(encoded_rows, aims, job.label_kind, classes, job.seed, job.threads))
    matrix = xgboost.QuantileDMatrix(
        encoded_rows, aims, weight=weights, nthread=job.threads, max_bin=bins
    )
    # as `xgboost.train` does it, without the copy of all trees that it makes at its end
    booster = xgboost.Booster(settings, [matrix], model_file=base.booster)
    for number in range(TREES):
        booster.update(matrix, number)
    return booster


def _model(base: Base, booster: xgboost.Booster) -> Model:
    native = Native(NativeFormat.UBJ, bytes(booster.save_raw("ubj")))
    return Model(replace(base.signature), _AS_IT_IS, None, native)
