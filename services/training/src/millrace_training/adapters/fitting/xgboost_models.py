"""Gradient-boosted trees."""

import json
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from millrace_artifacts.artifact import Native, NativeFormat
from millrace_artifacts.signature import Matrix
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.task import Fitted, Parameters, Task

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
_OPSET = 15  # read by every ONNX Runtime since 2021


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


def fit(task: Task, parameters: Parameters) -> Fitted:
    grown = {name: value for name, value in parameters.items() if name != "rounds"}
    settings, bins = settings_of(grown, task.kind, task.classes, task.seed, task.threads)
    if task.quantiles:
        settings |= {"objective": "reg:quantileerror", "quantile_alpha": list(task.quantiles)}
    rounds = int(parameters["rounds"])
    if task.kind is LabelKind.MULTICLASS:
        rounds = max(1, min(rounds, _MOST_TREES // task.classes))
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
        inputs = [("input", FloatTensorType([None, self.width]))]
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # the converters warn of their own libraries' deprecations
            model = convert_xgboost(
                self.booster, name="model", initial_types=inputs, target_opset=_OPSET
            )
        _assign_targets(model.graph, self.booster)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def native(self) -> Native:
        return Native(NativeFormat.UBJ, bytes(self.booster.save_raw("ubj")))


def _assign_targets(graph: Any, booster: xgboost.Booster) -> None:  # noqa: ANN401  onnx is typed loosely
    """Every tree of a model of several quantiles is of one of them; onnxmltools 1.16 takes all for the first's."""
    attributes = {each.name: each for each in graph.node[0].attribute}
    targets = attributes["n_targets"].i if "n_targets" in attributes else 1
    if targets < 2:
        return
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
    of_tree = model["tree_info"]
    places = [of_tree[tree] for tree in attributes["target_treeids"].ints]
    del attributes["target_ids"].ints[:]
    attributes["target_ids"].ints.extend(places)
    graph.output[-1].type.tensor_type.shape.dim[1].dim_value = targets
