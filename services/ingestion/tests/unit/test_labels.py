from math import inf

import pytest

from millrace_ingestion.domain.labels import label_reader
from millrace_ingestion.domain.problems import WrongValueError
from millrace_kernel.pipeline import Label, LabelKind
from millrace_kernel.time import Duration


def reader(kind: LabelKind, positive: str | None = None):
    return label_reader(Label("y", kind, Duration(0), Duration(0), None, positive))


@pytest.mark.parametrize(("value", "read"), [(1.5, 1.5), (3, 3.0), (-2, -2.0)])
def test_a_regression_label_is_a_number(value, read):
    assert reader(LabelKind.REGRESSION)(value) == read


@pytest.mark.parametrize(
    ("value", "read"), [(True, 1.0), (False, 0.0), (1, 1.0), (0, 0.0), (1.0, 1.0)]
)
def test_a_binary_label_is_true_or_false_or_1_or_0(value, read):
    assert reader(LabelKind.BINARY)(value) == read
    assert reader(LabelKind.BINARY, positive="yes")(value) == read


def test_with_a_positive_text_any_other_text_is_0():
    read = reader(LabelKind.BINARY, positive="fraud")

    assert (read("fraud"), read("Fraud"), read("fine")) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("value", "read"),
    [("a", "a"), (3, "3"), (3.0, "3"), (1.5, "1.5"), (True, "true"), (False, "false")],
)
def test_a_class_is_a_text_and_numbers_become_one(value, read):
    assert reader(LabelKind.MULTICLASS)(value) == read


@pytest.mark.parametrize(
    ("kind", "positive", "value"),
    [
        (LabelKind.REGRESSION, None, "3"),
        (LabelKind.REGRESSION, None, True),
        (LabelKind.REGRESSION, None, inf),
        (LabelKind.BINARY, None, "true"),
        (LabelKind.BINARY, None, 2),
        (LabelKind.BINARY, "yes", 2),
        (LabelKind.BINARY, "yes", ""),
        (LabelKind.BINARY, "yes", []),
        (LabelKind.MULTICLASS, None, ""),
        (LabelKind.MULTICLASS, None, inf),
        (LabelKind.MULTICLASS, None, 1e300),
        (LabelKind.MULTICLASS, None, "x" * 256),
        (LabelKind.MULTICLASS, None, {}),
    ],
)
def test_other_values_are_refused(kind, positive, value):
    with pytest.raises(WrongValueError):
        reader(kind, positive)(value)
