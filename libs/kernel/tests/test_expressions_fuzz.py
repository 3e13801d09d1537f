"""The expression language is total: any text is an expression or an error with a place; any expression gives a number."""

# ruff: noqa: PT017  both ways out are allowed, and each keeps a law

import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.expressions import ExpressionError, check, compile_expression, parse, write
from millrace_kernel.expressions.parser import DEEPEST, LONGEST
from millrace_kernel.pipeline import FieldKind
from millrace_kernel.time import parse_duration, parse_rfc3339, rfc3339
from millrace_testkit.fuzzing import effort

FIELDS = {
    "a": FieldKind.FLOAT,
    "b": FieldKind.INT,
    "flag": FieldKind.BOOL,
    "at": FieldKind.TIMESTAMP,
    "city": FieldKind.CATEGORY,
    "note": FieldKind.STRING,
}
PIECES = [
    "a", "b", "flag", "at", "city", "note", "event_time", "`a`", "lag(a, 1)", "lag(b, 1000)", "0", "1", "2.5", "1e308", "1e-308",
    ".5", "'x'", '"y"', "(", ")", ",", "+", "-", "*", "/", "%", "**", "==", "!=", "<", "<=", "and", "or", "not", "log(", "abs(", "min(",
    "max(", "coalesce(", "hour(", "weekday(", "if(", " ", "\n", "\t", "\u3000", "²", "٣", "é", "\0", "\\", "1_0", "0x1", "1e", "..", "`", "'",
]  # fmt: skip
texts = (
    st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join)
    | st.text()
    | st.text("()+-*ab1.,' ")
)

numbers = st.sampled_from(
    [
        "a",
        "b",
        "flag",
        "at",
        "event_time",
        "lag(a, 1)",
        "0",
        "1",
        "2.5",
        "1e308",
        "5e-324",
        "1000000",
    ]
)
expressions = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "%", "**", "==", "!=", "<", "<=", ">", ">=", "and", "or"]), inner),
        st.builds("-{}".format, inner),
        st.builds("(not {})".format, inner),
        st.builds("{}({})".format, st.sampled_from(["log", "abs"]), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max", "coalesce"]), inner, inner),
        st.builds("if({}, {}, {})".format, inner, inner, inner),
        st.builds("{}(at)".format, st.sampled_from(["hour", "weekday"])),
        st.just('(city == "x")'),
    ),
    max_leaves=15,
)  # fmt: skip
floats = st.floats() | st.sampled_from(
    [0.0, -0.0, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan]
)
values = st.fixed_dictionaries(
    {"a": floats, "b": floats, "flag": floats, "at": floats, "event_time": floats, "city": st.sampled_from(["", "x"])}
)  # fmt: skip


@effort(200)
@given(texts)
def test_any_text_is_an_expression_that_survives_or_an_error_with_its_place(text):
    try:
        expression = parse(text)
        check(expression, FIELDS)
    except ExpressionError as error:
        assert 0 <= error.position <= len(text)
        assert error.problem
        assert len(str(error)) < 1_000 + LONGEST
        return
    assert parse(write(expression)) == expression


@effort(200)
@given(expressions, values, floats)
def test_any_expression_gives_any_event_a_finite_number_or_none(text, event, lagged):
    """A field is a finite number or missing when it comes from ingestion; here it is anything."""
    try:
        expression = parse(text)
    except ExpressionError as error:
        assert "nested" in error.problem or "characters" in error.problem
        return
    check(expression, FIELDS)

    result = compile_expression(expression)(event, lambda _name, _steps: lagged)

    assert isinstance(result, float)
    given_numbers = [value for value in (*event.values(), lagged) if isinstance(value, float)]
    if not any(map(math.isinf, given_numbers)):
        assert not math.isinf(result)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / 0", math.nan), ("0 / 0", math.nan), ("1 % 0", math.nan), ("1e308 * 10", math.nan), ("-1e308 - 1e308", math.nan),
        ("9 ** 9 ** 9", math.nan), ("9 ** 9 ** 9 ** 9 ** 9", math.nan), ("0 ** -1", math.nan), ("(-8) ** 0.5", math.nan),
        ("log(0)", math.nan), ("log(-1)", math.nan), ("0 ** 0", 1.0), ("coalesce(1 / 0, 3)", 3.0), ("0 and 1 / 0", 0.0),
        ("hour(event_time + 1e308 * 10)", math.nan),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_missing(text, expected):
    result = compile_expression(parse(text))({"event_time": 0.0}, lambda _name, _steps: 0.0)

    assert result == expected or (math.isnan(expected) and math.isnan(result))


@pytest.mark.parametrize(
    "text",
    [
        "(" * LONGEST, "-" * LONGEST, "not " * (LONGEST // 4), "abs(" * (LONGEST // 4), "1**" * (LONGEST // 3) + "1", "a+" * (LONGEST // 2 - 1) + "a",
        "if(1,1," * (LONGEST // 7), "min(" + "1," * (LONGEST // 2 - 4) + "1)", "'" + "\\\\" * (LONGEST // 2 - 1) + "'", '"' + "\\" * (LONGEST - 1),
        "`" * LONGEST, "1" * LONGEST, "1e" + "9" * (LONGEST - 2), "a" * LONGEST, "a " * (LONGEST // 2), "." * LONGEST, "x" * 10_000_000,
        "lag(a," + "9" * 1_900 + ")", "((" * 31 + "1" + "))" * 31,
    ],
    ids=range(19),
)  # fmt: skip
def test_the_longest_and_deepest_texts_are_read_or_refused_within_bounds(text):
    tracemalloc.start()
    try:
        expression = parse(text)
        check(expression, FIELDS)
        result = compile_expression(expression)({"a": 1.0}, lambda _name, _steps: 1.0)
        assert isinstance(result, float)
    except ExpressionError as error:
        assert error.position <= max(len(text), LONGEST)
        assert len(str(error)) < 10_000
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 5_000_000, "bytes; bounded by what is read of it, not by what is sent"
    assert DEEPEST < 100


@effort(150)
@given(st.text() | st.text("0123456789smhdwu. -+eE٣²", max_size=12) | st.just("9" * 5_000 + "s"))
def test_any_text_is_a_duration_or_a_value_error(text):
    try:
        duration = parse_duration(text)
    except ValueError as error:
        assert str(error)
        return
    assert duration >= 0


@effort(150)
@given(
    st.text()
    | st.text("0123456789-:TZ+. W", max_size=32)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})", fullmatch=True)
)  # fmt: skip
def test_any_text_is_a_time_that_can_be_written_again_or_a_value_error(text):
    try:
        at = parse_rfc3339(text)
    except ValueError:
        return
    assert parse_rfc3339(rfc3339(at)) == at
