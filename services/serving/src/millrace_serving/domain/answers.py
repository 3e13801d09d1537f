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
    `class_label` and `probabilities` are multiclass's; the probabilities are in the order of the model's classes.
    """

    value: float | None = None
    class_label: str = ""
    probabilities: tuple[float, ...] = ()


NO_ANSWER = Answer()


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model gave for n rows: `values` [n] for regression and binary, `probabilities` [n, classes] for multiclass."""

    values: NDArray[np.float64] | None = None
    probabilities: NDArray[np.float64] | None = None


def answers(kind: LabelKind, classes: tuple[str, ...], scores: Scores) -> list[Answer]:
    """An answer per row. Raises ValueError for scores that don't fit the kind: the model isn't what its signature says."""
    if kind is LabelKind.MULTICLASS:
        if scores.probabilities is None:
            raise ValueError("a multiclass model must give probabilities")
        return _most_probable(classes, scores.probabilities)
    if scores.values is None:
        raise ValueError(f"a {kind} model must give values")
    return [_of_value(value) for value in scores.values.tolist()]


def fallback(
    rule: str | float | None, columns: Columns, numbers: Sequence[float], categories: Sequence[str]
) -> Answer:
    """Before the first champion: a feature's value in this vector (multiclass: a category's), a constant, or no answer."""
    if not isinstance(rule, str):
        return NO_ANSWER if rule is None else _of_value(float(rule))
    if rule in columns.numbers:
        return _of_value(numbers[columns.numbers.index(rule)])
    if rule in columns.categories:
        return Answer(class_label=categories[columns.categories.index(rule)])
    return NO_ANSWER


def _of_value(value: float) -> Answer:
    return Answer(value) if math.isfinite(value) else NO_ANSWER


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
