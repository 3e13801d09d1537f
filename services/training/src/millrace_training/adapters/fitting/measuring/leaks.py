"""How much a single column alone tells of the label: one that tells everything was most likely known only with the label."""

import numpy as np
from numpy.typing import NDArray

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.measuring.robustness import thinned
from millrace_training.adapters.fitting.reading.encoding import classes_seen, targets
from millrace_training.adapters.fitting.reading.rows import Rows

_MOST_ROWS = 5_000  # of the learnt ones
_BINS = 64  # that a number's values are parted into
_SMOOTHING = 5.0  # rows of the overall mean that each bin's mean starts with
_KEPT = 10  # columns that are told of


def column_scores(job: FitJob, train: Rows, holdout: Rows) -> dict[str, float]:
    """The columns that alone order the holdout's labels best, best first: 0 at random, 1 for those that tell them exactly.

    A column's values are parted by quantiles, or by category, missing ones apart; a part stands for the mean label of the
    learnt rows in it. Those means are held against the holdout's labels: the rank correlation of a regression (Spearman);
    2 AUC - 1 of a class against the rest (Gini), of several classes the mean weighted by their rows. Free texts are left out:
    hardly two rows share one.
    """
    train = thinned(train, _MOST_ROWS)
    classes = classes_seen(job, train)
    learnt = _indicators(job.label_kind, targets(train.labels, classes, job.label_kind), classes)
    truths = _indicators(job.label_kind, targets(holdout.labels, classes, job.label_kind), classes)
    scores: dict[str, float] = {}
    for place, name in enumerate(job.numbers):
        column, seen = train.numbers[:, place], holdout.numbers[:, place]
        known = column[~np.isnan(column)]
        edges = (
            np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
            if len(known)
            else known
        )
        scores[name] = _score(_binned(column, edges), _binned(seen, edges), learnt, truths)
    for place, name in enumerate(job.categories):
        if name in job.options.text_names:
            continue
        words = {text: code for code, text in enumerate(dict.fromkeys(train.categories[:, place]))}
        codes = np.array([words[text] for text in train.categories[:, place]], dtype=np.int64)
        seen_codes = np.array(
            [words.get(text, len(words)) for text in holdout.categories[:, place]], dtype=np.int64
        )
        scores[name] = _score(codes, seen_codes, learnt, truths)
    best = sorted(scores, key=lambda name: (-scores[name], name))[:_KEPT]
    return {name: scores[name] for name in best}


def _indicators(
    kind: LabelKind, aims: NDArray[np.float64], classes: tuple[str, ...]
) -> NDArray[np.float64]:
    """float64 [rows, columns]: the label, or for each of several classes whether it is the row's."""
    if kind is not LabelKind.MULTICLASS:
        return aims[:, np.newaxis]
    chosen: NDArray[np.float64] = (aims[:, np.newaxis] == np.arange(len(classes))).astype(float)
    return chosen


def _binned(column: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each value; missing ones have one of their own."""
    places = np.searchsorted(edges, column, side="right")
    return np.where(np.isnan(column), len(edges) + 1, places).astype(np.int64)


def _score(
    codes: NDArray[np.int64],
    seen: NDArray[np.int64],
    learnt: NDArray[np.float64],
    truths: NDArray[np.float64],
) -> float:
    count = int(max(codes.max(), seen.max())) + 1
    rows = np.bincount(codes, minlength=count)
    found, weights = [], []
    for column, truth in zip(learnt.T, truths.T, strict=True):
        sums = np.bincount(codes, weights=column, minlength=count)
        means = (sums + _SMOOTHING * column.mean()) / (rows + _SMOOTHING)
        found.append(_order(means[seen], truth))
        weights.append(float(truth.sum()) if len(truths.T) > 1 else 1.0)
    return float(np.average(found, weights=weights)) if sum(weights) > 0 else 0.0


def _order(guesses: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """How well guesses order the truth, 0 to 1; against it counts as not at all."""
    if np.ptp(guesses) == 0.0 or np.ptp(truth) == 0.0:
        return 0.0
    ranks = _ranks(guesses)
    if set(np.unique(truth)) <= {0.0, 1.0}:
        positive = truth == 1.0
        ones, zeros = int(positive.sum()), int((~positive).sum())
        area = (ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)
        return max(0.0, 2.0 * float(area) - 1.0)
    return max(0.0, float(np.corrcoef(ranks, _ranks(truth))[0, 1]))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return shared
