"""From scores to answers, and what answers before there is a champion."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace_kernel.pipeline import LabelKind
from millrace_serving.domain.columns import Columns


class Answer(NamedTuple):
    """What is said about one vector.

    `value`: the value (regression) or the probability of the positive class (binary); None when no answer was possible.
    `class_label` and `probabilities` are multiclass's; the probabilities are in the order of the model's classes. `quantiles`
    and `interval` (its two ends) are of models that give them. `text` is the answer in words.
    """

    value: float | None = None
    class_label: str = ""
    probabilities: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()
    interval: tuple[float, ...] = ()
    text: str = ""

    @property
    def wording(self) -> str:
        """What it says as a text: a class or words; empty for a number, or no answer."""
        return self.text or self.class_label


NO_ANSWER = Answer()


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model gave for n rows: `values` [n] for regression and binary, `probabilities` [n, classes] for multiclass; with
    values, perhaps `quantiles` [n, levels] and `interval` [n, 2]."""

    values: NDArray[np.float64] | None = None
    probabilities: NDArray[np.float64] | None = None
    quantiles: NDArray[np.float64] | None = None
    interval: NDArray[np.float64] | None = None


def answers(kind: LabelKind, classes: tuple[str, ...], scores: Scores) -> list[Answer]:
    """An answer per row. Raises ValueError for scores that don't fit the kind: the model isn't what its signature says."""
    if kind is LabelKind.MULTICLASS:
        if scores.probabilities is None:
            raise ValueError("a multiclass model must give probabilities")
        return _most_probable(classes, scores.probabilities)
    if scores.values is None:
        raise ValueError(f"a {kind} model must give values")
    if kind is LabelKind.TEXT:
        return [_worded(classes, value) for value in scores.values.tolist()]
    found = [_of_value(value) for value in scores.values.tolist()]
    if scores.quantiles is None and scores.interval is None:
        return found
    return [
        _with_spread(answer, quantiles, interval)
        for answer, quantiles, interval in zip(
            found, _rows(scores.quantiles, found), _rows(scores.interval, found), strict=True
        )
    ]


def fallback(
    rule: str | float | None,
    columns: Columns,
    numbers: Sequence[float],
    categories: Sequence[str],
    kind: LabelKind = LabelKind.MULTICLASS,
) -> Answer:
    """Before the first champion: a feature's value in this vector (multiclass: a category's), a constant, or no answer.

    `kind`: the label's.
    """
    if not isinstance(rule, str):
        return NO_ANSWER if rule is None else _of_value(float(rule))
    if rule in columns.numbers:
        return _of_value(numbers[columns.numbers.index(rule)])
    if rule in columns.categories:
        said = categories[columns.categories.index(rule)]
        return Answer(text=said) if kind is LabelKind.TEXT else Answer(class_label=said)
    return NO_ANSWER


def _worded(classes: tuple[str, ...], place: float) -> Answer:
    return Answer(text=classes[int(place)]) if 0 <= place < len(classes) else NO_ANSWER


def _of_value(value: float) -> Answer:
    return Answer(value) if math.isfinite(value) else NO_ANSWER


def _rows(matrix: NDArray[np.float64] | None, answers: Sequence[Answer]) -> list[tuple[float, ...]]:
    if matrix is None:
        return [()] * len(answers)
    return [tuple(row) for row in matrix.tolist()]


def _with_spread(
    answer: Answer, quantiles: tuple[float, ...], interval: tuple[float, ...]
) -> Answer:
    """What is not finite throughout is no answer: a reader could not tell which part to believe."""
    if answer is NO_ANSWER or not all(map(math.isfinite, quantiles + interval)):
        return NO_ANSWER
    return answer._replace(quantiles=quantiles, interval=interval)


def _most_probable(classes: tuple[str, ...], probabilities: NDArray[np.float64]) -> list[Answer]:
    if probabilities.shape[1] != len(classes):
        raise ValueError(
            f"the model gives {probabilities.shape[1]} probabilities for {len(classes)} classes"
        )
    rows: list[list[float]] = probabilities.tolist()
    winners: list[int] = np.argmax(probabilities, axis=1).tolist()
    sound: list[bool] = np.all(np.isfinite(probabilities), axis=1).tolist()
    return [
        Answer(class_label=classes[winner], probabilities=tuple(row)) if is_sound else NO_ANSWER
        for winner, row, is_sound in zip(winners, rows, sound, strict=True)
    ]
