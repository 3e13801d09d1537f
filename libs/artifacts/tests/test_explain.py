"""Explanations of models as training makes them: base and shares are the answer, and nothing else is."""

import importlib
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import xgboost
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as XgboostTensor
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from millrace_artifacts.artifact import (
    Artifact,
    Example,
    Learnt,
    Model,
    Native,
    NativeFormat,
    Parity,
)
from millrace_artifacts.errors import (
    ExamplesDifferError,
    UnreadableArtifactError,
    WrongColumnsError,
)
from millrace_artifacts.explain import Space, UnexplainableError, answers_of, load_explainer
from millrace_artifacts.native import dump_sklearn, load_sklearn
from millrace_artifacts.scorer import load_scorer
from millrace_artifacts.signature import BINARY_CLASSES, Encoding, Signature
from millrace_kernel.pipeline import LabelKind

CLASSES = {
    LabelKind.REGRESSION: (),
    LabelKind.BINARY: BINARY_CLASSES,
    LabelKind.MULTICLASS: ("cold", "mild", "warm"),
}
OBJECTIVES = {
    LabelKind.REGRESSION: {"objective": "reg:squarederror"},
    LabelKind.BINARY: {"objective": "binary:logistic"},
    LabelKind.MULTICLASS: {"objective": "multi:softprob", "num_class": 3},
}
KINDS = [kind for kind in LabelKind if kind is not LabelKind.TEXT]  # which nothing explains
ALGORITHMS = ["xgboost", "forest", "linear"]


def rows_of(count: int, seed: int = 0):
    """Numbers with gaps, and categories of which some are unknown; the third number matters in two ways."""
    generator = np.random.default_rng(seed)
    numbers = generator.normal(size=(count, 3))
    numbers[generator.random(numbers.shape) < 0.1] = np.nan
    words = [("clear", "rain", "snow", "hail")[place] for place in generator.integers(0, 4, count)]
    days = [("mo", "tu")[place] for place in generator.integers(0, 2, count)]
    return numbers, list(zip(words, days, strict=True))


def labels_of(kind, numbers, categories):
    filled = np.nan_to_num(numbers)
    rain = np.array([word == "rain" for word, _ in categories])
    score = 2.0 * filled[:, 0] - filled[:, 1] * filled[:, 2] + 1.5 * rain
    match kind:
        case LabelKind.REGRESSION:
            return 100.0 + 30.0 * score
        case LabelKind.BINARY:
            return (score > 0.3).astype(np.int64)
        case LabelKind.MULTICLASS:
            return np.digitize(score, [-0.5, 1.0]).astype(np.int64)


def sklearn_model(algorithm, kind, matrix, labels):
    classifies = kind is not LabelKind.REGRESSION
    imputer = SimpleImputer(strategy="mean", keep_empty_features=True)
    if algorithm == "forest":
        forest = RandomForestClassifier if classifies else RandomForestRegressor
        steps = [("forest", forest(12, max_depth=7, min_samples_leaf=3, random_state=1))]
    else:
        estimator = LogisticRegression(max_iter=500) if classifies else Ridge()
        steps = [("scaler", StandardScaler()), ("linear", estimator)]
    pipeline = Pipeline([("imputer", imputer), *steps]).fit(matrix, labels)
    options = {id(pipeline): {"zipmap": False}} if classifies else None
    onnx = to_onnx(
        pipeline,
        initial_types=[("input", FloatTensorType([None, matrix.shape[1]]))],
        options=options,
        target_opset=15,
    ).SerializeToString()
    return onnx, Native(NativeFormat.SKOPS, dump_sklearn(pipeline))


def xgboost_model(kind, matrix, labels):
    settings = {"max_depth": 5, "seed": 1, "nthread": 1, **OBJECTIVES[kind]}
    booster = xgboost.train(settings, xgboost.DMatrix(matrix, labels, nthread=1), 20)
    inputs = [("input", XgboostTensor([None, matrix.shape[1]]))]
    onnx = convert_xgboost(booster, initial_types=inputs, target_opset=15).SerializeToString()
    return onnx, Native(NativeFormat.UBJ, bytes(booster.save_raw("ubj")))


