"""Money for a day: what is spent of it, and what the next run will cost."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_from_json,
    pipeline_to_json,
    read_pipeline,
)
from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import DAY, HOUR, Duration, Instant
from millrace_training.domain.budgets import NOTHING_SPENT, Used, beyond, charged_card, used_by
from millrace_training.domain.costs import NO_PRICES, Cost, Prices, money
from millrace_training.domain.events import (
    Candidate,
    CardMade,
    Cause,
    RetrainRequested,
    RetrainSkipped,
    Run,
    RunFailed,
    RunFinished,
    Skip,
)
from millrace_training.domain.policies import Policy, policy_of
from millrace_training.domain.retraining import NO_HISTORY, History, decide, evolve

NOON = Instant(20_000 * DAY + 12 * HOUR)
TODAY = NOON // DAY
EUROS = Prices(cpu_hour=3600.0, currency="EUR")  # a second costs one
POLICY = Policy(
    pipeline=PipelineName("bikes"),
    version=1,
    versions=frozenset({1}),
    triggers=frozenset({Trigger.DRIFT, Trigger.FIRST, Trigger.COMMAND, Trigger.UPDATE}),
    schedule=None,
    cooldown=Duration(0),
    runs_per_day=1_000,
    cpu_minutes_per_day=1_000_000,
    first_after=100,
    money_per_day=10.0,
    prices=EUROS,
)
FILE = """
metadata: {name: bikes}
spec:
  event: {id: id, time: at}
  fields: {temp: float}
  label: {field: cnt, kind: regression}
  retraining: {budget: {money_per_day: %s}}
