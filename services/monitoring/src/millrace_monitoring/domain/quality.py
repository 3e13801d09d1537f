"""How good answers were: running sums of a model version, and tumbling windows of the champion's labelled answers.

The metrics have the names and the meaning they have in a pipeline file's gates. Multiclass `log_loss` is not measured:
a prediction says nothing about the order of its probabilities.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from millrace_kernel.pipeline import LabelKind
from millrace_kernel.texts import says_the_same
from millrace_kernel.time import EARLIEST, LATEST, Instant
from millrace_kernel.wording import NO_WORDING, Wording, worded

HIGHER_IS_BETTER = frozenset(
    {"r2", "accuracy", "roc_auc", "average_precision", "macro_f1", "exact_match", "rouge_l", "bleu"}
)
RANKED_AT_MOST = 10_000  # pairs of a window that roc_auc and average_precision look at, the newest; other metrics see all
_HALF = 0.5  # binary: truths are 0 and 1, and the more probable of the two is the answer
_LEAST_PROBABILITY = (
    1e-7  # what log_loss takes an impossible class for, as training does on the holdout
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One event's answer and truth. Regression and binary: numbers, else texts; `at` is the event's time."""

    answer: float | str
    truth: float | str
    at: Instant


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over labelled answers, enough for every metric that needs no ranking."""

    events: int = 0
    absolute: float = 0.0  # sum of absolute errors
    squared: float = 0.0  # sum of squared errors
    truth_mean: float = 0.0
    truth_spread: float = (
        0.0  # sum of squared distances of the truths from their mean (Welford 1962)
    )
    hits: int = 0
    log_loss: float = 0.0  # sum, in nats
    classes: Mapping[str, tuple[int, int, int]] = field(
        default_factory=dict
    )  # hits, answers, truths of each class
    wording: Wording | None = None  # of answers in words; None also of those counted before it was


def error_of(kind: LabelKind, pair: Pair) -> float:
    """How wrong one answer was: the distance of numbers (for binary of the probability from 0 or 1), 0 or 1 for classes, and
    for words 1 less ROUGE-L, as training compares candidates."""
    if kind is LabelKind.MULTICLASS:
        return float(pair.answer != pair.truth)
    if kind is LabelKind.TEXT:
        return 1.0 - worded(str(pair.answer), str(pair.truth)).rouge_l
    return abs(float(pair.truth) - float(pair.answer))


def counted(tally: Tally, kind: LabelKind, pair: Pair) -> Tally:
    """Count one pair."""
    match kind:
        case LabelKind.REGRESSION:
            return _counted_number(tally, float(pair.answer), float(pair.truth))
        case LabelKind.BINARY:
            return _counted_probability(tally, float(pair.answer), float(pair.truth))
        case LabelKind.MULTICLASS:
            return _counted_class(tally, str(pair.answer), str(pair.truth))
        case LabelKind.TEXT:
            return _counted_words(tally, str(pair.answer), str(pair.truth))


def _counted_number(tally: Tally, answer: float, truth: float) -> Tally:
    events = tally.events + 1
    error = truth - answer
    distance = truth - tally.truth_mean
    mean = tally.truth_mean + distance / events
    return Tally(  # `replace` takes twice as long, and this is done three times for every label
        events=events,
        absolute=tally.absolute + abs(error),
        squared=tally.squared + error * error,
        truth_mean=mean,
        truth_spread=tally.truth_spread + distance * (truth - mean),
    )


def _counted_probability(tally: Tally, answer: float, truth: float) -> Tally:
    happened = truth >= _HALF
    probability = answer if happened else 1.0 - answer
    return Tally(  # as for numbers
        events=tally.events + 1,
        absolute=tally.absolute + abs(truth - answer),
        hits=tally.hits + ((answer >= _HALF) == happened),
        log_loss=tally.log_loss - math.log(min(max(probability, _LEAST_PROBABILITY), 1.0)),
    )


def _counted_class(tally: Tally, answer: str, truth: str) -> Tally:
    classes = dict(tally.classes)
    hit = answer == truth
    for name in {answer, truth}:
        hits, answers, truths = classes.get(name, (0, 0, 0))
        classes[name] = (hits + hit, answers + (name == answer), truths + (name == truth))
    return replace(tally, events=tally.events + 1, hits=tally.hits + hit, classes=classes)


def _counted_words(tally: Tally, answer: str, truth: str) -> Tally:
    return replace(
        tally,
        events=tally.events + 1,
        hits=tally.hits + says_the_same(answer, truth),
        wording=(tally.wording or NO_WORDING) + worded(answer, truth),
    )


def metrics_of(tally: Tally, kind: LabelKind) -> dict[str, float]:
    """Every metric that the sums give; one that is not defined (no events, equal truths) or not finite is left out."""
    if not tally.events:
        return {}
    return {name: value for name, value in _metrics(tally, kind) if math.isfinite(value)}


def _metrics(tally: Tally, kind: LabelKind) -> Iterator[tuple[str, float]]:
    events = tally.events
    match kind:
        case LabelKind.REGRESSION:
            yield "mae", tally.absolute / events
            yield "rmse", math.sqrt(tally.squared / events)
            if tally.truth_spread > 0:
                yield "r2", 1.0 - tally.squared / tally.truth_spread
        case LabelKind.BINARY:
            yield "accuracy", tally.hits / events
            yield "log_loss", tally.log_loss / events
        case LabelKind.MULTICLASS:
            f1s = [
                2 * hits / (answers + truths) for hits, answers, truths in tally.classes.values()
            ]
            yield "accuracy", tally.hits / events
            yield "macro_f1", math.fsum(f1s) / len(f1s)
        case LabelKind.TEXT:
            yield "exact_match", tally.hits / events
            if tally.wording is not None:
                yield "rouge_l", tally.wording.mean_rouge_l
                yield "bleu", tally.wording.bleu


@dataclass(frozen=True, slots=True)
class QualityWindow:
    """A tumbling window of labelled answers of one champion."""

    tally: Tally = field(default_factory=Tally)
    ranked: tuple[
        tuple[float, bool], ...
    ] = ()  # binary: the newest probabilities and whether it happened
    first: Instant = LATEST  # event times of the earliest and the latest event
    last: Instant = EARLIEST

    @property
    def events(self) -> int:
        return self.tally.events


@dataclass(frozen=True, slots=True)
class QualityReport:
    """A full window's metrics."""

    metrics: Mapping[str, float]
    events: int
    first: Instant
    last: Instant


