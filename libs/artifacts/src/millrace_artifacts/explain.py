"""Why a model answered as it did: each feature's share in the answer, as SHAP values, exact for what training makes.

    boosted trees   TreeSHAP, by XGBoost itself
    forests         TreeSHAP over scikit-learn's trees (`tree_shap`)
    linear models   weight x (value - training mean), which are the Shapley values when features are taken as independent

Base and shares add up to the model's raw output, in a space that is named. This opens a model as its own library's
object, from formats that hold data and no code, by the fixed lists of `native`; do it in a process of its own (`explaining`).
"""

import importlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from millrace_artifacts.artifact import Artifact, NativeFormat
from millrace_artifacts.errors import ArtifactError, ExamplesDifferError, UnreadableArtifactError
from millrace_artifacts.native import load_sklearn
from millrace_artifacts.scorer import EXAMPLE_TOLERANCE
from millrace_artifacts.sentence_encoders import SentenceEncoder, open_encoder
from millrace_artifacts.signature import Encoder, Encoding, Matrix, Numbers, Signature
from millrace_artifacts.tree_shap import Tree, TreeShap
from millrace_kernel.pipeline import LabelKind

# What is explained is the model itself, what answers its ONNX form: both may differ by the parity's tolerance
_TOLERANCE = 10 * EXAMPLE_TOLERANCE


class UnexplainableError(ArtifactError):
    """A model of a kind that can't be explained, or one that is stored without its own library's form."""


class Space(StrEnum):
    """What base and shares add up to."""

    VALUE = "value"  # regression: the answer itself
    PROBABILITY = "probability"  # forests: the class's probability
    LOG_ODDS = "log_odds"  # binary: log(p / (1 - p))
    LOGITS = "logits"  # multiclass: the softmax of all classes' sums gives the probabilities


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """SHAP values of some rows: `base[k] + contributions[row, :, k].sum()` is the model's raw output k for the row.

    `base` is float64 [outputs], `contributions` float64 [rows, features, outputs], the features in the order of the
    signature's numbers, then categories. One output, or for multiclass one per class in the order of `Signature.classes`.
    """

    space: Space
    base: Numbers
    contributions: Numbers

    @property
    def totals(self) -> Numbers:
        """The model's raw outputs: [rows, outputs]."""
        totals: Numbers = self.base + self.contributions.sum(axis=1)
        return totals


class Explainer:
    """A model that can be asked why. Not safe to share between threads."""

    def __init__(
        self,
        signature: Signature,
        explanation: "_Explanation",
        encoder: SentenceEncoder | None = None,
    ) -> None:
        """`encoder`: what the signature's texts are read by, where they name one."""
        self.signature = signature
        self._held = encoder
        self._encoder = Encoder(signature)
        self._explanation = explanation

    def explain(self, numbers: Numbers, categories: list[tuple[str, ...]]) -> Explained:
        """For float64 [rows, numbers] (NaN: missing) and [rows][categories]. Raises WrongColumnsError."""
        matrix = self._encoder.encode(numbers, categories)
        explanation = self._explanation
        shares = np.asarray(explanation.contributions(matrix), dtype=np.float64)
        return Explained(explanation.space, explanation.base, self._by_feature(shares))

    def _by_feature(self, shares: Numbers) -> Numbers:
        """A category's one-hot columns together are the category, a text's buckets the text: [rows, width, outputs] to
        [rows, features, outputs]."""
        signature = self.signature
        if signature.encoding is Encoding.ORDINAL and not signature.texts:
            return shares
        count = len(signature.numbers)
        found = np.zeros((len(shares), count + len(signature.categories), shares.shape[2]))
        found[:, :count] = shares[:, :count]
        for place, span in enumerate(signature.spans):
            found[:, count + place] = shares[:, span].sum(axis=1)
        return found


class _Explanation(Protocol):
    """Of one kind of model, over encoded matrices."""

    @property
    def space(self) -> Space: ...
    @property
    def base(self) -> Numbers: ...
    def contributions(self, matrix: Matrix, /) -> Numbers:
        """[rows, width, outputs]."""


