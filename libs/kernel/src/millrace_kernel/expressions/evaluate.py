"""From tree to closure: what an event's values make of an expression.

Missing is NaN, and what cannot be computed (a division by zero, the logarithm of nothing, an overflow) is missing too:
results are finite or NaN. A missing value makes the result missing, except where the others settle it already:
`coalesce`, the branch that `if` does not take, `0 and x`, `1 or x`.
"""

import math
import operator as operators
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from millrace_kernel.expressions.nodes import (
    Binary,
    Call,
    Expression,
    Function,
    Lag,
    Name,
    Negate,
    Node,
    Not,
    Number,
    Operator,
    Text,
    children,
)

Values = Mapping[str, float | str]  # fields by name, and `event_time` where the expression uses it
Lagged = Callable[[str, int], float]  # (name, steps) -> its value that many events ago
Evaluate = Callable[[Values, Lagged], float]

_Part = Callable[[Values, Lagged], Any]  # a float, or a text under a comparison

NAN = math.nan
_LARGEST = 1.7976931348623157e308
_HOUR = 3_600.0
_DAY = 86_400.0
_FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday, and Monday is 0


def compile_expression(expression: Expression) -> Evaluate:
    """A function of (values, lagged) for an expression that `check` has passed. It reads no clock and keeps nothing."""
    return _compiled(expression.root)


def _compiled(node: Node) -> _Part:
    part = _part(node)
    if isinstance(node, Name | Lag | Number | Text) or not all(
        _is_constant(child) for child in children(node)
    ):
        return part
    return _constant(part({}, lambda _name, _steps: NAN))


def _is_constant(node: Node) -> bool:
    return not isinstance(node, Name | Lag) and all(_is_constant(child) for child in children(node))


def _part(node: Node) -> _Part:
    match node:
        case Number(value) | Text(value):
            return _constant(value)
        case Name(name):
            return lambda values, _lagged: values[name]
        case Lag(name, steps):
            return lambda _values, lagged: lagged(name, steps)
        case Negate(operand):
            return _negated(_compiled(operand))
        case Not(operand):
            return _inverted(_compiled(operand))
        case Binary(operator, left, right):
            return _BINARY[operator](_compiled(left), _compiled(right))
        case Call(function, arguments):
            return _CALLS[function](*map(_compiled, arguments))


def _constant(value: float | str) -> _Part:
    return lambda _values, _lagged: value


def _negated(operand: _Part) -> _Part:
    return lambda values, lagged: -operand(values, lagged)


def _inverted(operand: _Part) -> _Part:
    def inverted(values: Values, lagged: Lagged) -> float:
        value = operand(values, lagged)
        return NAN if value != value else float(not value)

    return inverted


# Arithmetic


def _added(left: _Part, right: _Part) -> _Part:
    def added(values: Values, lagged: Lagged) -> float:
        result: float = left(values, lagged) + right(values, lagged)
        return result if -_LARGEST <= result <= _LARGEST else NAN

    return added


def _subtracted(left: _Part, right: _Part) -> _Part:
    def subtracted(values: Values, lagged: Lagged) -> float:
        result: float = left(values, lagged) - right(values, lagged)
        return result if -_LARGEST <= result <= _LARGEST else NAN

    return subtracted


def _multiplied(left: _Part, right: _Part) -> _Part:
    def multiplied(values: Values, lagged: Lagged) -> float:
        result: float = left(values, lagged) * right(values, lagged)
        return result if -_LARGEST <= result <= _LARGEST else NAN

    return multiplied


def _guarded(compute: Callable[[float, float], float], left: _Part, right: _Part) -> _Part:
    """For what raises where mathematics has no answer: / % **."""

    def guarded(values: Values, lagged: Lagged) -> float:
        try:
            result = compute(left(values, lagged), right(values, lagged))
        except (ArithmeticError, ValueError):
            return NAN
        return result if -_LARGEST <= result <= _LARGEST else NAN

    return guarded


def _to_the_power(base: float, exponent: float) -> float:
    """math.pow, but a missing side makes it missing (IEEE has 1 for nan ** 0 and for 1 ** nan)."""
    return math.pow(base, exponent) if base == base and exponent == exponent else NAN


