"""From a fitted model to what is shipped: the ONNX form, how true it is, examples, the artifact, the profile."""

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.artifact import Example, Model, Parity
from millrace_artifacts.scorer import Scores, as_scores, onnx_run, scorer_of
from millrace_artifacts.signature import Matrix, Signature
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.profile import (
    PREDICTION,
    ReferenceProfile,
    category_column,
    number_column,
    to_json,
)
from millrace_training.adapters.fitting.rows import Rows
from millrace_training.adapters.fitting.task import Fitted

# Of the answers' spread, or of a probability: rounding gives 1e-6, a row on the wrong side of a split 1e-2
PARITY_TOLERANCE = 1e-3
_EXAMPLES = 4  # rows of the newest, beside one with nothing known
_LIBRARIES = (
    "numpy",
    "onnx",
    "onnxmltools",
    "onnxruntime",
    "scikit-learn",
    "skl2onnx",
    "skops",
    "xgboost-cpu",
)
_UNKNOWN = "\x00unknown"  # a text that no vocabulary has


def packed(fitted: Fitted, signature: Signature, matrix: Matrix) -> Model:
    """The model with its ONNX form compared with itself over `matrix`, float32 [rows, width].

    Raises UnreadableArtifactError when the two differ and the library itself does not serve (scikit-learn).
    """
    onnx = fitted.onnx()
    exported = as_scores(signature, onnx_run(onnx, signature.width)(matrix))
    own = as_scores(signature, fitted.answers(matrix))
    parity = Parity(_largest_difference(exported, own), PARITY_TOLERANCE, len(matrix))
    return Model(signature, parity, onnx, fitted.native())


def examples_of(model: Model, rows: Rows) -> tuple[Example, ...]:
    """Some of the newest rows, and one in which nothing is known, with the model's answers."""
    newest = rows.part(max(0, len(rows) - _EXAMPLES), len(rows))
    unknown = np.full((1, rows.numbers.shape[1]), np.nan)
    numbers = np.vstack([newest.numbers, unknown])
    categories = [*map(tuple, newest.categories.tolist()), (_UNKNOWN,) * rows.categories.shape[1]]
    scores = scorer_of(model).score(numbers, categories)
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
        for place in range(len(numbers))
    )


def reference_profile(
    signature: Signature,
    learnt: Rows,
    predictions: Scores,
    metrics: Mapping[str, float],
    primary: str,
) -> bytes:
    """The learnt rows' columns, and the predictions over the holdout by the model that had not learnt it, as JSON."""
    numbers = [
        number_column(name, learnt.numbers[:, place].tolist())
        for place, name in enumerate(signature.numbers)
    ]
    categories = [
        category_column(name, learnt.categories[:, place].tolist())
        for place, name in enumerate(signature.categories)
    ]
    if signature.label_kind is LabelKind.MULTICLASS:
        prediction = category_column(
            PREDICTION, [signature.classes[int(place)] for place in predictions.values]
        )
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
    return {name: version(name) for name in _LIBRARIES}


def _largest_difference(exported: Scores, own: Scores) -> float:
    """Of values relative to their spread, of probabilities as they are; the largest float when either is no number."""
    if exported.probabilities is None or own.probabilities is None:
        difference, scale = np.abs(exported.values - own.values), _spread(own.values)
    else:
        difference, scale = np.abs(exported.probabilities - own.probabilities), 1.0
    largest = float(np.max(difference)) / scale
    return largest if np.isfinite(largest) else float(np.finfo(np.float64).max)


def _spread(values: NDArray[np.float64]) -> float:
    """The standard deviation; of a constant its size."""
    return float(np.std(values)) or float(np.max(np.abs(values))) or 1.0
