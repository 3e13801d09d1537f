"""scikit-learn's histogram boosting: XGBoost's kind of trees, grown leaf by leaf instead of level by level.

It knows missing numbers by itself, but not a column in which all are missing, so they are filled in as for all others.
"""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.sklearn_models import fit_steps
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task

DEFAULTS: Parameters = {
    "max_iter": 100,
    "learning_rate": 0.1,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
}
_MOST_TREES = 1_500  # of many classes each gets a tree in each round: then fewer rounds than the parameters say


def draw(generator: np.random.Generator) -> Parameters:
    return {
        "max_iter": int(generator.integers(50, 301)),
        "learning_rate": float(np.exp(generator.uniform(np.log(0.03), np.log(0.3)))),
        "max_leaf_nodes": int(generator.integers(8, 64)),
        "min_samples_leaf": int(generator.integers(5, 51)),
        "l2_regularization": float(np.exp(generator.uniform(np.log(0.01), np.log(10.0)))),
    }


def fit(task: Task, parameters: Parameters) -> Fitted:
    kind = (
        HistGradientBoostingRegressor
        if task.kind is LabelKind.REGRESSION
        else HistGradientBoostingClassifier
    )
    rounds = int(parameters["max_iter"])
    if task.kind is LabelKind.MULTICLASS:
        rounds = max(1, min(rounds, _MOST_TREES // task.classes))
    # stopping early would hold back random rows, of all times
    boosting = kind(
        **{**parameters, "max_iter": rounds}, early_stopping=False, random_state=task.seed
    )
    return fit_steps(task, ("boosting", boosting))
