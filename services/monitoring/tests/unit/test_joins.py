"""Answers and truths meet in any order; each pair is handed on once."""

from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.time import Instant
from millrace_monitoring.domain.events import Role
from millrace_monitoring.domain.joins import NOTHING, Scored, answered, labelled, retracted

NOON = Instant(1_700_000_000_000_000)


def test_a_truth_meets_the_answer_that_waits(a_prediction):
    waiting, scored = answered(NOTHING, a_prediction(answer=90.0), 1)
    assert scored is None

    waiting, pairs = labelled(waiting, 100.0, NOON, 1)

    assert [(one.version, one.pair.answer, one.pair.truth) for one in pairs] == [(1, 90.0, 100.0)]
    assert waiting.is_over


def test_an_answer_meets_the_truth_that_waits(a_prediction):
    waiting, pairs = labelled(NOTHING, 100.0, NOON, 1)
    assert pairs == ()

    waiting, scored = answered(waiting, a_prediction(answer=90.0), 1)

    assert scored is not None
    assert (scored.pair.answer, scored.pair.truth, scored.answers_users) == (90.0, 100.0, True)
    assert waiting.is_over


def test_one_truth_meets_the_champions_and_the_challengers_answer(a_prediction):
    waiting, _ = answered(NOTHING, a_prediction(answer=90.0), 1)
    challenger = a_prediction(answer=95.0, model_version=2, role=Role.CHALLENGER)
    waiting, _ = answered(waiting, challenger, 1)

    _, pairs = labelled(waiting, 100.0, NOON, 1)

    assert [(one.version, one.answers_users) for one in pairs] == [(1, True), (2, False)]


def test_a_correction_counts_while_it_can_and_not_after(a_prediction):
    waiting, _ = labelled(NOTHING, 1.0, NOON, 1)
    waiting, _ = labelled(waiting, 2.0, NOON, 1)
    waiting, scored = answered(waiting, a_prediction(), 1)
    assert scored is not None
    assert scored.pair.truth == 2.0

    _, pairs = labelled(waiting, 3.0, NOON, 1)

    assert pairs == ()


def test_a_truth_that_was_taken_back_meets_no_answer(a_prediction):
    waiting, _ = labelled(NOTHING, 1.0, NOON, 1)

    waiting, scored = answered(retracted(waiting), a_prediction(), 1)

    assert scored is None
    assert waiting.answers


def test_taking_back_a_truth_leaves_the_answer_waiting_for_the_next(a_prediction):
    waiting, _ = answered(NOTHING, a_prediction(), 1)

    assert retracted(waiting) == waiting
    assert retracted(NOTHING).is_over


def test_no_answer_waits_for_no_truth(a_prediction):
    assert answered(NOTHING, a_prediction(answer=None), 1) == (NOTHING, None)


steps = st.lists(
    st.tuples(st.just("answer"), st.integers(0, 2))
    | st.tuples(st.just("truth"), st.integers(0, 9))
    | st.tuples(st.just("retraction"), st.just(0)),
    max_size=12,
)


@given(steps=steps)
def test_an_answer_is_paired_at_most_once_and_never_both_sides_wait(
    steps: list[tuple[str, int]], a_prediction
):
    waiting, found = NOTHING, list[Scored]()
    answers_given = 0
    for what, number in steps:
        if what == "answer":
            prediction = a_prediction(
                model_version=ModelVersionNumber(number), answer=float(number)
            )
            answers_given += all(answer.version != number for answer in waiting.answers)
            waiting, scored = answered(waiting, prediction, 1)
            found += [scored] if scored else []
        elif what == "truth":
            waiting, pairs = labelled(waiting, float(number), Instant(NOON), 1)
            found += pairs
        else:
            waiting = retracted(waiting)
        assert not waiting.answers or waiting.truth is None

    assert len(found) + len(waiting.answers) == answers_given