@cache
def artifact_of(algorithm: str, kind: LabelKind) -> Artifact:
    signature = Signature(
        pipeline="bikes",
        pipeline_version=1,
        numbers=("temp", "hum", "wind"),
        categories=("weather", "day"),
        vocabularies=(("clear", "rain", "snow"), ("mo", "tu")),
        encoding=Encoding.ONE_HOT if algorithm == "linear" else Encoding.ORDINAL,
        label_kind=kind,
        classes=CLASSES[kind],
    )
    numbers, categories = rows_of(400)
    matrix, labels = signature.encode(numbers, categories), labels_of(kind, numbers, categories)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converters' own deprecations
        onnx, native = (
            xgboost_model(kind, matrix, labels)
            if algorithm == "xgboost"
            else sklearn_model(algorithm, kind, matrix, labels)
        )
    artifact = Artifact(
        algorithm=algorithm,
        parameters="{}",
        model=Model(signature, Parity(0.0, 1e-4, 10), onnx, native),
        measured=None,
        metrics={},
        learnt=Learnt(400, 1, 2, 10, 1),
        libraries={},
        examples=(),
    )
    return replace(artifact, examples=examples_of(artifact))


def examples_of(artifact: Artifact) -> tuple[Example, ...]:
    numbers, categories = rows_of(5, seed=3)
    scores = load_scorer(artifact).score(numbers, categories)
    return tuple(
        Example(
            tuple(None if np.isnan(number) else number for number in row),
            categories[place],
            float(scores.values[place]),
            () if scores.probabilities is None else tuple(scores.probabilities[place].tolist()),
        )
        for place, row in enumerate(numbers.tolist())
    )


@pytest.fixture(scope="module", params=[(a, k) for a in ALGORITHMS for k in KINDS], ids=str)
def artifact(request):
    return artifact_of(*request.param)


def test_base_and_shares_add_up_to_what_the_model_answers(artifact):
    numbers, categories = rows_of(60, seed=7)
    scores = load_scorer(artifact).score(numbers, categories)

    explained = load_explainer(artifact).explain(numbers, categories)

    kind = artifact.signature.label_kind
    outputs = 3 if kind is LabelKind.MULTICLASS else 1
    assert explained.base.shape == (outputs,)
    assert explained.contributions.shape == (60, 5, outputs)
    if kind is LabelKind.REGRESSION:
        np.testing.assert_allclose(explained.totals[:, 0], scores.values, rtol=1e-4)
    else:
        wanted = scores.probabilities if outputs == 3 else scores.probabilities[:, 1:]
        np.testing.assert_allclose(answers_of(explained), wanted, atol=1e-4)
    assert explained.space is {
        ("forest", True): Space.PROBABILITY,
        ("forest", False): Space.VALUE,
    }.get(
        (artifact.algorithm, kind is not LabelKind.REGRESSION),
        {
            LabelKind.REGRESSION: Space.VALUE,
            LabelKind.BINARY: Space.LOG_ODDS,
            LabelKind.MULTICLASS: Space.LOGITS,
        }[kind],
    )


