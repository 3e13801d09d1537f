"""How much may wait, who is told to come again, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_ingestion.application.overload import (
    REQUEST_BYTES,
    Bounds,
    Gate,
    OverloadedError,
    Reason,
    seconds_to_stay_away,
)

A0, A1, B0 = ("a", 0), ("a", 1), ("b", 0)
ROOMY = Bounds(most_bytes=10 * REQUEST_BYTES, most_lag=100)


def gate_of(bounds=ROOMY, late=lambda: 0, chance=0.0):
    return Gate(bounds, late, lambda: chance)


def refusal(gate, topic="a", announced=0):
    with pytest.raises(OverloadedError) as refused, gate.request(topic, announced):
        pass
    return refused.value


def is_let_in(gate, topic="a", announced=0):
    with gate.request(topic, announced):
        return True


@given(
    needed=st.floats(min_value=0, allow_nan=False),
    longest=st.integers(min_value=1, max_value=600),
    chance=st.floats(min_value=0, max_value=1),
)
def test_the_seconds_are_whole_bounded_and_enough_where_the_bound_allows(needed, longest, chance):
    seconds = seconds_to_stay_away(needed, longest, chance)

    assert isinstance(seconds, int)
    assert 1 <= seconds <= longest
    if needed * (1 + chance / 2) <= longest:
        assert seconds >= needed
    else:
        assert seconds >= longest / 2


def test_the_seconds_are_spread_by_chance():
    assert seconds_to_stay_away(10, 30, 0.0) == 10
    assert seconds_to_stay_away(10, 30, 1.0) == 15
    assert seconds_to_stay_away(1e9, 30, 0.0) == 15
    assert seconds_to_stay_away(1e9, 30, 1.0) == 30


@given(st.lists(st.integers(min_value=0, max_value=9 * REQUEST_BYTES), max_size=30))
def test_together_no_more_is_held_than_the_bound_but_by_one_alone(sizes):
    gate = gate_of()
    with gate.request("a", 0) as first:
        for size in sizes:
            before = gate.held_bytes
            try:
                with gate.request("a", 0) as second:
                    second.add(size)
                    assert gate.held_bytes == before + REQUEST_BYTES + size <= 10 * REQUEST_BYTES
            except OverloadedError:
                assert before + REQUEST_BYTES + size > 10 * REQUEST_BYTES
            assert gate.held_bytes == before
        first.add(1_000 * REQUEST_BYTES)  # alone
        assert refusal(gate).reason is Reason.WAITING
    assert gate.held_bytes == 0
    assert is_let_in(gate)


def test_what_a_request_announces_is_refused_before_it_is_read():
    gate = gate_of()
    with gate.request("a", 0):
        assert is_let_in(gate, announced=8 * REQUEST_BYTES)
        assert refusal(gate, announced=8 * REQUEST_BYTES + 1).reason is Reason.WAITING


def test_what_the_broker_still_has_to_take_counts():
    late = 10 * REQUEST_BYTES
    gate = gate_of(late=lambda: late)

    assert refusal(gate).reason is Reason.WAITING
    late = 0
    assert is_let_in(gate)


def test_how_long_bytes_will_wait_is_computed_from_how_fast_they_went():
    late = 0
    gate = gate_of(late=lambda: late)
    with gate.request("a", 0):
        gate.looked(0.0, {}, {})
        for second in (1.0, 2.0):
            is_let_in(gate)  # one request a second
            gate.looked(second, {}, {})
    late = 20 * REQUEST_BYTES

    assert refusal(gate).seconds == 16  # 21 and no more than 5 of them left


def test_a_topic_that_is_behind_is_closed_until_its_reader_has_caught_up():
    gate = gate_of()
    gate.looked(0.0, {A0: 0, A1: 0, B0: 0}, {A0: 60, A1: 41, B0: 100})

    assert refusal(gate, "a").reason is Reason.LAG
    assert is_let_in(gate, "b")
    assert is_let_in(gate, "never seen")
    gate.looked(1.0, {A0: 1, A1: 0, B0: 0}, {A0: 60, A1: 41, B0: 101})
    assert is_let_in(gate, "a")
    assert refusal(gate, "b").reason is Reason.LAG


def test_how_long_a_topic_will_be_behind_is_computed_from_how_fast_it_is_read():
    gate = gate_of()
    gate.looked(0.0, {A0: 0, A1: 0}, {A0: 400, A1: 0})
    assert refusal(gate).seconds == 2  # not known yet
    gate.looked(2.0, {A0: 100, A1: 20}, {A0: 400, A1: 40})

    assert gate.lags == {"a": 320}
    assert refusal(gate).seconds == 5  # 60 a second, and 50 may be left of 320


def test_a_topic_that_is_not_read_at_all_keeps_everybody_away_for_longest():
    gate = gate_of()
    gate.looked(0.0, {A0: 0}, {A0: 400})
    gate.looked(1.0, {A0: 0}, {A0: 400})

    assert refusal(gate).seconds == 15  # the upper half of 30, by chance


def test_time_with_nothing_to_do_says_nothing_of_how_fast_it_goes():
    gate = gate_of()
    gate.looked(0.0, {A0: 0}, {A0: 100})
    gate.looked(1.0, {A0: 100}, {A0: 100})
    for second in range(2, 60):
        gate.looked(float(second), {A0: 100}, {A0: 100})
    gate.looked(60.0, {A0: 100}, {A0: 1_100})

    assert refusal(gate).seconds == 10  # 950 too many, 100 a second when it worked


def test_a_reader_that_has_become_slower_is_known_to_be_soon():
    gate, position = gate_of(), 0
    gate.looked(0.0, {A0: 0}, {A0: 100_000})
    for second in range(1, 41):
        position += 1_000 if second <= 10 else 50
        gate.looked(float(second), {A0: position}, {A0: position + 1_050})

    assert 15 <= refusal(gate).seconds <= 20  # 1,000 too many, by now little more than 50 a second


@given(st.lists(st.floats(min_value=0.01, max_value=10), min_size=1, max_size=20))
def test_a_steady_speed_is_found_however_often_one_looks(pauses):
    gate, at, position = gate_of(), 0.0, 0
    gate.looked(at, {A0: position}, {A0: 10_000_000})
    for pause in pauses:
        at, position = at + pause, position + pause * 1_000_000
        gate.looked(at, {A0: position}, {A0: position + 5_000_050})

    assert refusal(gate).seconds in (5, 6)


def test_a_partition_that_comes_counts_as_read_from_where_it_is():
    """Else the first look at it would take its whole past for what was read meanwhile."""
    gate = gate_of()
    gate.looked(0.0, {A0: 0}, {A0: 200})
    gate.looked(1.0, {A0: 10, A1: 5_000_000}, {A0: 200, A1: 5_000_000})

    assert refusal(gate).seconds == 14  # 10 a second, 140 too many


def test_a_partition_that_goes_takes_its_lag_with_it():
    gate = gate_of()
    gate.looked(0.0, {A0: 0, A1: 0}, {A0: 1_000, A1: 0})
    gate.looked(1.0, {A1: 0}, {A1: 0})

    assert is_let_in(gate)


def test_a_reader_between_two_sessions_is_where_it_was_for_a_while():
    gate = gate_of()
    gate.looked(100.0, {A0: 0}, {A0: 1_000})
    gate.looked(130.0, {}, {A0: 1_200})

    assert gate.lags == {"a": 1_200}
    gate.looked(130.1, {}, {})
    assert is_let_in(gate)  # it has none any more: others read the topic


def test_what_can_no_longer_be_seen_refuses_nobody():
    gate = gate_of()
    gate.looked(0.0, {A0: 0}, {A0: 1_000})
    gate.could_not_look()

    assert is_let_in(gate)
    assert gate.lags == {}


def test_an_offset_beyond_the_end_is_no_lag():
    """Positions are read before the ends are asked for, but a topic made anew begins again."""
    gate = gate_of()
    gate.looked(0.0, {A0: 500, A1: 0}, {A0: 0, A1: 7})

    assert gate.lags == {"a": 7}
