"""Who answers when: a model's answers to a stretch of the recording, given by serving's own heart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.scorer import Scorer, load_scorer
from millrace_backtest.recording import Recording
from millrace_kernel.pipeline import LabelKind, Pipeline
from millrace_serving.domain.answers import Scores, answers, fallback
from millrace_serving.domain.columns import Columns, Rows, aligned

Answers = NDArray[
    Any
]  # float64 [events], NaN: no answer; multiclass, text: the class, the words or "" [events]
_AT_ONCE = 20_000  # events that are scored in one call


@dataclass(frozen=True, slots=True)
class Answering:
    """A loaded model."""

    scorer: Scorer
    kind: LabelKind

    @classmethod
    def of(cls, artifact: bytes) -> "Answering":
        scorer = load_scorer(read_artifact(artifact))
        return cls(scorer, scorer.signature.label_kind)

    def over(self, recording: Recording, start: int, stop: int) -> Answers:
        """The answers to the events from `start` to before `stop`."""
        found = empty(self.kind, stop - start)
        columns, signature = Columns.of(recording.pipeline), self.scorer.signature
        wanted = Columns(signature.numbers, signature.categories)
        for begin in range(start, stop, _AT_ONCE):
            end = min(begin + _AT_ONCE, stop)
            rows = aligned(
                Rows(columns, recording.numbers[begin:end], recording.categories[begin:end]), wanted
            )
            scores = self.scorer.score(rows.numbers, rows.categories)
            classes = signature.classes
            is_text = self.kind.is_text
            said = answers(
                self.kind,
                classes if is_text else (),
                Scores(scores.values, scores.probabilities),
            )
            found[begin - start : end - start] = [
                each.wording if is_text else _number(each.value) for each in said
            ]
        return found


def empty(kind: LabelKind, events: int) -> Answers:
    """No answers yet."""
    if kind.is_text:
        return np.full(events, "", dtype=object)
    return np.full(events, np.nan, dtype=np.float64)


def before_any_model(pipeline: Pipeline, numbers: Sequence[float], texts: Sequence[str]) -> Any:  # noqa: ANN401  a number or a class
    """What answers until there is a champion: as serving's fallback does."""
    answer = fallback(pipeline.model.fallback, Columns.of(pipeline), numbers, texts)
    if pipeline.label.kind.is_text:
        return answer.wording
    return _number(answer.value)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
