"""An event's answers and its truth meet here, in either order; each pair of them is handed on once."""

from dataclasses import dataclass, replace

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.time import EARLIEST, Instant
from millrace_monitoring.domain.events import PredictionMade
from millrace_monitoring.domain.quality import Pair


@dataclass(frozen=True, slots=True)
class Answer:
    """What is remembered of a prediction until its truth is known."""

    version: ModelVersionNumber
    epoch: int
    answers_users: bool  # the champion's or the fallback's, not a challenger's
    answer: float | str
    at: Instant  # the event's time


@dataclass(frozen=True, slots=True)
class Scored:
    """A pair, and whose answer it was."""

    version: ModelVersionNumber
    epoch: int
    answers_users: bool
    pair: Pair


@dataclass(frozen=True, slots=True)
class Waiting:
    """The side of one event that came first: answers without a truth, or a truth without an answer.

    Where versions are compared it is kept when they have met, for answers of other versions to come. It began to wait
    at recorded time `since`, as the `number`-th thing heard of its pipeline.
    """

    answers: tuple[Answer, ...] = ()
    truth: float | str | None = None
    since: Instant = EARLIEST
    number: int = 0
    truth_at: Instant = EARLIEST  # recorded time of the truth

    @property
    def is_over(self) -> bool:
        return not self.answers and self.truth is None


NOTHING = Waiting()


def answered(
    waiting: Waiting, prediction: PredictionMade, number: int, *, keep: bool = False
) -> tuple[Waiting, Scored | None]:
    """An answer came. It meets the truth that waits, or waits itself; a version's second answer to an event is ignored."""
    if prediction.answer is None:
        return waiting, None
    answer = Answer(
        version=prediction.model_version,
        epoch=prediction.epoch,
        answers_users=prediction.role != "challenger",
        answer=prediction.answer,
        at=prediction.event_time,
    )
    if any(other.version == answer.version for other in waiting.answers):
        return waiting, None
    scored = None if waiting.truth is None else _scored(answer, waiting.truth)
    if scored is not None and not keep:
        return NOTHING, scored
    answers = (*waiting.answers, answer)
    kept = Waiting(answers, waiting.truth, prediction.recorded_at, number, waiting.truth_at)
    return kept, scored


def labelled(
    waiting: Waiting, truth: float | str, recorded_at: Instant, number: int, *, keep: bool = False
) -> tuple[Waiting, tuple[Scored, ...]]:
    """A truth came. It meets every answer that waits. While it waits itself, a correction replaces it; once it has
    met an answer it is counted, and a correction is not: undoing a count would need every window since."""
    if waiting.answers and waiting.truth is not None:
        return waiting, ()
    known = Waiting(waiting.answers, truth, recorded_at, number, recorded_at)
    scored = tuple(_scored(answer, truth) for answer in waiting.answers)
    return (NOTHING if scored and not keep else known), scored


def retracted(waiting: Waiting) -> Waiting:
    """A truth was taken back: it waits no more. One that was counted stays counted, as with a correction, and what it was
    counted with is forgotten with it."""
    if waiting.answers and waiting.truth is not None:
        return NOTHING
    return replace(waiting, truth=None)


def met(
    waiting: Waiting, champion: ModelVersionNumber, challenger: ModelVersionNumber
) -> tuple[Pair, Pair] | None:
    """The two versions' answers with their truth; None until all three are there."""
    answers = {answer.version: answer for answer in waiting.answers}
    if waiting.truth is None or not {champion, challenger} <= answers.keys():
        return None
    first, second = (
        Pair(answers[version].answer, waiting.truth, answers[version].at)
        for version in (champion, challenger)
    )
    return first, second


def _scored(answer: Answer, truth: float | str) -> Scored:
    return Scored(
        answer.version, answer.epoch, answer.answers_users, Pair(answer.answer, truth, answer.at)
    )