def update(
    window: QualityWindow, kind: LabelKind, pair: Pair, size: int
) -> tuple[QualityWindow, QualityReport | None]:
    """Count a pair; a window of `size` pairs gives its report and the next one begins."""
    ranked = window.ranked
    if kind is LabelKind.BINARY:
        ranked = (*ranked[-RANKED_AT_MOST + 1 :], (float(pair.answer), float(pair.truth) >= _HALF))
    grown = QualityWindow(
        tally=counted(window.tally, kind, pair),
        ranked=ranked,
        first=min(window.first, pair.at),
        last=max(window.last, pair.at),
    )
    if grown.events < size:
        return grown, None
    metrics = metrics_of(grown.tally, kind) | ranking_metrics(grown.ranked)
    return QualityWindow(), QualityReport(metrics, grown.events, grown.first, grown.last)


def ranking_metrics(ranked: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """`roc_auc` (Hanley and McNeil 1982: ties count half) and `average_precision` (the sum over distinct scores of
    precision times the gain in recall); none when only one of the two classes is there."""
    positives = sum(happened for _, happened in ranked)
    negatives = len(ranked) - positives
    if not positives or not negatives:
        return {}
    above_positives, above_negatives, won, precision = 0, 0, 0.0, 0.0
    for _, tied in groupby(
        sorted(ranked, key=lambda scored: -scored[0]), key=lambda scored: scored[0]
    ):
        outcomes = [happened for _, happened in tied]
        gained = sum(outcomes)
        lost = len(outcomes) - gained
        won += lost * (above_positives + gained / 2)
        above_positives += gained
        above_negatives += lost
        precision += gained * above_positives / (above_positives + above_negatives)
    return {"roc_auc": won / (positives * negatives), "average_precision": precision / positives}


def worst_tolerated(metric: str, reference: float, tolerance: float) -> float:
    """The worst value that is within `tolerance`, a share of the reference's magnitude."""
    margin = abs(reference) * tolerance
    return reference - margin if metric in HIGHER_IS_BETTER else reference + margin


def is_worse(metric: str, value: float, bound: float) -> bool:
    return value < bound if metric in HIGHER_IS_BETTER else value > bound
