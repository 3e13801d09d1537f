"""A challenger's trial: its answers and the champion's, on the same labelled events."""

import math
from dataclasses import dataclass, field, replace

from millrace_kernel.ids import ModelVersionNumber, PipelineName, derived_id
from millrace_kernel.pipeline import LabelKind, Promotion
from millrace_kernel.time import SECOND, Instant
from millrace_monitoring.domain import sequences
from millrace_monitoring.domain.events import (
    ChallengerCompared,
    ChallengerStarted,
    PredictionMade,
    Verdict,
)
from millrace_monitoring.domain.findings import error_unit
from millrace_monitoring.domain.quality import Pair, Tally, counted, error_of, metrics_of
from millrace_monitoring.domain.sequences import NO_EVIDENCE, Evidence
from millrace_monitoring.domain.windows import Reference

SAID_EVERY = 50  # compared events
LEAST_ANSWERS = 100  # before time and errors are judged
CLIP = 2.0  # typical errors of the champion's holdout, by which one event may count at most


@dataclass(frozen=True, slots=True)
class Answers:
    """How one version answered during the trial. `seconds` is over the `timed` answers."""

    count: int = 0
    missing: int = 0
    timed: int = 0
    seconds: float = 0.0

    @property
    def mean_seconds(self) -> float:
        return self.seconds / self.timed if self.timed else 0.0

    @property
    def error_share(self) -> float:
        return self.missing / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class Side:
    """One version in the trial; `tally` is over the events that were compared."""

    version: ModelVersionNumber
    answers: Answers = field(default_factory=Answers)
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class Trial:
    """`evidence` is over the champion's loss less the challenger's, scaled to [-1, 1]; it goes on when the share grows."""

    number: int
    step: int
    epoch: int
    champion: Side
    challenger: Side
    learnt_until: Instant
    evidence: Evidence = NO_EVIDENCE
    before_step: int = 0  # events compared before this step began
    said: Verdict = Verdict.UNDECIDED


@dataclass(frozen=True, slots=True)
class Loss:
    """What an answer costs, and what a difference of 1 is to the evidence.

    Regression counts the absolute error where the champion is judged by it, else the squared one; a difference beyond
    `CLIP` typical errors of the champion's holdout counts as that much, so that what is compared is a clipped mean.
    Two answers to one event cannot differ by more than they are apart in absolute error, so clipping is rare. Binary is
    the Brier score, which is proper and bounded, multiclass the share of errors, words 1 less ROUGE-L.
    """

    name: str
    unit: float

    def of(self, kind: LabelKind, pair: Pair) -> float:
        if kind.is_text:
            return error_of(kind, pair)
        error = abs(float(pair.truth) - float(pair.answer))
        return error if self.name == "absolute" else error * error


def loss_of(reference: Reference, kind: LabelKind) -> Loss:
    match kind:
        case LabelKind.MULTICLASS:
            return Loss("error", 1.0)
        case LabelKind.TEXT:
            return Loss("1 - rouge_l", 1.0)
        case LabelKind.BINARY:
            return Loss("brier", 1.0)
        case LabelKind.REGRESSION:
            unit = CLIP * error_unit(reference, kind)
            absolute = reference.profile.primary_metric == "mae"
            return Loss("absolute", unit) if absolute else Loss("squared", unit * unit)


def started(trial: Trial | None, event: ChallengerStarted) -> Trial:
    """A new trial, or the next step of this one: what is proven stays proven, and labels are counted anew."""
    if trial is None or trial.number != event.trial:
        return Trial(
            number=event.trial,
            step=event.step,
            epoch=event.epoch,
            champion=Side(event.champion_version),
            challenger=Side(event.version),
            learnt_until=event.learnt_until,
        )
    return replace(trial, step=event.step, before_step=trial.evidence.count)


def answered(trial: Trial, prediction: PredictionMade) -> Trial:
    """Count an answer of one of the two, whoever got it."""
    missing = prediction.answer is None
    match prediction.model_version:
        case trial.challenger.version:
            return replace(trial, challenger=_answered(trial.challenger, prediction, missing))
        case trial.champion.version:
            return replace(trial, champion=_answered(trial.champion, prediction, missing))
        case _:
            return trial


