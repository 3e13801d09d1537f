from typing import NamedTuple

import numpy as np

from millrace_serving.domain.columns import Columns, aligned, rows_of, width_problem

OLD = Columns(("temp", "hum"), ("weather",))


class Vector(NamedTuple):
    numbers: tuple[float, ...]
    categories: tuple[str, ...]


def rows():
    return rows_of(OLD, [Vector((1.0, 2.0), ("rain",)), Vector((3.0, float("nan")), ("",))])


def test_rows_of_the_wanted_columns_are_left_as_they_are():
    given = rows()

    assert aligned(given, Columns(("temp", "hum"), ("weather",))) is given


def test_columns_are_found_by_name_and_what_is_not_there_is_missing():
    result = aligned(rows(), Columns(("wind", "hum", "temp"), ("day", "weather")))

    np.testing.assert_array_equal(result.numbers, [[np.nan, 2.0, 1.0], [np.nan, np.nan, 3.0]])
    assert list(result.categories) == [("", "rain"), ("", "")]


def test_columns_that_nobody_wants_are_left_out():
    result = aligned(rows(), Columns(("hum",), ()))

    np.testing.assert_array_equal(result.numbers, [[2.0], [np.nan]])
    assert list(result.categories) == [(), ()]


def test_a_vector_without_numbers_still_counts_as_a_row():
    result = aligned(
        rows_of(Columns((), ("weather",)), [Vector((), ("rain",)), Vector((), ("sun",))]), OLD
    )

    assert result.numbers.shape == (2, 2)
    assert np.isnan(result.numbers).all()


def test_a_vector_of_the_wrong_width_is_told_apart():
    assert width_problem(OLD, (1.0, 2.0), ("rain",)) is None
    assert "1 numbers" in (width_problem(OLD, (1.0,), ("rain",)) or "")
    assert "0 categories" in (width_problem(OLD, (1.0, 2.0), ()) or "")
