"""The reference profile: its bins, its laws and its bytes."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.errors import PermanentError
from millrace_kernel.pipeline import VectorKind
from millrace_kernel.profile import (
    ColumnProfile,
    ReferenceProfile,
    bin_of,
    category_column,
    number_column,
    profile_from_json,
    to_json,
)

NAN = math.nan
numbers = st.lists(
    st.floats(min_value=-1e300, max_value=1e300) | st.just(NAN) | st.integers(0, 3).map(float),
    max_size=200,
)
texts = st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]) | st.text(max_size=3), max_size=100)


def a_profile() -> ReferenceProfile:
    return ReferenceProfile(
        columns=(
            number_column("temp", [1.0, 2.0, NAN, 4.0]),
            category_column("weather", ["rain", "sun", "süß", ""]),
        ),
        prediction=number_column("prediction", [0.1, 0.2, 0.7]),
        metrics={"rmse": 2.0, "mae": 1.5},
        primary_metric="mae",
        rows=4,
    )


def test_continuous_numbers_are_cut_into_bins_of_equal_share() -> None:
    column = number_column("temp", [float(value) for value in range(1000)])

    assert column.edges == tuple(float(value) for value in range(99, 900, 100))
    assert column.shares == (0.1,) * 10


def test_the_mean_and_the_population_standard_deviation_are_of_the_values_that_were_there() -> None:
    column = number_column("temp", [2.0, 4.0, NAN, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])

    assert column.mean == pytest.approx(5.0)
    assert column.std == pytest.approx(2.0)
    assert column.missing == pytest.approx(1 / 9)


def test_few_distinct_values_get_a_bin_each() -> None:
    column = number_column("working", [1.0] * 97 + [0.0] * 3)

    assert column.edges == (0.0,)
    assert column.shares == (0.03, 0.97)


def test_a_frequent_value_among_many_gets_a_bin_to_itself() -> None:
    column = number_column("rain", [0.01 * value for value in range(100)] + [5.0] * 400)

    assert column.shares[bin_of(column, 5.0) or 0] == 0.8


def test_values_below_and_above_a_constant_fall_in_bins_of_their_own() -> None:
    column = number_column("holiday", [5.0] * 10)

    assert [bin_of(column, value) for value in (4.9, 5.0, 5.1)] == [0, 1, 2]
    assert column.shares == (0.0, 1.0, 0.0)


def test_a_column_that_is_all_missing_says_so() -> None:
    column = number_column("temp", [NAN, NAN])

    assert (column.shares, column.missing, column.mean) == ((0.0,), 1.0, 0.0)


def test_an_infinity_is_missing() -> None:
    assert number_column("ratio", [1.0, math.inf]).missing == 0.5
    assert bin_of(number_column("ratio", [1.0, 2.0]), -math.inf) is None


def test_huge_values_do_not_overflow() -> None:
    column = number_column("huge", [1e300, -1e300])

    assert column.std == 1e300


def test_the_most_frequent_texts_get_a_bin_each_and_the_rest_share_one() -> None:
    column = category_column("city", ["b"] * 5 + ["a"] * 3 + ["c", "d"], most=2)

    assert column.names == ("a", "b")
    assert column.shares == (0.3, 0.5, 0.2)
    assert column.other == 0.2
    assert [bin_of(column, text) for text in ("a", "b", "c", "never seen", "")] == [
        0,
        1,
        2,
        2,
        None,
    ]


@given(values=numbers, bins=st.integers(2, 20))
def test_the_shares_are_those_of_the_values_in_each_bin(values: list[float], bins: int) -> None:
    column = number_column("any", values, bins)

    found = [bin_of(column, value) for value in values]
    there = [at for at in found if at is not None]
    assert column.shares == tuple(
        there.count(at) / len(there) if there else 0.0 for at in range(len(column.edges) + 1)
    )
    assert column.missing == (found.count(None) / len(found) if found else 0.0)
    assert all(low < high for low, high in pairwise(column.edges))
    assert len(column.edges) <= 2 * bins


@given(values=texts, most=st.integers(0, 6))
def test_every_text_is_counted_in_one_bin(values: list[str], most: int) -> None:
    column = category_column("any", values, most)

    found = [bin_of(column, value) for value in values]
    there = [at for at in found if at is not None]
    assert column.shares == tuple(
        there.count(at) / len(there) if there else 0.0 for at in range(len(column.names) + 1)
    )


@given(values=numbers, words=texts)
def test_a_profile_comes_back_from_its_json(values: list[float], words: list[str]) -> None:
    profile = replace(
        a_profile(), columns=(number_column("n", values), category_column("c", words))
    )

    assert profile_from_json(to_json(profile)) == profile


def test_equal_profiles_give_equal_bytes() -> None:
    profile = a_profile()

    assert to_json(profile) == to_json(replace(profile, metrics={"mae": 1.5, "rmse": 2.0}))
    assert to_json(profile).startswith(b'{"columns":[{"edges":[1.0,2.0],"kind":"number","mean":')


@pytest.mark.parametrize("metrics", [{"mae": NAN}, {"mae": math.inf}, {"rmse": 1.0}])
def test_metrics_that_are_not_finite_or_lack_the_primary_one_are_refused(
    metrics: dict[str, float],
) -> None:
    with pytest.raises(ValueError, match="reference profile"):
        replace(a_profile(), metrics=metrics)


def test_numbers_stand_before_categories() -> None:
    profile = a_profile()

    with pytest.raises(ValueError, match="a number stands behind a category"):
        replace(profile, columns=profile.columns[::-1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"shares": (0.5, 0.5, 0.0)},
        {"shares": (0.5, 0.4)},
        {"shares": (1.5, -0.5)},
        {"mean": NAN},
        {"missing": 1.1},
        {"rows": -1},
        {"edges": (2.0, 1.0), "shares": (0.2, 0.3, 0.5)},
    ],
)
def test_a_column_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {
        "name": "temp",
        "kind": VectorKind.NUMBER,
        "shares": (0.5, 0.5),
        "missing": 0.0,
        "rows": 9,
        "edges": (1.0,),
    }

    with pytest.raises(ValueError, match="profile of column 'temp'"):
        ColumnProfile(**(right | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"columns":[{}]}',
        to_json(a_profile()).replace(b'"kind":"number"', b'"kind":"x"'),
    ],
)
def test_bytes_that_are_no_profile_can_never_be_handled(content: bytes) -> None:
    with pytest.raises(PermanentError, match="not a reference profile"):
        profile_from_json(content)