"""


def cause(trigger=Trigger.DRIFT) -> Cause:
    return Cause(trigger, "event-1", NOON, "data/temp", "it has drifted")


def after_run(history: History, seconds: float, trigger=Trigger.DRIFT, *, failed=False) -> History:
    """Asked for, carried out, and paid."""
    asked = decide(replace(POLICY, money_per_day=None), history, cause(trigger), 1_000)
    assert isinstance(asked, RetrainRequested)
    cost = Cost(cpu_seconds=seconds, wall_seconds=seconds, peak_memory_bytes=10**9)
    history = evolve(history, asked)
    if failed:
        return evolve(history, RunFailed(asked.run, "it broke", seconds, cost))
    return evolve(history, RunFinished(asked.run, None, candidate(cost)))


def candidate(cost: Cost) -> Candidate:
    return Candidate(
        "xgboost", "{}", "file:///a", "0" * 64, b"", "", 100, 10, {}, {}, 0, 0.0, b"", 0.0,
        cost.cpu_seconds, cost=cost,
    )  # fmt: skip


def started() -> History:
    return replace(NO_HISTORY, clock=NOON)


def test_a_run_that_would_go_beyond_the_days_money_is_not_started():
    history = after_run(after_run(started(), 3.0), 4.0)
    decision = decide(POLICY, history, cause(), 1_000)

    assert isinstance(decision, RetrainSkipped)
    assert decision.reason is Skip.BUDGET_SPENT
    assert decision.detail == (
        "it has drifted; 7 of 10 EUR of today (UTC) are spent, and the next run, as the last 2 did, costs about 3.5 EUR"
    )


def test_one_that_fits_is_started_and_says_what_it_will_cost():
    decision = decide(POLICY, after_run(started(), 4.0), cause(), 1_000)

    assert isinstance(decision, RetrainRequested)
    assert decision.detail.endswith(
        "; 4 of 10 EUR spent, the next run, as the last one did, costs about 4"
    )


def test_of_a_first_run_nothing_is_known_and_it_is_let_through():
    decision = decide(POLICY, started(), cause(Trigger.FIRST), 1_000)

    assert isinstance(decision, RetrainRequested)
    assert "0 of 10 EUR spent, the first run, of which nothing is known" in decision.detail


def test_money_that_is_spent_stops_whatever_comes_next():
    history = after_run(started(), 12.0)

    assert isinstance(decide(POLICY, history, cause(Trigger.UPDATE), 1_000), RetrainSkipped)
    assert isinstance(decide(POLICY, history, cause(Trigger.COMMAND), 1_000), RetrainRequested)


def test_an_update_is_expected_to_cost_what_updates_do():
    history = after_run(after_run(started(), 8.0), 0.5, Trigger.UPDATE)

    assert isinstance(decide(POLICY, history, cause(), 1_000), RetrainSkipped)
    assert isinstance(decide(POLICY, history, cause(Trigger.UPDATE), 1_000), RetrainRequested)


def test_a_new_day_has_its_own_money_and_remembers_what_runs_cost():
    history = replace(after_run(started(), 9.0), clock=Instant(NOON + DAY))

    assert isinstance(decide(POLICY, history, cause(), 1_000), RetrainRequested)
    assert isinstance(
        decide(replace(POLICY, money_per_day=8.0), history, cause(), 1_000), RetrainSkipped
    )


def test_a_card_is_part_of_what_a_run_costs():
    history = after_run(started(), 4.0)
    run = Run(PipelineName("bikes"), RunId("r"), 1, 1, Trigger.DRIFT, "c", NOON)
    history = evolve(history, CardMade(run, "file:///card", "0" * 64, Cost(cpu_seconds=2.0)))
    decision = decide(POLICY, history, cause(), 1_000)

    assert "6 of 10 EUR" in decision.detail
    assert "costs about 6" in decision.detail


def test_a_failed_run_is_paid_for_and_says_nothing_of_the_next():
    history = after_run(after_run(started(), 4.0), 1.0, failed=True)
    decision = decide(POLICY, history, cause(), 1_000)

    assert isinstance(decision, RetrainRequested)
    assert "5 of 10 EUR spent, the next run, as the last one did, costs about 4" in decision.detail


def test_memory_has_a_price_too():
    prices = replace(EUROS, gigabyte_hour=3600.0)
    decision = decide(replace(POLICY, prices=prices), after_run(started(), 4.0), cause(), 1_000)

    assert "8 of 10 EUR of today (UTC) are spent" in decision.detail


def test_where_nothing_has_a_price_the_request_says_that_the_money_is_not_kept():
    unpriced = replace(POLICY, prices=NO_PRICES)
    decision = decide(unpriced, after_run(started(), 99.0), cause(), 1_000)

    assert isinstance(decision, RetrainRequested)
    assert "money_per_day is not kept" in decision.detail


def test_without_a_bound_nothing_is_said_of_money():
    decision = decide(
        replace(POLICY, money_per_day=None), after_run(started(), 99.0), cause(), 1_000
    )

    assert isinstance(decision, RetrainRequested)
    assert "EUR" not in decision.detail


@given(
    costs=st.lists(
        st.builds(
            Cost,
            st.floats(0, 1e6),
            st.floats(0, 1e6),
            st.integers(0, 10**12),
            st.none() | st.floats(0, 1e9),
        ),
        max_size=20,
    ),
    budget=st.floats(0.01, 1e6),
)
def test_what_is_spent_is_what_the_costs_are_in_money(costs, budget):
    prices = Prices(0.05, 0.01, 0.3, "EUR")
    spending = NOTHING_SPENT
    for cost in costs:
        spending = charged_card(spending, TODAY, cost)
    spent = sum(money(cost, prices) for cost in costs)
    policy = replace(POLICY, money_per_day=budget, prices=prices)
    found = beyond(policy, spending, TODAY, Trigger.DRIFT)

    assert spending.today.cpu_seconds == pytest.approx(sum(each.cpu_seconds for each in costs))
    if abs(spent - budget) > 1e-6 * budget:
        assert (found is not None) == (spent > budget)


def test_it_is_kept_as_json():
    spending = charged_card(after_run(started(), 4.0).spending, TODAY, Cost(cpu_seconds=2.0))
    history = replace(started(), spending=spending)

    assert msgspec.json.decode(msgspec.json.encode(history), type=History) == history
    assert spending.full == (Used(6.0, 4e9, 0.0),)
    assert used_by(Cost(1.0, 2.0, 3, None)) == Used(1.0, 6.0, 0.0)


def test_the_file_says_it_and_its_absence_changes_no_digest():
    pipeline = read_pipeline(FILE % "2.5")

    assert policy_of(pipeline, (pipeline,), EUROS).money_per_day == 2.5
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
    plain = read_pipeline((FILE % "2.5").replace("money_per_day: 2.5", ""))
    assert "money_per_day" not in pipeline_to_json(plain)
    with pytest.raises(PipelineFileError, match="money_per_day"):
        read_pipeline(FILE % "-1")
