"""Estimators by import path: which are let in, and what becomes of those that can't be shipped."""

import numpy as np
import pytest

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.task import Task
from millrace_training.adapters.fitting.job import NoCandidateError
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.own.own_models import own_algorithm, suiting_algorithm

HUBER, TREES = "sklearn.linear_model.HuberRegressor", "sklearn.ensemble.ExtraTreesClassifier"


def a_task(kind):
    random = np.random.default_rng(0)
    matrix = random.normal(size=(150, 3)).astype(np.float32)
    matrix[::7, 1] = np.nan
    values = matrix[:, 0].astype(float)
    classes = 0 if kind is LabelKind.REGRESSION else 2
    return Task(matrix, (values > 0) * 1.0 if classes else values, kind, classes, 3, 1)


@pytest.mark.parametrize(
    ("path", "kind", "given"),
    [
        (HUBER, LabelKind.REGRESSION, {"alpha": 0.1}),
        (TREES, LabelKind.BINARY, {"n_estimators": 5, "n_jobs": 8, "random_state": 99}),
    ],
)
def test_an_estimator_by_its_path_learns_and_gives_the_same_bytes_again(path, kind, given):
    algorithm = own_algorithm(path, Options(parameters={path: given}))
    task = a_task(kind)
    one, other = (algorithm.fit(task, algorithm.defaults) for _ in range(2))
    assert one.onnx() == other.onnx()
    assert one.native() == other.native()
    answers = one.answers(task.matrix)
    right = answers[:, -1] > 0.5 if kind is LabelKind.BINARY else answers > 0
    assert np.mean(right == (task.matrix[:, 0] > 0)) > 0.9
    made = one.pipeline[-1].get_params()
    assert (
        given.items()
        >= {name: made[name] for name in given if name not in ("n_jobs", "random_state")}.items()
    )
    assert (made.get("n_jobs"), made.get("random_state", 3)) == (None, 3)


@pytest.mark.parametrize(
    ("path", "options", "reason"),
    [
        ("os.path.join", Options(), "not of an allowed module"),
        ("sklearnish.Thing", Options(), "not of an allowed module"),
        (HUBER, Options(modules=()), "not of an allowed module"),
        (HUBER, Options(modules=("",)), "not of an allowed module"),
        (HUBER, Options(modules=("sklearn.ensemble",)), "not of an allowed module"),
        ("sklearn.nothing.Thing", Options(), "can't be imported"),
        ("sklearn.linear_model.Nothing", Options(), "not an estimator"),
        ("sklearn.datasets.load_iris", Options(), "not an estimator"),
        ("sklearn.preprocessing.StandardScaler", Options(), "neither a classifier nor a regressor"),
        ("sklearn.linear_model.RidgeClassifier", Options(), "gives no probabilities"),
        (HUBER, Options(parameters={HUBER: {"nope": 1}}), r"has no parameters \['nope'\]"),
    ],
)
def test_what_is_not_let_in_is_said(path, options, reason):
    with pytest.raises(NoCandidateError, match=reason):
        own_algorithm(path, options)


def test_a_classifier_does_not_suit_a_regression():
    with pytest.raises(NoCandidateError, match="does not suit a regression label"):
        suiting_algorithm(TREES, LabelKind.REGRESSION, Options())
    assert suiting_algorithm(TREES, LabelKind.BINARY, Options()).name == TREES


def test_parameters_that_the_estimator_refuses_are_a_reason():
    algorithm = own_algorithm(HUBER, Options(parameters={HUBER: {"epsilon": -5.0}}))
    with pytest.raises(NoCandidateError, match="does not learn these rows"):
        algorithm.fit(a_task(LabelKind.REGRESSION), algorithm.defaults)
