"""The kinds of model by the names that pipeline files use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from millrace_artifacts.signature import Encoding
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms import (
    boosting_models,
    forests,
    linear_models,
    neighbour_models,
    online_models,
    retrieval_models,
    xgboost_models,
)
from millrace_training.adapters.fitting.algorithms.task import Fitted, Parameters, Task


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`draw` takes parameters from the search space. `fit` is deterministic in the task."""

    name: str
    kinds: frozenset[LabelKind]  # of labels that it suits
    encoding: Encoding
    defaults: Parameters
    draw: Callable[[np.random.Generator], Parameters]
    fit: Callable[[Task, Parameters], Fitted]
    quantiles: bool = False  # whether it heeds `Task.quantiles`


_EVERY = frozenset({LabelKind.BINARY, LabelKind.MULTICLASS, LabelKind.REGRESSION})

ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            name="xgboost",
            kinds=_EVERY,
            encoding=Encoding.ORDINAL,
            defaults=xgboost_models.DEFAULTS,
            draw=xgboost_models.draw,
            fit=xgboost_models.fit,
            quantiles=True,
        ),
        Algorithm(
            name="random_forest",
            kinds=_EVERY,
            encoding=Encoding.ORDINAL,
            defaults=forests.DEFAULTS,
            draw=forests.draw,
            fit=forests.fit,
        ),
        Algorithm(
            name="hist_gradient_boosting",
            kinds=_EVERY,
            encoding=Encoding.ORDINAL,
            defaults=boosting_models.DEFAULTS,
            draw=boosting_models.draw,
            fit=boosting_models.fit,
        ),
        Algorithm(
            name="k_nearest",
            kinds=_EVERY,
            encoding=Encoding.ONE_HOT,
            defaults=neighbour_models.DEFAULTS,
            draw=neighbour_models.draw,
            fit=neighbour_models.fit,
        ),
        Algorithm(
            name="linear",
            kinds=frozenset({LabelKind.REGRESSION}),
            encoding=Encoding.ONE_HOT,
            defaults=linear_models.RIDGE,
            draw=linear_models.draw_ridge,
            fit=linear_models.fit_ridge,
        ),
        Algorithm(
            name="logistic",
            kinds=_EVERY - {LabelKind.REGRESSION},
            encoding=Encoding.ONE_HOT,
            defaults=linear_models.LOGISTIC,
            draw=linear_models.draw_logistic,
            fit=linear_models.fit_logistic,
        ),
        Algorithm(
            name="online_linear",
            kinds=frozenset({LabelKind.REGRESSION}),
            encoding=Encoding.ONE_HOT,
            defaults=online_models.DEFAULTS,
            draw=online_models.draw,
            fit=online_models.fit,
        ),
        Algorithm(
            name="retrieval",
            kinds=frozenset({LabelKind.TEXT}),
            encoding=Encoding.ONE_HOT,
            defaults=retrieval_models.DEFAULTS,
            draw=retrieval_models.draw,
            fit=retrieval_models.fit,
        ),
        Algorithm(
            name="online_logistic",
            kinds=_EVERY - {LabelKind.REGRESSION},
            encoding=Encoding.ONE_HOT,
            defaults=online_models.DEFAULTS,
            draw=online_models.draw,
            fit=online_models.fit,
        ),
    )
}
