"""Which version answers: what follows from a candidate, from a person's word, and from a deployment that failed.

The gates and the strategy are those of the file in force when the decision is made, not when the run began: what an
owner tightens counts at once. Every decision that changes the champion takes the next epoch.
"""

from collections.abc import Iterator

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.pipeline import Pipeline, Strategy
from millrace_registry.domain.errors import CommandRefusedError, UnknownVersionError
from millrace_registry.domain.events import (
    ApprovalRequested,
    ApprovePromotion,
    CandidateQueued,
    Change,
    DeploymentFailed,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
    ModelRetired,
    ModelRolledBack,
    ModelVersion,
    RejectPromotion,
    RollBack,
    TrainingCompleted,
    Verdict,
)
from millrace_registry.domain.gates import judge
from millrace_registry.domain.models import Models, Stage

FORMER_KEPT = 10  # former champions that can be rolled back to


def on_candidate(models: Models, training: TrainingCompleted, file: Pipeline) -> Iterator[Change]:
    """Register the candidate; then it is rejected, promoted, or waits for a person."""
    model = ModelVersion(ModelVersionNumber(models.newest + 1), training)
    yield ModelRegistered(model)
    verdicts = judge(file, training, models.champion)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        reason = "; ".join(f"failed {verdict.gate}: {verdict.evidence}" for verdict in failed)
        yield ModelRejected(training.pipeline, model.version, training.run_id, reason, verdicts)
    elif file.promotion.strategy is Strategy.DIRECT and not models.paused:
        yield from promote(models, model, verdicts, approved_by=None, reason="passed every gate")
    elif file.promotion.compares and not models.paused:
        reason = "passed every gate"
        if models.champion:
            yield CandidateQueued(training.pipeline, model.version, verdicts, reason)
        else:
            reason += "; there is no champion to compare it with"
            yield from promote(models, model, verdicts, approved_by=None, reason=reason)
    else:  # while promotions are paused, what would have been promoted waits for a person
        yield ApprovalRequested(training.pipeline, model.version, verdicts)


def promote(
    models: Models,
    model: ModelVersion,
    verdicts: tuple[Verdict, ...],
    *,
    approved_by: str | None,
    reason: str,
) -> Iterator[Change]:
    """Make the version the champion, and retire what it leaves without a future."""
    yield ModelPromoted(model, models.epoch + 1, models.champion, verdicts, approved_by, reason)
    for version in models.at(Stage.AWAITING):
        if version < model.version:
            yield ModelRetired(
                model.pipeline,
                version,
                f"version {model.version} is newer and was promoted while it waited",
            )
    for version in _beyond_return(models, model.version):
        yield ModelRetired(
            model.pipeline, version, f"{FORMER_KEPT} newer champions have followed it"
        )


def _beyond_return(models: Models, promoted: ModelVersionNumber) -> list[ModelVersionNumber]:
    """Former champions that are neither among the newest nor near enough in the line to be rolled back to."""
    former = {*models.at(Stage.FORMER), models.champion} - {0, promoted}
    kept = {*sorted(former)[-FORMER_KEPT:], *models.line[-FORMER_KEPT:]}
    return sorted(former - kept)


def approved(models: Models, command: ApprovePromotion) -> ModelVersionNumber:
    """The version that a person lets become the champion. Raises CommandRefusedError where it cannot."""
    if models.paused:
        raise CommandRefusedError(
            f"promotions of {models.pipeline} are paused; let them go on first (PausePipeline, paused: false)"
        )
    version = command.version or _newest_waiting(models)
    match _stage(models, version):
        case Stage.CHAMPION:
            raise CommandRefusedError(
                f"version {version} of {models.pipeline} is the champion already"
            )
        case Stage.RETIRED:
            raise CommandRefusedError(
                f"version {version} of {models.pipeline} is retired; its artifact may be gone: retrain instead"
            )
        case _:
            return version


def rejected(models: Models, command: RejectPromotion) -> ModelVersionNumber:
    """The version that a person turns down. Raises CommandRefusedError unless it waits."""
    version = command.version or _newest_waiting(models)
    stage = _stage(models, version)
    if stage not in (Stage.AWAITING, Stage.QUEUED, Stage.CHALLENGER):
        raise CommandRefusedError(
            f"version {version} of {models.pipeline} does not wait for approval: it is {_a(stage)}"
        )
    return version


def rolled_back_to(models: Models, command: RollBack) -> ModelVersionNumber:
    """The version that a person lets answer again. Raises CommandRefusedError unless it has been the champion."""
    if command.version == 0:
        if not models.before_champion:
            what = (
                f"version {models.champion} is the only champion it has had"
                if models.champion
                else "it has no champion yet"
            )
            raise CommandRefusedError(f"{models.pipeline} cannot be rolled back: {what}")
        return models.before_champion
    stage = _stage(models, command.version)
    if stage is not Stage.FORMER:
        fix = (
            "approve it instead"
            if stage in (Stage.REJECTED, Stage.AWAITING, Stage.QUEUED, Stage.CHALLENGER)
            else "name a former champion, or 0 for the one before"
        )
        raise CommandRefusedError(
            f"{models.pipeline} cannot be rolled back to version {command.version}, {_a(stage)}; {fix}"
        )
    return command.version


def fallen_back_to(models: Models, failure: DeploymentFailed) -> ModelVersionNumber | None:
    """The version that answers again after a failed deployment; None when nothing is to be done.

    A failure of an older epoch has been answered already: another instance reported it, or a person was faster.
    """
    if (
        failure.epoch != models.epoch
        or failure.version != models.champion
        or not models.before_champion
    ):
        return None
    return models.before_champion


def roll_back(
    models: Models, model: ModelVersion, *, actor: str | None, reason: str
) -> ModelRolledBack:
    return ModelRolledBack(model, models.epoch + 1, models.champion, actor, reason)


def _newest_waiting(models: Models) -> ModelVersionNumber:
    waiting = models.at(Stage.AWAITING)
    if not waiting:
        raise CommandRefusedError(
            f"no version of {models.pipeline} waits for approval; name one to promote it all the same"
        )
    return waiting[-1]


def _stage(models: Models, version: ModelVersionNumber) -> Stage:
    stage = models.stages.get(version)
    if stage is None:
        raise UnknownVersionError(models.pipeline, version, models.newest)
    return stage


def _a(stage: Stage) -> str:
    return {
        Stage.CHAMPION: "the champion",
        Stage.FORMER: "a former champion",
        Stage.CHALLENGER: "the challenger",
    }.get(stage, stage.value)
