"""Ridge and logistic regression over scaled columns."""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from millrace_training.adapters.fitting.algorithms.sklearn_models import fit_steps
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task

RIDGE: Parameters = {"alpha": 1.0}
LOGISTIC: Parameters = {"C": 1.0}
_MOST_ITERATIONS = 500


def draw_ridge(generator: np.random.Generator) -> Parameters:
    return {"alpha": _log_uniform(generator, 1e-3, 1e3)}


def draw_logistic(generator: np.random.Generator) -> Parameters:
    return {"C": _log_uniform(generator, 1e-3, 1e2)}


def fit_ridge(task: Task, parameters: Parameters) -> Fitted:
    return fit_steps(task, ("scaler", StandardScaler()), ("ridge", Ridge(**parameters)))


def fit_logistic(task: Task, parameters: Parameters) -> Fitted:
    regression = LogisticRegression(**parameters, max_iter=_MOST_ITERATIONS)
    return fit_steps(task, ("scaler", StandardScaler()), ("logistic", regression))


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))
