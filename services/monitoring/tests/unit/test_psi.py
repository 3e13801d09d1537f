"""The population stability index: its laws, its value, and how rarely chance alone looks like drift."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from millrace_monitoring.domain.psi import chi_square_quantile, stability

CONFIDENCE = 0.999
counts = st.lists(st.integers(0, 1000), min_size=1, max_size=20)


def shares_of(numbers: Sequence[int]) -> list[float]:
    return [number / sum(numbers) for number in numbers]


def test_the_statistic_is_the_sum_of_the_differences_times_the_logarithms_of_the_ratios() -> None:
    found = stability([0.5, 0.3, 0.2], 1000, [30, 30, 40], CONFIDENCE)

    assert found.statistic == pytest.approx(
        (0.3 - 0.5) * math.log(0.3 / 0.5) + (0.4 - 0.2) * math.log(0.4 / 0.2)
    )


def test_an_empty_bin_counts_as_half_an_event_on_its_side() -> None:
    found = stability([1.0, 0.0], 1000, [90, 10], CONFIDENCE)

    assert found.statistic == pytest.approx(
        (0.9 - 1.0) * math.log(0.9) + (0.1 - 0.0005) * math.log(0.1 / 0.0005)
    )


def test_an_empty_bin_of_the_window_counts_as_half_an_event_too():
    found = stability([0.9, 0.1], 1000, [100, 0], CONFIDENCE)

    assert found.statistic == pytest.approx(
        (1.0 - 0.9) * math.log(1.0 / 0.9) + (0.005 - 0.1) * math.log(0.005 / 0.1)
    )


def test_the_noise_level_has_a_degree_of_freedom_less_than_bins_that_were_ever_met():
    found = stability([0.5, 0.3, 0.2, 0.0], 1000, [30, 30, 40, 0], CONFIDENCE)

    assert found.noise == pytest.approx((1 / 100 + 1 / 1000) * chi_square_quantile(CONFIDENCE, 2))


@given(reference=counts, window=counts)
def test_it_is_never_negative(reference: list[int], window: list[int]) -> None:
    size = min(len(reference), len(window))
    reference, window = reference[:size], window[:size]
    assume(sum(reference))

    assert stability(shares_of(reference), sum(reference), window, CONFIDENCE).statistic >= 0.0


@given(window=counts, times=st.integers(1, 50))
def test_it_is_zero_for_equal_shares_whatever_the_numbers(window: list[int], times: int) -> None:
    assume(sum(window))
    reference = shares_of([count * times for count in window])

    found = stability(reference, sum(window) * times, window, CONFIDENCE)

    assert found.statistic == pytest.approx(0.0, abs=1e-12)


def test_nothing_counted_is_no_change() -> None:
    assert stability([0.5, 0.5], 100, [0, 0], CONFIDENCE).statistic == 0.0
    assert stability([0.0, 0.0], 0, [3, 4], CONFIDENCE).statistic == 0.0


@pytest.mark.parametrize("degrees", [3, 5, 10, 50])
@pytest.mark.parametrize("confidence", [0.95, 0.999, 0.99999])
def test_the_quantile_is_at_most_six_per_cent_above_the_exact_one(
    degrees: int, confidence: float
) -> None:
    exact = stats.chi2.ppf(confidence, degrees)

    assert 0.99 <= chi_square_quantile(confidence, degrees) / exact <= 1.06


@pytest.mark.parametrize("events", [50, 100, 500])
@pytest.mark.parametrize(
    "shares",
    [
        [0.1] * 10,
        [0.7, 0.25, 0.05],
        [0.5, 0.49, 0.005, 0.005],
        [0.0999] * 10 + [0.001],
    ],
    ids=["ten equal", "three", "two rare of four", "one very rare"],
)
def test_chance_alone_is_above_the_noise_level_hardly_more_often_than_stated(
    shares: list[float], events: int
):
    rng, rows, tries = np.random.default_rng(7), 5000, 4000
    reference = shares_of(rng.multinomial(rows, shares).tolist())
    windows = rng.multinomial(events, shares, size=tries).tolist()

    found = [stability(reference, rows, window, 0.99) for window in windows]

    assert sum(one.is_beyond(0.0) for one in found) / tries < 0.02


def test_the_mean_of_an_unchanged_stream_is_the_stated_one():
    rng, bins, events, rows = np.random.default_rng(7), 10, 500, 5000
    shares = [1 / bins] * bins

    found = [
        stability(
            shares_of(rng.multinomial(rows, shares).tolist()),
            rows,
            rng.multinomial(events, shares).tolist(),
            CONFIDENCE,
        ).statistic
        for _ in range(1000)
    ]

    assert sum(found) / len(found) == pytest.approx((bins - 1) * (1 / events + 1 / rows), rel=0.1)


def test_many_rare_categories_in_a_small_window_are_no_drift_though_the_raw_index_is_large():
    rng, names, events, rows = np.random.default_rng(3), 50, 100, 20_000
    weights = 1 / np.arange(1, names + 1)
    reference = (weights / weights.sum()).tolist()

    found = [
        stability(reference, rows, rng.multinomial(events, reference).tolist(), CONFIDENCE)
        for _ in range(200)
    ]

    assert sum(one.statistic > 0.2 for one in found) > 150
    assert sum(one.is_beyond(0.2) for one in found) == 0


def test_a_change_that_is_real_but_small_is_no_drift():
    reference, window = [0.5, 0.5], [5_600, 4_400]

    found = stability(reference, 100_000, window, CONFIDENCE)

    assert found.smoothed > found.noise
    assert not found.is_beyond(0.2)
    assert found.is_beyond(0.01)
