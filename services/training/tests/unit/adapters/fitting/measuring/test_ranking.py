"""Held against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from millrace_training.adapters.fitting.measuring.ranking import average_precision, roc_auc

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60).filter(
    lambda rows: len({truth for truth, _ in rows}) == 2
)


@given(ROWS)
def test_rankings_are_scikit_learns_ties_and_all(rows):
    truths = np.array([float(truth) for truth, _ in rows])
    values = np.array([value / 7 for _, value in rows])
    assert roc_auc(truths, values) == pytest.approx(roc_auc_score(truths, values), abs=1e-12)
    assert average_precision(truths, values) == pytest.approx(
        average_precision_score(truths, values), abs=1e-12
    )


def test_a_perfect_ranking_and_one_upside_down():
    truths = np.array([0.0, 0.0, 1.0, 1.0])
    values = np.array([0.1, 0.2, 0.3, 0.4])
    assert roc_auc(truths, values) == average_precision(truths, values) == 1.0
    assert roc_auc(truths, -values) == 0.0
