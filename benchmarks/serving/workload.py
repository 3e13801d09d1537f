"""What every contender is asked: one XGBoost model, made once from a seed, and single rows of it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgboost
from numpy.typing import NDArray

TREES, DEPTH, FEATURES = 100, 6, 28
TRAINING_ROWS = 20_000
ASKED_ROWS = 100  # different ones, in turn
SEED = 5
NAME = "collisions"
COLUMNS = tuple(f"f{number:02d}" for number in range(FEATURES))


@dataclass(frozen=True, slots=True)
class Workload:
    """`rows` is [ASKED_ROWS, FEATURES] float32, `expected` the model's own answers to them, [ASKED_ROWS]."""

    booster: xgboost.Booster
    rows: NDArray[np.float32]
    expected: NDArray[np.float64]

    def save(self, path: Path) -> None:
        """In XGBoost's own JSON, which every peer's version reads."""
        self.booster.save_model(path)

    def lists(self) -> list[list[float]]:
        """The rows as what a client has: numbers of at most six digits after the point."""
        return [[round(float(value), 6) for value in row] for row in self.rows]


def make_workload() -> Workload:
    """A regression with interactions, so that trees of depth 6 are grown to it."""
    generator = np.random.default_rng(SEED)
    matrix = generator.normal(size=(TRAINING_ROWS, FEATURES)).astype(np.float32)
    target = (
        matrix[:, 0] * matrix[:, 1]
        + np.sin(matrix[:, 2] * 2)
        + np.abs(matrix[:, 3:8]).sum(axis=1)
        + generator.normal(scale=0.5, size=TRAINING_ROWS)
    )
    parameters = {
        "objective": "reg:squarederror",
        "max_depth": DEPTH,
        "tree_method": "hist",
        "seed": SEED,
        "nthread": 1,
    }
    booster = xgboost.train(parameters, xgboost.DMatrix(matrix, label=target), TREES)
    rows = np.round(generator.normal(size=(ASKED_ROWS, FEATURES)), 6).astype(np.float32)
    expected = booster.inplace_predict(rows).astype(np.float64)
    return Workload(booster, rows, expected)


def open_inference(row: list[float]) -> bytes:
    """A single row in the Open Inference Protocol's JSON."""
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, FEATURES], "data": row}
    return json.dumps({"inputs": [tensor]}).encode()


def under(key: str, row: list[float]) -> bytes:
    """A single row in a JSON of one key, as FastAPI, BentoML and MLflow take it."""
    return json.dumps({key: [row]}).encode()


def numbers_in(answer: object) -> list[float]:
    """Every number of a JSON answer, wherever it stands."""
    match answer:
        case bool():
            return []
        case int() | float():
            return [float(answer)]
        case list():
            return [number for one in answer for number in numbers_in(one)]
        case dict():
            return [number for one in answer.values() for number in numbers_in(one)]
    return []
