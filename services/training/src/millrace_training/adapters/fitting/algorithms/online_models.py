"""River's online learners: linear and logistic regression over running means, taught one label after the other.

A full run teaches a new one; an update goes on with the champion's (see `updating`), so that each label is learnt once, when it is
known. Its state is plain numbers, and JSON of these is the native form: nothing in it is ever run. Of more than two classes
each has a learner of its own against all others.
"""

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from river.linear_model import LinearRegression, LogisticRegression
from river.optim import SGD
from river.preprocessing import StandardScaler

from millrace_artifacts.artifact import Native, NativeFormat
from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.signature import Matrix
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.calibrating import shared_out, write_shared_out
from millrace_training.adapters.fitting.algorithms.onnx_line import Line
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task

DEFAULTS: Parameters = {"learning_rate": 0.01, "l2": 0.0, "passes": 3}
_FURTHEST = 5.0  # standard deviations: beyond, one row alone could turn all weights
_TARGET = "target"
Floats = NDArray[np.float64]


def draw(generator: np.random.Generator) -> Parameters:
    return {
        "learning_rate": float(np.exp(generator.uniform(np.log(1e-3), np.log(0.1)))),
        "l2": float(np.exp(generator.uniform(np.log(1e-6), np.log(1e-2)))),
        "passes": int(generator.integers(1, 6)),
    }


@dataclass(frozen=True, slots=True)
class State:
    """All that a learner knows. `counts`, `means`, `variances` [width] are of the columns, `target` the same three of the label
    (regression), `weights` [learners][width], `intercepts` [learners]."""

    kind: LabelKind
    counts: list[int]
    means: list[float]
    variances: list[float]
    target: tuple[int, float, float]
    weights: list[list[float]]
    intercepts: list[float]

    def __post_init__(self) -> None:
        width, learners = len(self.counts), len(self.intercepts)
        lists = [self.means, self.variances, *self.weights]
        numbers = [*self.target, *self.intercepts, *(each for one in lists for each in one)]
        if (
            any(len(each) != width for each in lists)
            or len(self.weights) != learners
            or not learners
            or not all(map(math.isfinite, numbers))
            or min([*self.variances, *self.counts, self.target[0], self.target[2]]) < 0
        ):
            raise ValueError("an online learner's numbers do not fit together")


def fit(task: Task, parameters: Parameters) -> Fitted:
    learners = task.classes if task.classes > 2 else 1
    width = task.matrix.shape[1]
    empty = [[0.0] * width for _ in range(learners)]
    state = State(
        task.kind, [0] * width, [0.0] * width, [0.0] * width, (0, 0.0, 0.0), empty, [0.0] * learners
    )
    return taught(state, task, parameters, int(parameters["passes"]))


def taught(state: State, task: Task, parameters: Parameters, passes: int = 1) -> "FittedOnline":
    """The learner after the task's rows, in their order."""
    learner = _Learner(state, parameters)
    weights = np.ones(len(task.targets)) if task.weights is None else task.weights
    rows, targets, counted = task.matrix.tolist(), task.targets.tolist(), weights.tolist()
    for number in range(passes):
        for row, target, weight in zip(rows, targets, counted, strict=True):
            learner.learn(row, target, weight, describe=number == 0)
    return FittedOnline(learner.state())


def read_state(native: Native) -> State:
    """Raises UnreadableArtifactError."""
    try:
        return msgspec.json.decode(native.content, type=State)
    except (msgspec.DecodeError, ValueError, UnicodeDecodeError) as error:
        raise UnreadableArtifactError(f"not an online learner's numbers: {error}") from error


