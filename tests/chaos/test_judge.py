"""The judge finds each kind of violation in made-up evidence, and nothing where all is well."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.chaos.judge import Evidence, Kept, Learnt, Loop, Promoted, Topic, Verdict, Watched, judge

EVENTS = 6
ENTITIES = ("a", "b")
VECTORS = {number: bytes([number]) * 8 for number in range(EVENTS)}


def topic(*numbers: int) -> Topic:
    """What a reader of one partition saw, in this order."""
    seen = Topic()
    for number in numbers:
        seen.saw(number, ENTITIES[number % 2], 0)
    return seen


def sound() -> Evidence:
    """Six events; the first has no answer; two runs, of which one was promoted and one rejected."""
    everyone = range(EVENTS)
    return Evidence(
        events=EVENTS,
        accepted=topic(*everyone),
        featured=topic(*everyone),
        scored=topic(*everyone),
        labelled=topic(*everyone),
        answered_by_http=frozenset({1, 3}),
        answers={0: 2, 1: 3},
        unanswerable=frozenset({0}),
        vectors=VECTORS,
        loop=Loop(
            requested=[("run-1", "first/x"), ("run-2", "drift/y")],
            ended=["run-1", "run-2"],
            completed=["run-1", "run-2"],
            registered=["run-1", "run-2"],
            promoted=[Promoted(1, "run-1")],
            rejected=["run-2"],
        ),
        watched=Watched(heard=2 * EVENTS, joined={0: 2, 1: 3}, waiting=Counter({0: 1})),
        learnt=Learnt(Counter(everyone), Counter(everyone)),
        kept=Kept(1, ["run-1", "run-2"], ["run-1", "run-2"]),
        dead_letters={},
    )


def test_a_sound_run_is_good():
    assert judge(sound(), VECTORS) == Verdict(0, 0, 0, 0, 1, [])


@pytest.mark.parametrize("where", ["accepted", "featured", "scored", "labelled"])
def test_an_event_that_is_missing_from_a_topic_is_lost(where: str):
    verdict = judge(replace(sound(), **{where: topic(0, 1, 2, 4, 5)}), VECTORS)
    assert (verdict.lost, verdict.doubled, verdict.good) == (1, 0, False)
    assert "3" in verdict.problems[0]


@pytest.mark.parametrize("where", ["accepted", "featured", "scored", "labelled"])
def test_an_event_that_is_in_effect_twice_is_doubled(where: str):
    verdict = judge(replace(sound(), **{where: topic(0, 1, 2, 3, 4, 5, 5)}), VECTORS)
    assert (verdict.lost, verdict.doubled, verdict.good) == (0, 1, False)


def test_an_event_that_nobody_sent_is_doubled():
    verdict = judge(replace(sound(), accepted=topic(*range(EVENTS + 1))), VECTORS)
    assert (verdict.doubled, verdict.good) == (1, False)


def test_what_was_answered_202_and_not_accepted_is_lost():
    evidence = replace(sound(), accepted=topic(0, 1, 2, 4, 5))
    assert any("202" in problem for problem in judge(evidence, VECTORS).problems)


def test_one_event_lost_on_its_whole_way_is_one_lost():
    parts = {name: topic(0, 1, 2, 3, 4) for name in ("accepted", "featured", "scored", "labelled")}
    verdict = judge(watched(heard=10, joined={0: 2, 1: 2})(replace(sound(), **parts)), VECTORS)
    assert verdict.lost == 1


def test_a_label_that_waits_for_a_prediction_that_was_lost_is_not_doubled():
    evidence = replace(sound(), scored=topic(0, 1, 2, 3, 4), answers={0: 2, 1: 2})
    evidence = watched(heard=11, joined={0: 2, 1: 2}, waiting=Counter({0: 1, 5: 1}))(evidence)
    verdict = judge(evidence, VECTORS)
    assert (verdict.lost, verdict.doubled) == (1, 0)


def test_an_entity_out_of_order_is_a_violation_and_different_entities_are_not():
    assert judge(replace(sound(), accepted=topic(1, 0, 3, 2, 5, 4)), VECTORS).good
    verdict = judge(replace(sound(), accepted=topic(0, 1, 4, 3, 2, 5)), VECTORS)
    assert (verdict.order_violations, verdict.good) == (1, False)


def test_one_bit_in_one_vector_is_a_difference():
    changed = VECTORS | {4: b"\x04" * 7 + b"\x05"}
    verdict = judge(replace(sound(), vectors=changed), VECTORS)
    assert (verdict.differing_sums, verdict.good) == (1, False)


def watched(**changed: object) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, watched=replace(evidence.watched, **changed))


def learnt(**changed: object) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, learnt=replace(evidence.learnt, **changed))


def loop(**changed: object) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, loop=replace(evidence.loop, **changed))


def kept(**changed: object) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, kept=replace(evidence.kept, **changed))


@pytest.mark.parametrize(
    ("change", "lost", "doubled"),
    [
        (watched(heard=11), 1, 0),
        (watched(heard=13), 0, 1),
        (watched(joined={0: 2, 1: 2}), 1, 0),
        (watched(joined={0: 2, 1: 4}), 0, 1),
        (watched(joined={0: 2}), 3, 0),
        (watched(waiting=Counter()), 1, 0),
        (watched(waiting=Counter({0: 1, 4: 1})), 0, 1),
        (learnt(vectors=Counter(range(5))), 1, 0),
        (learnt(vectors=Counter([*range(6), 2])), 0, 1),
        (learnt(labels=Counter([*range(6), 2])), 0, 1),
    ],
)
def test_counts_and_states_that_are_not_exact_are_lost_or_doubled(change, lost, doubled):
    verdict = judge(change(sound()), VECTORS)
    assert (verdict.lost, verdict.doubled, verdict.good) == (lost, doubled, False)


@pytest.mark.parametrize(
    "change",
    [
        loop(requested=[("run-1", "first/x"), ("run-2", "drift/y"), ("run-2", "drift/z")]),
        loop(requested=[("run-1", "first/x"), ("run-2", "first/x")]),  # one cause, two runs
        loop(ended=["run-1", "run-2", "run-2"]),
        loop(ended=["run-1"]),
        loop(completed=["run-1"]),  # a version from nowhere
        loop(registered=["run-1", "run-2", "run-2"]),
        loop(registered=["run-1"]),
        loop(promoted=[Promoted(1, "run-1"), Promoted(2, "run-1")]),
        loop(promoted=[Promoted(1, "run-1"), Promoted(1, "run-1")]),
        loop(promoted=[Promoted(2, "run-1")]),
        loop(promoted=[]),
        loop(promoted=[Promoted(1, "run-1"), Promoted(2, "run-2")]),  # and rejected, too
        loop(rejected=[]),
        kept(champion_epoch=2),
        kept(versions=["run-1"]),
        kept(runs=["run-1", "run-2", "run-3"]),
    ],
)
def test_every_decision_has_one_outcome(change):
    assert judge(sound(), VECTORS).good
    assert not judge(change(sound()), VECTORS).good


def test_a_failed_run_is_an_end_and_needs_no_version():
    evidence = loop(completed=["run-1"], registered=["run-1"], rejected=[])(sound())
    assert judge(kept(versions=["run-1"])(evidence), VECTORS).good


def test_dead_letters_are_a_problem():
    evidence = replace(sound(), dead_letters={"millrace.events.dlq": 2})
    assert judge(evidence, VECTORS).problems == ["dead letters: 2 in millrace.events.dlq"]
