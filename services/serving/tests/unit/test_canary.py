"""Which entities a canary's challenger answers, and when it answers nobody."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.time import Instant
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.routing import Routing
from millrace_serving.domain.canary import (
    PARTS,
    ChallengerEnded,
    ChallengerStarted,
    Trial,
    is_over,
    part_of,
)
from millrace_serving.domain.champions import Champion, ModelPromoted

BIKES = PipelineName("bikes")
SHARES = st.integers(0, PARTS)


def champion(version=1, epoch=1) -> Champion:
    return Champion(BIKES, 1, ModelVersionNumber(version), epoch, "u", "s", "r", b"", "")


def trial(share=0, number=1, step=0, *, version=2, epoch=1) -> Trial:
    return Trial(
        number, step, champion(version, epoch), ModelVersionNumber(1), share, Instant(0), Instant(0)
    )


class FakeModel:
    memory = 1


@pytest.fixture
def deployments() -> Deployments:
    made = Deployments()
    made.swap(Deployment(champion(), FakeModel()))
    return made


@pytest.fixture
def told() -> list:
    return []


@pytest.fixture
def routing(deployments, told) -> Routing:
    return Routing(deployments, "serving-0", told.append, lambda: 0.0)


def test_parts_are_the_same_in_every_process_for_ever():
    """Written down: another hash would move entities from one side to the other when a service is updated."""
    assert [part_of(BIKES, ModelVersionNumber(2), entity) for entity in ("a", "b", "")] == [
        8845, 7034, 2136,
    ]  # fmt: skip


@pytest.mark.parametrize("version", [1, 2, 77])
def test_parts_are_uniform(version):
    """Chi-squared of 20 bins over 20,000 entities: 19 degrees of freedom, beyond 43.8 with probability 0.001."""
    bins = [0] * 20
    for number in range(20_000):
        bins[part_of(BIKES, ModelVersionNumber(version), f"station-{number}") * 20 // PARTS] += 1

    assert sum((count - 1_000) ** 2 / 1_000 for count in bins) < 43.8


def test_each_version_meets_other_entities_first():
    first, second = (
        {n for n in range(5_000) if part_of(BIKES, ModelVersionNumber(v), str(n)) < 500}
        for v in (1, 2)
    )

    assert 200 < len(first) < 300
    assert len(first & second) < 40


@given(st.text(max_size=20), SHARES, SHARES)
def test_an_entity_stays_on_its_side_while_the_share_grows(entity, one, other):
    smaller, larger = sorted((one, other))

    assert trial(smaller).takes(entity) <= trial(larger).takes(entity)
    assert not trial(0).takes(entity)
    assert trial(PARTS).takes(entity)


def test_a_share_takes_exactly_the_parts_below_it():
    """Part 2136 is the 2137th: a share of 2136 parts leaves it out."""
    assert part_of(BIKES, ModelVersionNumber(2), "") == 2136
    assert [trial(share).takes("") for share in (2135, 2136, 2137)] == [False, False, True]


@given(st.lists(st.text(max_size=5), max_size=10))
@settings(max_examples=50)
def test_a_shadow_answers_nobody(entities):
    deployments = Deployments()
    deployments.swap(Deployment(champion(), FakeModel()))
    routing = Routing(deployments, "serving-0", lambda _: None, lambda: 0.0)
    shadow = trial(0)
    routing.put(shadow)
    routing.deploy(shadow, Deployment(shadow.challenger, FakeModel()))

    assert routing.running(BIKES) is not None
    assert all(routing.choose(BIKES, entity) is None for entity in entities)


class TestRouting:
    def begin(self, routing, share=PARTS, **changes):
        begun = trial(share, **changes)
        routing.put(begun)
        routing.deploy(begun, Deployment(begun.challenger, FakeModel()))

    def test_routes_nobody_without_a_canary(self, routing):
        assert routing.choose(BIKES, "a") is None

    def test_routes_nobody_before_the_model_is_there(self, routing):
        routing.put(trial(PARTS))

        assert routing.choose(BIKES, "a") is None

    def test_routes_its_share(self, routing):
        self.begin(routing, 2_500)

        taken = [n for n in range(4_000) if routing.choose(BIKES, str(n))]
        assert 850 < len(taken) < 1_150
        assert all(trial(2_500).takes(str(n)) for n in taken)

    def test_grows_without_loading_again(self, routing):
        self.begin(routing, 1)
        before = routing.running(BIKES).deployment
        routing.put(trial(PARTS, step=1))

        assert routing.choose(BIKES, "a") is before

    def test_routes_nobody_once_the_challenger_has_failed_and_tells_it_once(self, routing, told):
        self.begin(routing)
        routing.fail(BIKES, "boom")
        routing.fail(BIKES, "boom")
        routing.put(trial(PARTS, step=1))

        assert routing.choose(BIKES, "a") is None
        [failure] = told
        assert (failure.champion.version, failure.trial, failure.reason) == (2, 1, "boom")

    def test_routes_nobody_when_the_trial_is_over(self, routing):
        self.begin(routing)
        routing.end(BIKES)

        assert routing.choose(BIKES, "a") is None
        assert routing.all() == []

    def test_holds_only_while_its_champion_answers(self, routing, deployments):
        self.begin(routing)
        deployments.swap(Deployment(champion(2, 2), FakeModel()))

        assert routing.choose(BIKES, "a") is None
        assert routing.running(BIKES) is None

    def test_lets_a_model_go_that_comes_when_its_trial_is_over(self, routing):
        routing.put(trial(PARTS))
        routing.put(trial(PARTS, number=2, version=3))
        routing.deploy(trial(PARTS), Deployment(champion(2), FakeModel()))

        assert routing.choose(BIKES, "a") is None


@pytest.mark.parametrize(
    ("event", "over"),
    [
        (ChallengerStarted(trial(5, step=1)), False),
        (ChallengerStarted(trial(5, number=2)), True),
        (ChallengerEnded(BIKES, ModelVersionNumber(2)), True),
        (ChallengerEnded(BIKES, ModelVersionNumber(3)), False),
        (ModelPromoted(champion(2, 2)), True),
        (ModelPromoted(champion(1, 1)), False),
    ],
)
def test_what_ends_a_trial(event, over):
    assert is_over(trial(1), event) is over
