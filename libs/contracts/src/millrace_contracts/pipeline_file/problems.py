"""What is wrong with a pipeline file: where, why, and what to write instead."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from typing_extensions import override

from millrace_kernel.errors import PermanentError

# What people write who come from elsewhere, and what it is called here.
_SYNONYMS = {
    "avg": "mean", "average": "mean", "total": "sum", "stdev": "std", "stddev": "std", "minimum": "min", "maximum": "max",
    "latest": "last", "newest": "last", "str": "string", "text": "string", "integer": "int", "number": "float",
    "double": "float", "real": "float", "boolean": "bool", "enum": "category", "categorical": "category",
    "datetime": "timestamp", "time": "timestamp", "classification": "binary", "numeric": "regression", "auto": "direct",
    "automatic": "direct", "approval": "manual", "xgb": "xgboost", "rf": "random_forest", "forest": "random_forest",
    "auc": "roc_auc", "f1": "macro_f1", "logloss": "log_loss", "mse": "rmse", "acc": "accuracy", "ap": "average_precision",
}  # fmt: skip

Path = tuple[str | int, ...]

_MOST = 100


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text, counted from 1. Line 0: the text was written by a machine and its lines say nothing."""

    line: int
    column: int


NOWHERE = Mark(0, 0)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to change. `path` is the key's as people write it: `spec.features[2].agg`; "" is the whole file."""

    line: int
    column: int
    path: str
    what: str
    fix: str

    @override
    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        path = f"{self.path}: " if self.path else ""
        return f"{place}{path}{self.what}" + (f"; {self.fix}" if self.fix else "")


class PipelineFileError(PermanentError):
    """The file is refused. Carries the problems found, in the order of the lines; of very many, the first hundred."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        places = sorted(problems, key=lambda problem: (problem.line, problem.column, problem.path))
        self.problems = tuple(places[:_MOST])
        more = [f"… and {len(places) - _MOST} more problems"] if len(places) > _MOST else []
        super().__init__("\n".join([*map(str, self.problems), *more]))


def dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: object) -> str:
    """The value as it stands in a message: short, and in one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def nearest(word: object, allowed: Sequence[str]) -> str | None:
    """What was probably meant."""
    if not isinstance(word, str):
        return None
    lower = word.lower()
    if _SYNONYMS.get(lower) in allowed:
        return _SYNONYMS[lower]
    same_but_for_case = [candidate for candidate in allowed if candidate.lower() == lower]
    close = same_but_for_case or get_close_matches(word[:100], allowed, n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: object, allowed: Sequence[str]) -> str:
    meant = nearest(word, allowed)
    return f"did you mean {meant!r}?" if meant else ""


def not_one_of(word: object, allowed: Sequence[str]) -> tuple[str, str]:
    """What and fix for a word that is not among those understood."""
    if len(allowed) == 1:
        return f"{shown(word)} is not understood", f"write {allowed[0]}"
    return f"{shown(word)} is not one of {listed(allowed)}", did_you_mean(
        word, allowed
    ) or "write one of them"
