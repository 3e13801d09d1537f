"""What expressions come to: like Python's own arithmetic, with missing for whatever has no finite answer."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from millrace_kernel.expressions import Expression, compile_expression, parse
from millrace_kernel.expressions.nodes import (
    Binary,
    Call,
    Function,
    Name,
    Negate,
    Node,
    Number,
    Operator,
)

NAN = math.nan
WEDNESDAY_HALF_PAST_FIVE = datetime(2026, 11, 18, 17, 30, tzinfo=UTC).timestamp()
VALUES = {
    "two": 2.0,
    "zero": 0.0,
    "missing": NAN,
    "carrier": "UA",
    "nothing": "",
    "event_time": WEDNESDAY_HALF_PAST_FIVE,
    "before_1970": -1.0,
}


def value_of(text, values=VALUES, lagged=lambda name, steps: NAN):
    return compile_expression(parse(text))(values, lagged)


def same(one, other):
    return one == other or (math.isnan(one) and math.isnan(other))


# Against Python's own operators

numbers = st.floats(min_value=-1e6, max_value=1e6) | st.integers(-5, 5).map(float) | st.just(NAN)
arithmetic = st.recursive(
    st.sampled_from(["a", "b"]).map(Name)
    | numbers.filter(lambda x: x >= 0).map(lambda x: Number(abs(x))),
    lambda nodes: st.one_of(
        st.builds(Negate, nodes),
        st.builds(lambda one, other: Call(Function.MIN, (one, other)), nodes, nodes),
        st.builds(Binary, st.sampled_from(list(Operator)[2:]), nodes, nodes),
    ),
    max_leaves=12,
)
PYTHON = {
    Operator.ADD: lambda a, b: a + b,
    Operator.SUBTRACT: lambda a, b: a - b,
    Operator.MULTIPLY: lambda a, b: a * b,
    Operator.DIVIDE: lambda a, b: a / b,
    Operator.REMAINDER: lambda a, b: a % b,
    Operator.POWER: lambda a, b: a**b,
    Operator.EQUAL: lambda a, b: float(a == b),
    Operator.UNEQUAL: lambda a, b: float(a != b),
    Operator.LESS: lambda a, b: float(a < b),
    Operator.AT_MOST: lambda a, b: float(a <= b),
    Operator.GREATER: lambda a, b: float(a > b),
    Operator.AT_LEAST: lambda a, b: float(a >= b),
}


def reference(node: Node, values) -> float:
    """The rules, written down a second time: missing in, missing out, and only finite results."""
    match node:
        case Number(value):
            return value
        case Name(name):
            return values[name]
        case Negate(operand):
            return -reference(operand, values)
        case Binary(operator, left, right):
            compute, operands = (
                PYTHON[operator],
                [reference(left, values), reference(right, values)],
            )
        case Call(_, arguments):
            compute, operands = min, [reference(argument, values) for argument in arguments]
    if any(map(math.isnan, operands)):
        return NAN
    try:
        result = compute(*operands)
    except ArithmeticError:
        return NAN
    return result if isinstance(result, float) and math.isfinite(result) else NAN


@given(arithmetic, numbers, numbers)
def test_arithmetic_agrees_with_python(root, a, b):
    values = {"a": a, "b": b}

    assert same(
        compile_expression(Expression(root))(values, lambda name, steps: NAN),
        reference(root, values),
    )


@given(arithmetic, numbers, numbers)
def test_a_constant_is_worth_what_the_field_of_that_value_is_worth(root, a, b):
    assume(a >= 0 and b >= 0)
    values = {"a": a, "b": b}

    def with_constants(node):
        match node:
            case Name(name):
                return Number(abs(values[name]))
            case Negate(operand):
                return Negate(with_constants(operand))
            case Binary(operator, left, right):
                return Binary(operator, with_constants(left), with_constants(right))
            case Call(function, arguments):
                return Call(function, tuple(map(with_constants, arguments)))
            case _:
                return node

    folded = compile_expression(Expression(with_constants(root)))
    assert same(folded({}, lambda name, steps: NAN), reference(root, values))


def test_constants_are_computed_once_at_compile_time():
    calls = compile_expression(parse("1 + 2 * 3 ** 2 + min(1, 0)")).__code__.co_freevars

    assert calls == ("value",)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("two / zero", NAN),
        ("two % zero", NAN),
        ("zero ** -1", NAN),
        ("(-two) ** 0.5", NAN),
        ("1e308 * 10 > 1", NAN),
        ("10 ** 400", NAN),
        ("log(zero)", NAN),
        ("log(-two)", NAN),
        ("log(missing)", NAN),
        ("log(two)", math.log(2)),
        ("-7 % 3", 2.0),
        ("abs(-two)", 2.0),
        ("missing ** 0", NAN),
        ("1 ** missing", NAN),
        ("min(two, 3, 1)", 1.0),
        ("max(two, missing)", NAN),
        ("coalesce(missing, two / zero, two, 5)", 2.0),
        ("coalesce(missing, missing)", NAN),
        ("missing == missing", NAN),
        ("missing < 1", NAN),
        ("two <= 2", 1.0),
        ("two != 2", 0.0),
        ("not two", 0.0),
        ("not zero", 1.0),
        ("not missing", NAN),
        ("missing and zero", 0.0),
        ("zero and missing", 0.0),
        ("missing and two", NAN),
        ("two and 3", 1.0),
        ("missing or two", 1.0),
        ("two or missing", 1.0),
        ("missing or zero", NAN),
        ("zero or 0", 0.0),
        ("if(two, 1, missing)", 1.0),
        ("if(zero, missing, 7)", 7.0),
        ("if(missing, 1, 2)", NAN),
        ('carrier == "UA"', 1.0),
        ("carrier != 'UA'", 0.0),
        ('carrier == "it\'s"', 0.0),
        ('nothing == "UA"', NAN),
        ("carrier == nothing", NAN),
        ('coalesce(nothing == "UA", 0)', 0.0),
        ("hour(event_time)", 17.0),
        ("weekday(event_time)", 2.0),
        ("hour(before_1970)", 23.0),
        ("weekday(before_1970)", 2.0),
        ("hour(missing)", NAN),
        ("weekday(missing)", NAN),
        ("hour(event_time + 7 * 3600)", 0.0),
    ],
)
def test_what_has_no_finite_answer_is_missing_and_the_rest_is_as_in_python(text, value):
    assert same(value_of(text), value)


def test_lags_are_asked_for_by_name_and_steps():
    asked = []

    def lagged(name, steps):
        asked.append((name, steps))
        return 5.0

    assert value_of("two - lag(two, 3)", lagged=lagged) == -3.0
    assert asked == [("two", 3)]


def test_the_branch_that_is_not_taken_is_not_computed():
    assert value_of("if(two > 1, two, unknown_field)") == 2.0


@given(st.integers(-4_000_000_000, 4_000_000_000))
def test_hour_and_weekday_agree_with_the_calendar(second):
    moment = datetime.fromtimestamp(second, UTC)

    values = {"at": float(second)}
    assert value_of("hour(at)", values) == moment.hour
    assert value_of("weekday(at)", values) == moment.weekday()
