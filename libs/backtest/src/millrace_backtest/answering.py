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
from millrace_serving.domain.columns import Columns

Answers = NDArray[Any]  # float64 [events], NaN: no answer; multiclass: the class or "" [events]
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
        for begin in range(start, stop, _AT_ONCE):
            end = min(begin + _AT_ONCE, stop)
            scores = self.scorer.score(
                recording.numbers[begin:end], recording.categories[begin:end]
            )
            classes = self.scorer.signature.classes
            is_multiclass = self.kind is LabelKind.MULTICLASS
            said = answers(
                self.kind,
                classes if is_multiclass else (),
                Scores(scores.values, scores.probabilities),
            )
            found[begin - start : end - start] = [
                each.class_label if is_multiclass else _number(each.value) for each in said
            ]
        return found


def empty(kind: LabelKind, events: int) -> Answers:
    """No answers yet."""
    if kind is LabelKind.MULTICLASS:
        return np.full(events, "", dtype=object)
    return np.full(events, np.nan, dtype=np.float64)


def before_any_model(pipeline: Pipeline, numbers: Sequence[float], texts: Sequence[str]) -> Any:  # noqa: ANN401  a number or a class
    """What answers until there is a champion: as serving's fallback does."""
    answer = fallback(pipeline.model.fallback, Columns.of(pipeline), numbers, texts)
    if pipeline.label.kind is LabelKind.MULTICLASS:
        return answer.class_label
    return _number(answer.value)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
