"""What runs cost, in what was used and in money."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_training.domain.costs import (
    NO_PRICES,
    NOTHING,
    Account,
    Cost,
    Prices,
    Spent,
    account_of,
    main_metric,
    money,
    points_gained,
)

PRICES = Prices(cpu_hour=0.04, gigabyte_hour=0.005, kilowatt_hour=0.30, currency="EUR")
HOUR_OF_ALL = Cost(
    cpu_seconds=3600, wall_seconds=3600, peak_memory_bytes=2 * 10**9, joules=3_600_000
)

numbers = st.floats(0, 1e6)
costs = st.builds(Cost, numbers, numbers, st.integers(0, 10**12), st.none() | numbers)
spendings = st.lists(st.builds(Spent, costs, st.booleans(), st.none() | st.floats(-100, 100)))


def test_an_hour_of_everything_costs_the_prices():
    assert money(HOUR_OF_ALL, PRICES) == pytest.approx(0.04 + 2 * 0.005 + 0.30)


def test_memory_costs_as_much_as_there_was_for_as_long_as_it_was_taken():
    half_an_hour = Cost(0, 1800, 4 * 10**9)
    assert money(half_an_hour, Prices(gigabyte_hour=0.005)) == pytest.approx(0.01)


def test_what_has_no_price_is_not_free_but_unpriced():
    assert money(HOUR_OF_ALL, NO_PRICES) is None
    assert money(HOUR_OF_ALL, Prices(kilowatt_hour=0.3)) == pytest.approx(0.3)
    assert money(Cost(1, 1, 1, joules=None), Prices(kilowatt_hour=0.3)) is None


def test_a_price_of_nothing_is_a_price():
    assert money(HOUR_OF_ALL, Prices(cpu_hour=0.0)) == 0.0


@given(costs, costs)
def test_runs_one_after_the_other_cost_together_what_they_cost_alone(one, other):
    both = one + other

    assert both.cpu_seconds == one.cpu_seconds + other.cpu_seconds
    assert both.wall_seconds == one.wall_seconds + other.wall_seconds
    assert both.peak_memory_bytes == max(one.peak_memory_bytes, other.peak_memory_bytes)
    assert (both.joules is None) == (one.joules is None or other.joules is None)


@given(costs)
def test_what_costs_nothing_takes_no_figure_away(cost):
    assert cost + NOTHING == NOTHING + cost == cost


@given(spendings)
def test_an_account_is_the_sum_of_its_runs_whatever_became_of_them(spendings):
    account = account_of(spendings, PRICES)

    assert account.runs == len(spendings)
    assert account.promotions == sum(each.promoted for each in spendings)
    assert account.cost.cpu_seconds == pytest.approx(
        math.fsum(each.cost.cpu_seconds for each in spendings)
    )
    if spendings:
        assert account.money == pytest.approx(
            math.fsum(money(each.cost, PRICES) for each in spendings)
        )
    if account.promotions:
        assert account.money_per_promotion * account.promotions == pytest.approx(account.money)
    if account.points > 1e-6:
        assert account.money_per_point * account.points == pytest.approx(account.money)
    elif account.points <= 0:
        assert account.money_per_point is None


def test_of_next_to_nothing_no_price_is_named():
    """JSON has no infinity."""
    account = account_of([Spent(Cost(3.6e6), True, 2.3e-309)], PRICES)

    assert (account.money_per_point, account.cpu_seconds_per_point) == (None, None)


def test_a_run_in_vain_makes_the_promoted_one_dearer():
    won, lost = Spent(Cost(100), True, 5.0), Spent(Cost(300), False, -2.0)
    prices = Prices(cpu_hour=36.0)  # a cent a second

    account = account_of([won, lost], prices)

    assert (account.money_per_promotion, account.cpu_seconds_per_promotion) == (4.0, 400.0)
    assert (account.points, account.money_per_point, account.cpu_seconds_per_point) == (
        5.0,
        0.8,
        80.0,
    )


def test_without_runs_nothing_is_known_to_cost_anything():
    assert account_of([], PRICES) == Account(0, 0, Cost(), None, None, None, 0, None, None)


@pytest.mark.parametrize(
    ("metric", "new", "old", "points"),
    [
        ("accuracy", 0.83, 0.80, 3.0),
        ("roc_auc", 0.70, 0.75, -5.0),
        ("mae", 45.0, 50.0, 10.0),
        ("log_loss", 0.66, 0.60, -10.0),
        ("mae", 1.0, 0.0, None),
        ("rouge_l", 0.6, 0.4, 20.0),
        ("bleu", 0.2, 0.3, -10.0),
        ("exact_match", 0.5, 0.0, 50.0),
    ],
)
def test_a_point_is_a_hundredth(metric, new, old, points):
    gained = points_gained(metric, {metric: new}, {metric: old})

    assert gained == (None if points is None else pytest.approx(points))


def test_a_candidate_compared_with_nobody_has_gained_nothing_known():
    assert points_gained("mae", {"mae": 1.0}, {}) is None
    assert points_gained("", {"mae": 1.0}, {"mae": 2.0}) is None


def test_points_are_counted_in_the_metric_that_the_file_names_if_it_was_measured():
    measured = {"accuracy": 0.8, "log_loss": 0.4}

    assert main_metric("accuracy", measured) == "accuracy"
    assert main_metric("roc_auc", measured) == "log_loss"
    assert main_metric(None, {}) == ""
    assert main_metric(None, {"bleu": 0.2, "exact_match": 0.1, "rouge_l": 0.3}) == "rouge_l"
