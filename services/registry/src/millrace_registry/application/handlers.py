"""One event in, events out. What is kept and what is sent commit together, outside of here."""

from collections.abc import Iterable, Iterator

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_registry.application.ports import FileOvertakenError, Pipelines, Seals, Versions
from millrace_registry.domain import challengers, promotion
from millrace_registry.domain import pipelines as files
from millrace_registry.domain.errors import UnknownPipelineError, UnregisteredRunError
from millrace_registry.domain.events import (
    NO_MODEL,
    ApplyPipeline,
    ApprovePromotion,
    CandidateQueued,
    ChallengerCompared,
    Change,
    DeploymentFailed,
    ModelCardMade,
    ModelRejected,
    ModelVersion,
    PausePipeline,
    PipelineApplied,
    PromotionsPaused,
    RejectPromotion,
    RollBack,
    TrainingCompleted,
    Verdict,
)
from millrace_registry.domain.models import evolve

_NOT_PUBLISHED = (PromotionsPaused, CandidateQueued)


def on_apply(command: ApplyPipeline, pipelines: Pipelines) -> Iterator[PipelineApplied]:
    """A file comes into force as the next version. Raises FileOvertakenError when it was held against an older one."""
    state = pipelines.of(command.file.name)
    if (state.version if state else 0) != command.after:
        raise FileOvertakenError(
            f"{command.file.name} is no longer at version {command.after}; apply the file again"
        )
    applied = files.decide(state, command)
    if applied is not None:
        pipelines.put(applied, command)
        yield applied


def on_training_completed(
    event: TrainingCompleted, pipelines: Pipelines, versions: Versions, seals: Seals
) -> Iterator[Change]:
    """A candidate is registered, and rejected, promoted or left to a person. A run is registered once.

    One that no trusted key has signed is not registered, so that nobody can approve it either.
    """
    file = _known(pipelines, event.pipeline)
    if versions.of_run(event.pipeline, event.run_id) is not None:
        return
    if problem := seals.problem(event):
        yield ModelRejected(
            event.pipeline, NO_MODEL, event.run_id, f"not registered: {problem}", ()
        )
        return
    changes = promotion.on_candidate(versions.of(event.pipeline), event, file)
    yield from _decided(versions, file, changes, event.id, event.at)


def on_card_made(event: ModelCardMade, versions: Versions) -> None:
    version = versions.of_run(event.pipeline, event.run_id)
    if version is None:
        raise UnregisteredRunError(event.pipeline, event.run_number)
    versions.put_card(event.pipeline, version, event)


def on_approve(
    command: ApprovePromotion, pipelines: Pipelines, versions: Versions
) -> Iterator[Change]:
    file = _known(pipelines, command.pipeline)
    if versions.done(command.pipeline, command.id):
        return
    models = versions.of(command.pipeline)
    version = promotion.approved(models, command)
    model, verdicts = (
        versions.model(command.pipeline, version),
        versions.verdicts(command.pipeline, version),
    )
    changes = promotion.promote(
        models, model, verdicts, approved_by=command.actor, reason=command.reason
    )
    yield from _decided(versions, file, changes, command.id, command.at)


def on_reject(
    command: RejectPromotion, pipelines: Pipelines, versions: Versions
) -> Iterator[Change]:
    file = _known(pipelines, command.pipeline)
    if versions.done(command.pipeline, command.id):
        return
    version = promotion.rejected(versions.of(command.pipeline), command)
    model, verdicts = (
        versions.model(command.pipeline, version),
        versions.verdicts(command.pipeline, version),
    )
    reason = f"turned down by {command.actor}: {command.reason}"
    change = ModelRejected(command.pipeline, version, model.training.run_id, reason, verdicts)
    yield from _decided(versions, file, [change], command.id, command.at)


