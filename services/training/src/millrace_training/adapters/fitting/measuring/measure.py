"""How good answers are: metrics, the loss of each row, and how sure a difference between two models is."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from millrace_artifacts.scorer import Scores
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.measuring.blocks import block_for_a_test
from millrace_training.adapters.fitting.measuring.ranking import average_precision, roc_auc
from millrace_training.adapters.fitting.measuring.reliability import reliability_of
from millrace_training.adapters.fitting.measuring.wording import wording_losses, wording_metrics
from millrace_training.adapters.fitting.reading.encoding import targets
from millrace_training.adapters.fitting.reading.rows import Labels

Losses = NDArray[np.float64]

PRIMARY_METRICS = {
    LabelKind.REGRESSION: "mae",
    LabelKind.BINARY: "log_loss",
    LabelKind.MULTICLASS: "log_loss",
    LabelKind.TEXT: "rouge_l",
}
_LEAST_PROBABILITY = (
    1e-7  # what log loss takes an impossible class for, so that one row can't outweigh all others
)
_WORST_LOSS = 1e100  # of an answer that is no number
_RESAMPLES = 1_000
_FEWEST_BLOCKS = 6  # of fewer the spread can't be told


def row_losses(kind: LabelKind, classes: tuple[str, ...], labels: Labels, scores: Scores) -> Losses:
    """float64 [rows]: the absolute error, or the log loss. A class that the model does not know has probability 0."""
    if kind is LabelKind.TEXT:
        return wording_losses(wordings(classes, scores), labels.tolist())
    if scores.probabilities is None:
        errors = np.abs(labels.astype(np.float64) - scores.values)
        return np.where(np.isfinite(errors), errors, _WORST_LOSS)
    places = targets(labels, classes, kind).astype(np.int64)
    likely = scores.probabilities[np.arange(len(labels)), np.maximum(places, 0)]
    likely = np.where((places < 0) | np.isnan(likely), 0.0, likely)
    losses: Losses = -np.log(np.clip(likely, _LEAST_PROBABILITY, 1.0))
    return losses


def metrics_of(
    kind: LabelKind, classes: tuple[str, ...], labels: Labels, scores: Scores
) -> dict[str, float]:
    """regression: mae, rmse, r2; binary: accuracy, roc_auc, average_precision, log_loss; multiclass: accuracy, log_loss,
    macro_f1; and what `reliability_of` says. What can't be computed over these rows, or is not finite, is left out."""
    if kind is LabelKind.TEXT:
        return wording_metrics(wordings(classes, scores), labels.tolist())
    losses = row_losses(kind, classes, labels, scores)
    truths = targets(labels, classes, kind)
    found = {**_METRICS[kind](truths, scores.values, losses), **reliability_of(truths, scores)}
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def baseline_scores(kind: LabelKind, classes: tuple[str, ...], train: Labels, rows: int) -> Scores:
    """What knows only the training labels answers: their mean, or the shares of the classes."""
    if kind is LabelKind.REGRESSION:
        return Scores(np.full(rows, np.mean(train, dtype=np.float64)), None)
    places = targets(train, classes, kind).astype(np.int64)
    if kind is LabelKind.TEXT:
        usual = np.argmax(np.bincount(places[places >= 0], minlength=len(classes)))
        return Scores(np.full(rows, float(usual)), None)
    shares = np.bincount(places, minlength=len(classes)) / len(places)
    value = shares[-1] if kind is LabelKind.BINARY else float(np.argmax(shares))
    return Scores(np.full(rows, value, dtype=np.float64), np.tile(shares, (rows, 1)))


def better_probability(candidate: Losses, champion: Losses, seed: int) -> float:
    """How sure it is that the candidate's mean loss is lower, 0 to 1; of equal losses 0.5.

    A studentized block bootstrap over the pairs (Götze and Künsch 1996), with circular blocks: losses of neighbouring rows go
    together, and resampling single rows would be too sure. That the resamples are told apart by their own spread, too, makes
    up for there being few blocks, and for a few rows that weigh more than the rest. What it holds: docs/gates.md.
    """
    differences = champion - candidate
    rows, mean = len(differences), float(np.mean(differences))
    block = min(max(1, rows // _FEWEST_BLOCKS), block_for_a_test(differences))
    count = -(-rows // block)
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([differences, differences[:block]]))])
    blocks = (sums[block : block + rows] - sums[:rows]) / block
    spread = float(np.std(blocks)) / max(1, count - 1) ** 0.5
    # sums of equal losses differ by rounding only
    slack = 1e-12 * max(1.0, float(np.abs(sums).max())) / rows
    if count < 2 or spread <= slack:
        surely = 0.5 if abs(mean) <= slack or count < 2 else float(mean > 0)
        return surely
    starts = np.random.default_rng(seed).integers(0, rows, size=(_RESAMPLES, count))
    drawn = blocks[starts]
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = (drawn.mean(axis=1) - mean) / (drawn.std(axis=1, ddof=1) / count**0.5)
    seen = mean / spread
    return float(np.mean(deviations < seen) + np.mean(deviations == seen) / 2)


def wordings(classes: tuple[str, ...], scores: Scores) -> list[str]:
    """The answers in words that some scores stand for."""
    return [classes[int(place)] for place in scores.values]


def _regression(truths: Losses, _: Losses, losses: Losses) -> Mapping[str, float]:
    spread = float(np.sum((truths - truths.mean()) ** 2))
    squares = float(np.sum(losses**2))
    found = {"mae": float(losses.mean()), "rmse": (squares / len(truths)) ** 0.5}
    return found | {"r2": 1.0 - squares / spread} if spread else found


def _binary(truths: Losses, values: Losses, losses: Losses) -> Mapping[str, float]:
    found = {
        "accuracy": float(np.mean((values >= 0.5) == (truths == 1.0))),
        "log_loss": float(losses.mean()),
    }
    if len(np.unique(truths)) < 2 or not np.isfinite(values).all():
        return found
    return found | {
        "roc_auc": roc_auc(truths, values),
        "average_precision": average_precision(truths, values),
    }


def _multiclass(truths: Losses, values: Losses, losses: Losses) -> Mapping[str, float]:
    return {
        "accuracy": float(np.mean(truths == values)),
        "log_loss": float(losses.mean()),
        "macro_f1": f1_score(truths, values, average="macro", zero_division=0.0),
    }


_METRICS = {
    LabelKind.REGRESSION: _regression,
    LabelKind.BINARY: _binary,
    LabelKind.MULTICLASS: _multiclass,
}
