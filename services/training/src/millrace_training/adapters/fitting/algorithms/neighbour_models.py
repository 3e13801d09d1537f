"""The mean of the nearest rows that were learnt.

Rows at the same place count as one. Of those found, each counts the less the further away it is, down to nothing where the
next one would stand (Epanechnikov's kernel over the distance to it, after Hechenbichler and Schliep 2004): so the answer does
not depend on which of two rows, equally far away, is taken, and the ONNX form gives it too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from millrace_artifacts.artifact import Native, NativeFormat
from millrace_artifacts.native import dump_sklearn
from millrace_artifacts.signature import Matrix
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.onnx_line import Line
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task

DEFAULTS: Parameters = {"n_neighbors": 25}
_MOST_ROWS = 5_000  # the newest: all of them travel in the model, and each answer looks at each
_FURTHEST = 10.0  # standard deviations: what lies beyond lies there
_LEAST_DISTANCE, _LEAST_WEIGHT = 1e-12, 1e-6


def draw(generator: np.random.Generator) -> Parameters:
    return {"n_neighbors": round(float(np.exp(generator.uniform(np.log(5.0), np.log(150.0)))))}


def fit(task: Task, parameters: Parameters) -> Fitted:
    matrix, truths = task.matrix[-_MOST_ROWS:], task.targets[-_MOST_ROWS:]
    weights = np.ones(len(matrix)) if task.weights is None else task.weights[-_MOST_ROWS:]
    classifies = task.kind is not LabelKind.REGRESSION
    imputer = SimpleImputer(strategy="mean", keep_empty_features=True).fit(matrix)
    scaler = StandardScaler().fit(imputer.transform(matrix).astype(np.float64))
    scale = _Scale(
        imputer.statistics_.astype(np.float32),
        scaler.mean_.astype(np.float32),
        (1.0 / scaler.scale_).astype(np.float32),
    )
    points, places = np.unique(scale(matrix), axis=0, return_inverse=True)
    places = places.reshape(-1)
    outputs = np.eye(task.classes)[truths.astype(np.int64)] if classifies else truths[:, np.newaxis]
    masses = np.bincount(places, weights).astype(np.float64)
    sums = np.column_stack([np.bincount(places, weights * column) for column in outputs.T])
    means = sums / masses[:, np.newaxis]
    count = min(int(parameters["n_neighbors"]), len(points))
    kind = KNeighborsClassifier if classifies else KNeighborsRegressor
    neighbours = kind(n_neighbors=count, algorithm="brute", n_jobs=1)
    neighbours.fit(points.astype(np.float64), means.argmax(axis=1) if classifies else means)
    pipeline = Pipeline([("imputer", imputer), ("scaler", scaler), ("neighbours", neighbours)])
    return FittedNeighbours(pipeline, scale, points, masses, means)


@dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """Missing numbers become means, all are scaled, and none lies far out: float32 [width] each."""

    fill: Matrix
    mean: Matrix
    factor: Matrix

    def __call__(self, matrix: Matrix) -> Matrix:
        filled = np.where(np.isnan(matrix), self.fill, matrix)
        with np.errstate(over="ignore"):
            scaled: Matrix = np.clip((filled - self.mean) * self.factor, -_FURTHEST, _FURTHEST)
        return scaled

    def write(self, line: Line) -> str:
        fill, mean, factor = map(line.constant, (self.fill, self.mean, self.factor))
        filled = line.node("Where", line.node("IsNaN", line.last), fill, line.last)
        scaled = line.node("Mul", line.node("Sub", filled, mean), factor)
        bounds = (line.constant(np.float32(bound)) for bound in (-_FURTHEST, _FURTHEST))  # type: ignore[arg-type]  # no array
        return line.node("Clip", scaled, *bounds)


@dataclass(frozen=True, slots=True, eq=False)
class FittedNeighbours:
    """`points` float32 [points, width], all different; at each `masses` rows, and the mean of their `means` [points, outputs]."""

    pipeline: Pipeline
    scale: _Scale
    points: Matrix
    masses: NDArray[np.float64]
    means: NDArray[np.float64]

    def answers(self, matrix: Matrix) -> NDArray[Any]:
        with threadpool_limits(limits=1):
            distances, places = self.pipeline[-1].kneighbors(
                self.scale(matrix).astype(np.float64), self._taken
            )
        squares = distances**2
        near = 1.0 - squares / (squares.max(axis=1, keepdims=True) + _LEAST_DISTANCE)
        weights = (near + _LEAST_WEIGHT) * self.masses[places]
        sums = np.einsum("rk,rko->ro", weights, self.means[places])
        answers: NDArray[np.float64] = sums / weights.sum(axis=1, keepdims=True)
        return answers

    def onnx(self) -> bytes:
        """Distances in double precision, by |x|² - 2xp + |p|²: in single precision nothing would be left of small ones."""
        line = Line.from_nothing(self.points.shape[1])
        row = line.cast(self.scale.write(line), np.float64)
        points = self.points.astype(np.float64)
        axis = line.constant(np.array([1], dtype=np.int64))
        own = line.node("ReduceSum", line.node("Mul", row, row), axis, keepdims=1)
        turned = line.cast(line.constant(self.points.T), np.float64)
        product = line.node("Mul", line.node("MatMul", row, turned), line.numbers(-2.0))
        theirs = line.constant((points**2).sum(axis=1)[np.newaxis])
        squares = line.node("Add", line.node("Add", own, product), theirs)
        taken = line.constant(np.array([self._taken], dtype=np.int64))
        places = line.node("TopK", squares, taken, outputs=2, axis=1, largest=0, sorted=1)
        found = line.node("Max", line.beside(places), line.numbers(0.0))
        furthest = line.node("ReduceMax", found, axes=[1], keepdims=1)
        share = line.node("Div", found, line.node("Add", furthest, line.numbers(_LEAST_DISTANCE)))
        near = line.node("Sub", line.numbers(1.0 + _LEAST_WEIGHT), share)
        weights = line.node("Mul", near, line.node("Gather", line.constant(self.masses), places))
        means = line.node("Gather", line.constant(self.means), places)
        sums = line.node("MatMul", line.node("Unsqueeze", weights, axis), means)
        total = line.node("ReduceSum", weights, axis, keepdims=1)
        answer = line.node("Div", line.node("Squeeze", sums, axis), total)
        return line.ended(line.cast(answer, np.float32), self.means.shape[1])

    def native(self) -> Native:
        return Native(NativeFormat.SKOPS, dump_sklearn(self.pipeline))

    @property
    def _taken(self) -> int:
        """One more than count: the distance at which a row counts nothing."""
        return min(int(self.pipeline[-1].n_neighbors) + 1, len(self.points))
