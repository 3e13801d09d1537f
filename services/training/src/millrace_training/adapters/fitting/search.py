"""Choosing a kind of model and its parameters, on rows that are older than the holdout."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from millrace_artifacts.scorer import Scores, as_scores
from millrace_artifacts.signature import Signature
from millrace_training.adapters.fitting.encoding import classes_of, encoded, signature_of, targets
from millrace_training.adapters.fitting.estimators import ALGORITHMS, Algorithm
from millrace_training.adapters.fitting.job import (
    FitJob,
    NoCandidateError,
    OneClassError,
    TrialResult,
)
from millrace_training.adapters.fitting.measure import metrics_of, row_losses
from millrace_training.adapters.fitting.rows import Rows
from millrace_training.adapters.fitting.task import Fitted, Parameters, Task


@dataclass(frozen=True, slots=True)
class Recipe:
    """A kind of model with its parameters, fitted on any rows."""

    algorithm: Algorithm
    parameters: Parameters

    @property
    def parameters_json(self) -> str:
        return json.dumps(dict(self.parameters), sort_keys=True)

    def fit(self, job: FitJob, rows: Rows) -> "FittedRecipe":
        """Raises OneClassError."""
        signature = signature_of(job, rows, self.algorithm.encoding)
        task = Task(
            matrix=encoded(signature, rows),
            targets=targets(rows.labels, signature.classes, job.label_kind),
            kind=job.label_kind,
            classes=len(signature.classes),
            seed=job.seed,
            threads=job.threads,
        )
        return FittedRecipe(signature, self.algorithm.fit(task, self.parameters))


@dataclass(frozen=True, slots=True)
class FittedRecipe:
    signature: Signature
    fitted: Fitted

    def scores(self, rows: Rows) -> Scores:
        """The library's own answers, not the ONNX form's."""
        return as_scores(self.signature, self.fitted.answers(encoded(self.signature, rows)))


@dataclass(frozen=True, slots=True)
class Choice:
    """Recipes, best first; how the attempts went; what is worth saying."""

    ranked: tuple[Recipe, ...]
    trials: tuple[TrialResult, ...]
    notes: tuple[str, ...]


def choose(job: FitJob, train: Rows) -> Choice:
    """Rank recipes by their loss on the newest fifth of the training rows, fitted on the rest.

    Every suiting candidate's defaults come first, then random draws up to the job's trials, while its timeout lasts.
    With one recipe there is nothing to choose, and nothing is fitted. Raises NoCandidateError.
    """
    algorithms, notes = suiting(job)
    total = max(job.trials, len(algorithms))
    border = len(train) - max(1, len(train) // 5)
    older, newer = train.part(0, border), train.part(border, len(train))
    if total == 1 or not _learnable(job, older):
        unlearnable = () if total == 1 else ("no search: all but the newest rows have one label",)
        return Choice(
            tuple(Recipe(each, each.defaults) for each in algorithms), (), notes + unlearnable
        )
    attempts = _attempts(job, older, newer, recipes(algorithms, total, job.seed))
    if len(attempts) < total:
        notes += (f"the search stopped at its timeout after {len(attempts)} of {total} trials",)
    ranked = sorted(attempts, key=lambda attempt: (attempt[1].loss, attempt[1].number))
    return Choice(
        tuple(recipe for recipe, _ in ranked), tuple(trial for _, trial in attempts), notes
    )


def suiting(job: FitJob) -> tuple[tuple[Algorithm, ...], tuple[str, ...]]:
    """The candidates that suit the label's kind, each once, and notes on the others. Raises NoCandidateError for none."""
    names = dict.fromkeys(job.candidates)
    unknown = [name for name in names if name not in ALGORITHMS]
    if unknown:
        raise NoCandidateError(
            f"{job.pipeline}: no such kind of model: {unknown}; there are {sorted(ALGORITHMS)}"
        )
    suits = tuple(ALGORITHMS[name] for name in names if job.label_kind in ALGORITHMS[name].kinds)
    if not suits:
        fitting = sorted(name for name, each in ALGORITHMS.items() if job.label_kind in each.kinds)
        raise NoCandidateError(
            f"{job.pipeline}: none of {list(names)} suits a {job.label_kind} label; use some of {fitting}"
        )
    notes = tuple(
        f"{name} does not suit a {job.label_kind} label"
        for name in names
        if ALGORITHMS[name] not in suits
    )
    return suits, notes


def recipes(algorithms: Sequence[Algorithm], total: int, seed: int) -> Iterator[Recipe]:
    """The defaults of each, then draws in turn: the same for the same seed, however many are taken."""
    yield from (Recipe(algorithm, algorithm.defaults) for algorithm in algorithms)
    generator = np.random.default_rng(seed)
    for number in range(total - len(algorithms)):
        algorithm = algorithms[number % len(algorithms)]
        yield Recipe(algorithm, algorithm.draw(generator))


def _learnable(job: FitJob, rows: Rows) -> bool:
    try:
        classes_of(job, rows)
    except OneClassError:
        return False
    return True


def _attempts(
    job: FitJob, older: Rows, newer: Rows, plan: Iterator[Recipe]
) -> list[tuple[Recipe, TrialResult]]:
    """The first recipe always, the others while the time lasts."""
    deadline = time.monotonic() + job.timeout_seconds
    attempts: list[tuple[Recipe, TrialResult]] = []
    for recipe in plan:
        if attempts and time.monotonic() > deadline:
            break
        attempts.append(
            (recipe, replace(_attempt(job, older, newer, recipe), number=len(attempts) + 1))
        )
    return attempts


def _attempt(job: FitJob, older: Rows, newer: Rows, recipe: Recipe) -> TrialResult:
    started = time.process_time()
    model = recipe.fit(job, older)
    scores = model.scores(newer)
    classes = model.signature.classes
    return TrialResult(
        number=0,
        algorithm=recipe.algorithm.name,
        parameters_json=recipe.parameters_json,
        metrics=metrics_of(job.label_kind, classes, newer.labels, scores),
        loss=float(np.mean(row_losses(job.label_kind, classes, newer.labels, scores))),
        cpu_seconds=time.process_time() - started,
    )
