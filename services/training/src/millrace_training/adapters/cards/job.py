"""What a card is made from and what it says: plain values, so that they travel between processes."""

from collections.abc import Mapping
from dataclasses import dataclass

from millrace_training.adapters.fitting.job import FitJob, FitResult

FORMAT = 1


@dataclass(frozen=True, slots=True)
class About:
    """What the run knows of itself. `as_of` is RFC 3339."""

    owner: str
    description: str
    label: str
    run_id: str
    run_number: int
    trigger: str
    as_of: str
    dataset_uri: str
    dataset_sha256: str
    artifact_sha256: str
    champion_version: int  # 0: none


@dataclass(frozen=True, slots=True)
class CardJob:
    """One card. The dataset's file that `fit` names still has to be there."""

    fit: FitJob
    result: FitResult
    about: About


@dataclass(frozen=True, slots=True)
class FeatureFacts:
    """How much the answers rest on one column.

    `shap` is the mean of the absolute SHAP values (of all classes together), None where the model can't be opened for
    it; `importance` how much the loss rises on the holdout when the column's values are shuffled, `spread` the standard
    deviation of that over the shufflings.
    """

    name: str
    shap: float | None
    importance: float
    spread: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Partial dependence: the mean answer over the holdout's rows when all of them have this value in this column."""

    name: str
    values: tuple[float | str, ...]  # all numbers, or all texts
    answers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """How good the answers are for the rows that have one value in one column."""

    by: str
    value: str
    rows: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is measured for a card, beside what the fit has measured already. `features` by importance, largest first."""

    features: tuple[FeatureFacts, ...]
    curves: tuple[Curve, ...]
    slices: tuple[SliceFacts, ...]
    loss: str  # what `importance` is counted in
    answer: str  # what the curves' answers are, in words
    shap_space: str  # what the SHAP values add up to; empty: there are none
    shap_rows: int
    rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """The object that is stored: one card for people, twice, and its figures for programs."""

    format: int
    pipeline: str
    run_id: str
    markdown: str
    html: str
    facts: Facts
