"""What holds whatever happens, in whatever order."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_kernel.errors import PermanentError
from millrace_registry.domain.events import ModelPromoted, ModelRejected, ModelRolledBack
from millrace_registry.domain.models import Stage

FIXTURE = [HealthCheck.function_scoped_fixture]  # it makes worlds, and keeps none
VERSIONS = st.integers(0, 8)
STEPS = st.one_of(
    st.tuples(
        st.just("train"),
        st.fixed_dictionaries(
            {
                "number": st.integers(1, 12),
                "mae": st.sampled_from([50.0, 70.0, 120.0]),
                "better": st.sampled_from([0.5, 0.99]),
            },
            optional={"champion_version": VERSIONS},
        ),
    ),
    st.tuples(
        st.sampled_from(["approve", "reject", "roll_back"]),
        st.fixed_dictionaries({"version": VERSIONS}),
    ),
    st.tuples(st.just("pause"), st.fixed_dictionaries({"paused": st.booleans()})),
    st.tuples(
        st.just("fail"),
        st.fixed_dictionaries(
            {"version": VERSIONS, "epoch": st.integers(0, 12), "trial": st.integers(0, 4)}
        ),
    ),
    st.tuples(
        st.just("compare"),
        st.fixed_dictionaries(
            {
                "verdict": st.sampled_from(["undecided", "better", "worse", "slow", "failing"]),
                "events": st.sampled_from([10, 300, 20_000]),
            },
            optional={"trial": st.integers(0, 6), "step": st.integers(0, 3)},
        ),
    ),
)


STRATEGIES = st.sampled_from(["direct", "manual", "shadow", "canary"])


@pytest.fixture
def fresh_world(make_world, file):
    """Several per test: Hypothesis tries many."""
    return lambda strategy: make_world(file(strategy=strategy))


def play(world, steps):
    """Every event that follows from the steps; what is refused changes nothing."""
    events = []
    for name, given_ in steps:
        before = world.models
        try:
            events += world.step(name, **given_)
        except PermanentError:
            assert world.models == before
    return events


@given(steps=st.lists(STEPS, max_size=40), strategy=STRATEGIES)
@settings(max_examples=150, deadline=None, suppress_health_check=FIXTURE)
def test_whatever_happens(fresh_world, steps, strategy):
    world = fresh_world(strategy)
    events = play(world, steps)
    changes = [event for event in events if isinstance(event, ModelPromoted | ModelRolledBack)]
    promotions = [event for event in changes if isinstance(event, ModelPromoted)]

    # epochs strictly increase, and each names the champion before
    assert all(later.epoch == earlier.epoch + 1 for earlier, later in pairwise(changes))
    assert all(later.previous == earlier.model.version for earlier, later in pairwise(changes))
    # at most one champion, and it is the one that was announced last
    assert len(world.models.at(Stage.CHAMPION)) <= 1
    assert world.models.champion == (changes[-1].model.version if changes else 0)
    assert world.models.stages.get(world.models.champion) is (Stage.CHAMPION if changes else None)
    # a promoted version passed every gate or was approved by a person
    for promotion in promotions:
        assert promotion.approved_by or all(verdict.passed for verdict in promotion.verdicts)
    # a rejected version is never promoted without a person
    rejected = set()
    for event in events:
        if isinstance(event, ModelRejected):
            rejected.add(event.version)
        if isinstance(event, ModelPromoted) and event.model.version in rejected:
            assert event.approved_by
    # only what has been promoted is rolled back to
    promoted = {promotion.model.version for promotion in promotions}
    assert {event.model.version for event in changes} <= promoted
    if strategy == "manual":
        assert all(promotion.approved_by for promotion in promotions)


@given(steps=st.lists(STEPS, max_size=25))
@settings(max_examples=50, deadline=None, suppress_health_check=FIXTURE)
def test_the_same_input_gives_the_same_output(fresh_world, steps):
    assert play(fresh_world("direct"), steps) == play(fresh_world("direct"), steps)


@given(steps=st.lists(STEPS, max_size=25))
@settings(max_examples=50, deadline=None, suppress_health_check=FIXTURE)
def test_while_paused_nothing_is_promoted(fresh_world, steps):
    world = fresh_world("direct")
    world.pause()
    events = play(world, [step for step in steps if step[0] != "pause"])

    assert not any(isinstance(event, ModelPromoted) for event in events)
