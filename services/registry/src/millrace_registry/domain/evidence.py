"""What a run tells of its candidate beside metrics: what the gates on slices, fairness, baselines, leaks and schema judge."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Slice:
    """Those rows of the holdout whose column `by` has one value, or lies within a quarter of all values.

    Of a binary label the metrics hold also positive_share, positives and true_positive_share.
    """

    by: str
    value: str
    rows: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The best of the naive baselines on the same holdout, and how sure it is that the candidate's loss is lower."""

    name: str
    metrics: Mapping[str, float]
    better_probability: float


@dataclass(frozen=True, slots=True)
class Schema:
    """What the candidate eats, by the names of columns, and what it answers."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    label_kind: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """`column_scores`: how well a single column orders the holdout's labels, 0 to 1, of the few that do it best."""

    slices: tuple[Slice, ...] = ()
    baseline: Baseline | None = None
    schema: Schema | None = None
    column_scores: Mapping[str, float] = field(default_factory=dict)


NO_EVIDENCE = Evidence()