def load_explainer(artifact: Artifact) -> Explainer:
    """The explainer of the model that answers, after its sums have given the artifact's examples their answers.

    Raises UnexplainableError, UnreadableArtifactError, ExamplesDifferError.
    """
    native, signature = artifact.model.native, artifact.signature
    if native is None:
        raise UnexplainableError(
            f"the model of {signature.pipeline} is stored as ONNX only, which does not say what it has learnt from; "
            "train again, or ask without explain"
        )
    if signature.quantiles or native.format is NativeFormat.RIVER:
        what = "answers quantiles" if signature.quantiles else "learns online"
        raise UnexplainableError(
            f"the model of {signature.pipeline} {what}, which can't be explained; ask without explain"
        )
    explanation: _Explanation
    if native.format is NativeFormat.UBJ:
        explanation = _Boosted(native.content, signature)
    else:
        explanation = _of_sklearn(load_sklearn(native.content), signature)
    held = artifact.model.encoder
    explainer = Explainer(signature, explanation, None if held is None else open_encoder(held))
    if signature.label_kind is LabelKind.REGRESSION or not artifact.model.only_onnx:
        # else the answers are calibrated; what is explained is the model before that
        _check_examples(explainer, artifact)
    return explainer


class _Boosted:
    """XGBoost's own TreeSHAP, over the sum of its trees."""

    def __init__(self, content: bytes, signature: Signature) -> None:
        self._xgboost = importlib.import_module("xgboost")
        try:
            self._booster = self._xgboost.Booster({"nthread": 1}, model_file=bytearray(content))
        except (self._xgboost.core.XGBoostError, ValueError) as error:
            raise UnreadableArtifactError(
                f"XGBoost {self._xgboost.__version__} refuses the model: {error}"
            ) from error
        self.space = _space_of(signature.label_kind)
        # the base is every row's last share: any row tells it
        self.base = self._shares(np.zeros((1, signature.width), np.float32))[0, -1]

    def contributions(self, matrix: Matrix) -> Numbers:
        return self._shares(matrix)[:, :-1]

    def _shares(self, matrix: Matrix) -> Numbers:
        """[rows, width + 1, outputs]."""
        asked = self._xgboost.DMatrix(matrix, nthread=1)
        found = np.asarray(self._booster.predict(asked, pred_contribs=True), dtype=np.float64)
        return found[:, :, np.newaxis] if found.ndim == 2 else found.transpose(0, 2, 1)


class _Linear:
    """Weights over scaled columns: what a column adds when its value is not the training rows' mean.

    Source: Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017, corollary 1.
    """

    def __init__(self, fill: Numbers, scaler: Any, estimator: Any, space: Space) -> None:  # noqa: ANN401 - sklearn is not typed
        self.space = space
        coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
        self.base = np.broadcast_to(
            np.asarray(estimator.intercept_, dtype=np.float64), len(coefficients)
        )
        self._fill = fill
        self._means = np.asarray(scaler.mean_, dtype=np.float64)
        self._weights = (coefficients / np.asarray(scaler.scale_, dtype=np.float64)).T

    def contributions(self, matrix: Matrix) -> Numbers:
        filled = np.where(np.isnan(matrix), self._fill, matrix)
        return (filled - self._means)[:, :, np.newaxis] * self._weights


class _Forest:
    """The mean of a forest's trees."""

    def __init__(self, fill: Numbers, estimator: Any, signature: Signature) -> None:  # noqa: ANN401 - sklearn is not typed
        kind = signature.label_kind
        self.space = Space.VALUE if kind is LabelKind.REGRESSION else Space.PROBABILITY
        members = estimator.estimators_
        self._shap = TreeShap(
            [_tree_of(member.tree_, signature, len(members)) for member in members]
        )
        self.base = self._shap.base
        self._fill = fill.astype(np.float32)

    def contributions(self, matrix: Matrix) -> Numbers:
        return self._shap.contributions(np.where(np.isnan(matrix), self._fill, matrix))


