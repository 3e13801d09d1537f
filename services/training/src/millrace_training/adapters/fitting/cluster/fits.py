"""A fit whose trees grow on a cluster: `procedure.run`, but what is measured and what ships learns from parts that the
workers read for themselves.

This process holds a sample of the training rows, the holdout's rows and the model: what a search tries, the naive baselines, the
comparison with the champion, the checks and the export need no more. The sample is one row in so many, evenly over all the
time, so shares of the past mean the same in it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from distributed.scheduler import KilledWorker

from millrace_artifacts.signature import Signature
from millrace_kernel.errors import PermanentError
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting import procedure
from millrace_training.adapters.fitting.algorithms.xgboost_models import (
    FittedXgboost,
    rounds_of,
    settings_of,
)
from millrace_training.adapters.fitting.cluster.connecting import (
    Cluster,
    ClusterError,
    Worker,
    connected,
)
from millrace_training.adapters.fitting.cluster.growing import Growing, LostError, grown
from millrace_training.adapters.fitting.cluster.parts import Fading, Statistics
from millrace_training.adapters.fitting.cluster_plan import ClusterPlan, ClusterUse, stretches
from millrace_training.adapters.fitting.job import FEWEST_ROWS, FitJob, FitResult, TrialResult
from millrace_training.adapters.fitting.reading.encoding import (
    MOST_CATEGORIES,
    classes_among,
    smoothing_of,
    vocabulary,
)
from millrace_training.adapters.fitting.reading.rows import Split
from millrace_training.adapters.fitting.searching.recipes import FittedRecipe, Recipe

logger = logging.getLogger(__name__)

_ATTEMPTS = 3  # at one fit, all its trees together, when workers are lost


def run(job: FitJob, plan: ClusterPlan, tell: Callable[[TrialResult], None]) -> FitResult:
    """As `procedure.run`. Raises ClusterError, FitError."""
    with connected(plan.scheduler, plan.wait_seconds) as cluster:
        cluster.wait_for(plan.workers, plan.wait_seconds)
        return procedure.run(job, tell, partial(OnCluster, cluster=cluster, plan=plan))


@dataclass(slots=True)
class OnCluster:
    """`procedure.Fits`."""

    job: FitJob
    split: Split
    cluster: Cluster
    plan: ClusterPlan
    _used: ClusterUse | None = field(default=None)
    _lost: int = 0

    @property
    def use(self) -> ClusterUse | None:
        return self._used

    @property
    def notes(self) -> tuple[str, ...]:
        here, rows = len(self.split.both), self.plan.rows
        assert self._used is not None, "nothing was fitted"
        told = f"learnt on the cluster {self._used.scheduler} by {len(self._used.workers)} workers"
        if here == rows:
            return (told,)
        return (
            told,
            f"trials, naive baselines and the model card know {here:,} of the {rows:,} rows: the holdout, and of the others "
            "one in so many",
        )

    def measured(self, recipe: Recipe) -> FittedRecipe:
        return self._fitted(recipe, *self._measured_span())

    def shipped(self, recipe: Recipe) -> FittedRecipe:
        return self._fitted(recipe, *self._shipped_span())

    def extent(self, recipe: Recipe) -> procedure.Extent:
        first, last = self._learnt(recipe, *self._measured_span())
        train = last - first
        if self.job.refit:
            first, last = self._learnt(recipe, *self._shipped_span())
        pieces = stretches(self.plan.parts, first, last)
        # where a part is cut, its own ends stand for the cut's
        since, until = pieces[0].part.first_event_time_us, pieces[-1].part.last_event_time_us
        return procedure.Extent(train, last - first, since, until)

    def _measured_span(self) -> tuple[int, int]:
        """Rows of all parts together, as `split_rows` has it: from, to (exclusive).

        Of the rows before the holdout whose label was not known when it began, the sample here tells: rather some too many
        are left out than one too few.
        """
        border = self.plan.rows - len(self.split.holdout)
        first = max(0, border - self.job.train_on_last)
        here = len(self.split.older)
        late = here - len(self.split.train)
        every = max(1, (border - 1) // max(1, here - 1))
        unknown = late * every + every - 1 if late else 0
        return first, max(first + 1, border - unknown)

    def _shipped_span(self) -> tuple[int, int]:
        return self._measured_span()[0], self.plan.rows

    def _learnt(self, recipe: Recipe, first: int, last: int) -> tuple[int, int]:
        """As `Past.taken`."""
        count = max(FEWEST_ROWS, round((last - first) * recipe.past.share))
        return max(first, last - count), last

    def _fitted(self, recipe: Recipe, first: int, last: int) -> FittedRecipe:
        """Again with other workers when some are lost, some times."""
        growing = self._growing(recipe, first, last)
        while True:
            workers = self._workers()
            try:
                return self._once(growing, recipe, workers)
            except (PermanentError, KilledWorker):
                raise
            except Exception as error:
                if self.cluster.is_gone:  # and with it all that workers have read
                    raise
                self.cluster.meter()
                self._lost_one(workers, error)

    def _lost_one(self, workers: tuple[Worker, ...], error: Exception) -> None:
        """Raises the error when no worker was lost, and ClusterError when it was once too often."""
        lost = sorted(each.name for each in set(workers) - set(self.cluster.workers()))
        if not lost and not isinstance(error, LostError):
            raise error
        self._lost += 1
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        logger.warning("workers were lost in mid-fit", extra={"workers": lost, "reason": what})
        if self._lost >= _ATTEMPTS:
            raise ClusterError(
                f"the cluster {self.plan.scheduler.name} lost workers in each of {_ATTEMPTS} attempts, at last "
                f"{', '.join(lost) or 'one that is back'} ({what}); see their logs: if they ran out of memory, give them more, "
                "or start more of them"
            ) from error

    def _workers(self) -> tuple[Worker, ...]:
        plan = self.plan
        found = self.cluster.wait_for(plan.workers, plan.wait_seconds)
        return found[: plan.workers] if plan.exactly else found

    def _growing(self, recipe: Recipe, first: int, last: int) -> Growing:
        first_learnt, last = self._learnt(recipe, first, last)
        half_life = recipe.past.half_life
        rows = last - first
        lean = replace(self.job, champion=None, finished=(), earlier=(), gates=(), cluster=None)
        return Growing(
            job=lean,
            store=self.plan.store,
            pieces=stretches(self.plan.parts, first_learnt, last),
            without=(*self.job.unlearnt, *recipe.without),
            fading=Fading(last - first_learnt, None if half_life is None else rows * half_life),
            seconds=self.plan.seconds,
        )

    def _once(self, growing: Growing, recipe: Recipe, workers: tuple[Worker, ...]) -> FittedRecipe:
        """The statistics make the signature, and that the matrices."""
        growing = growing.dealt_to(workers, self.cluster)
        needed = self.job.categories or self.job.label_kind is not LabelKind.REGRESSION
        most = MOST_CATEGORIES[recipe.algorithm.encoding]
        statistics = growing.statistics(most) if needed else Statistics()
        signature = _signature(self.job, recipe, statistics)
        kind, classes = self.job.label_kind, len(signature.classes)
        parameters = {name: value for name, value in recipe.parameters.items() if name != "rounds"}
        settings, bins = settings_of(parameters, kind, classes, self.job.seed, self.job.threads)
        del settings["nthread"]  # each worker has as many as it was started with
        booster = grown(
            growing,
            growing.encoding(signature, statistics),
            settings,
            bins=bins,
            rounds=rounds_of(recipe.parameters, kind, classes),
        )
        booster.set_param({"nthread": self.job.threads})
        self._used = ClusterUse(
            scheduler=self.plan.scheduler.name,
            workers=tuple(each.name for each in growing.workers),
            threads=tuple(each.threads for each in growing.workers),
            parts=len(self.plan.parts),
            lost=self._lost,
        )
        return FittedRecipe(signature, FittedXgboost(booster, signature.width))


def _signature(job: FitJob, recipe: Recipe, statistics: Statistics) -> Signature:
    """As `signature_of`, of rows that are elsewhere. Raises OneClassError."""
    kind, encoding = job.label_kind, recipe.algorithm.encoding
    prior = 0.0
    if kind is not LabelKind.MULTICLASS:
        prior = smoothing_of(statistics.label_sum / max(1, statistics.rows))
    vocabularies = tuple(
        ()
        if name in job.options.text_names
        else vocabulary(counts, {text: prior + each for text, each in sums.items()}, kind, encoding)
        for name, counts, sums in zip(
            job.categories, statistics.counts, statistics.sums, strict=True
        )
    )
    return Signature(
        pipeline=job.pipeline,
        pipeline_version=job.pipeline_version,
        numbers=job.numbers,
        categories=job.categories,
        vocabularies=vocabularies,
        encoding=encoding,
        label_kind=kind,
        classes=classes_among(job, statistics.classes, statistics.rows),
        texts=job.options.texts_among(job.categories),
    )
