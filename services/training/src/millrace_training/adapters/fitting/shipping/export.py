"""From a fitted model to what is shipped: the ONNX form, how true it is, examples, the artifact, the profile."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.artifact import Example, Model, NativeFormat, Parity, Runtime, Speed
from millrace_artifacts.scorer import Scorer, Scores, as_scores, onnx_run, scorer_of
from millrace_artifacts.sentence_encoders import opened
from millrace_artifacts.signature import Matrix, Numbers, Signature
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.profile import (
    PREDICTION,
    ReferenceProfile,
    category_column,
    number_column,
    text_column,
    to_json,
)
from millrace_training.adapters.fitting.algorithms.task import Fitted
from millrace_training.adapters.fitting.measuring.measure import wordings
from millrace_training.adapters.fitting.reading.rows import Rows
from millrace_training.adapters.fitting.shipping.finishing import FittedFinished

# Of the answers' spread, or of a probability: rounding gives 1e-6, a row on the wrong side of a split 1e-2
PARITY_TOLERANCE = 1e-3
_NEWEST, _SPREAD = (
    4,
    4,
)  # examples: so many of the newest rows, so many from all the time that was learnt
_EXTREME_COLUMNS = 6  # and where each of so many columns is smallest and largest
_FURTHEST = 100.0  # times the largest answer to a real row: an example far beyond would hide differences in all others
_TIMED_ROWS = 256
_TIMED_CALLS = (
    20  # of one row; the fastest of so many rounds counts, since others may want the processor
)
_TIMED_ROUNDS = 5
_LIBRARIES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "river",
    "scikit-learn",
    "skl2onnx",
    "skops",
    "xgboost-cpu",
)
_UNKNOWN = "\x00unknown"  # a text that no vocabulary has


def packed(fitted: Fitted, signature: Signature, matrix: Matrix) -> Model:
    """The model with its ONNX form compared with itself over `matrix`, float32 [rows, width].

    Which of the two is faster is another question: see `speed_of`. Raises UnreadableArtifactError when the two differ and the library itself does not serve (scikit-learn).
    """
    onnx = fitted.onnx()
    exported = as_scores(signature, onnx_run(onnx, signature.width)(matrix))
    own = as_scores(signature, fitted.answers(matrix))
    parity = Parity(_largest_difference(exported, own), PARITY_TOLERANCE, len(matrix))
    only_onnx = isinstance(fitted, FittedFinished)
    digests = {text.encoder for text in signature.texts} - {""}
    encoder = opened(digests.pop()).content if digests else None
    return Model(signature, parity, onnx, fitted.native(), only_onnx=only_onnx, encoder=encoder)


def speed_of(model: Model, matrix: Matrix) -> Speed | None:
    """The time that both of a model's forms take; None where only one of them could answer: scikit-learn's has only its ONNX form.

    Times are this thread's own processor time.
    """
    if (
        model.runtime is not Runtime.ONNX
        or model.only_onnx
        or model.native is None
        or model.native.format is not NativeFormat.UBJ
        or not len(matrix)
    ):
        return None
    onnx, native = scorer_of(model), scorer_of(replace(model, prefers_native=True))
    rows = np.ascontiguousarray(matrix[:_TIMED_ROWS])
    return Speed(
        rows=len(rows),
        onnx_row_us=_microseconds(onnx.score_encoded, rows[:1], _TIMED_CALLS),
        onnx_rows_us=_microseconds(onnx.score_encoded, rows, 1),
        native_row_us=_microseconds(native.score_encoded, rows[:1], _TIMED_CALLS),
        native_rows_us=_microseconds(native.score_encoded, rows, 1),
    )


def examples_of(model: Model, rows: Rows) -> tuple[Example, ...]:
    """Real rows and rows at the edges, with the model's answers: see `_example_rows`. At least the newest row is among them.

    Left out are answers that are no numbers, and those so large that no difference in others would be seen beside them.
    """
    scorer = scorer_of(model)
    numbers, categories, real = _example_rows(scorer, rows)
    numbers[~np.isfinite(numbers)] = np.nan  # as JSON has it: null
    scores = scorer.score(numbers, categories)
    kept = np.isfinite(scores.values)
    if scores.probabilities is None and kept[:real].any():
        largest = float(np.max(np.abs(scores.values[:real][kept[:real]])))
        kept &= np.abs(scores.values) <= _FURTHEST * (largest or 1.0)
    elif scores.probabilities is not None:
        kept &= np.isfinite(scores.probabilities).all(axis=1)
    return tuple(
        Example(
            numbers=tuple(
                float(number) if np.isfinite(number) else None for number in numbers[place]
            ),
            categories=categories[place],
            value=float(scores.values[place]),
            probabilities=()
            if scores.probabilities is None
            else tuple(scores.probabilities[place].tolist()),
        )
        for place in np.flatnonzero(kept).tolist()
    )


def _example_rows(scorer: Scorer, rows: Rows) -> tuple[Numbers, list[tuple[str, ...]], int]:
    """Numbers, categories, and how many of them are real rows, which come first.

    Real: the newest; some of all times; those with the smallest and largest answers; those in which a column is smallest
    or largest; the one of which least is known. Made up: every column at its smallest, at its largest, at 0; nothing known.
    """
    count = len(rows)
    answers = scorer.score(rows.numbers, rows.categories.tolist()).values
    places = [*range(max(0, count - _NEWEST), count)]
    places += np.linspace(0, count - 1, _SPREAD).astype(int).tolist()
    places += [int(np.argmin(answers)), int(np.argmax(answers))]
    places.append(int(np.argmax(np.isnan(rows.numbers).sum(axis=1))))
    with_numbers = np.flatnonzero(~np.isnan(rows.numbers).all(axis=0))[:_EXTREME_COLUMNS]
    for column in rows.numbers[:, with_numbers].T:
        places += [int(np.nanargmin(column)), int(np.nanargmax(column))]
    places = list(dict.fromkeys(places))
    chosen, width = rows.numbers[places], rows.numbers.shape[1]
    unknown = np.full(width, np.nan)
    extremes = [np.fmin.reduce(rows.numbers), np.fmax.reduce(rows.numbers)]
    numbers = np.vstack([chosen, *extremes, np.zeros(width), unknown])
    texts: list[tuple[str, ...]] = [*map(tuple, rows.categories[places].tolist())]
    texts += [texts[-1]] * 3 + [(_UNKNOWN,) * rows.categories.shape[1]]
    return numbers, texts, len(places)


def _microseconds(score: Callable[[Matrix], object], matrix: Matrix, calls: int) -> float:
    """Of one call. At least a thousandth, should the clock not have moved."""
    score(matrix)  # what is prepared at the first call is not counted
    best = float("inf")
    for _ in range(_TIMED_ROUNDS):
        began = time.thread_time_ns()
        for _ in range(calls):
            score(matrix)
        best = min(best, (time.thread_time_ns() - began) / 1_000 / calls)
    return max(best, 1e-3)


def reference_profile(
    signature: Signature,
    learnt: Rows,
    predictions: Scores,
    metrics: Mapping[str, float],
    primary: str,
) -> bytes:
    """The learnt rows' columns, and the predictions over the holdout by the model that had not learnt it, as JSON."""
    # the profile sorts them in any case, and what is sorted already costs it little
    ascending = np.sort(learnt.numbers, axis=0)
    numbers = [
        number_column(name, ascending[:, place].tolist())
        for place, name in enumerate(signature.numbers)
    ]
    texts = {text.name for text in signature.texts}
    categories = [
        (text_column if name in texts else category_column)(
            name, learnt.categories[:, place].tolist()
        )
        for place, name in enumerate(signature.categories)
    ]
    if signature.label_kind is LabelKind.MULTICLASS:
        prediction = category_column(
            PREDICTION, [signature.classes[int(place)] for place in predictions.values]
        )
    elif signature.label_kind is LabelKind.TEXT:
        prediction = text_column(PREDICTION, wordings(signature.classes, predictions))
    else:
        prediction = number_column(PREDICTION, predictions.values.tolist())
    profile = ReferenceProfile(
        columns=(*numbers, *categories),
        prediction=prediction,
        metrics=metrics,
        primary_metric=primary,
        rows=len(learnt),
    )
    return to_json(profile)


def libraries() -> dict[str, str]:
    """The versions that made the model."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    """Read once: a tenth of an update's time otherwise."""
    return {name: version(name) for name in _LIBRARIES}


def _largest_difference(exported: Scores, own: Scores) -> float:
    """Of values relative to their spread, of probabilities as they are; the largest float when either is no number."""
    if exported.probabilities is None or own.probabilities is None:
        difference, scale = np.abs(exported.values - own.values), _spread(own.values)
    else:
        difference, scale = np.abs(exported.probabilities - own.probabilities), 1.0
    pairs = ((exported.quantiles, own.quantiles), (exported.interval, own.interval))
    further = [np.max(np.abs(a - b)) for a, b in pairs if a is not None and b is not None]
    largest = float(np.max([np.max(difference), *further])) / scale
    return largest if np.isfinite(largest) else float(np.finfo(np.float64).max)


def _spread(values: NDArray[np.float64]) -> float:
    """The standard deviation; of a constant its size."""
    return float(np.std(values)) or float(np.max(np.abs(values))) or 1.0
