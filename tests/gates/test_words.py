"""What a pipeline file may name is what a run measures: no metric that gates can't bound, and no bound that can't be met."""

import numpy as np
import pytest

from millrace_artifacts.scorer import Scores
from millrace_contracts.pipeline_file.gate_rules import CHECKS_OF, METRICS
from millrace_kernel.pipeline import LOWER_IS_BETTER, LabelKind
from millrace_training.adapters.fitting.measuring.measure import metrics_of

HIGHER = {"r2", "coverage", "accuracy", "roc_auc", "average_precision", "macro_f1"}


def measured(kind: LabelKind) -> set[str]:
    """Of a model that answers all it can be asked for."""
    random = np.random.default_rng(2)
    if kind is LabelKind.REGRESSION:
        labels = random.normal(size=50)
        quantiles = np.column_stack([labels - 1, labels, labels + 1])
        answers = Scores(labels, None, quantiles, quantiles[:, [0, 2]], (0.1, 0.5, 0.9))
        return set(metrics_of(kind, (), labels, answers))
    classes = ("0", "1") if kind is LabelKind.BINARY else ("few", "many", "some")
    places = random.integers(0, len(classes), 50)
    shares = random.dirichlet(np.ones(len(classes)), 50)
    values = shares[:, 1] if kind is LabelKind.BINARY else np.argmax(shares, axis=1).astype(float)
    labels = places.astype(float) if kind is LabelKind.BINARY else np.array(classes)[places]
    return set(metrics_of(kind, classes, labels.astype(object), Scores(values, shares)))


@pytest.mark.parametrize("kind", [LabelKind.REGRESSION, LabelKind.BINARY, LabelKind.MULTICLASS])
def test_every_metric_that_a_run_measures_can_be_bounded_and_no_other(kind):
    own = {"calibration_error"} & set(CHECKS_OF[kind.value])

    assert measured(kind) == set(METRICS[kind.value]) | own
    assert measured(kind) <= LOWER_IS_BETTER | HIGHER
    assert not LOWER_IS_BETTER & HIGHER
