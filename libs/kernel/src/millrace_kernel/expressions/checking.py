"""Whether an expression makes sense with a pipeline's fields: names that exist, numbers where numbers are needed."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NoReturn

from millrace_kernel.expressions.nodes import (
    COMPARISONS,
    EVENT_TIME,
    Binary,
    Call,
    Expression,
    ExpressionError,
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
from millrace_kernel.expressions.parser import suggestion
from millrace_kernel.expressions.writing import write
from millrace_kernel.pipeline import FieldKind

_TEXTS = frozenset({FieldKind.STRING, FieldKind.CATEGORY, FieldKind.TEXT})
_WORDS = {"true": "write 1", "false": "write 0", "True": "write 1", "False": "write 0"}
_CALENDAR = frozenset({Function.HOUR, Function.WEEKDAY})
_CHOICES = frozenset({Function.MIN, Function.MAX, Function.COALESCE, Function.IF})


class _Is(Enum):
    NUMBER = auto()
    TIME = auto()  # seconds since 1970: a number that also has an hour and a weekday
    TEXT = auto()


def check(expression: Expression, fields: Mapping[str, FieldKind]) -> None:
    """Raise ExpressionError unless the expression gives a number for every event that has these fields."""
    _Check(expression.text or write(expression), fields).number(expression.root)


class _Check:
    def __init__(self, text: str, fields: Mapping[str, FieldKind]) -> None:
        self._text = text
        self._fields = fields

    def number(self, node: Node) -> _Is:
        """The node must give a number; a time is one."""
        kind = self._kind(node)
        if kind is _Is.TEXT:
            self._fail(node, "a text stands where a number is needed", 'compare it: name == "x"')
        return kind

    def _kind(self, node: Node) -> _Is:
        match node:
            case Number():
                return _Is.NUMBER
            case Text():
                return _Is.TEXT
            case Name(name):
                return self._named(node, name)
            case Lag(name):
                return self._lagged(node, name)
            case Negate(operand) | Not(operand):
                self.number(operand)
                return _Is.NUMBER
            case Binary():
                return self._binary(node)
            case Call():
                return self._call(node)

    def _named(self, node: Node, name: str) -> _Is:
        if name == EVENT_TIME:
            if name in self._fields:
                self._fail(
                    node,
                    f"`{name}` is a field and also the word for the event's time",
                    "rename the field",
                )
            return _Is.TIME
        if name not in self._fields:
            self._unknown(node, name)
        kind = self._fields[name]
        return (
            _Is.TIME if kind is FieldKind.TIMESTAMP else _Is.TEXT if kind in _TEXTS else _Is.NUMBER
        )

    def _lagged(self, node: Node, name: str) -> _Is:
        kind = self._named(node, name)
        if kind is _Is.TEXT:
            self._fail(node, f"lag of `{name}`, which is a text", "only numbers can be lagged")
        return kind

    def _binary(self, node: Binary) -> _Is:
        if node.operator in COMPARISONS:
            return self._comparison(node)
        left, right = self.number(node.left), self.number(node.right)
        if node.operator is Operator.ADD and (left is _Is.TIME) != (right is _Is.TIME):
            return _Is.TIME
        if node.operator is Operator.SUBTRACT and left is _Is.TIME and right is _Is.NUMBER:
            return _Is.TIME
        return _Is.NUMBER

    def _comparison(self, node: Binary) -> _Is:
        left, right = self._kind(node.left), self._kind(node.right)
        if (left is _Is.TEXT) != (right is _Is.TEXT):
            self._fail(
                node,
                f"`{node.operator}` compares a text with a number",
                "both sides must be texts or both numbers",
            )
        if left is _Is.TEXT and node.operator not in (Operator.EQUAL, Operator.UNEQUAL):
            self._fail(
                node, f"texts have no order for `{node.operator}`", "compare them with == or !="
            )
        return _Is.NUMBER

    def _call(self, node: Call) -> _Is:
        kinds = [self.number(argument) for argument in node.arguments]
        if node.function in _CALENDAR and kinds[0] is not _Is.TIME:
            self._fail(node, f"{node.function} takes a time", f"a timestamp field or {EVENT_TIME}")
        chosen = kinds[1:] if node.function is Function.IF else kinds
        all_times = node.function in _CHOICES and all(kind is _Is.TIME for kind in chosen)
        return _Is.TIME if all_times else _Is.NUMBER

    def _unknown(self, node: Node, name: str) -> NoReturn:
        if name in list(Function):
            advice = f"`{name}` is a function: {name}(…)"
        else:
            advice = _WORDS.get(name) or suggestion(name, [*self._fields, EVENT_TIME])
        self._fail(node, f"unknown field `{name}`", advice)

    def _fail(self, node: Node, problem: str, advice: str) -> NoReturn:
        raise ExpressionError(self._text, node.position, problem, advice)
