"""The life of a pipeline's model versions:

registered ─► rejected ──────────────┐ (a person may still approve it)
    ├───────► awaiting approval ─────┤
    ├─► queued ─► challenger ────────┤ (or rejected, awaiting approval, retired)
    └────────────────────────────────┴─► champion ◄─► former champion ─► retired
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_registry.domain.events import (
    NO_MODEL,
    ApprovalRequested,
    CandidateQueued,
    ChallengerStarted,
    Change,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
    ModelRetired,
    ModelRolledBack,
    PromotionsPaused,
    Trial,
)


class Stage(StrEnum):
    REGISTERED = "registered"
    REJECTED = "rejected"
    QUEUED = "queued"  # to be a challenger
    CHALLENGER = "challenger"
    AWAITING = "awaiting approval"
    CHAMPION = "champion"
    FORMER = "former champion"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Models:
    """How the versions of one pipeline stand. `line` holds its champions, oldest first: the last one answers, and rolling
    back goes along it. `trials` is the number of the newest trial, running or over."""

    pipeline: PipelineName
    stages: Mapping[ModelVersionNumber, Stage] = field(default_factory=dict)
    epoch: int = 0
    line: tuple[ModelVersionNumber, ...] = ()
    paused: bool = False
    trial: Trial | None = None
    trials: int = 0

    @property
    def champion(self) -> ModelVersionNumber:
        """The version that answers; 0 when none does."""
        return self.line[-1] if self.line else NO_MODEL

    @property
    def newest(self) -> ModelVersionNumber:
        """The version registered last; 0 when there is none."""
        return max(self.stages, default=NO_MODEL)

    @property
    def before_champion(self) -> ModelVersionNumber:
        """The version that rolling back leads to; 0 when there is none."""
        return self.line[-2] if len(self.line) > 1 else NO_MODEL

    def at(self, stage: Stage) -> tuple[ModelVersionNumber, ...]:
        """The versions at this stage, oldest first."""
        return tuple(sorted(version for version, its in self.stages.items() if its is stage))


_LEADS_TO: Mapping[type, Stage] = {
    ModelRejected: Stage.REJECTED,
    CandidateQueued: Stage.QUEUED,
    ApprovalRequested: Stage.AWAITING,
}


def evolve(models: Models, event: Change) -> Models:
    match event:
        case ModelRegistered(model):
            return _staged(models, {model.version: Stage.REGISTERED})
        case ModelRejected() | CandidateQueued() | ApprovalRequested():
            return _ended(_staged(models, {event.version: _LEADS_TO[type(event)]}), event.version)
        case ChallengerStarted(trial=trial):
            challenging = _staged(models, {trial.version: Stage.CHALLENGER})
            return replace(challenging, trial=trial, trials=trial.number)
        case ModelPromoted(model=model, epoch=epoch):
            crowned = _crowned(models, model.version)
            return replace(crowned, epoch=epoch, line=(*models.line, model.version))
        case ModelRolledBack(model=model, epoch=epoch):
            crowned = _crowned(models, model.version)
            return replace(crowned, epoch=epoch, line=_back_to(models.line, model.version))
        case ModelRetired(version=version):
            left = _staged(models, {version: Stage.RETIRED})
            left = _ended(left, version)
            return replace(left, line=tuple(one for one in models.line if one != version))
        case PromotionsPaused(paused=paused):
            return replace(models, paused=paused)


def _staged(models: Models, changed: Mapping[ModelVersionNumber, Stage]) -> Models:
    return replace(models, stages={**models.stages, **changed})


def _crowned(models: Models, version: ModelVersionNumber) -> Models:
    """A trial holds while its champion answers: with another one it is over."""
    former = {models.champion: Stage.FORMER} if models.champion else {}
    return replace(_staged(models, {**former, version: Stage.CHAMPION}), trial=None)


def _ended(models: Models, version: ModelVersionNumber) -> Models:
    running = models.trial is not None and models.trial.version == version
    return replace(models, trial=None) if running else models


def _back_to(
    line: tuple[ModelVersionNumber, ...], version: ModelVersionNumber
) -> tuple[ModelVersionNumber, ...]:
    """The line up to where this version last answered; one that the line has lost takes the last place."""
    for index in range(len(line) - 2, -1, -1):
        if line[index] == version:
            return line[: index + 1]
    return (*line[:-1], version)
