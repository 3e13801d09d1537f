"""Evidence: what a run measures of its candidate beside metrics, and gates judge: slices, a baseline, columns, a schema.

Training measures it, `TrainingCompleted` carries it, the registry judges it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SliceMetrics:
    """Those of the holdout's rows whose column `by` has one value, or lies within a quarter of all values.

    Of a binary label the metrics hold also positive_share, positives and true_positive_share: what fairness is told by.
    """

    by: str
    value: str
    rows: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NaiveBaseline:
    """The best of the naive baselines on the candidate's holdout, and how sure it is that the candidate's loss is lower."""

    name: str
    metrics: Mapping[str, float]
    better_probability: float


@dataclass(frozen=True, slots=True)
class ModelSchema:
    """What a model eats, by the names of columns, and what it answers; `classes` is empty for regression."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    label_kind: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """`column_scores`: how well a single column orders the holdout's labels, 0 to 1, of the few that do it best."""

    slices: tuple[SliceMetrics, ...] = ()
    baseline: NaiveBaseline | None = None
    schema: ModelSchema | None = None
    column_scores: Mapping[str, float] = field(default_factory=dict)


NO_EVIDENCE = Evidence()
