"""From text to tree: a tokenizer and a Pratt parser of our own, so that no text a user writes is ever run as Python.

Length and depth are bounded: no text, however it was made, can exhaust the stack or the time of whoever parses it.
"""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from millrace_kernel.expressions.nodes import (
    COMPARISONS,
    KEYWORDS,
    LAG,
    NEGATE_POWER,
    NOT_POWER,
    POWERS,
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
    children,
)

LONGEST = 2_000  # characters
DEEPEST = 64  # levels of the tree
LAGS = range(1, 1_001)  # events back

_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|`(?P<quoted_name>[^`]+)`"
    r"""|(?P<text>"(?:[^"\\]|\\["'\\])*"|'(?:[^'\\]|\\["'\\])*')"""
    r"|(?P<symbol>\*\*|<=|>=|==|!=|[-+*/%<>(),])"
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_OPERATORS: Mapping[str, Operator] = {str(operator): operator for operator in Operator}
_ARGUMENTS: Mapping[Function, range] = {
    Function.LOG: range(1, 2),
    Function.ABS: range(1, 2),
    Function.MIN: range(2, LONGEST),
    Function.MAX: range(2, LONGEST),
    Function.COALESCE: range(2, LONGEST),
    Function.HOUR: range(1, 2),
    Function.WEEKDAY: range(1, 2),
    Function.IF: range(3, 4),
}
_FUNCTIONS: Mapping[str, Function] = {str(function): function for function in Function}
_ELSEWHERE = {  # what people write from other languages
    "=": "to compare, write ==",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or != to compare",
    "^": "for a power write **",
    '"': "the text has no closing quote",
    "'": "the text has no closing quote",
    "`": "the name has no closing backtick",
    "?": "write if(condition, a, b)",
}

