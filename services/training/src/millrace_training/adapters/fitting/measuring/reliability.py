"""How far probabilities, quantiles and intervals can be believed."""

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.scorer import Scores

Floats = NDArray[np.float64]
_BINS = 10


def calibration_error(probabilities: Floats, truths: Floats) -> float:
    """The expected calibration error (Naeini et al. 2015; of classes Guo et al. 2017): how far confidence is from being right.

    `probabilities` float64 [rows, classes], `truths` float64 [rows], places of classes. Rows are put into ten bins by the
    probability of class 1 (two classes) or of the most probable class; of each bin the difference between mean probability and
    share of right ones, weighed by its rows. 0 is best.
    """
    if probabilities.shape[1] == 2:
        confidence, right = probabilities[:, 1], truths == 1.0
    else:
        winners = np.argmax(probabilities, axis=1)
        confidence, right = probabilities[np.arange(len(truths)), winners], winners == truths
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, confidence - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(truths))


def brier(probabilities: Floats, truths: Floats) -> float:
    """The mean squared difference between the probabilities and what came true (Brier 1950); of two classes that of class 1.

    Shapes as for `calibration_error`. A class that the model does not know (-1) came true as none of its own.
    """
    if probabilities.shape[1] == 2:
        return float(np.mean((probabilities[:, 1] - truths) ** 2))
    came = truths[:, np.newaxis] == np.arange(probabilities.shape[1])
    missed = np.sum(truths < 0) / len(truths)
    return float(np.mean(((probabilities - came) ** 2).sum(axis=1)) + missed)


def reliability_of(truths: Floats, scores: Scores) -> dict[str, float]:
    """classes: calibration_error, brier; regression: coverage and interval_width where the answers have intervals, and
    pinball_loss (the mean over the quantiles, Koenker and Bassett 1978) where they have quantiles."""
    if scores.probabilities is not None:
        if not np.isfinite(scores.probabilities).all():
            return {}
        found = (calibration_error, brier)
        return {each.__name__: each(scores.probabilities, truths) for each in found}
    measured: dict[str, float] = {}
    if scores.interval is not None:
        low, high = scores.interval.T
        measured["coverage"] = float(np.mean((low <= truths) & (truths <= high)))
        measured["interval_width"] = float(np.mean(high - low))
    if scores.quantiles is not None:
        short = truths[:, np.newaxis] - scores.quantiles
        levels = np.array(scores.levels)
        measured["pinball_loss"] = float(
            np.mean(np.maximum(levels * short, (levels - 1.0) * short))
        )
    return measured
