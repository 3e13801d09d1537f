from pathlib import Path

import numpy as np
import pytest

from millrace_artifacts.signature import Encoding
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.job import FitJob, OneClassError
from millrace_training.adapters.fitting.reading import encoding as module
from millrace_training.adapters.fitting.reading.encoding import encoded, signature_of, targets
from millrace_training.adapters.fitting.reading.rows import Rows


def a_job(kind=LabelKind.REGRESSION):
    return FitJob("bikes", 2, kind, ("temp",), ("weather",), ("xgboost",), Path("none"), 100, 10)


def rows_of(texts, labels):
    count = len(texts)
    return Rows(
        np.arange(count),
        np.zeros((count, 1)),
        np.array(texts, dtype=object).reshape(-1, 1),
        np.array(labels, dtype=object if isinstance(labels[0], str) else float),
    )


def test_categories_are_ordered_by_their_mean_label_for_trees():
    rows = rows_of(["rain", "rain", "clear", "clear", "fog", "fog"], [1, 2, 9, 8, 5, 4])
    signature = signature_of(a_job(), rows, Encoding.ORDINAL)
    assert signature.vocabularies == (("rain", "fog", "clear"),)
    assert encoded(signature, rows)[:, 1].tolist() == [0, 0, 2, 2, 1, 1]


def test_categories_are_ordered_by_name_for_linear_models_and_by_frequency_for_classes():
    texts = ["rain", "rain", "rain", "clear", "clear"]
    one_hot = signature_of(a_job(), rows_of(texts, [1, 2, 3, 4, 5]), Encoding.ONE_HOT)
    assert one_hot.vocabularies == (("clear", "rain"),)
    rows = rows_of(texts, ["x", "y", "z", "x", "y"])
    classes = signature_of(a_job(LabelKind.MULTICLASS), rows, Encoding.ORDINAL)
    assert classes.vocabularies == (("rain", "clear"),)
    assert classes.classes == ("x", "y", "z")


def test_what_occurs_once_is_unknown_so_that_the_unknown_is_learnt():
    rows = rows_of(["rain", "rain", "hail"], [1, 2, 3])
    signature = signature_of(a_job(), rows, Encoding.ORDINAL)
    assert encoded(signature, rows)[:, 1].tolist() == [0, 0, -1]


def test_of_many_categories_the_most_frequent_are_kept(monkeypatch):
    monkeypatch.setitem(module.MOST_CATEGORIES, Encoding.ONE_HOT, 2)
    rows = rows_of(["a", "a", "b", "b", "b", "c", "c", "c"], list(range(8)))
    assert signature_of(a_job(), rows, Encoding.ONE_HOT).vocabularies == (("b", "c"),)


def test_a_rare_category_with_an_extreme_label_is_not_put_at_the_end():
    texts = ["common"] * 50 + ["good"] * 50 + ["rare"] * 2
    rows = rows_of(texts, [0.0] * 50 + [10.0] * 50 + [11.0] * 2)
    assert signature_of(a_job(), rows, Encoding.ORDINAL).vocabularies[0][-1] == "good"


def test_one_class_alone_cannot_be_learnt():
    with pytest.raises(OneClassError, match=r"all 3 training rows have the label 1\.0"):
        signature_of(a_job(LabelKind.BINARY), rows_of(["a"] * 3, [1, 1, 1]), Encoding.ORDINAL)


def test_targets_are_places_of_classes():
    labels = np.array(["b", "a", "new"], dtype=object)
    assert targets(labels, ("a", "b"), LabelKind.MULTICLASS).tolist() == [1.0, 0.0, -1.0]
    assert targets(np.array([0.0, 1.0]), ("0", "1"), LabelKind.BINARY).tolist() == [0.0, 1.0]