_TOO_DEEP = (
    f"the expression is nested deeper than {DEEPEST} levels",
    "make it several, or group long sums with parentheses",
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, name, quoted_name, text, symbol, end
    text: str
    position: int

    @property
    def shown(self) -> str:
        return "the end" if self.kind == "end" else f"`{self.text}`"

    @property
    def is_field_name(self) -> bool:
        return self.kind == "quoted_name" or (self.kind == "name" and self.text not in KEYWORDS)


def parse(text: str) -> Expression:
    """Read an expression. Raises ExpressionError, and nothing else, for any text that is none."""
    if len(text) > LONGEST:
        raise ExpressionError(
            text,
            LONGEST,
            f"the expression has {len(text)} characters",
            f"at most {LONGEST} are read; make it several",
        )
    root = _Parser(text).whole()
    _refuse_deep(text, root)
    return Expression(root, text)


def suggestion(word: str, known: list[str]) -> str:
    """What somebody who wrote `word` may have meant, as advice; what there is, if nothing is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"known are {listed}" if listed else "there is none"


def _refuse_deep(text: str, root: Node) -> None:
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEEPEST:
            raise ExpressionError(text, node.position, *_TOO_DEEP)
        waiting.extend((child, depth + 1) for child in children(node))


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            character = text[position]
            raise ExpressionError(
                text, position, f"unexpected character {character!r}", _ELSEWHERE.get(character, "")
            )
        if match.lastgroup != "space":
            yield _Token(match.lastgroup, match[match.lastgroup], position)
        position = match.end()
    yield _Token("end", "", len(text))


class _Parser:
    """One text being read: `_now` is the token that comes next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._now = next(self._tokens)
        self._depth = 0

    def whole(self) -> Node:
        if self._now.kind == "end":
            self._fail(self._now, "the expression is empty", "write a field, a number or a formula")
        root = self._expression(0)
        if self._now.kind != "end":
            self._fail(self._now, f"expected an operator or the end, found {self._now.shown}")
        return root

    def _expression(self, at_least: int) -> Node:
        """Read on while operators bind at least this tightly."""
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(self._now, *_TOO_DEEP)
        left = self._prefix(at_least)
        while (operator := self._operator()) is not None and POWERS[operator] >= at_least:
            left = self._binary(left, operator)
        self._depth -= 1
        return left

    def _operator(self) -> Operator | None:
        return _OPERATORS.get(self._now.text) if self._now.kind in ("symbol", "name") else None

    def _binary(self, left: Node, operator: Operator) -> Node:
        token = self._take()
        right = self._expression(
            NEGATE_POWER if operator is Operator.POWER else POWERS[operator] + 1
        )
        if operator in COMPARISONS and self._operator() in COMPARISONS:
            self._fail(self._now, "comparisons do not chain", "write `a < b and b < c`")
        return Binary(operator, left, right, token.position)

    def _prefix(self, at_least: int) -> Node:
        token = self._take()
        match token:
            case _Token("symbol", "-"):
                return Negate(self._expression(NEGATE_POWER), token.position)
            case _Token("symbol", "("):
                inner = self._expression(0)
                self._expect(")", token)
                return inner
            case _Token("name", "not"):
                if at_least > NOT_POWER:
                    self._fail(
                        token, "`not` cannot follow an operator", "put it in parentheses: (not …)"
                    )
                return Not(self._expression(NOT_POWER), token.position)
            case _Token("name" | "quoted_name"):
                return self._named(token)
            case _Token("number"):
                return self._number(token)
            case _Token("text"):
                return self._literal(token)
            case _:
                return self._fail(token, f"expected a value, found {token.shown}")

    def _number(self, token: _Token) -> Number:
        value = float(token.text)
        if math.isinf(value):
            self._fail(
                token, f"the number {token.shown} is too large", "the largest is about 1.8e308"
            )
        return Number(value, token.position)

    def _literal(self, token: _Token) -> Text:
        value = _ESCAPED.sub(r"\1", token.text[1:-1])
        if not value:
            self._fail(
                token,
                "an empty text means missing, which equals nothing",
                'e.g. coalesce(name == "x", 0)',
            )
        return Text(value, token.position)

    def _named(self, token: _Token) -> Node:
        if token.kind == "quoted_name" or self._now.kind != "symbol" or self._now.text != "(":
            if not token.is_field_name:
                self._fail(token, f"expected a value, found {token.shown}")
            return Name(token.text, token.position)
        if token.text == LAG:
            return self._lag(token)
        function = _FUNCTIONS.get(token.text)
        if function is None:
            self._fail(
                token, f"unknown function {token.shown}", suggestion(token.text, [LAG, *_FUNCTIONS])
            )
        return self._call(token, function)

    def _call(self, token: _Token, function: Function) -> Call:
        opening = self._take()
        arguments = [self._expression(0)]
        while self._now.kind == "symbol" and self._now.text == ",":
            self._take()
            arguments.append(self._expression(0))
        self._expect(")", opening)
        allowed = _ARGUMENTS[function]
        if len(arguments) not in allowed:
            wanted = f"{allowed.start}" if len(allowed) == 1 else f"at least {allowed.start}"
            self._fail(token, f"{function} takes {wanted} argument(s), not {len(arguments)}")
        return Call(function, tuple(arguments), token.position)

    def _lag(self, token: _Token) -> Lag:
        opening = self._take()
        name = self._take()
        if not name.is_field_name:
            self._fail(
                name, f"lag takes the name of a field, found {name.shown}", "e.g. lag(temp, 1)"
            )
        self._expect(",", opening)
        steps = self._take()
        if not (steps.kind == "number" and steps.text.isdecimal() and int(steps.text) in LAGS):
            self._fail(
                steps,
                f"lag counts whole events back, found {steps.shown}",
                f"from {LAGS.start} to {LAGS.stop - 1}",
            )
        self._expect(")", opening)
        return Lag(name.text, int(steps.text), token.position)

    def _expect(self, symbol: str, opening: _Token) -> None:
        token = self._take()
        if token.kind != "symbol" or token.text != symbol:
            opened = f"for the ( at character {opening.position + 1}" if symbol == ")" else ""
            self._fail(token, f"expected `{symbol}`, found {token.shown}", opened)

    def _take(self) -> _Token:
        token = self._now
        if token.kind != "end":
            self._now = next(self._tokens)
        return token

    def _fail(self, token: _Token, problem: str, advice: str = "") -> NoReturn:
        raise ExpressionError(self._text, token.position, problem, advice)
