"""Holding expressions against the fields of a pipeline."""

import pytest

from millrace_kernel.errors import PermanentError
from millrace_kernel.expressions import ExpressionError, check, parse
from millrace_kernel.pipeline import FieldKind

FIELDS = {
    "temp": FieldKind.FLOAT,
    "hr": FieldKind.INT,
    "workingday": FieldKind.BOOL,
    "carrier": FieldKind.CATEGORY,
    "origin": FieldKind.STRING,
    "booked_at": FieldKind.TIMESTAMP,
}


@pytest.mark.parametrize(
    "text",
    [
        "temp * (1 - hr) ** 2 % 3",
        'carrier == "UA" and origin != carrier',
        "hour(event_time) + weekday(booked_at)",
        "hour(event_time - 5 * 3600)",
        "weekday(lag(booked_at, 1))",
        "hour(coalesce(booked_at, event_time))",
        "hour(if(workingday, booked_at, event_time))",
        "event_time - lag(event_time, 1)",
        "event_time - booked_at",
        'if(carrier == "UA", 1, 0)',
        "not workingday",
        "-lag(temp, 24)",
    ],
)
def test_what_makes_sense_passes(text):
    check(parse(text), FIELDS)


@pytest.mark.parametrize(
    ("text", "position", "problem", "advice"),
    [
        ("temp * tmep", 7, "unknown field `tmep`", "did you mean `temp`?"),
        ("lag(tmep, 1)", 0, "unknown field `tmep`", "did you mean `temp`?"),
        ("weekday + 1", 0, "unknown field `weekday`", "`weekday` is a function: weekday(…)"),
        ("workingday == true", 14, "unknown field `true`", "write 1"),
        ("carrier + 1", 0, "a text stands where a number is needed", 'compare it: name == "x"'),
        ('"UA"', 0, "a text stands where a number is needed", 'compare it: name == "x"'),
        ("carrier", 0, "a text stands where a number is needed", 'compare it: name == "x"'),
        ("min(carrier, 1)", 4, "a text stands where a number is needed", 'compare it: name == "x"'),
        (
            "lag(carrier, 1) == 1",
            0,
            "lag of `carrier`, which is a text",
            "only numbers can be lagged",
        ),
        (
            "carrier == 1",
            8,
            "`==` compares a text with a number",
            "both sides must be texts or both numbers",
        ),
        (
            'temp != "warm"',
            5,
            "`!=` compares a text with a number",
            "both sides must be texts or both numbers",
        ),
        ('carrier < "UA"', 8, "texts have no order for `<`", "compare them with == or !="),
        ("hour(hr)", 0, "hour takes a time", "a timestamp field or event_time"),
        ("hour(event_time - booked_at)", 0, "hour takes a time", "a timestamp field or event_time"),
        (
            "weekday(min(event_time, hr))",
            0,
            "weekday takes a time",
            "a timestamp field or event_time",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_where_what_and_what_instead(
    text, position, problem, advice
):
    with pytest.raises(ExpressionError) as caught:
        check(parse(text), FIELDS)

    error = caught.value
    assert (error.position, error.problem, error.advice) == (position, problem, advice)
    assert isinstance(error, PermanentError)


def test_a_field_named_as_the_word_for_the_time_is_refused_where_it_is_used():
    fields = {"event_time": FieldKind.FLOAT, "temp": FieldKind.FLOAT}

    check(parse("temp"), fields)
    with pytest.raises(ExpressionError, match="rename the field"):
        check(parse("hour(event_time)"), fields)


def test_a_name_like_no_other_gets_a_list_of_what_there_is():
    with pytest.raises(
        ExpressionError,
        match="known are temp, hr, workingday, carrier, origin, booked_at, event_time",
    ):
        check(parse("zzz"), FIELDS)
