"""A user's own choice: any scikit-learn estimator by import path, from modules that whoever runs the service allows.

A path is code that is run, so it comes from a list of modules that is a setting, never from the pipeline file alone; what is
found there must be a class that scikit-learn takes for a classifier or regressor. It answers through its ONNX form like all
others: one that the converter does not know, or of operators that no artifact may hold, is left out, and the run says so.
"""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.preprocessing import StandardScaler

from millrace_artifacts.signature import Encoding
from millrace_kernel.pipeline import LabelKind, Scalar, command_named, is_import_path
from millrace_training.adapters.fitting.algorithms.estimators import ALGORITHMS, Algorithm
from millrace_training.adapters.fitting.algorithms.sklearn_models import fit_steps
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task
from millrace_training.adapters.fitting.job import NoCandidateError
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.own.commands import command_algorithm


def algorithm_of(name: str, options: Options) -> Algorithm | None:
    """A kind of model by its name, import path or command; None for a name that there is not. Raises NoCandidateError."""
    if command_named(name) is not None:
        return command_algorithm(name, options)
    return own_algorithm(name, options) if is_import_path(name) else ALGORITHMS.get(name)


def suiting_algorithm(name: str, kind: LabelKind, options: Options) -> Algorithm:
    """A kind of model for this label and what is asked beside the value. Raises NoCandidateError with why there is none."""
    algorithm = algorithm_of(name, options)
    if algorithm is None or kind not in algorithm.kinds:
        raise NoCandidateError(f"{name} does not suit a {kind} label")
    if options.quantiles and not algorithm.quantiles:
        raise NoCandidateError(f"{name} does not answer quantiles; xgboost does")
    return algorithm


def own_algorithm(path: str, options: Options) -> Algorithm:
    """The estimator at an import path as a kind of model. Its columns are scaled, categories one-hot.

    Raises NoCandidateError for a module that is not allowed, a class that is none, or parameters that it does not have.
    """
    kind = _class_at(path, options.modules)
    given: Parameters = cast(Parameters, options.parameters.get(path, {}))
    made = _made(path, kind, given, 0)
    if is_classifier(made):
        kinds = frozenset({LabelKind.BINARY, LabelKind.MULTICLASS})
        if not hasattr(kind, "predict_proba"):
            raise NoCandidateError(
                f"{path} gives no probabilities; use a classifier that has predict_proba"
            )
    elif is_regressor(made):
        kinds = frozenset({LabelKind.REGRESSION})
    else:
        raise NoCandidateError(f"{path} is neither a classifier nor a regressor")

    def draw(_: np.random.Generator) -> Parameters:
        return given

    def fit(task: Task, parameters: Parameters) -> Fitted:
        estimator = _made(path, kind, parameters, task.seed)
        try:
            return fit_steps(task, ("scaler", StandardScaler()), ("own", estimator))
        except (TypeError, ValueError) as error:
            raise NoCandidateError(f"{path} does not learn these rows: {error}") from error

    return Algorithm(path, kinds, Encoding.ONE_HOT, given, draw, fit)


def _class_at(path: str, modules: tuple[str, ...]) -> type[BaseEstimator]:
    module, _, name = path.rpartition(".")
    # a prefix that does not end with a dot would allow sklearn_of_somebody_else too
    if not any(
        f"{module}.".startswith(f"{each.rstrip('.')}.") for each in modules if each.strip(".")
    ):
        raise NoCandidateError(
            f"{path} is not of an allowed module ({', '.join(modules)}); add it to TRAINING_ESTIMATOR_MODULES"
        )
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise NoCandidateError(f"{path} can't be imported: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, BaseEstimator)):
        raise NoCandidateError(f"{path} is not an estimator of scikit-learn")
    return found


def _made(path: str, kind: type[BaseEstimator], given: Mapping[str, Scalar], seed: int) -> Any:  # noqa: ANN401  any estimator
    """One thread and the job's seed, whatever the file says: else two fits would not be alike."""
    known = inspect.signature(kind).parameters
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise NoCandidateError(f"{path} has no parameters {unknown}; it has {sorted(known)}")
    fixed = {"random_state": seed, "n_jobs": None, "probability": True, "warm_start": False}
    try:
        return kind(**{**given, **{name: each for name, each in fixed.items() if name in known}})
    except (TypeError, ValueError) as error:
        raise NoCandidateError(f"{path} can't be made: {error}") from error