def on_roll_back(command: RollBack, pipelines: Pipelines, versions: Versions) -> Iterator[Change]:
    file = _known(pipelines, command.pipeline)
    if versions.done(command.pipeline, command.id):
        return
    models = versions.of(command.pipeline)
    model = versions.model(command.pipeline, promotion.rolled_back_to(models, command))
    reason = f"asked for by {command.actor}: {command.reason}"
    change = promotion.roll_back(models, model, actor=command.actor, reason=reason)
    yield from _decided(versions, file, [change], command.id, command.at)


def on_deployment_failed(
    event: DeploymentFailed, pipelines: Pipelines, versions: Versions
) -> Iterator[Change]:
    """A champion that serving cannot load gives way to the one before it; without one, there is nothing to go back to.
    A challenger that fails is rejected."""
    file = _known(pipelines, event.pipeline)
    models = versions.of(event.pipeline)
    if event.trial:
        trial = models.trial
        if trial is not None and (trial.number, trial.version) == (event.trial, event.version):
            rejection = challengers.on_failed(
                models, event, *_challenger(versions, event.pipeline, event.version)
            )
            yield from _decided(versions, file, [rejection], event.id, event.at)
        return
    version = promotion.fallen_back_to(models, event)
    if version is None:
        return
    reason = f"version {event.version} could not be deployed on {event.instance}: {event.reason}"
    change = promotion.roll_back(
        models, versions.model(event.pipeline, version), actor=None, reason=reason
    )
    yield from _decided(versions, file, [change], event.id, event.at)


def on_compared(
    event: ChallengerCompared, pipelines: Pipelines, versions: Versions
) -> Iterator[Change]:
    """A challenger's share grows, it becomes the champion, or it is rejected; an older trial or step leads to nothing."""
    file = _known(pipelines, event.pipeline)
    models = versions.of(event.pipeline)
    if not challengers.is_current(models, event):
        return
    known = _challenger(versions, event.pipeline, event.version)
    changes = challengers.on_compared(models, event, file, *known)
    yield from _decided(versions, file, changes, event.id, event.at)


def on_pause(command: PausePipeline, pipelines: Pipelines, versions: Versions) -> Iterator[Change]:
    """Nothing is promoted any more, or again; then what waits to be compared has its turn."""
    file = _known(pipelines, command.pipeline)
    change = PromotionsPaused(command.pipeline, command.paused)
    yield from _decided(versions, file, [change], command.id, command.at)


def _known(pipelines: Pipelines, name: PipelineName) -> Pipeline:
    """The file in force. The registry applies files itself, so a pipeline that it does not know is not on its way."""
    file = pipelines.in_force(name)
    if file is None:
        raise UnknownPipelineError(name)
    return file


def _challenger(
    versions: Versions, pipeline: PipelineName, version: ModelVersionNumber
) -> tuple[ModelVersion, tuple[Verdict, ...]]:
    return versions.model(pipeline, version), versions.verdicts(pipeline, version)


def _decided(
    versions: Versions, file: Pipeline, changes: Iterable[Change], cause: str, at: Instant
) -> Iterator[Change]:
    """Keep the changes and pass them on; where they leave room for a challenger, the next one's trial begins."""
    pipeline = file.name
    yield from _kept(versions, pipeline, changes, cause, at)
    left = challengers.left_behind(versions.of(pipeline))
    yield from _kept(versions, pipeline, left, cause, at)
    models = versions.of(pipeline)
    version = challengers.next_challenger(models, file)
    if version is not None:
        known = _challenger(versions, pipeline, version)
        trial = challengers.begin(models, *known, file, at)
        yield from _kept(versions, pipeline, [trial], cause, at)


def _kept(
    versions: Versions, pipeline: PipelineName, changes: Iterable[Change], cause: str, at: Instant
) -> Iterator[Change]:
    """Keep each change with what it makes of the versions, and pass it on."""
    models = versions.of(pipeline)
    for change in changes:
        models = evolve(models, change)
        versions.put(models, change, cause=cause, at=at)
        if not isinstance(change, _NOT_PUBLISHED):
            yield change
