"""Why something is refused: which field, what is wrong, and what to send instead."""

from dataclasses import dataclass

from millrace_kernel.errors import PermanentError

_SHOWN = 60  # characters of a user's value that a message repeats


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `field` is "" when it is not about one field."""

    field: str
    problem: str
    fix: str

    @property
    def text(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.problem}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Everything that is wrong with one submission, so that its sender mends it in one go."""

    problems: tuple[Problem, ...]

    @property
    def text(self) -> str:
        return " | ".join(problem.text for problem in self.problems)


class UnreadableError(PermanentError):
    """The bytes are no message: not JSON, too large, too deep, not an object, ambiguous."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}; {fix}")
        self.problem = Problem("", what, fix)


class WrongValueError(ValueError):
    """A value can't be what its field says. Caught where the field's name is known; it never leaves the domain."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}; {fix}")
        self.problem = problem
        self.fix = fix

    def at(self, field: str) -> Problem:
        return Problem(field, self.problem, self.fix)


def shown(value: object) -> str:
    """A user's value as a message repeats it: short, and of one line, whatever it is."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
        case int() | float():
            text = (
                repr(value)
                if not isinstance(value, int) or value.bit_length() < _SHOWN * 3
                else "a huge number"
            )
            return text
        case dict():
            return "an object"
        case list():
            return "a list"
        case None:
            return "null"
        case _:
            return f"a {type(value).__name__}"
