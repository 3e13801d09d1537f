"""Trials: what follows from a comparison, and which version is compared next.

One version at a time challenges the champion. A newer candidate waits for the trial to end, because one that replaced it
would start the proof anew, and with frequent trainings nothing would ever be proven. Numbers (labels, confidence, shares)
are those of the file in force when the decision is made.
"""

from collections.abc import Iterator
from dataclasses import replace

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.pipeline import Pipeline, Promotion, Strategy
from millrace_kernel.time import Instant
from millrace_registry.domain.events import (
    ApprovalRequested,
    ChallengerCompared,
    ChallengerStarted,
    Change,
    Comparison,
    DeploymentFailed,
    ModelRejected,
    ModelRetired,
    ModelVersion,
    Trial,
    Verdict,
)
from millrace_registry.domain.models import Models, Stage
from millrace_registry.domain.promotion import promote

_EVERYBODY = 100.0  # per cent
_BREACHES = (Comparison.WORSE, Comparison.SLOW, Comparison.FAILING)


def is_current(models: Models, told: ChallengerCompared) -> bool:
    """Whether it is of the running trial, and may be decided on: a breach at any step, anything else at this one."""
    trial = models.trial
    return (
        trial is not None
        and (told.trial, told.version) == (trial.number, trial.version)
        and (told.verdict in _BREACHES or told.step == trial.step)
    )


def on_compared(
    models: Models,
    told: ChallengerCompared,
    file: Pipeline,
    model: ModelVersion,
    verdicts: tuple[Verdict, ...],
) -> Iterator[Change]:
    """What a current comparison leads to: a step, a promotion, a rejection, or nothing yet.

    While promotions are paused a breach still ends the trial; monitoring goes on saying what else is due.
    """
    promotion = file.promotion
    run_id, proof = model.training.run_id, _in_words(told)
    if told.verdict in _BREACHES:
        yield ModelRejected(
            told.pipeline, told.version, run_id, proof, (*verdicts, _verdict(told, proof, False))
        )
    elif models.paused:
        return
    elif told.verdict is Comparison.BETTER:
        if told.step_events >= promotion.min_labels:
            passed = (*verdicts, _verdict(told, proof, True))
            yield from _forward(models, promotion, model, passed, proof)
    elif told.events >= promotion.max_labels:
        reason = f"no proof after {told.events} labels: {proof}"
        yield ModelRejected(
            told.pipeline, told.version, run_id, reason, (*verdicts, _verdict(told, proof, False))
        )


def _forward(
    models: Models,
    promotion: Promotion,
    model: ModelVersion,
    verdicts: tuple[Verdict, ...],
    proof: str,
) -> Iterator[Change]:
    """A larger share; or with all of it, the promotion."""
    trial = models.trial
    assert trial is not None, "a current comparison has a running trial"
    share = next_share(promotion, trial.share)
    if promotion.strategy is Strategy.MANUAL:
        yield ApprovalRequested(model.pipeline, model.version, verdicts, proof)
    elif share < _EVERYBODY:
        grown = replace(trial, step=trial.step + 1, share=share)
        yield ChallengerStarted(model, grown, f"answers {share:g} % of the entities: {proof}")
    else:
        yield from promote(models, model, verdicts, approved_by=None, reason=proof)


def next_share(promotion: Promotion, share: float) -> float:
    """The file's next step above this share, in per cent; shares never shrink, whatever the file says meanwhile."""
    if promotion.strategy is not Strategy.CANARY:
        return _EVERYBODY
    return next((step for step in promotion.steps if step > share), _EVERYBODY)


def on_failed(
    models: Models, failure: DeploymentFailed, model: ModelVersion, verdicts: tuple[Verdict, ...]
) -> ModelRejected:
    """A challenger that could not be loaded, or failed while it scored."""
    reason = f"failed as a challenger on {failure.instance}: {failure.reason}"
    return ModelRejected(models.pipeline, failure.version, model.training.run_id, reason, verdicts)


def next_challenger(models: Models, file: Pipeline) -> ModelVersionNumber | None:
    """The version to be compared now: the newest that waits for it. None while a trial runs or promotions are paused."""
    waiting = _waiting(models)
    if models.trial is not None or models.paused or not waiting or not models.champion:
        return None
    newest = waiting[-1]
    return newest if newest > models.champion or not file.promotion.compares else None


def left_behind(models: Models) -> Iterator[ModelRetired]:
    """Of those that wait to be compared: what is older than the champion, and what the newest of them has overtaken."""
    if models.trial is not None or models.paused:
        return
    waiting = _waiting(models)
    for version in waiting:
        if version < models.champion:
            newer = models.champion
            reason = f"version {newer} is newer and was promoted while it waited"
        elif version != waiting[-1]:
            reason = f"version {waiting[-1]} is newer and waits to be compared as well"
        else:
            continue
        yield ModelRetired(models.pipeline, version, reason)


def begin(
    models: Models,
    model: ModelVersion,
    verdicts: tuple[Verdict, ...],
    file: Pipeline,
    at: Instant,
) -> Change:
    """The trial of this version; or where the file in force compares nothing any more, a person's turn."""
    promotion = file.promotion
    if not promotion.compares:
        reason = f"the file in force says {promotion.strategy.value}, so it is compared no more"
        return ApprovalRequested(model.pipeline, model.version, verdicts, reason)
    is_canary = promotion.strategy is Strategy.CANARY
    share = promotion.steps[0] if is_canary else 0.0
    trial = Trial(
        number=models.trials + 1,
        step=0,
        version=model.version,
        champion=models.champion,
        epoch=models.epoch,
        share=share,
        since=Instant(max(0, at - (0 if is_canary else promotion.shadow_from))),
        started=at,
    )
    how = f"answering {share:g} % of the entities" if share else "without answering"
    return ChallengerStarted(
        model, trial, f"passed every gate; compared with version {models.champion}, {how}"
    )


def _waiting(models: Models) -> list[ModelVersionNumber]:
    return sorted((*models.at(Stage.QUEUED), *models.at(Stage.CHALLENGER)))


def _in_words(told: ChallengerCompared) -> str:
    if told.verdict is Comparison.SLOW:
        return f"too slow: it takes {told.seconds * 1000:.3g} ms to score one event"
    if told.verdict is Comparison.FAILING:
        return f"it leaves {told.errors:.2%} of the events without an answer"
    what = {Comparison.BETTER: "better than", Comparison.WORSE: "worse than"}.get(
        told.verdict, "not proven different from"
    )
    return (
        f"{what} version {told.champion} on {told.events} labelled events: its {told.loss} loss is lower by "
        f"{told.difference:.4g}, between {told.lower:.4g} and {told.upper:.4g} (confidence {told.confidence:g}, at all times)"
    )


def _verdict(told: ChallengerCompared, proof: str, passed: bool) -> Verdict:
    return Verdict(
        f"better than version {told.champion} on live traffic ({told.confidence:g})", passed, proof
    )