def test_a_row_is_explained_the_same_alone_and_among_others(artifact):
    numbers, categories = rows_of(8, seed=5)
    explainer = load_explainer(artifact)

    together = explainer.explain(numbers, categories).contributions

    for place in range(8):
        alone = explainer.explain(numbers[place : place + 1], categories[place : place + 1])
        np.testing.assert_allclose(alone.contributions[0], together[place], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_forests_shares_are_those_of_the_shap_library(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its plots', which nobody asked for
        shap = importlib.import_module("shap")
    artifact = artifact_of("forest", kind)
    numbers, categories = rows_of(20, seed=9)
    pipeline = load_sklearn(artifact.model.native.content)
    matrix = pipeline[:-1].transform(artifact.signature.encode(numbers, categories))
    oracle = shap.TreeExplainer(pipeline[-1], feature_perturbation="tree_path_dependent")
    wanted = np.asarray(oracle.shap_values(matrix, check_additivity=False))
    wanted = wanted[:, :, np.newaxis] if wanted.ndim == 2 else wanted

    found = load_explainer(artifact).explain(numbers, categories).contributions

    np.testing.assert_allclose(
        found, wanted[:, :, 1:] if kind is LabelKind.BINARY else wanted, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_models_shares_are_its_weights_times_the_distance_from_the_mean(kind):
    """Each feature's share is what changes when it alone is put to the training rows' mean."""
    artifact = artifact_of("linear", kind)
    pipeline = load_sklearn(artifact.model.native.content)
    numbers, categories = rows_of(10, seed=2)
    matrix = artifact.signature.encode(numbers, categories).astype(np.float64)
    filled = np.where(np.isnan(matrix), pipeline[0].statistics_, matrix)

    def raw(rows):
        scaled = (rows - pipeline[1].mean_) / pipeline[1].scale_
        return scaled @ np.atleast_2d(pipeline[2].coef_).T + pipeline[2].intercept_

    explained = load_explainer(artifact).explain(numbers, categories)

    columns = {0: [0], 1: [1], 2: [2], 3: [3, 4, 5], 4: [6, 7]}
    for feature, places in columns.items():
        without = filled.copy()
        without[:, places] = pipeline[1].mean_[places]
        np.testing.assert_allclose(
            explained.contributions[:, feature], raw(filled) - raw(without), atol=1e-6
        )
    np.testing.assert_allclose(explained.base, raw(pipeline[1].mean_[np.newaxis])[0], atol=1e-6)


def test_a_missing_number_has_no_share_in_a_linear_answer():
    explainer = load_explainer(artifact_of("linear", LabelKind.REGRESSION))

    explained = explainer.explain(np.array([[1.0, np.nan, 1.0]]), [("rain", "mo")])

    assert abs(explained.contributions[0, 1, 0]) < 1e-4 < abs(explained.contributions[0, 0, 0])


def test_examples_that_the_sums_do_not_answer_are_found_out():
    artifact = artifact_of("xgboost", LabelKind.REGRESSION)
    other = artifact_of("forest", LabelKind.REGRESSION)

    with pytest.raises(ExamplesDifferError, match="adds up to"):
        load_explainer(replace(artifact, examples=tuple(
            replace(example, value=example.value + 5.0) for example in artifact.examples
        )))  # fmt: skip
    swapped = replace(other.model, native=artifact.model.native)
    with pytest.raises(ExamplesDifferError):
        load_explainer(replace(other, model=swapped))


def test_a_model_without_its_librarys_form_cannot_be_explained():
    artifact = artifact_of("linear", LabelKind.REGRESSION)

    with pytest.raises(UnexplainableError, match="ONNX only"):
        load_explainer(replace(artifact, model=replace(artifact.model, native=None)))


@pytest.mark.parametrize(
    ("native", "error", "words"),
    [
        (Native(NativeFormat.UBJ, b"{no model"), UnreadableArtifactError, "refuses the model"),
        (Native(NativeFormat.SKOPS, b"PK"), UnreadableArtifactError, "may be opened"),
        (
            Native(NativeFormat.SKOPS, dump_sklearn(Pipeline([("a", SimpleImputer()), ("b", StandardScaler())]))),
            UnreadableArtifactError,
            "is not training's",
        ),
    ],
)  # fmt: skip
def test_a_damaged_form_is_refused(native, error, words):
    artifact = artifact_of("linear", LabelKind.REGRESSION)

    with pytest.raises(error, match=words):
        load_explainer(replace(artifact, model=replace(artifact.model, native=native)))


def test_a_kind_of_model_that_training_does_not_make_is_named():
    artifact = artifact_of("linear", LabelKind.REGRESSION)
    strange = Pipeline([("imputer", SimpleImputer()), ("near", KNeighborsRegressor())])
    strange.fit(np.zeros((9, 8), np.float32), np.zeros(9))
    native = Native(NativeFormat.SKOPS, dump_sklearn(strange))

    with pytest.raises((UnexplainableError, UnreadableArtifactError), match=r"KNeighborsRegressor|KDTree"):  # fmt: skip
        load_explainer(replace(artifact, model=replace(artifact.model, native=native)))


def test_rows_of_other_columns_are_refused():
    explainer = load_explainer(artifact_of("linear", LabelKind.REGRESSION))

    with pytest.raises(WrongColumnsError):
        explainer.explain(np.zeros((1, 2)), [("rain", "mo")])
