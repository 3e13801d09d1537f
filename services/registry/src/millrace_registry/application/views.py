"""What people are shown of pipelines, model versions and promotions. Times are RFC 3339; a number that is none is null."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_registry.domain.events import Verdict

Numbers = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class InForce:
    """The version of a pipeline's file in force, and its digest."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class ChallengerView:
    """The version that is compared with the champion. `share`: per cent of the entities that it answers."""

    version: int
    trial: int
    step: int
    share: float
    started_at: str


@dataclass(frozen=True, slots=True)
class PipelineView:
    name: str
    version: int
    owner: str
    description: str
    strategy: str
    champion: int | None
    epoch: int
    paused: bool
    challenger: ChallengerView | None
    applied_at: str


@dataclass(frozen=True, slots=True)
class FileView:
    """One applied file of a pipeline."""

    version: int
    digest: str
    applied_at: str


@dataclass(frozen=True, slots=True)
class PipelineDetail:
    pipeline: PipelineView
    files: Sequence[FileView]  # newest first
    spec: Mapping[str, Any]  # the file in force, with every default written out


@dataclass(frozen=True, slots=True)
class ModelView:
    pipeline: str
    version: int
    stage: str
    reason: str
    algorithm: str
    run_id: str
    trigger: str
    metrics: Numbers
    registered_at: str


@dataclass(frozen=True, slots=True)
class ModelDetail:
    model: ModelView
    verdicts: Sequence[Verdict]
    pipeline_version: int
    run_number: int
    cause_id: str
    parameters: Any
    artifact_uri: str
    artifact_sha256: str
    signing_key_id: str  # empty: from before models were signed
    dataset_uri: str
    dataset_sha256: str
    train_rows: int
    holdout_rows: int
    champion_version: int
    champion_metrics: Numbers
    better_probability: float | None
    fit_seconds: float | None
    cpu_seconds: float | None
    card_uri: str  # empty: no model card was made
    card_sha256: str
    as_of: str


@dataclass(frozen=True, slots=True)
class CardDocument:
    """A model card: for people in two forms, and its figures for programs."""

    markdown: str
    html: str
    facts: Any


class Cards(Protocol):
    def read(self, uri: str, sha256: str) -> CardDocument: ...


@dataclass(frozen=True, slots=True)
class PromotionView:
    epoch: int
    kind: str
    version: int
    previous_version: int
    actor: str | None
    reason: str
    cause_id: str
    at: str


class Views(Protocol):
    """Questions about what is committed. A pipeline or version that is not there raises LookupError's kin of the domain."""

    def in_force(self, name: PipelineName) -> InForce | None: ...
    def pipelines(self) -> Sequence[PipelineView]: ...
    def pipeline(self, name: PipelineName) -> PipelineDetail: ...
    def models(
        self, name: PipelineName, *, before: int | None, limit: int
    ) -> Sequence[ModelView]: ...
    def model(self, name: PipelineName, version: ModelVersionNumber) -> ModelDetail: ...
    def promotions(
        self, name: PipelineName, *, before: int | None, limit: int
    ) -> Sequence[PromotionView]: ...
