"""How a candidate is made, from the dataset to the artifact."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

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
from millrace_training.adapters.fitting.cluster_plan import ClusterUse
from millrace_training.adapters.fitting.environment import environment
from millrace_training.adapters.fitting.job import (
    FitJob,
    FitResult,
    NoCandidateError,
    OneClassError,
    TooFewRowsError,
)
from millrace_training.adapters.fitting.measuring.champion import (
    Champion,
    held_out_fairly,
    measure_champion,
)
from millrace_training.adapters.fitting.measuring.checks import Subject, checked
from millrace_training.adapters.fitting.measuring.measure import (
    PRIMARY_METRICS,
    better_probability,
    metrics_of,
    row_losses,
)
from millrace_training.adapters.fitting.measuring.naive import Baseline, best_baseline
from millrace_training.adapters.fitting.own.commands import digests_of
from millrace_training.adapters.fitting.reading.encoding import classes_of, encoded
from millrace_training.adapters.fitting.reading.rows import Rows, Split, read_rows, split_rows
from millrace_training.adapters.fitting.searching.recipes import FittedRecipe, Recipe, winner_of
from millrace_training.adapters.fitting.searching.search import Choice, Tell, choose, nobody
from millrace_training.adapters.fitting.searching.since import with_the_better_past
from millrace_training.adapters.fitting.shipping.export import (
    examples_of,
    libraries,
    packed,
    reference_profile,
    speed_of,
)
from millrace_training.adapters.processes.metering import own_usage


@dataclass(frozen=True, slots=True)
class Extent:
    """How many rows the measured model learnt; how many the shipped one did, and the event times that these are from."""

    train_rows: int
    rows: int
    since_us: int
    until_us: int


class Fits(Protocol):
    """Where recipes are fitted for good. What a search tries is fitted on the split's rows, always here."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it, once all is fitted."""

    @property
    def use(self) -> ClusterUse | None:
        """None: it was fitted here."""

    def measured(self, recipe: Recipe) -> FittedRecipe:
        """Learns what is older than the holdout."""

    def shipped(self, recipe: Recipe) -> FittedRecipe:
        """Learns the holdout, too."""

    def extent(self, recipe: Recipe) -> Extent:
        """Of what the two have learnt."""


class Here:
    """In this process, on the split's rows: `Fits`."""

    notes: tuple[str, ...] = ()
    use: ClusterUse | None = None

    def __init__(self, job: FitJob, split: Split) -> None:
        self._job = job
        self._split = split

    def measured(self, recipe: Recipe) -> FittedRecipe:
        return recipe.fit(self._job, self._split.train)

    def shipped(self, recipe: Recipe) -> FittedRecipe:
        return recipe.fit(self._job, self._split.both)

    def extent(self, recipe: Recipe) -> Extent:
        split = self._split
        times = recipe.learnt(split.both if self._job.refit else split.train).event_times
        train = len(recipe.learnt(split.train))
        return Extent(train, len(times), int(times[0]), int(times[-1]))


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


def run(
    job: FitJob, tell: Tell = nobody, where: Callable[[FitJob, Split], Fits] = Here
) -> FitResult:
    """Rows in order of event time; the newest are the holdout. Recipes are compared within the older rows only, the best
    is fitted on all of them whose label was known when the holdout began, and measured on it together with the champion
    and the baseline. Then what ships is fitted on all rows, the holdout as well: on streams, the newest rows are worth most. Its metrics are those of the model before
    that, so they are honest, and rather too bad than too good. `tell` hears of every trial. Raises FitError.
    """
    began, started = time.perf_counter(), own_usage().cpu_seconds
    rows = read_rows(job)
    fair, of_fairness = held_out_fairly(job, rows)
    split = split_rows(rows, job, fair)
    fits = where(job, split)
    choice = with_the_better_past(job, split.train, choose(job, split.train, tell))
    made = _made(job, split, choice, fits)
    extent = fits.extent(made.recipe)
    verdict = _verdict(job, split, made.measured)
    primary = job.primary_metric or PRIMARY_METRICS[job.label_kind]
    if primary not in verdict.metrics:
        primary = PRIMARY_METRICS[
            job.label_kind
        ]  # it can't be computed over these rows; losses always can
    signature = made.measured.signature
    profile = reference_profile(signature, made.learnt, verdict.scores, verdict.metrics, primary)
    artifact = write_artifact(_artifact(job, made, split, extent, verdict.metrics))
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
        train_rows=extent.train_rows,
        holdout_rows=len(split.holdout),
        learnt_rows=extent.rows,
        fit_seconds=time.perf_counter() - began,
        cpu_seconds=own_usage().cpu_seconds - started,
        notes=split.notes
        + of_fairness
        + choice.notes
        + made.notes
        + verdict.baseline.notes
        + verdict.champion.notes
        + fits.notes,
        winner=replace(
            winner_of(made.recipe, prefers_native=made.shipped.prefers_native), holdout_rows=fair
        ),
        speed=made.speed,
        environment=replace(
            environment(), commands=digests_of((made.recipe.algorithm.name,), job.options.commands)
        ),
        evidence=evidence,
        cluster=fits.use,
    )


def _made(job: FitJob, split: Split, choice: Choice, fits: Fits) -> Made:
    """The best recipe that can be exported truthfully. Raises NoCandidateError when none can."""
    notes: tuple[str, ...] = ()
    rows = split.both if job.refit else split.train
    for recipe in choice.ranked:
        try:
            measured = fits.measured(recipe)
            shipped = fits.shipped(recipe) if job.refit else measured
            first = _packed(measured, split.holdout)
            last = _packed(shipped, split.holdout) if job.refit else first
        except UnreadableArtifactError as error:
            notes += (f"{recipe.algorithm.name} left out: {error}",)
        except (OneClassError, TooFewRowsError) as error:
            # the newest part alone may tell less than all of the rows do, which another recipe learns
            if recipe == choice.ranked[-1]:
                raise
            notes += (f"{recipe.algorithm.name} left out, as it was chosen: {error}",)
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
    classes = classes_of(job, split.older)
    baseline = best_baseline(kind, classes, split.older, holdout, job.label_delay_us)
    return Verdict(
        scores=scores,
        metrics=metrics_of(kind, model.signature.classes, labels, scores),
        baseline=baseline,
        champion=champion,
        better_probability=better,
    )


def _artifact(
    job: FitJob, made: Made, split: Split, extent: Extent, metrics: Mapping[str, float]
) -> Artifact:
    return Artifact(
        algorithm=made.recipe.algorithm.name,
        parameters=made.recipe.kept_json,
        model=made.shipped,
        measured=_lean(made.measured) if job.refit else None,
        metrics=metrics,
        learnt=Learnt(
            rows=extent.rows,
            since_us=extent.since_us,
            until_us=extent.until_us,
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
