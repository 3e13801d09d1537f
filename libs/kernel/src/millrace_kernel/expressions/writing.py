"""From tree to text: no more parentheses than needed, and parsing it gives the same tree again."""

import re

from millrace_kernel.expressions.nodes import (
    ATOM_POWER,
    COMPARISONS,
    KEYWORDS,
    LAG,
    NEGATE_POWER,
    NOT_POWER,
    POWERS,
    Binary,
    Call,
    Expression,
    Lag,
    Name,
    Negate,
    Node,
    Not,
    Number,
    Operator,
    Text,
)

_PLAIN_NAME = re.compile(r"[^\W\d]\w*")


def write(expression: Expression) -> str:
    return _written(expression.root)


def _written(node: Node) -> str:
    match node:
        case Not(operand):
            return f"not {_inside(operand, NOT_POWER)}"
        case Negate(operand):
            return f"-{_inside(operand, NEGATE_POWER)}"
        case Binary(operator, left, right):
            return _written_binary(operator, left, right)
        case _:
            return _written_atom(node)


def _written_atom(node: Number | Text | Name | Lag | Call) -> str:
    match node:
        case Number(value):
            return repr(value).removesuffix(".0")
        case Text(value):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Name(name):
            return _written_name(name)
        case Lag(name, steps):
            return f"{LAG}({_written_name(name)}, {steps})"
        case Call(function, arguments):
            return f"{function}({', '.join(map(_written, arguments))})"


def _written_binary(operator: Operator, left: Node, right: Node) -> str:
    power = POWERS[operator]
    if operator is Operator.POWER:  # groups from the right, and takes a minus there
        return f"{_inside(left, ATOM_POWER)} {operator} {_inside(right, NEGATE_POWER)}"
    on_the_left = power + 1 if operator in COMPARISONS else power  # comparisons do not chain
    return f"{_inside(left, on_the_left)} {operator} {_inside(right, power + 1)}"


def _inside(node: Node, at_least: int) -> str:
    return _written(node) if _power(node) >= at_least else f"({_written(node)})"


def _power(node: Node) -> int:
    match node:
        case Binary(operator):
            return POWERS[operator]
        case Not():
            return NOT_POWER
        case Negate():
            return NEGATE_POWER
        case _:
            return ATOM_POWER


def _written_name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) and name not in KEYWORDS else f"`{name}`"
