"""What to try next: a tree-structured Parzen estimator (Bergstra et al. 2011) by Optuna, over each kind's own search space.

The study lives in this process's memory only, and is built from the trials that are finished: whoever has these goes on
where another was killed. What trial n proposes depends on the seed, on n and on the trials before it, and on nothing else,
so a search that was interrupted goes on as it would have gone.
"""

import json
import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import Trial, TrialState
from typing_extensions import override

from millrace_training.adapters.fitting.algorithms.estimators import Algorithm
from millrace_training.adapters.fitting.job import COMPLETE, FAILED, PRUNED, TrialResult
from millrace_training.adapters.fitting.searching.recipes import ALL_OF_IT, Past, Recipe

_AT_RANDOM_FIRST = 5  # trials before the estimator has anything to go by
_UNPRUNED_FIRST = 4  # trials before a median says anything
_SHORTEST_SHARE = 0.1
_ALL, _NEWEST, _FADING = "all", "newest", "fading"
_STATES = {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.FAIL}

Given: TypeAlias = Any  # numpy's own methods take and give too many types to name them again

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """One search, trial by trial: `given`, `again` or `proposed`, then `judged`."""

    def __init__(self, algorithms: Sequence[Algorithm], seed: int) -> None:
        self._algorithms = {each.name: each for each in algorithms}
        self._seed = seed
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=_UNPRUNED_FIRST, n_warmup_steps=0, n_min_trials=_UNPRUNED_FIRST
        )
        self._study = optuna.create_study(direction="minimize", pruner=pruner)

    def remember(self, trial: TrialResult) -> None:
        """A trial that is finished, as `proposal_of` and its outcome described it."""
        said: dict[str, Any] = json.loads(trial.proposal_json or "{}")
        params: dict[str, Any] = said.get("params", {})
        distributions = {
            name: json_to_distribution(text) for name, text in said.get("space", {}).items()
        }
        state = _STATES[trial.state]
        self._study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions=distributions,
                value=trial.loss if state is TrialState.COMPLETE else None,
                intermediate_values=dict(enumerate(trial.steps)),
                state=state,
            )
        )

    def given(self, recipe: Recipe) -> tuple[Trial, Recipe]:
        """A trial of a recipe that nobody proposed. What it shares with those proposed is learnt from."""
        trial = self._asked(0, {"algorithm": recipe.algorithm.name, "past": _ALL})
        self._suggest_outline(trial)
        return trial, recipe

    def again(self, number: int, earlier: TrialResult) -> tuple[Trial, Recipe]:
        """What was proposed in another search; where the space has changed since, what comes nearest."""
        said: dict[str, Any] = json.loads(earlier.proposal_json or "{}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values outside of what the space is now
            return self._taken(self._asked(number, said.get("params", {})), number)

    def proposed(self, number: int) -> tuple[Trial, Recipe]:
        return self._taken(self._asked(number, {}), number)

    def _taken(self, trial: Trial, number: int) -> tuple[Trial, Recipe]:
        name, past = self._suggest_outline(trial)
        algorithm = self._algorithms[name]
        parameters = algorithm.draw(Suggesting(trial, name, self._seed + number))
        return trial, Recipe(algorithm, parameters, _suggested_past(trial, past))

    def judged(self, trial: Trial, result: TrialResult) -> None:
        state = _STATES[result.state]
        self._study.tell(trial, result.loss if state is TrialState.COMPLETE else None, state=state)

    def _asked(self, number: int, fixed: dict[str, Any]) -> Trial:
        self._study.sampler = optuna.samplers.TPESampler(
            seed=_seed_of(self._seed, number), n_startup_trials=_AT_RANDOM_FIRST
        )
        if fixed:
            self._study.enqueue_trial(fixed)
        return self._study.ask()

    def _suggest_outline(self, trial: Trial) -> tuple[str, str]:
        names = tuple(self._algorithms)
        algorithm: str = trial.suggest_categorical("algorithm", names)
        past: str = trial.suggest_categorical("past", (_ALL, _NEWEST, _FADING))
        return algorithm, past


class Suggesting(np.random.Generator):
    """A generator of random numbers that asks Optuna for uniform floats and integers, named by their kind of model and order.

    So each kind's `draw` is its search space, written once. What else it asks for is random, the same for the same seed.
    """

    def __init__(self, trial: Trial, prefix: str, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self._trial = trial
        self._prefix = prefix
        self._count = 0

    @override
    def uniform(self, low: Given = 0.0, high: Given = 1.0, size: Given = None) -> Given:
        if size is not None:
            return super().uniform(low, high, size)
        return self._trial.suggest_float(self._next_name(), float(low), float(high))

    @override
    def integers(
        self, low: Given, high: Given = None, size: Given = None, *more: Given, **named: Given
    ) -> Given:
        if size is not None or more or named:
            return super().integers(low, high, size, *more, **named)
        first, end = (0, low) if high is None else (low, high)
        return self._trial.suggest_int(self._next_name(), int(first), int(end) - 1)

    @override
    def choice(self, a: Given, size: Given = None, *more: Given, **named: Given) -> Given:
        if size is not None or more or named:
            return super().choice(a, size, *more, **named)
        values = list(range(a)) if isinstance(a, int) else list(a)
        return values[self._trial.suggest_int(self._next_name(), 0, len(values) - 1)]

    def _next_name(self) -> str:
        self._count += 1
        return f"{self._prefix}/{self._count}"


def proposal_of(trial: Trial) -> str:
    """What `Study.remember` needs of a trial, as JSON."""
    space: dict[str, BaseDistribution] = trial.distributions
    said = {
        "params": trial.params,
        "space": {name: distribution_to_json(each) for name, each in space.items()},
    }
    return json.dumps(said, sort_keys=True)


def is_hopeless(trial: Trial, step: int, loss: float) -> bool:
    """Whether after this fold it is worse than the median of those that came as far (Golovin et al. 2017)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a loss that is no number
        trial.report(loss, step)
    return trial.should_prune()


def _suggested_past(trial: Trial, kind: str) -> Past:
    if kind == _NEWEST:
        return Past(share=trial.suggest_float("share", _SHORTEST_SHARE, 1.0, log=True))
    if kind == _FADING:
        return Past(half_life=trial.suggest_float("half_life", _SHORTEST_SHARE / 2, 1.0, log=True))
    return ALL_OF_IT


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
