"""Windows of inputs: every prediction is counted once, in its bins, under the champion's columns."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.profile import ReferenceProfile, bin_of, category_column, number_column
from millrace_kernel.time import Instant
from millrace_monitoring.domain.events import PredictionMade
from millrace_monitoring.domain.pipelines import Shape
from millrace_monitoring.domain.windows import (
    InputReport,
    InputWindow,
    Reference,
    reference_of,
    update,
)

NOON = Instant(1_700_000_000_000_000)
SHAPE = Shape(("temp", "hum"), ("weather",))


@pytest.fixture(scope="session")
def reference(a_profile) -> Reference:
    return reference_of(ModelVersionNumber(1), 1, a_profile())


def reports_of(
    reference: Reference,
    predictions: list[PredictionMade],
    size: int,
    shape: Shape = SHAPE,
) -> tuple[InputWindow, list[InputReport]]:
    window, reports = InputWindow(), []
    for prediction in predictions:
        window, report = update(window, reference, shape, prediction, size)
        if report:
            reports.append(report)
    return window, reports


@given(
    temps=st.lists(st.floats() | st.just(math.nan), min_size=1, max_size=60),
    size=st.integers(1, 20),
)
def test_windows_tile_the_predictions_and_count_each_value_in_its_bin(
    temps: list[float], size: int, a_prediction, reference
):
    predictions = [a_prediction(at, numbers=(temp, 0.5)) for at, temp in enumerate(temps)]

    window, reports = reports_of(reference, predictions, size)

    assert [report.events for report in reports] == [size] * (len(temps) // size)
    assert window.events == len(temps) % size
    for number, report in enumerate(reports):
        part = temps[number * size : (number + 1) * size]
        expected = Counter(bin_of(reference.columns[0], temp) for temp in part)
        column = report.columns[0]
        assert column.missing == expected.pop(None, 0)
        assert {at: count for at, count in enumerate(column.counts) if count} == dict(expected)
        assert all(sum(one.counts) + one.missing == size for one in report.columns)


def test_a_report_has_the_means_of_what_was_there_and_the_times_of_its_first_and_last_event(
    a_prediction, reference
):
    predictions = [
        a_prediction(2, numbers=(10.0, 0.25), answer=90.0),
        a_prediction(1, numbers=(20.0, math.nan), answer=110.0),
        a_prediction(3, numbers=(30.0, 0.75), answer=None, categories=("",)),
    ]

    _, (report,) = reports_of(reference, predictions, 3)

    temp, hum, weather, prediction = report.columns
    assert (temp.mean, hum.mean, prediction.mean) == pytest.approx((20.0, 0.5, 100.0))
    assert (hum.missing, weather.missing, prediction.missing) == (1, 1, 1)
    assert (report.first, report.last) == (NOON + 60_000_000, NOON + 180_000_000)


def test_a_class_is_counted_under_its_name(a_prediction):
    profile = ReferenceProfile(
        columns=(number_column("temp", [1.0, 2.0]),),
        prediction=category_column("prediction", ["a", "b"]),
        metrics={"accuracy": 0.9},
        primary_metric="accuracy",
        rows=2,
    )
    shape = Shape(("temp",), ())
    predictions = [
        a_prediction(numbers=(1.0,), categories=(), answer=answer) for answer in ("a", "b", "new")
    ]

    reference = reference_of(ModelVersionNumber(1), 1, profile)
    _, (report,) = reports_of(reference, predictions, 3, shape)

    assert report.columns[1].counts == (1, 1, 1)


def test_a_newer_files_vector_is_read_under_the_champions_columns(a_prediction, reference):
    newer = Shape(("wind", "hum", "temp"), ("city",))
    prediction = a_prediction(numbers=(3.0, 0.25, 20.0), categories=("basel",))

    _, (report,) = reports_of(reference, [prediction], 1, newer)

    temp, hum, weather, _ = report.columns
    assert (temp.mean, hum.mean, weather.missing) == (20.0, 0.25, 1)


@pytest.mark.parametrize(
    "wrong", [{"numbers": (1.0,)}, {"categories": ()}, {"numbers": (1.0, 2.0, 3.0)}]
)
def test_a_vector_of_another_shape_can_never_be_counted(
    wrong: dict[str, object], a_prediction, reference
):
    with pytest.raises(PermanentError, match="version 1 of the file has 2 and 1"):
        update(InputWindow(), reference, SHAPE, a_prediction(**wrong), 10)


def test_huge_numbers_leave_a_finite_mean(a_prediction, reference):
    predictions = [a_prediction(numbers=(1.7e308, 0.5)) for _ in range(3)]

    _, (report,) = reports_of(reference, predictions, 3)

    assert math.isfinite(report.columns[0].mean)


def test_a_window_of_unchanged_traffic_has_about_the_references_shares(traffic, reference):
    _, (report,) = reports_of(reference, list(traffic(np.random.default_rng(1), 2000)), 2000)

    for counted in report.columns:
        shares = [count / report.events for count in counted.counts]
        assert shares == pytest.approx(list(counted.column.shares), abs=0.05)
