"""How a candidate is made, from the dataset to the artifact."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from millrace_artifacts.artifact import (
    NATIVE_ADVANTAGE,
    Artifact,
    Learnt,
    Model,
    Runtime,
    Speed,
    write_artifact,
)
from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.scorer import Scores, scorer_of
from millrace_training.adapters.fitting.champion import Champion, measure_champion
from millrace_training.adapters.fitting.checks import Subject, checked
from millrace_training.adapters.fitting.encoding import classes_of, encoded
from millrace_training.adapters.fitting.environment import environment
from millrace_training.adapters.fitting.export import (
    examples_of,
    libraries,
    packed,
    reference_profile,
    speed_of,
)
from millrace_training.adapters.fitting.job import FitJob, FitResult, NoCandidateError
from millrace_training.adapters.fitting.measure import (
    PRIMARY_METRICS,
    better_probability,
    metrics_of,
    row_losses,
)
from millrace_training.adapters.fitting.naive import Baseline, best_baseline
from millrace_training.adapters.fitting.recipes import FittedRecipe, Recipe, winner_of
from millrace_training.adapters.fitting.rows import Rows, Split, read_rows, split_rows
from millrace_training.adapters.fitting.search import Choice, Tell, choose, nobody


@dataclass(frozen=True, slots=True)
class Made:
    """A recipe fitted without the holdout (`measured`) and, unless the job says otherwise, with it (`shipped`).

    `learnt` is what `shipped` was fitted on; `speed` how fast its two forms are, None where that was not measured.
    """

    recipe: Recipe
    measured: Model
    shipped: Model
    learnt: Rows
    speed: Speed | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """How `Made.measured`, the champion and the baseline do on the holdout."""

    scores: Scores
    metrics: Mapping[str, float]
    baseline: Baseline
    champion: Champion
    better_probability: float | None


def run(job: FitJob, tell: Tell = nobody) -> FitResult:
    """Rows in order of event time; the newest are the holdout. Recipes are compared within the older rows only, the best
    is fitted on all of them and measured on the holdout together with the champion and the baseline. Then what ships is
    fitted on the holdout as well: on streams, the newest rows are worth most. Its metrics are those of the model before
    that, so they are honest, and rather too bad than too good. `tell` hears of every trial. Raises FitError.
    """
    began, started = time.perf_counter(), time.process_time()
    split = split_rows(read_rows(job), job)
    choice = choose(job, split.train, tell)
    made = _made(job, split, choice)
    verdict = _verdict(job, split, made.measured)
    primary = job.primary_metric or PRIMARY_METRICS[job.label_kind]
    if primary not in verdict.metrics:
        primary = PRIMARY_METRICS[
            job.label_kind
        ]  # it can't be computed over these rows; losses always can
    signature = made.measured.signature
    profile = reference_profile(signature, made.learnt, verdict.scores, verdict.metrics, primary)
    artifact = write_artifact(_artifact(job, made, split, verdict.metrics))
    subject = Subject(
        measured=made.measured,
        shipped=made.shipped,
        artifact=artifact,
        train=split.train,
        holdout=split.holdout,
        scores=verdict.scores,
        baseline=verdict.baseline,
    )
    figures, evidence = checked(job, subject)
    return FitResult(
        algorithm=made.recipe.algorithm.name,
        parameters_json=made.recipe.parameters_json,
        artifact=artifact,
        metrics={**verdict.metrics, **figures},
        champion_metrics=verdict.champion.metrics,
        baseline_metrics=verdict.baseline.metrics,
        better_probability=verdict.better_probability,
        reference_profile=profile,
        trials=choice.trials,
        train_rows=len(made.recipe.learnt(split.train)),
        holdout_rows=len(split.holdout),
        learnt_rows=len(made.learnt),
        fit_seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time() - started,
        notes=split.notes
        + choice.notes
        + made.notes
        + verdict.baseline.notes
        + verdict.champion.notes,
        winner=winner_of(made.recipe, prefers_native=made.shipped.prefers_native),
        speed=made.speed,
        environment=environment(),
        evidence=evidence,
    )


def _made(job: FitJob, split: Split, choice: Choice) -> Made:
    """The best recipe that can be exported truthfully. Raises NoCandidateError when none can."""
    notes: tuple[str, ...] = ()
    rows = split.both if job.refit else split.train
    for recipe in choice.ranked:
        measured = recipe.fit(job, split.train)
        shipped = recipe.fit(job, rows) if job.refit else measured
        try:
            first = _packed(measured, split.holdout)
            last = _packed(shipped, split.holdout) if job.refit else first
        except UnreadableArtifactError as error:
            notes += (f"{recipe.algorithm.name} left out: {error}",)
        else:
            last, speed = _with_engine(job, shipped, last, split.holdout)
            return Made(recipe, first, last, recipe.learnt(rows), speed, notes + recipe.notes)
    raise NoCandidateError(f"{job.pipeline}: {'; '.join(notes)}; add xgboost to the candidates")


def _packed(model: FittedRecipe, rows: Rows) -> Model:
    return packed(model.fitted, model.signature, encoded(model.signature, rows))


def _with_engine(
    job: FitJob, fitted: FittedRecipe, model: Model, rows: Rows
) -> tuple[Model, Speed | None]:
    """What ships chooses by speed too; what is only measured and compared doesn't, so that its answers depend on no clock.

    What a winner's clock said once is not asked again: what is reproduced answers through the same form.
    """
    if job.winner is not None:
        return replace(model, prefers_native=job.winner.prefers_native), None
    speed = speed_of(model, encoded(fitted.signature, rows))
    faster = speed is not None and speed.advantage >= NATIVE_ADVANTAGE
    return replace(model, prefers_native=faster), speed


def _verdict(job: FitJob, split: Split, model: Model) -> Verdict:
    """Measured through what was packed, so as serving would answer."""
    kind, holdout, labels = job.label_kind, split.holdout, split.holdout.labels
    scores = scorer_of(model).score(holdout.numbers, holdout.categories.tolist())
    champion = measure_champion(job, holdout)
    better = None
    if champion.losses is not None:
        losses = row_losses(kind, model.signature.classes, labels, scores)
        better = better_probability(losses, champion.losses, job.seed)
    classes = classes_of(job, split.train)
    baseline = best_baseline(kind, classes, split.train, holdout, job.label_delay_us)
    return Verdict(
        scores=scores,
        metrics=metrics_of(kind, model.signature.classes, labels, scores),
        baseline=baseline,
        champion=champion,
        better_probability=better,
    )


def _artifact(job: FitJob, made: Made, split: Split, metrics: Mapping[str, float]) -> Artifact:
    times = made.learnt.event_times
    return Artifact(
        algorithm=made.recipe.algorithm.name,
        parameters=made.recipe.parameters_json,
        model=made.shipped,
        measured=_lean(made.measured) if job.refit else None,
        metrics=metrics,
        learnt=Learnt(
            rows=len(times),
            since_us=int(times[0]),
            until_us=int(times[-1]),
            holdout_rows=len(split.holdout),
            measured_until_us=int(split.train.event_times[-1]),
        ),
        libraries=libraries(),
        examples=examples_of(made.shipped, made.learnt),
    )


def _lean(model: Model) -> Model:
    """Only what answers: the measured model is compared with, never opened."""
    return (
        replace(model, native=None) if model.runtime is Runtime.ONNX else replace(model, onnx=None)
    )
