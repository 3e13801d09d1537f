"""The tree of an expression: plain values that compare, print and can be walked; nothing here evaluates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from millrace_kernel.errors import PermanentError

EVENT_TIME = "event_time"  # the word for the event's own time; in seconds since 1970, as timestamp fields are
KEYWORDS = frozenset({"and", "or", "not"})

_SHOWN = 60  # characters of a long expression that an error quotes


class ExpressionError(PermanentError):
    """An expression that is not understood, or not with these fields: where, what is wrong, and what would be right."""

    def __init__(self, text: str, position: int, problem: str, advice: str = "") -> None:
        self.position = position  # counted from 0
        self.problem = problem
        self.advice = advice
        start = max(0, min(position - _SHOWN // 2, len(text) - _SHOWN))
        shown = (
            ("…" if start else "")
            + text[start : start + _SHOWN]
            + ("…" if start + _SHOWN < len(text) else "")
        )
        super().__init__(
            f"{problem} at character {position + 1} of `{shown}`"
            + (f"; {advice}" if advice else "")
        )


class Operator(StrEnum):
    OR = "or"
    AND = "and"
    EQUAL = "=="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="
    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    REMAINDER = "%"
    POWER = "**"


class Function(StrEnum):
    """What can be called. `lag` is no function of values but of the entity's earlier events: a node of its own."""

    LOG = "log"
    ABS = "abs"
    MIN = "min"
    MAX = "max"
    COALESCE = "coalesce"
    HOUR = "hour"
    WEEKDAY = "weekday"
    IF = "if"


LAG = "lag"

COMPARISONS = frozenset(
    {
        Operator.EQUAL,
        Operator.UNEQUAL,
        Operator.LESS,
        Operator.AT_MOST,
        Operator.GREATER,
        Operator.AT_LEAST,
    }
)

# How tightly each binds, as in Python. `not` and the unary minus stand between the operators.
NOT_POWER = 3
NEGATE_POWER = 7
ATOM_POWER = 9
POWERS: Mapping[Operator, int] = {
    Operator.OR: 1,
    Operator.AND: 2,
    **dict.fromkeys(COMPARISONS, 4),
    Operator.ADD: 5,
    Operator.SUBTRACT: 5,
    Operator.MULTIPLY: 6,
    Operator.DIVIDE: 6,
    Operator.REMAINDER: 6,
    Operator.POWER: 8,
}


# A position (in the text, from 0) says where a node came from; it is no part of what the node means.


@dataclass(frozen=True, slots=True)
class Number:
    value: float
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    value: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A field of the event, or the word `event_time`."""

    name: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Lag:
    """The value that `name` had `steps` events of the same entity ago."""

    name: str
    steps: int
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Negate:
    operand: "Node"
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Node"
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    operator: Operator
    left: "Node"
    right: "Node"
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    function: Function
    arguments: tuple["Node", ...]
    position: int = field(default=0, compare=False)


Node = Number | Text | Name | Lag | Negate | Not | Binary | Call


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: its tree, and the text it came from."""

    root: Node
    text: str = field(default="", compare=False)  # as the user wrote it, for error messages

    @property
    def fields(self) -> frozenset[str]:
        """Every field that is read, now or lagged; `event_time` is none."""
        return frozenset(node.name for node in walk(self.root) if isinstance(node, Name | Lag)) - {
            EVENT_TIME
        }

    @property
    def lags(self) -> Mapping[str, int]:
        """How many events back each lagged name is read at most; `event_time` may be one of them."""
        deepest: dict[str, int] = {}
        for node in walk(self.root):
            if isinstance(node, Lag):
                deepest[node.name] = max(node.steps, deepest.get(node.name, 0))
        return deepest


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Negate(operand) | Not(operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Call(_, arguments):
            return arguments
        case _:
            return ()


def walk(root: Node) -> Iterator[Node]:
    """Every node, without recursion: safe for a tree of any depth."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(children(node))
