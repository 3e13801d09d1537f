"""Reading expressions: what is understood, what is refused and how, and that no text can do harm."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millrace_kernel.expressions import Expression, ExpressionError, parse, write
from millrace_kernel.expressions.nodes import (
    Binary,
    Call,
    Function,
    Lag,
    Name,
    Negate,
    Node,
    Not,
    Number,
    Operator,
    Text,
)
from millrace_kernel.expressions.parser import DEEPEST, LONGEST

names = st.sampled_from(["temp", "hum", "hour", "event_time", "größe", "and", "a name", "_x1"])
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
numbers = st.floats(min_value=0, allow_nan=False, allow_infinity=False).map(abs)
leaves = st.one_of(
    numbers.map(Number),
    texts.map(Text),
    names.map(Name),
    st.builds(Lag, names, st.integers(1, 1_000)),
)


def calls(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    one = st.sampled_from([Function.LOG, Function.ABS, Function.HOUR, Function.WEEKDAY])
    many = st.sampled_from([Function.MIN, Function.MAX, Function.COALESCE])
    return st.one_of(
        st.builds(lambda function, node: Call(function, (node,)), one, nodes),
        st.builds(Call, many, st.lists(nodes, min_size=2, max_size=4).map(tuple)),
        st.builds(lambda a, b, c: Call(Function.IF, (a, b, c)), nodes, nodes, nodes),
    )


trees = st.recursive(
    leaves,
    lambda nodes: st.one_of(
        st.builds(Negate, nodes),
        st.builds(Not, nodes),
        st.builds(Binary, st.sampled_from(Operator), nodes, nodes),
        calls(nodes),
    ),
    max_leaves=20,
)

WORDS = [
    "a",
    "1",
    "2.5",
    "'x'",
    "(",
    ")",
    "+",
    "-",
    "**",
    "<",
    "==",
    "and",
    "or",
    "not",
    ",",
    "lag",
    "if",
    "min",
]


def attempt(text):
    try:
        return parse(text)
    except ExpressionError as error:
        return error


@given(trees)
def test_writing_and_parsing_again_gives_the_same_tree(root):
    assert parse(write(Expression(root))).root == root


@given(
    st.one_of(
        st.text(), st.lists(st.sampled_from([*WORDS, "`", '"', "\\", "=", "1e999"])).map(" ".join)
    )
)
@example("(" * LONGEST)
@example("-" * LONGEST)
@example("not " * (LONGEST // 4))
@example("a+" * (LONGEST // 2 - 1) + "a")
@example("a**" * (LONGEST // 3 - 1) + "a")
@example("abs(" * (LONGEST // 4))
@example("9" * LONGEST)
@example("`" * LONGEST)
@example("lag(a, " + "9" * 1_900 + ")")
@example("'\\")
@example("\x00")
def test_no_text_makes_parsing_fail_otherwise_than_with_an_expression_error(text):
    read = attempt(text)

    if isinstance(read, ExpressionError):
        assert 0 <= read.position <= len(text)
        assert read.problem in str(read)
    else:
        assert parse(write(read)).root == read.root


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a / b * c % d", "((a / b) * c) % d"),
        ("-a ** 2", "-(a ** 2)"),
        ("a ** b ** c", "a ** (b ** c)"),
        ("a ** -b ** c", "a ** (-(b ** c))"),
        ("-a * b", "(-a) * b"),
        ("not a == b", "not (a == b)"),
        ("not a and b or c", "((not a) and b) or c"),
        ("a + 1 < b * 2 and c", "((a + 1) < (b * 2)) and c"),
        ("a or b and c", "a or (b and c)"),
    ],
)
def test_operators_bind_as_in_python(text, grouped):
    assert parse(text).root == parse(grouped).root


def test_an_expression_is_written_with_no_more_parentheses_than_needed():
    text = "((temp) * ((1) - hum)) + (-(a ** 2)) + lag(temp, 01)"

    assert write(parse(text)) == "temp * (1 - hum) + -a ** 2 + lag(temp, 1)"


@pytest.mark.parametrize(
    ("text", "position", "problem", "advice"),
    [
        ("", 0, "the expression is empty", "write a field, a number or a formula"),
        ("a +", 3, "expected a value, found the end", ""),
        ("a b", 2, "expected an operator or the end, found `b`", ""),
        ("(a + b", 6, "expected `)`, found the end", "for the ( at character 1"),
        ("a = 1", 2, "unexpected character '='", "to compare, write =="),
        ("a && b", 2, "unexpected character '&'", "write `and`"),
        ("a ^ 2", 2, "unexpected character '^'", "for a power write **"),
        ('a == "UA', 5, "unexpected character '\"'", "the text has no closing quote"),
        (
            'a == ""',
            5,
            "an empty text means missing, which equals nothing",
            'e.g. coalesce(name == "x", 0)',
        ),
        ("a < b < c", 6, "comparisons do not chain", "write `a < b and b < c`"),
        ("a + not b", 4, "`not` cannot follow an operator", "put it in parentheses: (not …)"),
        ("1e999", 0, "the number `1e999` is too large", "the largest is about 1.8e308"),
        ("lagg(a, 1)", 0, "unknown function `lagg`", "did you mean `lag`?"),
        (
            "sqrt(a)",
            0,
            "unknown function `sqrt`",
            "known are lag, log, abs, min, max, coalesce, hour, weekday, if",
        ),
        ("lag(a + 1, 1)", 6, "expected `,`, found `+`", ""),
        ("lag(1, 1)", 4, "lag takes the name of a field, found `1`", "e.g. lag(temp, 1)"),
        ("lag(a, 0)", 7, "lag counts whole events back, found `0`", "from 1 to 1000"),
        ("lag(a, 1.5)", 7, "lag counts whole events back, found `1.5`", "from 1 to 1000"),
        ("log(a, b)", 0, "log takes 1 argument(s), not 2", ""),
        ("min(a)", 0, "min takes at least 2 argument(s), not 1", ""),
        ("a and", 5, "expected a value, found the end", ""),
    ],
)
def test_an_error_says_where_what_and_what_instead(text, position, problem, advice):
    with pytest.raises(ExpressionError) as caught:
        parse(text)

    assert (caught.value.position, caught.value.problem, caught.value.advice) == (
        position,
        problem,
        advice,
    )


def test_a_long_expression_is_refused():
    with pytest.raises(ExpressionError, match="has 2001 characters"):
        parse("a" * (LONGEST + 1))


def test_a_deep_expression_is_refused_and_one_as_deep_as_allowed_is_read():
    parse("+".join("a" * DEEPEST))
    with pytest.raises(ExpressionError, match="nested deeper than 64 levels"):
        parse("+".join("a" * (DEEPEST + 1)))


def test_an_error_quotes_only_the_neighbourhood_of_a_long_expression():
    with pytest.raises(ExpressionError) as caught:
        parse("a + " * 300 + "? + " + "a + " * 100 + "a")

    assert "at character 1201 of `…" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_fields_are_those_read_now_or_before_but_not_the_word_for_the_time():
    expression = parse("temp - lag(hum, 2) + lag(hum, 5) + hour(event_time) + lag(event_time, 1)")

    assert expression.fields == {"temp", "hum"}
    assert expression.lags == {"hum": 5, "event_time": 1}


def test_a_name_that_is_no_plain_word_stands_in_backticks():
    assert parse("`and` + `air temperature`").fields == {"and", "air temperature"}


def test_function_names_are_free_for_fields():
    assert parse("hour + min(lag, 1)").fields == {"hour", "lag"}
