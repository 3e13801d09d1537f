"""Single rows are answered bit by bit as rows together are."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_artifacts.artifact import Model, Native, NativeFormat, Parity
from millrace_artifacts.scorer import Scorer, load_scorer, scorer_of
from millrace_artifacts.signature import Encoding, Signature
from millrace_kernel.pipeline import LabelKind
from millrace_testkit.fuzzing import effort

AGREES = Parity(largest_difference=0.0, tolerance=1e-4, rows=10)
VOCABULARIES = (("clear", "", "rain"), ("a",))

numbers = (
    st.floats(width=64)
    | st.floats(-100, 100)
    | st.sampled_from([3.4028234663852886e38, -3.5e38, 1e308, 1e-320, -0.0])
)
texts = st.sampled_from(["clear", "", "rain", "a", "snow"])


def raw_of(scorer: Scorer, row: list[float], categories: list[str]) -> list[float]:
    """What `Scorer.score` makes its scores of."""
    matrix = scorer.signature.encode(np.array([row]), [categories])
    [answers] = np.asarray(scorer._run(matrix), dtype=np.float64)
    return answers.tolist()


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_row_is_answered_as_among_others(softmax_of, encoding):
    signature = Signature(
        "irises", 1, ("x", "y"), ("sky", "one"), VOCABULARIES, encoding, LabelKind.MULTICLASS, ("p", "q", "r"),
    )  # fmt: skip
    model = Model(signature, AGREES, softmax_of(signature.width, 3), None)
    scorer = scorer_of(model)
    rows = scorer.for_rows()

    @effort(200)
    @given(st.lists(numbers, min_size=2, max_size=2), st.lists(texts, min_size=2, max_size=2))
    def holds(row, categories):
        with np.errstate(over="ignore"):
            found = rows.score(np.array(row), categories)
        np.testing.assert_array_equal(found, raw_of(scorer, row, categories))

    holds()


def test_a_regression_has_one_answer_and_a_row_leaves_no_trace_in_the_next(an_artifact):
    scorer = load_scorer(an_artifact())
    rows = scorer.for_rows()

    for weather, hired in (("clear", 68.0), ("rain", 18.0), ("snow", 118.0), ("clear", 68.0)):
        assert rows.score(np.array([0.5, 0.2]), [weather]) == [hired]


def test_two_takers_of_one_model_do_not_meet(an_artifact):
    scorer = load_scorer(an_artifact())
    one, other = scorer.for_rows(), scorer.for_rows()
    one.score(np.array([0.5, 0.2]), ["clear"])

    assert other.score(np.array([1.0, 0.0]), ["rain"]) == [70.0]
    assert one.score(np.array([0.5, 0.2]), ["clear"]) == [68.0]


def test_an_answer_kept_is_not_changed_by_the_next(an_artifact):
    rows = load_scorer(an_artifact()).for_rows()
    kept = rows.score(np.array([0.5, 0.2]), ["clear"])
    rows.score(np.array([1.0, 0.0]), ["rain"])

    assert kept == [68.0]


def test_it_keeps_its_model_no_longer_than_it_lives(an_artifact):
    scorer = load_scorer(an_artifact())
    rows = scorer.for_rows()
    session = weakref.ref(scorer._run._session)
    del scorer, rows
    gc.collect()

    assert session() is None


def test_a_model_of_another_library_has_no_faster_way(an_artifact):
    xgboost = pytest.importorskip("xgboost")
    matrix = xgboost.DMatrix(np.random.default_rng(1).normal(size=(50, 3)), np.arange(50.0))
    content = bytes(xgboost.train({"nthread": 1}, matrix, 2).save_raw("ubj"))
    base = an_artifact().model
    model = replace(
        base,
        parity=Parity(largest_difference=0.5, tolerance=1e-4, rows=10),
        native=Native(NativeFormat.UBJ, content),
    )

    assert scorer_of(model).for_rows() is None