def _tree_of(tree: Any, signature: Signature, members: int) -> Tree:  # noqa: ANN401 - sklearn is not typed
    values = np.asarray(tree.value, dtype=np.float64)[:, 0, :]
    if signature.label_kind is not LabelKind.REGRESSION:
        values = values / values.sum(axis=1, keepdims=True)
    if signature.label_kind is LabelKind.BINARY:
        values = values[:, 1:]
    return Tree(
        left=np.asarray(tree.children_left, dtype=np.int64),
        right=np.asarray(tree.children_right, dtype=np.int64),
        column=np.asarray(tree.feature, dtype=np.int64),
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        cover=np.asarray(tree.weighted_n_node_samples, dtype=np.float64),
        values=values / members,
        width=signature.width,
    )


def _of_sklearn(pipeline: Any, signature: Signature) -> _Explanation:  # noqa: ANN401 - sklearn is not typed
    """Raises UnexplainableError for steps that training does not make."""
    try:
        (_, imputer), *between, (_, estimator) = pipeline.steps
        kinds = [type(step).__name__ for step in (imputer, *(s for _, s in between), estimator)]
        fill = np.asarray(imputer.statistics_, dtype=np.float64)
        match kinds:
            case ["SimpleImputer", "StandardScaler", "Ridge" | "LogisticRegression"]:
                return _Linear(fill, between[0][1], estimator, _space_of(signature.label_kind))
            case ["SimpleImputer", "RandomForestRegressor" | "RandomForestClassifier"]:
                return _Forest(fill, estimator, signature)
            case _:
                pass
    except ArtifactError:
        raise
    except Exception as error:  # whatever an object does that was not made by training
        raise UnreadableArtifactError(
            f"the model's scikit-learn form is not training's: {error}"
        ) from error
    raise UnexplainableError(
        f"a model made of {', '.join(kinds)} can't be explained; ask without explain"
    )


def _space_of(kind: LabelKind) -> Space:
    return {
        LabelKind.REGRESSION: Space.VALUE,
        LabelKind.BINARY: Space.LOG_ODDS,
        LabelKind.MULTICLASS: Space.LOGITS,
        LabelKind.TEXT: Space.VALUE,  # never asked for: what answers in words has no library's form
    }[kind]


def answers_of(explained: Explained) -> Numbers:
    """The model's answers that the sums amount to: [rows, outputs] values or probabilities (binary: of class 1)."""
    totals = explained.totals
    match explained.space:
        case Space.VALUE | Space.PROBABILITY:
            return totals
        case Space.LOG_ODDS:
            return 1.0 / (1.0 + np.exp(-np.clip(totals, -700.0, 700.0)))
        case Space.LOGITS:
            powers = np.exp(totals - totals.max(axis=1, keepdims=True))
            softmax: Numbers = powers / powers.sum(axis=1, keepdims=True)
            return softmax


def _check_examples(explainer: Explainer, artifact: Artifact) -> None:
    examples, kind = artifact.examples, artifact.signature.label_kind
    if not examples:
        return
    numbers = np.array([row.numbers for row in examples], dtype=np.float64)
    found = answers_of(
        explainer.explain(numbers.reshape(len(examples), -1), [row.categories for row in examples])
    )
    if kind is LabelKind.REGRESSION:
        expected = np.array([[row.value] for row in examples])
        scale = float(np.max(np.abs(expected)))
    else:
        expected = np.array([row.probabilities for row in examples])
        expected = expected[:, 1:] if kind is LabelKind.BINARY else expected
        scale = 1.0
    if found.shape != expected.shape or not np.allclose(
        found, expected, rtol=0.0, atol=_TOLERANCE * scale
    ):
        raise ExamplesDifferError(
            f"{artifact.signature.pipeline}: the explanation adds up to {found.tolist()}, "
            f"but the model answered {expected.tolist()}: train again"
        )
