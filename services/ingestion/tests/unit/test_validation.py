"""Whatever is wrong with an event is said: the field, what, and the fix."""

from math import inf, isnan, nan

import pytest

from millrace_ingestion.domain.events import Kind, ValidEvent, ValidLabel
from millrace_ingestion.domain.problems import Refusal
from millrace_ingestion.domain.validation import validate
from millrace_kernel.time import HOUR, MINUTE, Instant, parse_rfc3339

ELEVEN = parse_rfc3339("2026-11-21T11:00:00Z")


@pytest.fixture
def event(rules, submit, row):
    """Validate the good event with these changes, against the good pipeline with those."""

    def checked(pipeline=None, **changes):
        return validate(rules(**(pipeline or {})), submit(row(**changes)))

    return checked


def problems(refusal):
    assert isinstance(refusal, Refusal)
    return [(problem.field, problem.problem) for problem in refusal.problems]


def test_a_good_event_is_accepted_with_its_fields_in_the_files_order(event):
    valid = event()

    assert isinstance(valid, ValidEvent)
    accepted = valid.accepted
    assert (accepted.pipeline, accepted.pipeline_version) == ("bikes", 1)
    assert (accepted.event_id, accepted.entity, accepted.event_time) == ("e1", "s7", ELEVEN)
    assert (accepted.numbers, accepted.texts) == ((20.5, 11.0), ("clear",))
    assert valid.label is None


def test_fields_that_nobody_asked_for_are_ignored(event):
    assert event(extra={"deep": [1, 2]}) == event()


def test_ids_and_entities_may_be_whole_numbers(event):
    valid = event(id=17, station=-4)

    assert (valid.accepted.event_id, valid.accepted.entity) == ("17", "-4")


def test_a_pipeline_without_an_entity_has_one_for_all(event):
    valid = event(pipeline={"event": "id: id, time: at"}, station=...)

    assert valid.accepted.entity == ""


def test_everything_that_is_wrong_is_said_at_once(event):
    refusal = event(id=..., at="soon", station="", temp="warm", hour=..., weather=None)

    assert problems(refusal) == [
        ("id", "is missing"),
        ("at", "'soon' is not a time"),
        ("station", "is missing"),
        ("temp", "'warm' is not a number"),
        ("hour", "is missing"),
        ("weather", "is missing"),
    ]


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("float", 1.5, 1.5),
        ("float", 2, 2.0),
        ("float", 2**53 + 1, float(2**53 + 1)),
        ("float", -0.0, 0.0),
        ("int", 3, 3.0),
        ("int", 3.0, 3.0),
        ("int", 2**53, float(2**53)),
        ("int", -(2**53), -float(2**53)),
        ("bool", True, 1.0),
        ("bool", False, 0.0),
        ("bool", 1, 1.0),
        ("bool", 0.0, 0.0),
        ("timestamp", "1970-01-01T00:01:00.5Z", 60.5),
        ("timestamp", "1969-12-31T23:59:00Z", -60.0),
        ("timestamp", 12, 12.0),
    ],
)
def test_numbers_of_each_kind(event, kind, value, read):
    valid = event(pipeline={"fields": f"x: {kind}, other: float"}, x=value, other=7)

    assert valid.accepted.numbers == (read, 7.0)


@pytest.mark.parametrize("kind", ["string", "category"])
@pytest.mark.parametrize(("value", "read"), [("a", "a"), ("ünï😀", "ünï😀"), (4, "4"), (" ", " ")])
def test_texts_of_each_kind(event, kind, value, read):
    valid = event(pipeline={"fields": f"x: {kind}, other: float"}, x=value, other=7)

    assert valid.accepted.texts == (read,)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("float", "1.5", "'1.5' is not a number"),
        ("float", True, "true is not a number"),
        ("float", [], "a list is not a number"),
        ("float", nan, "nan is not finite"),
        ("float", -inf, "-inf is not finite"),
        ("float", 10**400, "is a number beyond the range of a double"),
        ("float", "", "'' is not a number"),
        ("int", 1.5, "1.5 is not a whole number"),
        ("int", inf, "inf is not finite"),
        ("int", False, "false is not a whole number"),
        ("int", 2**53 + 1, "9007199254740993 is beyond 2**53, where doubles skip numbers"),
        ("int", -1e300, "-1e+300 is beyond 2**53, where doubles skip numbers"),
        ("int", 10**400, "a huge number is beyond 2**53, where doubles skip numbers"),
        ("bool", 2, "2 is not true or false"),
        ("bool", nan, "nan is not true or false"),
        ("bool", "true", "'true' is not true or false"),
        ("timestamp", "noon", "'noon' is not a time"),
        ("string", 1.5, "1.5 is not a text"),
        ("string", True, "true is not a text"),
        ("string", {}, "an object is not a text"),
        ("string", 10**30, "is a number of more than 64 bits"),
        ("category", "a\x00b", "contains the character U+0000, which databases refuse"),
    ],
)
def test_values_of_another_kind_are_refused(event, kind, value, said):
    refusal = event(pipeline={"fields": f"x: {kind}, other: float"}, x=value, other=7)

    assert problems(refusal) == [("x", said)]
    assert all(problem.fix for problem in refusal.problems)


def test_a_long_value_is_not_repeated_in_full(event):
    (problem,) = event(temp="x" * 100_000).problems

    assert len(problem.problem) < 100


@pytest.mark.parametrize("absent", [None, ...])
def test_a_field_that_is_not_required_may_be_missing(event, absent):
    fields = "temp: {type: float, required: false}, hour: int, weather: {type: category, required: false}"

    valid = event(pipeline={"fields": fields}, temp=absent, weather=absent)

    assert isnan(valid.accepted.numbers[0])
    assert (valid.accepted.numbers[1], valid.accepted.texts) == (11.0, ("",))