class _Learner:
    """River's objects, made from a state and read into one."""

    def __init__(self, state: State, parameters: Parameters) -> None:
        self._kind, self._width = state.kind, len(state.counts)
        self._scaler: Any = StandardScaler()  # river is not typed
        self._target: Any = StandardScaler()
        for column, count in enumerate(state.counts):
            _put(self._scaler, column, count, state.means[column], state.variances[column])
        _put(self._target, _TARGET, *state.target)
        kind = LinearRegression if state.kind is LabelKind.REGRESSION else LogisticRegression
        rate, l2 = float(parameters["learning_rate"]), float(parameters["l2"])
        self._models: list[Any] = []
        for weights, intercept in zip(state.weights, state.intercepts, strict=True):
            model = kind(optimizer=SGD(rate), l2=l2, intercept_init=intercept, intercept_lr=rate)
            model._weights.update(dict(enumerate(weights)))  # noqa: SLF001  river has no other way in
            self._models.append(model)

    def learn(self, row: list[float], target: float, weight: float, *, describe: bool) -> None:
        """`describe`: the columns' means and variances learn the row, too."""
        known = {place: value for place, value in enumerate(row) if value == value}
        if describe:
            self._scaler.learn_one(known)
            self._target.learn_one({_TARGET: target})
        scaled = {
            place: max(-_FURTHEST, min(_FURTHEST, value))
            for place, value in self._scaler.transform_one(known).items()
        }
        if self._kind is LabelKind.REGRESSION:
            aims = [self._target.transform_one({_TARGET: target})[_TARGET]]
        elif len(self._models) == 1:
            aims = [target == 1.0]
        else:
            aims = [target == place for place in range(len(self._models))]
        for model, aim in zip(self._models, aims, strict=True):
            model.learn_one(scaled, aim, weight)

    def state(self) -> State:
        columns = range(self._width)
        return State(
            kind=self._kind,
            counts=[int(self._scaler.counts.get(each, 0)) for each in columns],
            means=[float(self._scaler.means.get(each, 0.0)) for each in columns],
            variances=[float(self._scaler.vars.get(each, 0.0)) for each in columns],
            target=(
                int(self._target.counts.get(_TARGET, 0)),
                float(self._target.means.get(_TARGET, 0.0)),
                float(self._target.vars.get(_TARGET, 0.0)),
            ),
            weights=[
                [float(each.weights.get(place, 0.0)) for place in columns] for each in self._models
            ],
            intercepts=[float(each.intercept) for each in self._models],
        )


def _put(scaler: Any, key: object, count: int, mean: float, variance: float) -> None:  # noqa: ANN401  river is not typed
    if count:
        scaler.counts[key], scaler.means[key], scaler.vars[key] = count, mean, variance


@dataclass(frozen=True, slots=True, eq=False)
class FittedOnline:
    state: State

    def answers(self, matrix: Matrix) -> NDArray[Any]:
        mean, factor = self._scale()
        filled = np.where(np.isnan(matrix), mean, matrix)
        with np.errstate(over="ignore"):
            scaled = np.clip((filled - mean) * factor, -_FURTHEST, _FURTHEST).astype(np.float64)
        raw: Floats = scaled @ np.array(self.state.weights).T + np.array(self.state.intercepts)
        if self.state.kind is LabelKind.REGRESSION:
            value: Floats = raw * self._target_spread() + self.state.target[1]
            return value
        return shared_out(1.0 / (1.0 + np.exp(-np.clip(raw, -700.0, 700.0))))

    def onnx(self) -> bytes:
        line = Line.from_nothing(len(self.state.counts))
        mean, factor = map(line.constant, self._scale())
        filled = line.node("Where", line.node("IsNaN", line.last), mean, line.last)
        scaled = line.node("Mul", line.node("Sub", filled, mean), factor)
        bounds = [line.constant(np.array(each, np.float32)) for each in (-_FURTHEST, _FURTHEST)]
        inner = line.cast(line.node("Clip", scaled, *bounds), np.float64)
        weighed = line.node("MatMul", inner, line.constant(np.array(self.state.weights).T))
        raw = line.node("Add", weighed, line.numbers(*self.state.intercepts))
        learners = len(self.state.intercepts)
        if self.state.kind is LabelKind.REGRESSION:
            spread = line.node("Mul", raw, line.numbers(self._target_spread()))
            value = line.node("Add", spread, line.numbers(self.state.target[1]))
            return line.ended(line.cast(value, np.float32), 1)
        shares = write_shared_out(line, line.node("Sigmoid", raw), learners)
        return line.ended(line.cast(shares, np.float32), max(2, learners))

    def native(self) -> Native:
        return Native(NativeFormat.RIVER, msgspec.json.encode(self.state, order="sorted"))

    def _scale(self) -> tuple[Matrix, Matrix]:
        """Means, and what the distance from them is multiplied by: 0 where all rows were alike."""
        spread = np.sqrt(np.array(self.state.variances, dtype=np.float64))
        factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0.0)
        return np.array(self.state.means, dtype=np.float32), factor.astype(np.float32)

    def _target_spread(self) -> float:
        return math.sqrt(self.state.target[2])
