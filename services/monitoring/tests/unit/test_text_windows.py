"""Free text is watched by how long it is, and by how often it is missing."""

from dataclasses import replace

import pytest

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.pipeline import VectorKind
from millrace_kernel.profile import profile_from_json, text_column, to_json
from millrace_monitoring.domain.pipelines import Shape
from millrace_monitoring.domain.windows import InputWindow, reference_of, update

SHAPE = Shape(("temp", "hum"), ("weather", "review"))


@pytest.fixture
def reference(a_profile):
    review = text_column("review", ["", "bad", "so so", "quite good", "good"] * 20)
    profile = a_profile()
    # as it travels
    profile = profile_from_json(to_json(replace(profile, columns=(*profile.columns, review))))
    return reference_of(ModelVersionNumber(1), 1, profile)


def test_a_texts_length_falls_into_a_bin(reference, a_prediction):
    texts = ["bad", "sad", "", "", "quite good", "a text that is much longer than all of them"]
    window = InputWindow()
    for at, text in enumerate(texts):
        prediction = a_prediction(at, categories=("sun", text))
        window, report = update(window, reference, SHAPE, prediction, len(texts))
    assert report is not None
    column = next(each for each in report.columns if each.column.name == "review")
    assert column.column.kind is VectorKind.TEXT
    assert (column.missing, sum(column.counts)) == (2, 4)
    assert column.counts[0] == 2  # three characters, the shortest
    assert column.counts[-1] == 2  # ten, and whatever is longer
    assert report.columns[2].counts != column.counts


def test_its_column_is_the_second_text(reference):
    assert reference.shape == SHAPE


def test_a_profile_of_texts_is_one_of_lengths():
    column = text_column("review", ["", "ab", "abc", "abc"])
    assert (column.missing, column.mean) == (0.25, 0.0)  # as a window's is
    assert column.shares == (1 / 3, 2 / 3)
    assert column.other == 0.0
    assert text_column("review", ["", ""]).missing == 1.0
