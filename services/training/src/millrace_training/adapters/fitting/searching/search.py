"""Choosing a kind of model, its parameters and how much past it learns, on rows that are older than the holdout."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from millrace_kernel.pipeline import takes_parameters
from millrace_training.adapters.fitting.algorithms.estimators import ALGORITHMS, Algorithm
from millrace_training.adapters.fitting.job import (
    COMPLETE,
    FAILED,
    PRUNED,
    FitError,
    FitJob,
    NoCandidateError,
    TrialResult,
    Winner,
)
from millrace_training.adapters.fitting.measuring.measure import metrics_of, row_losses
from millrace_training.adapters.fitting.own.own_models import suiting_algorithm
from millrace_training.adapters.fitting.reading.rows import Rows
from millrace_training.adapters.fitting.searching.folds import Fold, folds_of, newest_fold
from millrace_training.adapters.fitting.searching.needed import not_needed
from millrace_training.adapters.fitting.searching.recipes import (
    FittedRecipe,
    Recipe,
    recipe_of,
    winner_of,
)
from millrace_training.adapters.fitting.searching.study import Study, is_hopeless, proposal_of
from millrace_training.adapters.processes.metering import own_usage

Tell = Callable[[TrialResult], None]

_EARLIER = 3  # one in so many of the trials beyond the defaults is what won before
_COLUMNS_FROM = 10  # trials, of which the last asks what the best does without
_WORST_LOSS = 1e100  # of a trial that failed


@dataclass(frozen=True, slots=True)
class Choice:
    """Recipes, best first; how the attempts went; what is worth saying."""

    ranked: tuple[Recipe, ...]
    trials: tuple[TrialResult, ...]
    notes: tuple[str, ...]


def nobody(trial: TrialResult) -> None:
    """For who need not know of a trial before all have ended."""


def choose(job: FitJob, train: Rows, tell: Tell = nobody) -> Choice:
    """Rank recipes by their loss on the newest rows, each fitted on older ones.

    With no more trials than candidates, the candidates' defaults are compared on the newest fifth. With more, the defaults come
    first, then what won in earlier runs, then what the study proposes, over three folds (see `folds_of`) and while the job's
    timeout lasts. `tell` hears of every trial as it ends; those in `job.finished` are not repeated. With one recipe there is
    nothing to choose, and nothing is fitted. Raises NoCandidateError.
    """
    if job.winner is not None:
        return Choice((recipe_of(job.winner, job.options),), (), ())
    algorithms, notes = suiting(job)
    total = max(job.trials, len(algorithms))
    newest = newest_fold(job, train)
    if total == 1 or newest is None:
        why = "no search: the rows before the newest are too few, or have one label only"
        unlearnable = () if total == 1 else (why,)
        return Choice(tuple(map(_default, algorithms)), (), notes + unlearnable)
    folds = folds_of(job, train) if total > len(algorithms) else (newest,)
    trials = _Search(job, algorithms, total, folds, len(train), tell).run()
    if len(trials) < total:
        notes += (f"the search stopped at its timeout after {len(trials)} of {total} trials",)
    ranked = sorted(trials, key=lambda trial: (trial.state != COMPLETE, trial.loss, trial.number))
    winners = [trial.winner for trial in ranked if trial.winner and trial.state != FAILED]
    return Choice(
        tuple(recipe_of(each, job.options) for each in dict.fromkeys(winners)), trials, notes
    )


def suiting(job: FitJob) -> tuple[tuple[Algorithm, ...], tuple[str, ...]]:
    """The candidates that suit the label's kind, each once, and notes on the others. Raises NoCandidateError for none."""
    names = dict.fromkeys(job.candidates)
    unknown = [name for name in names if name not in ALGORITHMS and not takes_parameters(name)]
    if unknown:
        raise NoCandidateError(
            f"{job.pipeline}: no such kind of model: {unknown}; there are {sorted(ALGORITHMS)}"
        )
    suits: list[Algorithm] = []
    notes: list[str] = []
    for name in names:
        try:
            suits.append(suiting_algorithm(name, job.label_kind, job.options))
        except NoCandidateError as error:
            notes.append(str(error))
    if not suits:
        fitting = sorted(name for name, each in ALGORITHMS.items() if job.label_kind in each.kinds)
        raise NoCandidateError(
            f"{job.pipeline}: none of {list(names)} suits a {job.label_kind} label: {'; '.join(notes)}; use some of {fitting}"
        )
    return tuple(suits), tuple(notes)


def _default(algorithm: Algorithm) -> Recipe:
    return Recipe(algorithm, algorithm.defaults)


