"""The life of a pipeline's model versions:

registered ─► rejected ──────────────┐ (a person may still approve it)
    ├───────► awaiting approval ─────┤
    └────────────────────────────────┴─► champion ◄─► former champion ─► retired
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_registry.domain.events import (
    NO_MODEL,
    ApprovalRequested,
    Change,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
    ModelRetired,
    ModelRolledBack,
    PromotionsPaused,
)


class Stage(StrEnum):
    REGISTERED = "registered"
    REJECTED = "rejected"
    AWAITING = "awaiting approval"
    CHAMPION = "champion"
    FORMER = "former champion"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Models:
    """How the versions of one pipeline stand. `line` holds its champions, oldest first: the last one answers, and rolling
    back goes along it."""

    pipeline: PipelineName
    stages: Mapping[ModelVersionNumber, Stage] = field(default_factory=dict)
    epoch: int = 0
    line: tuple[ModelVersionNumber, ...] = ()
    paused: bool = False

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


def evolve(models: Models, event: Change) -> Models:
    match event:
        case ModelRegistered(model):
            return _staged(models, {model.version: Stage.REGISTERED})
        case ModelRejected(version=version):
            return _staged(models, {version: Stage.REJECTED})
        case ApprovalRequested(version=version):
            return _staged(models, {version: Stage.AWAITING})
        case ModelPromoted(model=model, epoch=epoch):
            crowned = _crowned(models, model.version)
            return replace(crowned, epoch=epoch, line=(*models.line, model.version))
        case ModelRolledBack(model=model, epoch=epoch):
            crowned = _crowned(models, model.version)
            return replace(crowned, epoch=epoch, line=_back_to(models.line, model.version))
        case ModelRetired(version=version):
            left = _staged(models, {version: Stage.RETIRED})
            return replace(left, line=tuple(one for one in models.line if one != version))
        case PromotionsPaused(paused=paused):
            return replace(models, paused=paused)


def _staged(models: Models, changed: Mapping[ModelVersionNumber, Stage]) -> Models:
    return replace(models, stages={**models.stages, **changed})


def _crowned(models: Models, version: ModelVersionNumber) -> Models:
    former = {models.champion: Stage.FORMER} if models.champion else {}
    return _staged(models, {**former, version: Stage.CHAMPION})


def _back_to(
    line: tuple[ModelVersionNumber, ...], version: ModelVersionNumber
) -> tuple[ModelVersionNumber, ...]:
    """The line up to where this version last answered; one that the line has lost takes the last place."""
    for index in range(len(line) - 2, -1, -1):
        if line[index] == version:
            return line[: index + 1]
    return (*line[:-1], version)
