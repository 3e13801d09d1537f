"""Saves the model the way MLflow serves it. Runs in the environment `mlflow`: `python mlflow_model.py MODEL FOLDER`."""

import sys
from pathlib import Path

import mlflow.xgboost
import xgboost

if not Path(sys.argv[2]).exists():
    model = xgboost.XGBRegressor()
    model.load_model(sys.argv[1])
    mlflow.xgboost.save_model(model, sys.argv[2], model_format="json")
