"""Gradient-boosted trees."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from millrace_artifacts.artifact import Native, NativeFormat
from millrace_artifacts.signature import Matrix
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task
from millrace_training.adapters.fitting.algorithms.xgboost_onnx import onnx_of

# Chosen on hourly and minutely tabular streams of 1,000 to 20,000 rows: near what a search finds, half a second to fit
DEFAULTS: Parameters = {
    "rounds": 200,
    "max_depth": 6,
    "learning_rate": 0.1,
    "min_child_weight": 5.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_lambda": 1.0,
}
_OBJECTIVES = {
    LabelKind.REGRESSION: "reg:squarederror",
    LabelKind.BINARY: "binary:logistic",
    LabelKind.MULTICLASS: "multi:softprob",
}
# A number's values are told apart by quantiles. For means 64 do as well as 256, in half the time; rare classes hide in tails
_BINS = {LabelKind.REGRESSION: 64, LabelKind.BINARY: 256, LabelKind.MULTICLASS: 256}
_MOST_TREES = 1_500  # of many classes each gets a tree in each round: then fewer rounds than the parameters say


def draw(generator: np.random.Generator) -> Parameters:
    return {
        "rounds": int(generator.integers(100, 401)),
        "max_depth": int(generator.integers(3, 10)),
        "learning_rate": float(np.exp(generator.uniform(np.log(0.03), np.log(0.3)))),
        "min_child_weight": float(np.exp(generator.uniform(0.0, np.log(20.0)))),
        "subsample": float(generator.uniform(0.6, 1.0)),
        "colsample_bytree": float(generator.uniform(0.5, 1.0)),
        "reg_lambda": float(np.exp(generator.uniform(np.log(0.1), np.log(10.0)))),
    }


def settings_of(
    parameters: Parameters, kind: LabelKind, classes: int, seed: int, threads: int
) -> tuple[dict[str, Any], int]:
    """What XGBoost is told, and how many bins a number's values are told apart by."""
    bins = _BINS[kind]
    settings: dict[str, Any] = dict(parameters) | {
        "objective": _OBJECTIVES[kind],
        "tree_method": "hist",
        "seed": seed,
        "nthread": threads,
        "verbosity": 0,
        "max_bin": bins,
    }
    if kind is LabelKind.MULTICLASS:
        settings["num_class"] = classes
    return settings, bins


def rounds_of(parameters: Parameters, kind: LabelKind, classes: int) -> int:
    """In each of them every class gets a tree."""
    rounds = int(parameters["rounds"])
    return max(1, min(rounds, _MOST_TREES // classes)) if kind is LabelKind.MULTICLASS else rounds


def fit(task: Task, parameters: Parameters) -> Fitted:
    grown = {name: value for name, value in parameters.items() if name != "rounds"}
    settings, bins = settings_of(grown, task.kind, task.classes, task.seed, task.threads)
    if task.quantiles:
        settings |= {"objective": "reg:quantileerror", "quantile_alpha": list(task.quantiles)}
    rounds = rounds_of(parameters, task.kind, task.classes)
    matrix = xgboost.QuantileDMatrix(
        task.matrix, task.targets, weight=task.weights, nthread=task.threads, max_bin=bins
    )
    booster = xgboost.train(settings, matrix, rounds)
    return FittedXgboost(booster, task.matrix.shape[1])


@dataclass(frozen=True, slots=True)
class FittedXgboost:
    booster: xgboost.Booster
    width: int

    def answers(self, matrix: Matrix) -> NDArray[Any]:
        answers: NDArray[Any] = self.booster.inplace_predict(matrix)
        return answers

    def onnx(self) -> bytes:
        return onnx_of(self.booster, self.width)

    def native(self) -> Native:
        return Native(NativeFormat.UBJ, bytes(self.booster.save_raw("ubj")))
