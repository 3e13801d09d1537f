"""What the models of scikit-learn have in common: a pipeline that fills in what is missing, and its export."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from millrace_artifacts.artifact import Native, NativeFormat
from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.native import dump_sklearn
from millrace_artifacts.signature import Matrix
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.task import Fitted, Task

_OPSET = 15  # read by every ONNX Runtime since 2021


def fit_steps(task: Task, *steps: tuple[str, Any]) -> Fitted:
    """Fit the steps behind the means of the columns, which stand in for missing numbers and travel in the ONNX model."""
    # a column that is all missing is kept, as zeros: the matrix's width is the signature's
    imputer = SimpleImputer(strategy="mean", keep_empty_features=True)
    return fit_only(task, ("imputer", imputer), *steps)


def fit_only(task: Task, *steps: tuple[str, Any]) -> Fitted:
    """Fit the steps, which know what to do with missing numbers (NaN)."""
    pipeline = Pipeline(list(steps))
    classifies = task.kind is not LabelKind.REGRESSION
    targets = task.targets.astype(np.int64) if classifies else task.targets
    with threadpool_limits(limits=task.threads), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # a logistic regression that has not quite converged is measured like any other
        pipeline.fit(task.matrix, targets, **_weights(task, *steps[-1]))
    return FittedSklearn(pipeline, task.matrix.shape[1], classifies)


def _weights(task: Task, name: str, estimator: Any) -> dict[str, Any]:  # noqa: ANN401  any estimator
    """For the last step, where it can tell rows apart by weight; one that can't takes all as the same."""
    if task.weights is None or not has_fit_parameter(estimator, "sample_weight"):
        return {}
    return {f"{name}__sample_weight": task.weights}


@dataclass(frozen=True, slots=True)
class FittedSklearn:
    pipeline: Pipeline
    width: int
    classifies: bool

    def answers(self, matrix: Matrix) -> NDArray[Any]:
        # boosting's threads would spin where no core is idle
        with threadpool_limits(limits=1):
            ask = self.pipeline.predict_proba if self.classifies else self.pipeline.predict
            answers: NDArray[Any] = ask(matrix)
        return answers

    def onnx(self) -> bytes:
        inputs = [("input", FloatTensorType([None, self.width]))]
        options = {id(self.pipeline): {"zipmap": False}} if self.classifies else None
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # the converters warn of their own libraries' deprecations
            model = self._converted(inputs, options)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _converted(self, inputs: list[Any], options: dict[Any, Any] | None) -> Any:  # noqa: ANN401  onnx is typed loosely
        try:
            return to_onnx(
                self.pipeline,
                name="model",
                initial_types=inputs,
                options=options,
                target_opset=_OPSET,
            )
        except (
            Exception
        ) as error:  # whatever a converter raises of an estimator that it does not know
            reason = (str(error).strip().splitlines() or [""])[0]
            raise UnreadableArtifactError(f"it has no ONNX form: {reason}") from error

    def native(self) -> Native:
        return Native(NativeFormat.SKOPS, dump_sklearn(self.pipeline))
