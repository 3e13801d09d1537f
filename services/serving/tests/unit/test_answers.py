import numpy as np
import pytest

from millrace_kernel.pipeline import LabelKind
from millrace_serving.domain.answers import NO_ANSWER, Answer, Scores, answers, fallback
from millrace_serving.domain.columns import Columns

COLUMNS = Columns(("temp", "last_hour"), ("weather",))


def test_a_regression_answers_with_the_value():
    assert answers(LabelKind.REGRESSION, (), Scores(values=np.array([1.5, -2.0]))) == [
        Answer(1.5),
        Answer(-2.0),
    ]


def test_a_binary_model_answers_with_the_probability_of_the_positive_class():
    assert answers(LabelKind.BINARY, (), Scores(values=np.array([0.25]))) == [Answer(0.25)]


def test_a_multiclass_model_answers_with_the_most_probable_class_and_all_probabilities():
    scores = Scores(probabilities=np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]]))

    assert answers(LabelKind.MULTICLASS, ("a", "b", "c"), scores) == [
        Answer(class_label="b", probabilities=(0.1, 0.7, 0.2)),
        Answer(class_label="a", probabilities=(0.5, 0.25, 0.25)),
    ]


def test_a_regression_answers_with_its_quantiles_and_its_interval():
    values, quantiles = np.array([2.0, 3.0]), np.array([[1.0, 2.0], [2.0, 3.0]])
    scores = Scores(values, quantiles=quantiles, interval=np.array([[0.5, 4.5], [1.5, 5.5]]))

    assert answers(LabelKind.REGRESSION, (), scores) == [
        Answer(2.0, quantiles=(1.0, 2.0), interval=(0.5, 4.5)),
        Answer(3.0, quantiles=(2.0, 3.0), interval=(1.5, 5.5)),
    ]
    assert answers(LabelKind.REGRESSION, (), Scores(values, quantiles=quantiles)) == [
        Answer(2.0, quantiles=(1.0, 2.0)),
        Answer(3.0, quantiles=(2.0, 3.0)),
    ]


@pytest.mark.parametrize("end", [np.nan, np.inf])
def test_an_interval_without_an_end_is_no_answer(end):
    scores = Scores(np.array([2.0, np.nan]), interval=np.array([[0.5, end], [1.0, 2.0]]))

    assert answers(LabelKind.REGRESSION, (), scores) == [NO_ANSWER, NO_ANSWER]


def test_a_score_that_is_no_number_is_no_answer():
    assert answers(LabelKind.REGRESSION, (), Scores(values=np.array([np.nan, np.inf]))) == [
        NO_ANSWER,
        NO_ANSWER,
    ]
    assert answers(
        LabelKind.MULTICLASS, ("a", "b"), Scores(probabilities=np.full((1, 2), np.nan))
    ) == [NO_ANSWER]


@pytest.mark.parametrize(
    ("kind", "classes", "scores"),
    [
        (LabelKind.REGRESSION, (), Scores(probabilities=np.ones((1, 2)))),
        (LabelKind.MULTICLASS, ("a", "b"), Scores(values=np.ones(1))),
        (LabelKind.MULTICLASS, ("a", "b", "c"), Scores(probabilities=np.ones((1, 2)))),
    ],
)
def test_scores_that_do_not_fit_the_kind_are_an_error(kind, classes, scores):
    with pytest.raises(ValueError, match="model"):
        answers(kind, classes, scores)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("last_hour", Answer(7.0)),
        (0.5, Answer(0.5)),
        (0, Answer(0.0)),
        (None, NO_ANSWER),
        ("weather", Answer(class_label="rain")),
        ("gone", NO_ANSWER),
    ],
)
def test_before_a_champion_a_feature_or_a_constant_answers(rule, expected):
    assert fallback(rule, COLUMNS, (3.0, 7.0), ("rain",)) == expected


def test_a_fallback_on_a_missing_feature_is_no_answer():
    assert fallback("temp", COLUMNS, (float("nan"), 7.0), ("rain",)) == NO_ANSWER
