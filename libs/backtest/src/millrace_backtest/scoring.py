"""How good answers were, over any events: the metrics of a pipeline file's gates, by their names."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from millrace_backtest.answering import Answers
from millrace_backtest.errors import BacktestError
from millrace_kernel.pipeline import LabelKind, Pipeline
from millrace_kernel.texts import says_the_same
from millrace_training.adapters.fitting.measuring.ranking import average_precision, roc_auc
from millrace_training.adapters.fitting.measuring.wording import wording_losses, wording_metrics

Truths = Answers  # as answers are: numbers, or classes
LOWER_IS_BETTER = frozenset({"mae", "rmse", "log_loss"})
SMALLEST_GAIN = {"mae": 0.01, "rmse": 0.01}  # of the metric itself; of the others 0.002 as it is
_POINTS = 0.002
_LEAST_PROBABILITY = 1e-7
_BY_KIND = {
    LabelKind.REGRESSION: "mae",
    LabelKind.BINARY: "accuracy",
    LabelKind.MULTICLASS: "accuracy",
    LabelKind.TEXT: "exact_match",
}

Measure = Callable[[Answers, Truths], float]


def metric_of(pipeline: Pipeline, asked: str | None = None) -> str:
    """The one asked for, else the first gate's, else the kind's own. Raises BacktestError for one that it doesn't have."""
    kind = pipeline.label.kind
    gates = [gate.metric for gate in pipeline.gates if gate.metric in MEASURES[kind]]
    metric = asked or (gates[0] if gates else _BY_KIND[kind])
    if metric not in MEASURES[kind]:
        raise BacktestError(
            f"no metric {metric!r} for a {kind} label; use one of {', '.join(MEASURES[kind])}"
        )
    return metric


def measured(kind: LabelKind, metric: str, answers: Answers, truths: Truths) -> float | None:
    """None where it isn't defined: no events, one class only.

    An event without an answer counts: as 0 (regression), as 0.5 (binary), as a class that there is not (multiclass).
    """
    if not len(truths):
        return None
    if not kind.is_text:
        without = 0.0 if kind is LabelKind.REGRESSION else 0.5
        answers = np.where(np.isfinite(answers), answers, without)
    value = MEASURES[kind][metric](answers, truths)
    return value if np.isfinite(value) else None


def gain(metric: str, value: float, reference: float) -> float:
    """How much better than the reference; negative when worse."""
    return reference - value if metric in LOWER_IS_BETTER else value - reference


def is_something(metric: str, won: float, reference: float) -> bool:
    """Whether a gain is more than nothing: 0.2 points, or 1 % of an error. A loss is none, however large."""
    share = SMALLEST_GAIN.get(metric)
    return won >= (_POINTS if share is None else share * abs(reference))


def errors_of(kind: LabelKind, answers: Answers, truths: Truths) -> NDArray[np.float64]:
    """How wrong each answer was, as monitoring's detector is told: a distance, 0 and 1, or 1 less ROUGE-L."""
    if kind is LabelKind.TEXT:
        return wording_losses(answers.tolist(), truths.tolist())
    if kind is LabelKind.MULTICLASS:
        return np.asarray(answers != truths, dtype=np.float64)
    without = 0.0 if kind is LabelKind.REGRESSION else 0.5
    answered = np.where(np.isfinite(answers), answers, without)
    return np.asarray(np.abs(answered - truths), dtype=np.float64)


def _mae(answers: Answers, truths: Truths) -> float:
    return float(np.mean(np.abs(answers - truths)))


def _rmse(answers: Answers, truths: Truths) -> float:
    return float(np.sqrt(np.mean((answers - truths) ** 2)))


def _r2(answers: Answers, truths: Truths) -> float:
    spread = float(np.sum((truths - truths.mean()) ** 2))
    return 1.0 - float(np.sum((answers - truths) ** 2)) / spread if spread else np.nan


def _hits(answers: Answers, truths: Truths) -> float:
    return float(np.mean((answers >= 0.5) == (truths >= 0.5)))


def _log_loss(answers: Answers, truths: Truths) -> float:
    likely = np.where(truths >= 0.5, answers, 1.0 - answers)
    return float(-np.mean(np.log(np.clip(likely, _LEAST_PROBABILITY, 1.0))))


def _ranked(measure: Callable[..., float]) -> Measure:
    def of(answers: Answers, truths: Truths) -> float:
        happened = truths >= 0.5
        if happened.all() or not happened.any():
            return float("nan")
        return float(measure(happened.astype(np.float64), answers))

    return of


def _same(answers: Answers, truths: Truths) -> float:
    return float(np.mean(answers == truths))


def _says_the_same(answers: Answers, truths: Truths) -> NDArray[np.float64]:
    pairs = zip(answers.tolist(), truths.tolist(), strict=True)
    return np.array([says_the_same(*pair) for pair in pairs], dtype=np.float64)


def _exact_match(answers: Answers, truths: Truths) -> float:
    return float(_says_the_same(answers, truths).mean())


def _rouge_l(answers: Answers, truths: Truths) -> float:
    return wording_metrics(answers.tolist(), truths.tolist())["rouge_l"]


def _bleu(answers: Answers, truths: Truths) -> float:
    return wording_metrics(answers.tolist(), truths.tolist())["bleu"]


def _macro_f1(answers: Answers, truths: Truths) -> float:
    return float(
        f1_score(truths.astype(str), answers.astype(str), average="macro", zero_division=0.0)
    )


MEASURES: Mapping[LabelKind, Mapping[str, Measure]] = {
    LabelKind.REGRESSION: {"mae": _mae, "rmse": _rmse, "r2": _r2},
    LabelKind.BINARY: {
        "accuracy": _hits,
        "log_loss": _log_loss,
        "roc_auc": _ranked(roc_auc),
        "average_precision": _ranked(average_precision),
    },
    LabelKind.MULTICLASS: {"accuracy": _same, "macro_f1": _macro_f1},
    LabelKind.TEXT: {"exact_match": _exact_match, "rouge_l": _rouge_l, "bleu": _bleu},
}