def _answered(side: Side, prediction: PredictionMade, missing: bool) -> Side:
    before, timed = side.answers, prediction.seconds > 0
    answers = Answers(
        before.count + 1,
        before.missing + missing,
        before.timed + timed,
        before.seconds + (prediction.seconds if timed else 0.0),
    )
    return replace(side, answers=answers)


def compared(
    trial: Trial, kind: LabelKind, reference: Reference, champion: Pair, challenger: Pair
) -> Trial:
    """Count one event that both have answered and whose truth is known."""
    loss = loss_of(reference, kind)
    difference = (loss.of(kind, champion) - loss.of(kind, challenger)) / loss.unit
    if math.isnan(difference):  # answers so large that both losses are infinite
        difference = 0.0
    return replace(
        trial,
        evidence=sequences.counted(trial.evidence, min(max(difference, -1.0), 1.0)),
        champion=replace(trial.champion, tally=counted(trial.champion.tally, kind, champion)),
        challenger=replace(
            trial.challenger, tally=counted(trial.challenger.tally, kind, challenger)
        ),
    )


def verdict_of(trial: Trial, promotion: Promotion) -> Verdict:
    """What is known by now. A breach of a limit comes before any proof."""
    champion, challenger = trial.champion.answers, trial.challenger.answers
    if (
        challenger.count >= LEAST_ANSWERS
        and challenger.error_share > champion.error_share + promotion.max_errors
    ):
        return Verdict.FAILING
    if (
        challenger.timed >= LEAST_ANSWERS
        and challenger.mean_seconds > promotion.max_latency / SECOND
    ):
        return Verdict.SLOW
    if sequences.is_below_zero(trial.evidence, promotion.confidence):
        return Verdict.WORSE
    if sequences.is_above_zero(trial.evidence, promotion.confidence):
        return Verdict.BETTER
    return Verdict.UNDECIDED


def judged(
    before: Trial,
    trial: Trial,
    pipeline: PipelineName,
    promotion: Promotion,
    kind: LabelKind,
    reference: Reference,
    cause_id: str,
) -> tuple[Trial, ChallengerCompared | None]:
    """Say it at once when the verdict changes, when a decision may hang on the count, and now and then in between.

    Said again and again while it lasts: whoever could not act on it the first time (promotions were paused) can later.
    """
    verdict = verdict_of(trial, promotion)
    events = trial.evidence.count
    is_due = events > before.evidence.count and (
        events % SAID_EVERY == 0
        or events - trial.before_step == max(promotion.min_labels, 1)
        or events == promotion.max_labels
    )
    if verdict is trial.said and not is_due:
        return trial, None
    said = _said(trial, pipeline, promotion, kind, loss_of(reference, kind), verdict, reference)
    return replace(trial, said=verdict), replace(
        said, id=derived_id(cause_id, "ChallengerCompared", pipeline, str(trial.number))
    )


def _said(
    trial: Trial,
    pipeline: PipelineName,
    promotion: Promotion,
    kind: LabelKind,
    loss: Loss,
    verdict: Verdict,
    reference: Reference,
) -> ChallengerCompared:
    champion = metrics_of(trial.champion.tally, kind)
    challenger = metrics_of(trial.challenger.tally, kind)
    wanted = (reference.profile.primary_metric, *champion)
    metric = next((name for name in wanted if name in champion and name in challenger), "")
    lower, upper = sequences.bounds(trial.evidence, promotion.confidence)
    return ChallengerCompared(
        id="",
        pipeline=pipeline,
        champion_version=trial.champion.version,
        challenger_version=trial.challenger.version,
        metric=metric,
        champion_value=champion.get(metric, 0.0),
        challenger_value=challenger.get(metric, 0.0),
        events=trial.evidence.count,
        trial=trial.number,
        step=trial.step,
        epoch=trial.epoch,
        step_events=trial.evidence.count - trial.before_step,
        loss=loss.name,
        difference=trial.evidence.mean * loss.unit,
        lower=lower * loss.unit,
        upper=upper * loss.unit,
        confidence=promotion.confidence,
        verdict=verdict,
        champion_seconds=trial.champion.answers.mean_seconds,
        challenger_seconds=trial.challenger.answers.mean_seconds,
        champion_errors=trial.champion.answers.error_share,
        challenger_errors=trial.challenger.answers.error_share,
    )
