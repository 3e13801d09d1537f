"""What follows from an event or a label, given what is known of the event id."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millrace_ingestion.domain.events import (
    EventAccepted,
    EventLabelled,
    LabelObserved,
    LabelRetracted,
    ValidEvent,
    ValidLabel,
)
from millrace_ingestion.domain.ledger import NOTHING, Happened, Known, decide, evolve
from millrace_ingestion.domain.problems import Refusal

ACCEPTED = EventAccepted("bikes", 1, "e1", "s7", 1_000, (1.0,), ("a",))
EVENT = ValidEvent(ACCEPTED, None, 5_000)
EVENT_AND_LABEL = ValidEvent(ACCEPTED, 12.0, 5_000)
HAPPENED = Happened(1_000, "s7")


def label(value=12.0, known_at=9_000, **more):
    return ValidLabel("bikes", 1, "e1", value, known_at, **more)


def observed(value=12.0, known_at=9_000):
    return LabelObserved("bikes", 1, "e1", known_at, value)


def retracted(known_at=9_000):
    return LabelRetracted("bikes", 1, "e1", known_at)


def labelled(number=12.0, known_at=9_000, retracted=False):
    return EventLabelled("bikes", 1, "e1", "s7", 1_000, known_at, number, retracted)


def told(valids, aggregates_labels=False, known=NOTHING):
    """All outputs of these, one after the other."""
    outputs = []
    for valid in valids:
        decided = decide(known, valid, aggregates_labels=aggregates_labels)
        assert not isinstance(decided, Refusal)
        for output in decided:
            known = evolve(known, output)
        outputs += decided
    return outputs


def test_an_event_is_accepted_once():
    assert told([EVENT, EVENT, EVENT]) == [ACCEPTED]


def test_a_duplicate_that_says_something_else_is_still_a_duplicate():
    other = ValidEvent(ACCEPTED._replace(event_time=7, entity="s8"), None, 5_000)

    assert told([EVENT, other]) == [ACCEPTED]


def test_a_label_within_the_event_is_observed_after_it():
    assert told([EVENT_AND_LABEL]) == [ACCEPTED, observed(known_at=5_000)]


def test_an_identical_label_again_is_dropped():
    assert told([EVENT_AND_LABEL, label(12.0), label(12.0, known_at=1)]) == [
        ACCEPTED,
        observed(known_at=5_000),
    ]


def test_a_different_label_is_a_correction_and_the_last_counts():
    assert told([label(1.0), label(2.0), label(1.0)]) == [
        observed(1.0),
        observed(2.0),
        observed(1.0),
    ]


def test_a_label_is_taken_back_once_and_may_be_given_again():
    assert told([label(1.0), label(None), label(None), label(1.0)]) == [
        observed(1.0),
        retracted(),
        observed(1.0),
    ]


def test_a_retraction_counts_even_when_the_label_was_not_seen_here():
    assert told([label(None)]) == [retracted()]


def test_an_event_sent_again_with_its_label_tells_a_label_that_was_not_known():
    assert told([EVENT, EVENT_AND_LABEL]) == [ACCEPTED, observed(known_at=5_000)]


def test_an_event_sent_again_does_not_bring_back_a_label_that_was_corrected():
    assert told([EVENT_AND_LABEL, label(13.0), EVENT_AND_LABEL]) == [
        ACCEPTED,
        observed(known_at=5_000),
        observed(13.0),
    ]


def test_an_event_sent_again_does_not_bring_back_a_label_that_was_taken_back():
    assert told([EVENT_AND_LABEL, label(None), EVENT_AND_LABEL])[2:] == [retracted()]


def test_a_label_may_come_before_its_event():
    assert told([label(12.0), EVENT_AND_LABEL]) == [observed(), ACCEPTED]


def test_where_labels_are_aggregated_each_also_goes_to_its_entity():
    assert told([EVENT_AND_LABEL, label(13.0), label(None)], aggregates_labels=True) == [
        ACCEPTED,
        observed(known_at=5_000),
        labelled(known_at=5_000),
        observed(13.0),
        labelled(13.0),
        retracted(),
        labelled(None, retracted=True),
    ]


def test_a_class_goes_to_its_entity_without_a_number():
    assert told([EVENT, label("a")], aggregates_labels=True)[1:] == [observed("a"), labelled(None)]


def test_an_unseen_events_entity_and_time_may_come_with_the_label():
    said = label(12.0, entity="s7", event_time=1_000)

    assert told([said], aggregates_labels=True) == [observed(), labelled()]


def test_a_label_told_with_its_event_does_not_make_the_event_a_duplicate():
    said = label(12.0, entity="s7", event_time=1_000)

    assert told([said, EVENT], aggregates_labels=True)[2:] == [ACCEPTED]


def test_what_was_accepted_counts_more_than_what_a_label_says_of_it():
    said = label(12.0, entity="s8", event_time=1)

    assert told([EVENT, said], aggregates_labels=True)[2] == labelled()


def test_a_label_that_nobody_can_place_is_refused_and_leaves_no_trace():
    for said, missing in ((label(), "entity and event_time"), (label(entity="s7"), "event_time")):
        refusal = decide(NOTHING, said, aggregates_labels=True)

        assert isinstance(refusal, Refusal)
        assert missing in refusal.text


@given(
    st.lists(
        st.sampled_from([EVENT, EVENT_AND_LABEL, label(1.0), label(12.0), label(None)]), max_size=12
    ),
    st.booleans(),
)
def test_the_last_thing_said_is_the_last_thing_known(valids: Sequence, aggregates: bool):
    known = Known(HAPPENED)
    outputs = told(valids, aggregates, known)

    said = [output for output in outputs if isinstance(output, LabelObserved | LabelRetracted)]
    for output in outputs:
        known = evolve(known, output)
    assert known.label == (said[-1].value if said and isinstance(said[-1], LabelObserved) else None)
    assert known.retracted == bool(said and isinstance(said[-1], LabelRetracted))
    assert all(
        getattr(one, "value", None) != getattr(two, "value", None) for one, two in pairwise(said)
    )
    assert len(outputs) == len(said) * (2 if aggregates else 1)
