"""A recipe: a kind of model, its parameters, and what of the past it learns from. Fitted on any rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.scorer import Scores, as_scores
from millrace_artifacts.signature import Signature
from millrace_kernel.time import Instant, rfc3339
from millrace_training.adapters.fitting.algorithms.estimators import Algorithm
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task
from millrace_training.adapters.fitting.job import (
    FEWEST_ROWS,
    FitJob,
    NoCandidateError,
    Winner,
)
from millrace_training.adapters.fitting.options import DEFAULT_OPTIONS, Options
from millrace_training.adapters.fitting.own.own_models import algorithm_of
from millrace_training.adapters.fitting.reading.encoding import (
    blinded,
    encoded,
    signature_of,
    targets,
)
from millrace_training.adapters.fitting.reading.rows import Rows
from millrace_training.adapters.fitting.shipping.finishing import fit_finished

WITHOUT = "without"  # the key of the columns that a model does not look at, beside its parameters


@dataclass(frozen=True, slots=True)
class Past:
    """How much past a model learns from: all of it, or only the newest part, or what is older with less weight.

    `share` is the newest part of the rows that a fit may learn from (0 to 1). `half_life` is the share of those rows after
    which a row counts half as much; None: all count the same. Both are of the number of rows: a quiet night is no past.
    `since_us`: the event time of the oldest row that is learnt, instead of a share; with the holdout, more rows follow it.
    """

    share: float = 1.0
    half_life: float | None = None
    since_us: int | None = None

    def taken(self, rows: Rows, most: int) -> Rows:
        """The newest `share` of `most` rows, of which `rows` may hold only the older ones; or those since then."""
        if self.since_us is not None:
            first = int(np.searchsorted(rows.event_times, self.since_us, side="left"))
            return rows.part(max(0, min(first, len(rows) - FEWEST_ROWS)), len(rows))
        count = max(FEWEST_ROWS, round(most * self.share))
        return rows.part(max(0, len(rows) - count), len(rows))

    def weights(self, rows: int, most: int) -> NDArray[np.float64] | None:
        """float64 [rows], the newest row's is 1."""
        if self.half_life is None:
            return None
        ages = np.arange(rows - 1, -1, -1, dtype=np.float64)
        weights: NDArray[np.float64] = 0.5 ** (ages / max(1.0, most * self.half_life))
        return weights


ALL_OF_IT = Past()


@dataclass(frozen=True, slots=True)
class Recipe:
    """`without` names the columns that it does not look at."""

    algorithm: Algorithm
    parameters: Parameters
    past: Past = ALL_OF_IT
    without: tuple[str, ...] = ()

    @property
    def parameters_json(self) -> str:
        return json.dumps(dict(self.parameters), sort_keys=True)

    @property
    def kept_json(self) -> str:
        """What the artifact holds: the parameters, and the columns that it does without, for who goes on from there."""
        kept: dict[str, object] = dict(self.parameters)
        if self.without:
            kept[WITHOUT] = list(self.without)
        return json.dumps(kept, sort_keys=True)

    @property
    def described_json(self) -> str:
        """The parameters, and what else a search chose."""
        chosen: dict[str, object] = dict(self.parameters)
        if self.past.share < 1.0:
            chosen["learnt_share"] = self.past.share
        if self.past.since_us is not None:
            chosen["learnt_since"] = rfc3339(Instant(self.past.since_us))
        if self.past.half_life is not None:
            chosen["half_life_share"] = self.past.half_life
        if self.without:
            chosen[WITHOUT] = list(self.without)
        return json.dumps(chosen, sort_keys=True)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of what it learns from."""
        found: tuple[str, ...] = ()
        if self.past.share < 1.0:
            found += (f"learns the newest {self.past.share:.0%} of the rows, as the search found",)
        if self.past.half_life is not None:
            found += (
                f"a row counts half after {self.past.half_life:.0%} of the rows, as the search found",
            )
        if self.without:
            found += (f"does without {', '.join(self.without)}: they helped nothing",)
        return found

    def fit(self, job: FitJob, rows: Rows, most: int | None = None) -> "FittedRecipe":
        """`most`: the rows that `past` is a share of; more than `rows` when these are the older part of them. Raises OneClassError."""
        most = len(rows) if most is None else most
        learnt = self.learnt(rows, most)
        seen = blinded(learnt, job, (*job.unlearnt, *self.without))
        signature = signature_of(job, seen, self.algorithm.encoding)
        task = Task(
            matrix=encoded(signature, seen),
            targets=targets(seen.labels, signature.classes, job.label_kind),
            kind=job.label_kind,
            classes=len(signature.classes),
            seed=job.seed,
            threads=job.threads,
            weights=self.past.weights(len(seen), most),
            columns=signature.column_names,
            text_columns=signature.text_columns,
            event_times=seen.event_times,
            label_delay_us=job.label_delay_us,
        )
        fitted = fit_finished(self.algorithm, task, self.parameters, job.options)
        return FittedRecipe(signature, fitted)

    def learnt(self, rows: Rows, most: int | None = None) -> Rows:
        """Those of the rows that a fit on them learns."""
        return self.past.taken(rows, len(rows) if most is None else most)


@dataclass(frozen=True, slots=True)
class FittedRecipe:
    signature: Signature
    fitted: Fitted

    def scores(self, rows: Rows) -> Scores:
        """The library's own answers, not the ONNX form's."""
        return as_scores(self.signature, self.fitted.answers(encoded(self.signature, rows)))


def winner_of(recipe: Recipe, *, prefers_native: bool) -> Winner:
    return Winner(
        algorithm=recipe.algorithm.name,
        parameters_json=recipe.parameters_json,
        learnt_share=recipe.past.share,
        half_life_share=recipe.past.half_life,
        without=recipe.without,
        prefers_native=prefers_native,
        since_us=recipe.past.since_us,
    )


def recipe_of(winner: Winner, options: Options = DEFAULT_OPTIONS) -> Recipe:
    """Raises NoCandidateError for a kind of model that this version does not have."""
    algorithm = algorithm_of(winner.algorithm, options)
    if algorithm is None:
        raise NoCandidateError(
            f"there is no kind of model {winner.algorithm!r} here; it was made by another version"
        )
    past = Past(winner.learnt_share, winner.half_life_share, winner.since_us)
    return Recipe(algorithm, json.loads(winner.parameters_json), past, winner.without)


def without_of(kept: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that a model with these kept parameters does not look at: what goes on from it does not, either."""
    return tuple(kept.get(WITHOUT, ()))


def also_without(kept: Mapping[str, Any]) -> str:
    """The same for a note on what goes on."""
    names = without_of(kept)
    return f"; as it, without {', '.join(names)}" if names else ""