# Comparisons and logic


def _compared(compare: Callable[[Any, Any], bool], left: _Part, right: _Part) -> _Part:
    def compared(values: Values, lagged: Lagged) -> float:
        one, other = left(values, lagged), right(values, lagged)
        if one != one or other != other or one == "" or other == "":
            return NAN
        return 1.0 if compare(one, other) else 0.0

    return compared


def _both(left: _Part, right: _Part) -> _Part:
    def both(values: Values, lagged: Lagged) -> float:
        one = left(values, lagged)
        if one == 0:
            return 0.0
        other = right(values, lagged)
        if other == 0:
            return 0.0
        return 1.0 if one == one and other == other else NAN

    return both


def _either(left: _Part, right: _Part) -> _Part:
    def either(values: Values, lagged: Lagged) -> float:
        one = left(values, lagged)
        if one == one and one:
            return 1.0
        other = right(values, lagged)
        if other == other and other:
            return 1.0
        return 0.0 if one == one and other == other else NAN

    return either


# Functions


def _logarithm(argument: _Part) -> _Part:
    def logarithm(values: Values, lagged: Lagged) -> float:
        value = argument(values, lagged)
        return math.log(value) if 0.0 < value <= _LARGEST else NAN

    return logarithm


def _absolute(argument: _Part) -> _Part:
    return lambda values, lagged: abs(argument(values, lagged))


def _extreme(choose: Callable[[list[float]], float], *arguments: _Part) -> _Part:
    def extreme(values: Values, lagged: Lagged) -> float:
        numbers = [argument(values, lagged) for argument in arguments]
        return NAN if any(number != number for number in numbers) else choose(numbers)

    return extreme


def _first_known(*arguments: _Part) -> _Part:
    def first_known(values: Values, lagged: Lagged) -> float:
        for argument in arguments:
            value: float = argument(values, lagged)
            if value == value:
                return value
        return NAN

    return first_known


def _chosen(condition: _Part, then: _Part, otherwise: _Part) -> _Part:
    def chosen(values: Values, lagged: Lagged) -> float:
        holds = condition(values, lagged)
        if holds != holds:
            return NAN
        result: float = then(values, lagged) if holds else otherwise(values, lagged)
        return result

    return chosen


def _hour(argument: _Part) -> _Part:
    def hour(values: Values, lagged: Lagged) -> float:
        seconds = argument(values, lagged)
        return seconds // _HOUR % 24 if -_LARGEST <= seconds <= _LARGEST else NAN

    return hour


def _weekday(argument: _Part) -> _Part:
    def weekday(values: Values, lagged: Lagged) -> float:
        seconds = argument(values, lagged)
        return (seconds // _DAY + _FIRST_WEEKDAY) % 7 if -_LARGEST <= seconds <= _LARGEST else NAN

    return weekday


_BINARY: Mapping[Operator, Callable[[_Part, _Part], _Part]] = {
    Operator.OR: _either,
    Operator.AND: _both,
    Operator.EQUAL: partial(_compared, operators.eq),
    Operator.UNEQUAL: partial(_compared, operators.ne),
    Operator.LESS: partial(_compared, operators.lt),
    Operator.AT_MOST: partial(_compared, operators.le),
    Operator.GREATER: partial(_compared, operators.gt),
    Operator.AT_LEAST: partial(_compared, operators.ge),
    Operator.ADD: _added,
    Operator.SUBTRACT: _subtracted,
    Operator.MULTIPLY: _multiplied,
    Operator.DIVIDE: partial(_guarded, operators.truediv),
    Operator.REMAINDER: partial(_guarded, operators.mod),
    Operator.POWER: partial(_guarded, _to_the_power),
}
_CALLS: Mapping[Function, Callable[..., _Part]] = {
    Function.LOG: _logarithm,
    Function.ABS: _absolute,
    Function.MIN: partial(_extreme, min),
    Function.MAX: partial(_extreme, max),
    Function.COALESCE: _first_known,
    Function.HOUR: _hour,
    Function.WEEKDAY: _weekday,
    Function.IF: _chosen,
}
