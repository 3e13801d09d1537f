"""Runs of pipelines that name a cluster, as the service sees them: which schedulers are allowed, the dataset in parts, the plan.

The service itself never connects to a cluster: children do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace_artifacts.store import ObjectStore
from millrace_kernel.errors import PermanentError
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_training.adapters.fitting.cluster_plan import ClusterPlan, Scheduler
from millrace_training.adapters.lake.delta import DeltaLake
from millrace_training.adapters.lake.gathering import (
    Gathered,
    GatherJob,
    read_manifest,
)
from millrace_training.adapters.processes.children import Children, Done, Limits
from millrace_training.adapters.sql.runs import Needs
from millrace_training.domain.costs import Cost
from millrace_training.domain.events import Dataset, Run
from millrace_training.domain.updates import rows_for


class UnknownClusterError(PermanentError):
    """The pipeline file names a cluster that the settings do not allow."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """`allowed`: schedulers by the names and the addresses that pipeline files may write. `workers` must be there at least,
    and are waited for `wait_seconds`. `part_rows`: how many rows a part has, about; `sample_rows`: how many the trainer's own
    process sees beside the holdout's."""

    allowed: Mapping[str, Scheduler] = field(default_factory=dict)
    workers: int = 1
    wait_seconds: float = 60.0
    part_rows: int = 100_000
    sample_rows: int = 20_000

    def scheduler(self, pipeline: Pipeline) -> Scheduler:
        """Raises UnknownClusterError."""
        named = pipeline.training.cluster or ""
        scheduler = self.allowed.get(named)
        if scheduler is None:
            has = ", ".join(sorted({each.name for each in self.allowed.values()})) or "none"
            raise UnknownClusterError(
                f"{pipeline.name}: training.cluster names {named}, which training's settings do not allow (TRAINING_CLUSTERS "
                f"has {has}); write one of these, or add it there"
            )
        return scheduler


@dataclass(frozen=True, slots=True)
class Taken:
    """`dataset` None: there are no rows."""

    dataset: Dataset | None
    cost: Cost

    @property
    def rows(self) -> int:
        return self.dataset.rows if self.dataset else 0


class Clusters:
    """Takes datasets by children. `limits` are those of the child that takes a dataset, which is the trainer's only process that a cluster's rows could fill."""

    def __init__(
        self,
        settings: ClusterSettings,
        children: Children[GatherJob, Gathered],
        lake: DeltaLake,
        lake_url: str,
        store: ObjectStore,
        limits: Limits,
    ) -> None:
        self.settings = settings
        self._children = children
        self._lake = lake
        self._lake_url = lake_url
        self._store = store
        self._limits = limits

    def job(self, run: Run, needs: Needs) -> GatherJob:
        """What a child takes the run's dataset by, from the lake as it is now. Raises UnknownClusterError, LakeAwayError."""
        settings, model = self.settings, needs.pipeline.model
        scheduler = settings.scheduler(needs.pipeline)
        at = self._lake.versions(run.pipeline)
        return GatherJob(
            scheduler=scheduler,
            wait_seconds=settings.wait_seconds,
            lake=self._lake_url,
            store=self._store.url,
            pipeline=run.pipeline,
            label_kind=needs.pipeline.label.kind,
            versions=tuple(sorted(needs.versions)),
            as_of_us=run.as_of,
            vectors_version=at.vectors,
            labels_version=at.labels,
            most=rows_for(run.trigger, model.train_on_last) + model.holdout_last,
            holdout=model.holdout_last,
            part_rows=settings.part_rows,
            sample_rows=settings.sample_rows,
        )

    async def take(self, job: GatherJob) -> Taken:
        """Raises ChildFailedError."""
        done: Done[Gathered] = await self._children.run(job, self._limits)
        found = done.result
        if not found.rows:
            return Taken(None, done.cost)
        dataset = Dataset(
            uri=found.uri,
            sha256=found.sha256,
            size=found.size,
            rows=found.rows,
            vectors_version=job.vectors_version,
            labels_version=job.labels_version,
            first_event_time=Instant(found.first_event_time_us),
            last_event_time=Instant(found.last_event_time_us),
        )
        return Taken(dataset, done.cost)


def plan_of(
    settings: ClusterSettings,
    store: ObjectStore,
    pipeline: Pipeline,
    dataset: Dataset,
    *,
    seconds: float,
    workers: int | None = None,
) -> ClusterPlan:
    """Where a fit finds the dataset's parts and who learns them. `workers`: exactly so many take part.

    Raises UnknownClusterError, what the object store raises.
    """
    return ClusterPlan(
        scheduler=settings.scheduler(pipeline),
        store=store.url,
        parts=read_manifest(store.get(dataset.uri, dataset.sha256)).parts,
        workers=settings.workers if workers is None else workers,
        exactly=workers is not None,
        wait_seconds=settings.wait_seconds,
        seconds=seconds,
    )
