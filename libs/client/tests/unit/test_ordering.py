"""Replays: the same bytes in the order in which things became known."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import ClientError
from millrace.replay.ordering import RawMessage, messages_of
from millrace.replay.pace import Pace, Sent
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import HOUR, Duration, parse_rfc3339

START = datetime(2011, 1, 1, tzinfo=UTC)
ROW = {
    "id": "b1",
    "timestamp": "2011-01-01T00:00:00Z",
    "station": "washington",
    "hr": "0",
    "holiday": "0",
    "weathersit": "1",
    "temp": "0.24",
    "cnt": "16",
    "remark": "first",
}

rows = st.lists(
    st.builds(
        lambda minutes, station, count: {
            "timestamp": (START + timedelta(minutes=minutes)).isoformat(),
            "station": station,
            "cnt": count,
            "temp": "0.5",
        },
        st.integers(0, 600),
        st.sampled_from(["a", "b"]),
        st.one_of(st.just(""), st.integers(0, 99).map(str)),
    ),
    max_size=30,
)
delays = st.sampled_from([0, 60_000_000, HOUR])


def with_delay(pipeline: Pipeline, delay: int) -> Pipeline:
    return replace(pipeline, label=replace(pipeline.label, delay=Duration(delay)))


def body(message: RawMessage) -> dict:
    return json.loads(message.value)


@given(rows=rows, delay=delays)
def test_recorded_times_never_go_back(bikes: Pipeline, rows: list, delay: int) -> None:
    times = [message.recorded_at for message in messages_of(with_delay(bikes, delay), rows)]
    assert times == sorted(times)


@given(rows=rows, delay=delays)
def test_every_label_comes_after_its_event_and_in_its_partition(
    bikes: Pipeline, rows: list, delay: int
) -> None:
    messages = messages_of(with_delay(bikes, delay), rows)
    places = {m.event_id: at for at, m in enumerate(messages) if not m.is_label}
    for at, message in enumerate(messages):
        if message.is_label:
            assert places[message.event_id] < at
            assert messages[places[message.event_id]].key == message.key
    assert len(places) == len(rows)
    assert sum(m.is_label for m in messages) == sum(row["cnt"] != "" for row in rows)


@given(rows=rows, delay=delays)
def test_the_same_rows_are_the_same_messages(bikes: Pipeline, rows: list, delay: int) -> None:
    pipeline = with_delay(bikes, delay)
    assert messages_of(pipeline, rows) == messages_of(pipeline, [dict(row) for row in rows])


def test_an_event_carries_typed_fields_and_not_its_label(bikes: Pipeline) -> None:
    [event, _] = messages_of(bikes, [ROW])
    assert body(event) == {
        "id": "b1",
        "timestamp": "2011-01-01T00:00:00Z",
        "station": "washington",
        "hr": 0,
        "holiday": False,
        "weathersit": "1",
        "temp": 0.24,
        "remark": "first",
    }
    assert event.topic == "millrace.raw.bikes"
    assert event.key == b"washington"
    assert event.headers == (("recordedtime", b"2011-01-01T00:00:00.000000Z"),)


def test_a_label_is_a_message_of_its_own_when_it_became_known(bikes: Pipeline) -> None:
    [_, label] = messages_of(bikes, [ROW])
    assert body(label) == {
        "id": "b1",
        "label": 16,
        "entity": "washington",
        "event_time": "2011-01-01T00:00:00.000000Z",
        "known_at": "2011-01-01T01:00:00.000000Z",
    }
    assert dict(label.headers) == {
        "recordedtime": b"2011-01-01T01:00:00.000000Z",
        "ce_type": b"millrace.label",
    }
    assert label.recorded_at == parse_rfc3339("2011-01-01T01:00:00Z")


def test_what_became_known_at_an_events_instant_goes_before_the_event(bikes: Pipeline) -> None:
    later = ROW | {"id": "b2", "timestamp": "2011-01-01T01:00:00Z"}
    order = [(m.event_id, m.is_label) for m in messages_of(bikes, [ROW, later])]
    assert order == [("b1", False), ("b1", True), ("b2", False), ("b2", True)]


def test_without_an_id_the_row_number_is_the_id(bikes: Pipeline) -> None:
    row = {name: value for name, value in ROW.items() if name != "id"}
    assert [m.event_id for m in messages_of(bikes, [row, row]) if not m.is_label] == ["1", "2"]


def test_a_row_without_label_is_an_event_alone(bikes: Pipeline) -> None:
    [event] = messages_of(bikes, [ROW | {"cnt": ""}])
    assert not event.is_label


def test_labels_go_to_their_own_topic_where_the_file_names_one(bikes: Pipeline) -> None:
    pipeline = replace(bikes, label=replace(bikes.label, topic="hires"))
    assert [m.topic for m in messages_of(pipeline, [ROW])] == ["millrace.raw.bikes", "hires"]


def test_labels_of_classes_keep_their_text() -> None:
    text = """
metadata: {name: prices}
spec:
  event: {id: id, time: at}
  fields: {price: float}
  label: {field: direction, kind: binary, positive: UP}
"""
    row = {"id": 7, "at": 1_300_000_000, "price": 1.5, "direction": "UP"}
    event, label = messages_of(read_pipeline(text), [row])
    assert event.key == b"7"
    assert body(label)["label"] == "UP"
    assert body(label)["entity"] is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"timestamp": "yesterday"}, "row 1: timestamp is 'yesterday'; write a time such as"),
        ({"timestamp": ""}, "row 1 has no timestamp, which the pipeline file names"),
        ({"station": None}, "row 1 has no station"),
        ({"temp": "warm"}, "row 1: temp is 'warm'; write a number"),
        ({"holiday": "maybe"}, "row 1: holiday is 'maybe'; write true or false"),
        ({"cnt": "many"}, "row 1: cnt is 'many'; write a number"),
    ],
)
def test_a_row_that_cannot_be_sent_is_named(bikes: Pipeline, change: dict, told: str) -> None:
    with pytest.raises(ClientError) as error:
        messages_of(bikes, [ROW | change])
    assert str(error.value).startswith(told)


def history(bikes: Pipeline, hours: int) -> list[RawMessage]:
    times = (START + timedelta(hours=hour) for hour in range(hours))
    return messages_of(
        bikes, [ROW | {"id": str(t.hour), "timestamp": t.isoformat()} for t in times]
    )


def test_a_rate_counts_events_and_lets_their_labels_along(bikes: Pipeline) -> None:
    messages, pace = history(bikes, 20), Pace(rate=10)
    due = pace.due(messages, Sent(), 0.5)
    assert sum(not m.is_label for m in due) == 6
    sent = Sent().with_next(due)
    assert pace.due(messages, sent, 0.5) == []
    assert sum(not m.is_label for m in pace.due(messages, sent, 1.0)) == 5


def test_a_speed_follows_the_time_of_history(bikes: Pipeline) -> None:
    messages, pace = history(bikes, 20), Pace(speed=3600)
    assert max(m.recorded_at for m in pace.due(messages, Sent(), 3.0)) == (
        messages[0].recorded_at + 3 * HOUR
    )


def test_without_a_pace_everything_is_due(bikes: Pipeline) -> None:
    messages = history(bikes, 20)
    assert Pace().due(messages, Sent(), 0.0) == messages
