"""The kinds of model, behind one face: defaults, a space to search, fitting, answering, export."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.artifact import Native
from millrace_artifacts.signature import Encoding, Matrix
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting import forests, linear_models, xgboost_models

Parameters: TypeAlias = Mapping[str, float]  # whole numbers are int


class Fitted(Protocol):
    """A fitted model of one library."""

    def answers(self, matrix: Matrix) -> NDArray[Any]:
        """As `millrace_artifacts.scorer.as_scores` takes them: values, or probabilities."""

    def onnx(self) -> bytes:
        """One float32 input [rows, width], the answer as last output. Equal models give equal bytes."""

    def native(self) -> Native: ...


@dataclass(frozen=True, slots=True)
class Task:
    """What to learn: the matrix, float64 targets (a class's place), and how."""

    matrix: Matrix
    targets: NDArray[np.float64]
    kind: LabelKind
    classes: int
    seed: int
    threads: int


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A kind of model. `draw` takes parameters from its search space; `fit` is deterministic in the task's seed."""

    name: str
    kinds: frozenset[LabelKind]
    encoding: Encoding
    defaults: Parameters
    draw: Callable[[np.random.Generator], Parameters]
    fit: Callable[["Task", Parameters], Fitted]


_CLASSIFICATION = frozenset({LabelKind.BINARY, LabelKind.MULTICLASS})
_ALL = frozenset(LabelKind)

ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("xgboost", _ALL, Encoding.ORDINAL, xgboost_models.DEFAULTS, xgboost_models.draw, xgboost_models.fit),
        Algorithm("random_forest", _ALL, Encoding.ORDINAL, forests.DEFAULTS, forests.draw, forests.fit),
        Algorithm("linear", frozenset({LabelKind.REGRESSION}), Encoding.ONE_HOT, linear_models.RIDGE, linear_models.draw_ridge, linear_models.fit_ridge),
        Algorithm("logistic", _CLASSIFICATION, Encoding.ONE_HOT, linear_models.LOGISTIC, linear_models.draw_logistic, linear_models.fit_logistic),
    )
}
