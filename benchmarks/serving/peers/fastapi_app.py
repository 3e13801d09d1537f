"""FastAPI and XGBoost the way most people write it. Runs in the environment `fastapi`."""

import os

import numpy as np
import xgboost
from fastapi import FastAPI
from pydantic import BaseModel

model = xgboost.XGBRegressor()
model.load_model(os.environ["BENCH_MODEL"])  # noqa: TID251  runs apart from the benchmark
app = FastAPI()


class Rows(BaseModel):
    rows: list[list[float]]


class Predictions(BaseModel):
    predictions: list[float]


@app.get("/health")
def health() -> dict[str, bool]:
    return {"ready": True}


@app.post("/predict")
def predict(body: Rows) -> Predictions:
    return Predictions(predictions=model.predict(np.array(body.rows)).tolist())
