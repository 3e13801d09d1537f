"""A BentoML service as its documentation writes it. Runs in the environment `bentoml`."""

import os

import bentoml
import numpy as np
import xgboost


@bentoml.service(name="collisions", workers=1)
class Collisions:
    def __init__(self) -> None:
        self.model = xgboost.XGBRegressor()
        self.model.load_model(os.environ["BENCH_MODEL"])  # noqa: TID251  runs apart from the benchmark

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict(rows)