def test_an_empty_text_is_a_missing_text(event):
    optional = "temp: float, hour: int, weather: {type: category, required: false}"

    assert problems(event(weather="")) == [("weather", "is missing")]
    assert event(pipeline={"fields": optional}, weather="").accepted.texts == ("",)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (..., "is missing"),
        (None, "is missing"),
        ("", "is missing"),
        (1.0, "1.0 is neither a text nor a whole number"),
        (True, "true is neither a text nor a whole number"),
        ([], "a list is neither a text nor a whole number"),
        ("x" * 256, "has 256 characters"),
        ("a\x00", "contains the character U+0000, which databases refuse"),
    ],
)
@pytest.mark.parametrize("field", ["id", "station"])
def test_ids_and_entities_that_are_none(event, field, value, said):
    assert problems(event(**{field: value})) == [(field, said)]


def test_an_id_of_255_characters_is_good(event):
    assert isinstance(event(id="é" * 255), ValidEvent)


def test_an_event_from_before_1970_is_refused(event):
    assert isinstance(event(at=0), ValidEvent)
    assert problems(event(at="1969-12-31T23:59:59.999999Z")) == [("at", "is before 1970")]


def test_an_event_may_be_ahead_of_when_it_was_recorded_by_max_ahead_and_no_more(rules, submit, row):
    rules = rules(event="id: id, time: at, entity: station, max_ahead: 5m")

    def at(when):
        return validate(rules, submit(row(at=when), recorded_at=ELEVEN))

    assert isinstance(at((ELEVEN + 5 * MINUTE) / 1e6), ValidEvent)
    (problem,) = at("2026-11-21T11:05:00.000001Z").problems
    assert problem.field == "at"
    assert "1us after the latest that is believed, 2026-11-21T11:05:00.000000Z" in problem.problem
    assert "event.max_ahead" in problem.fix


@pytest.mark.parametrize(
    "at", ["9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59", 99_999_999_999]
)
def test_even_the_last_moments_of_the_calendar_are_only_in_the_future(event, at):
    ((field, said),) = problems(event(at=at))

    assert field == "at"
    assert "after the latest that is believed" in said


def test_cloudevents_id_and_time_count_where_the_object_has_none(rules, submit, row):
    around = {"id": "ce-1", "time": "2026-11-21T10:00:00Z"}

    inside = validate(rules(), submit(row(), **around)).accepted
    outside = validate(rules(), submit(row(id=None, at=...), **around)).accepted

    assert (inside.event_id, inside.event_time) == ("e1", ELEVEN)
    assert (outside.event_id, outside.event_time) == ("ce-1", ELEVEN - HOUR)


def test_the_label_within_an_event_is_known_after_its_delay(event):
    valid = event(cnt=12)

    assert (valid.label, valid.label_known_at) == (12.0, ELEVEN + HOUR)
    assert valid.accepted == event().accepted


@pytest.mark.parametrize("cnt", [None, ""])
def test_an_empty_label_within_an_event_is_not_known_yet(event, cnt):
    assert event(cnt=cnt).label is None


def test_a_wrong_label_within_an_event_refuses_the_event(event):
    assert problems(event(cnt="many")) == [("cnt", "'many' is not a number")]


def test_a_label_apart_is_known_when_it_says_so_or_when_it_was_recorded(rules, submit, noon):
    said = {"id": "e1", "label": 3, "known_at": "2026-11-21T11:30:00Z"}

    assert validate(rules(), submit(said, Kind.LABEL)) == ValidLabel(
        "bikes", 1, "e1", 3.0, Instant(ELEVEN + 30 * MINUTE), None, None
    )
    assert validate(rules(), submit({"id": "e1", "label": 3}, Kind.LABEL)).known_at == noon


def test_a_label_apart_may_say_entity_and_event_time(rules, submit):
    said = {"id": 1, "label": 3, "entity": "s7", "event_time": "2026-11-21T11:00:00Z"}

    valid = validate(rules(), submit(said, Kind.LABEL))

    assert (valid.event_id, valid.entity, valid.event_time) == ("1", "s7", ELEVEN)


@pytest.mark.parametrize(
    ("body", "kind"), [({"id": "e1", "label": None}, Kind.LABEL), ({"id": "e1"}, Kind.RETRACTION)]
)
def test_a_null_label_and_a_retraction_take_the_label_back(rules, submit, body, kind):
    assert validate(rules(), submit(body, kind)).value is None


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"label": 3}, "id", "is missing"),
        ({"id": "e1"}, "label", "is missing"),
        ({"id": "e1", "label": "x"}, "label", "'x' is not a number"),
        (
            {"id": "e1", "label": 3, "entity": []},
            "entity",
            "a list is neither a text nor a whole number",
        ),
        ({"id": "e1", "label": 3, "known_at": "soon"}, "known_at", "'soon' is not a time"),
        ({"id": "e1", "label": 3, "known_at": -1}, "known_at", "is before 1970"),
        ({"id": "e1", "label": 3, "event_time": False}, "event_time", "false is not a time"),
    ],
)
def test_what_is_wrong_with_a_label_is_said(rules, submit, body, field, said):
    assert problems(validate(rules(), submit(body, Kind.LABEL))) == [(field, said)]


def test_a_label_known_in_the_future_is_refused(rules, submit):
    said = {"id": "e1", "label": 3, "known_at": "2026-11-21T12:06:00Z"}

    ((field, _),) = problems(validate(rules(), submit(said, Kind.LABEL)))

    assert field == "known_at"
