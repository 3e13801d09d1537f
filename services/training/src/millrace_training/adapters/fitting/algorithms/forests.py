"""Random forests, kept small enough to ship: their size grows with the rows, unlike boosted trees'."""

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.sklearn_models import fit_steps
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task

DEFAULTS: Parameters = {
    "n_estimators": 50,
    "max_depth": 12,
    "min_samples_leaf": 5,
    "max_features": 0.5,
}


def draw(generator: np.random.Generator) -> Parameters:
    return {
        "n_estimators": int(generator.integers(30, 81)),
        "max_depth": int(generator.integers(6, 15)),
        "min_samples_leaf": int(generator.integers(2, 21)),
        "max_features": float(generator.uniform(0.3, 1.0)),
    }


def fit(task: Task, parameters: Parameters) -> Fitted:
    kind = RandomForestRegressor if task.kind is LabelKind.REGRESSION else RandomForestClassifier
    forest = kind(**parameters, random_state=task.seed, n_jobs=1)
    return fit_steps(task, ("forest", forest))