class _Search:
    """One search over its folds, from the trials that are finished on."""

    def __init__(
        self,
        job: FitJob,
        algorithms: tuple[Algorithm, ...],
        total: int,
        folds: tuple[Fold, ...],
        most: int,
        tell: Tell,
    ) -> None:
        self._job = job
        self._total = total
        self._folds = folds
        self._most = most  # rows that the winner may learn from
        self._tell = tell
        self._defaults = tuple(map(_default, algorithms))
        self._study = Study(algorithms, job.seed)
        self._trials: list[TrialResult] = []
        self._judged: dict[Winner, TrialResult] = {}
        room = (total - len(algorithms)) // _EARLIER
        self._earlier = _earlier(job, algorithms)[: max(room, 0)]

    def run(self) -> tuple[TrialResult, ...]:
        """The first trial always, the others while the time lasts."""
        for trial in self._job.finished[: self._total]:
            self._study.remember(trial)
            self._keep(trial)
        spent = self._trials[-1].seconds if self._trials else 0.0
        began = time.monotonic() - spent
        while len(self._trials) < self._total:
            if self._trials and time.monotonic() - began > self._job.timeout_seconds:
                break
            result = self._next()
            result = replace(result, seconds=time.monotonic() - began)
            self._keep(result)
            self._tell(result)
        return tuple(self._trials)

    def _keep(self, trial: TrialResult) -> None:
        self._trials.append(trial)
        if trial.winner is not None:
            self._judged.setdefault(trial.winner, trial)

    def _next(self) -> TrialResult:
        number, started = len(self._trials) + 1, own_usage().cpu_seconds
        fixed, before = number <= len(self._defaults), number - len(self._defaults) - 1
        proposed: str | None = None  # where the recipe is not what the study has just proposed
        if fixed:
            trial, recipe = self._study.given(self._defaults[number - 1])
        elif before < len(self._earlier):
            trial, recipe = self._study.again(number, self._earlier[before])
        else:
            trial, recipe = self._study.proposed(number)
            if number == self._total >= _COLUMNS_FROM:
                recipe, proposed = self._lean() or (recipe, None)
        known = self._judged.get(winner_of(recipe, prefers_native=False))
        if known is not None:
            for step, loss in enumerate(known.steps):
                is_hopeless(
                    trial, step, loss
                )  # it is known already; the study hears of it all the same
            result = replace(known, number=number, cpu_seconds=0.0)
        else:
            judge = _Judge(self._job, self._folds, self._most)
            result = replace(
                judge.of(
                    recipe, lambda step, loss: is_hopeless(trial, step, loss), lenient=not fixed
                ),
                number=number,
                cpu_seconds=own_usage().cpu_seconds - started,
            )
        result = replace(result, proposal_json=proposed or proposal_of(trial))
        self._study.judged(trial, result)
        return result

    def _lean(self) -> tuple[Recipe, str] | None:
        """The best so far without what it does not need, and what proposed it: a later search that begins with what won here
        tries that. None when it needs everything, or nothing was left."""
        complete = [trial for trial in self._trials if trial.state == COMPLETE and trial.winner]
        if not complete:
            return None
        best = min(complete, key=lambda trial: (trial.loss, trial.number))
        assert best.winner is not None
        recipe, fold = recipe_of(best.winner, self._job.options), self._folds[0]
        model = recipe.fit(self._job, fold.learnt, self._most)
        without = not_needed(self._job, model, fold.measured)
        columns = len(self._job.numbers) + len(self._job.categories)
        if not 0 < len(without) < columns:
            return None
        return replace(recipe, without=without), best.proposal_json


@dataclass(frozen=True, slots=True)
class _Judge:
    job: FitJob
    folds: tuple[Fold, ...]
    most: int

    def of(
        self, recipe: Recipe, is_hopeless: Callable[[int, float], bool], *, lenient: bool
    ) -> TrialResult:
        """`lenient`: parameters that nobody wrote down may turn out to be impossible, which fails the trial only."""
        metrics: dict[str, float] = {}
        state, steps, losses = COMPLETE, [], []
        try:
            for step, fold in enumerate(self.folds):
                model = recipe.fit(self.job, fold.learnt, self.most)
                found, loss = self._measured(model, fold.measured)
                metrics = metrics or found
                losses.append(loss)
                weights = [each.weight for each in self.folds[: step + 1]]
                steps.append(float(np.average(losses, weights=weights)))
                hopeless = is_hopeless(step, steps[-1])
                if hopeless and step + 1 < len(self.folds):
                    state = PRUNED
                    break
        except (FitError, ValueError, ArithmeticError):
            if not lenient:
                raise
            state = FAILED
        return TrialResult(
            number=0,
            algorithm=recipe.algorithm.name,
            parameters_json=recipe.described_json,
            metrics=metrics,
            loss=steps[-1] if state != FAILED else _WORST_LOSS,
            cpu_seconds=0.0,
            state=state,
            winner=winner_of(recipe, prefers_native=False),
            steps=tuple(steps),
        )

    def _measured(self, model: FittedRecipe, rows: Rows) -> tuple[dict[str, float], float]:
        kind, classes, scores = self.job.label_kind, model.signature.classes, model.scores(rows)
        losses = row_losses(kind, classes, rows.labels, scores)
        return metrics_of(kind, classes, rows.labels, scores), float(np.mean(losses))


def _earlier(job: FitJob, algorithms: tuple[Algorithm, ...]) -> tuple[TrialResult, ...]:
    """What won before and can be tried again: each once, no defaults, of this version's kinds and parameters."""
    known = {each.name: each for each in algorithms}
    found: dict[Winner, TrialResult] = {}
    for trial in job.earlier:
        winner = trial.winner
        if winner is None or winner.algorithm not in known:
            continue
        winner = replace(winner, without=(), prefers_native=False)
        recipe = recipe_of(winner, job.options)
        defaults = known[winner.algorithm].defaults
        if recipe.parameters.keys() == defaults.keys() and recipe != Recipe(
            recipe.algorithm, defaults
        ):
            found.setdefault(winner, replace(trial, winner=winner))
    return tuple(found.values())
