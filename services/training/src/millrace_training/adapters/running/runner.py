"""Carries out the runs that were decided on: dataset, fit in a child process, candidate into the object store.

Woken by commits, never by a timer. What comes of a run enters like any other input (`SqlWorker.accept`): handled,
committed and published once for its source and sequence. A run cut off anywhere is carried out again from its dataset
on, and ends in the same outcome.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from millrace_artifacts.errors import UntrustedArtifactError
from millrace_artifacts.keys import SigningKey
from millrace_artifacts.seal import Seal, Statement, Vault, sealed
from millrace_artifacts.store import digest_key
from millrace_bus.retry import Backoff
from millrace_bus.session import undisturbed
from millrace_bus.sql_worker import Local
from millrace_contracts.message import Cause as BusCause
from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import RunId
from millrace_kernel.pipeline import Model, command_named
from millrace_kernel.time import SECOND
from millrace_telemetry.tracing import finish, write_traceparent
from millrace_training.adapters.fitting.cluster_plan import ClusterPlan
from millrace_training.adapters.fitting.job import FitJob, FitResult, TrialResult
from millrace_training.adapters.fitting.options import NO_COMMANDS, SKLEARN, Commands
from millrace_training.adapters.fitting.reading.sentences import with_encoder
from millrace_training.adapters.lake.datasets import DatasetTaker
from millrace_training.adapters.lake.settling import Settler
from millrace_training.adapters.on_call import OnCall
from millrace_training.adapters.processes.children import ChildFailedError, Children, Done, Limits
from millrace_training.adapters.running.clustering import Clusters, Taken, plan_of
from millrace_training.adapters.running.records import (
    card_due,
    fit_job,
    record_of,
    trial_of,
    with_trials,
)
from millrace_training.adapters.running.request_traces import RequestTraces
from millrace_training.adapters.sql.runs import Needs, OpenRun, SqlRuns
from millrace_training.adapters.wire import request_id
from millrace_training.domain.costs import NOTHING, Cost, main_metric, points_gained
from millrace_training.domain.events import (
    Candidate,
    Champion,
    Dataset,
    Run,
    RunFailed,
    RunFinished,
    RunOutcome,
    RunSkipped,
    RunStarted,
    RunTried,
)
from millrace_training.domain.queue import next_runs
from millrace_training.domain.updates import FEWEST_ROWS

logger = logging.getLogger(__name__)

Accept = Callable[[Local], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """`fit_seconds` bounds a fit beyond what the pipeline file gives its search; `cpu_seconds` and `memory_bytes` are
    what one fit may use at most. `estimator_modules`: where pipeline files may name estimators by import path. `commands`: the
    programs that they may name."""

    parallel_runs: int = 1
    threads: int = 1
    fit_seconds: float = 900.0
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    estimator_modules: tuple[str, ...] = SKLEARN
    commands: Commands = NO_COMMANDS
    encoders: Path | None = None  # where sentence encoders may come from


@dataclass(frozen=True, slots=True)
class Workshop:
    """What runs are made with."""

    runs: SqlRuns
    settler: Settler
    taker: DatasetTaker
    vault: Vault
    key: SigningKey
    children: Children[FitJob, FitResult]
    clusters: Clusters
    cards: bool = True  # whether candidates get model cards


@dataclass(frozen=True, slots=True)
class _Prepared:
    needs: Needs
    dataset: Dataset
    content: bytes
    champion: bytes | None
    no_champion: (
        str  # why the champion can't be compared with, in words; empty when it can or there is none
    )
    plan: ClusterPlan | None  # None: the fit runs here
    cost: Cost  # of taking the dataset, where a cluster took it


class Runner:
    """A component of the service: `run` until cancelled."""

    def __init__(
        self,
        accept: Accept,
        workshop: Workshop,
        settings: RunnerSettings,
        *,
        chance: Callable[[], float],
        traces: RequestTraces,
        ended: Callable[[], None] = lambda: None,
        backoff: Backoff | None = None,
    ) -> None:
        """`ended` is called when a run's outcome is committed."""
        self._backoff = backoff or Backoff()
        self._on_call = OnCall(
            self._begin,
            "cannot look for runs; trying again",
            chance=chance,
            backoff=self._backoff,
        )
        self.ready = self._on_call.ready
        self._accept = accept
        self._ended = ended
        self._workshop = workshop
        self._settings = settings
        self._chance = chance
        self._traces = traces
        self._tasks = asyncio.TaskGroup()
        self._going: set[RunId] = set()
        self._elsewhere: set[RunId] = set()

    def wake(self) -> None:
        """Something was committed: perhaps a run. Perhaps another process has given a run back, too."""
        self._elsewhere.clear()
        self._on_call.wake()

    async def run(self) -> None:
        self._workshop.children.warm_up()
        async with self._tasks:
            await self._on_call.run()

    async def _begin(self) -> None:
        """The next runs that there is room for, in the queue's order."""
        room = self._settings.parallel_runs - len(self._going)
        if room <= 0:
            return
        for waiting in await undisturbed(asyncio.to_thread(self._next, room)):
            self._going.add(waiting.run.run_id)
            self._tasks.create_task(self._carry_out(waiting), name=f"run-{waiting.run.run_id}")

    def _next(self, room: int) -> list[OpenRun]:
        runs, taken = self._workshop.runs, self._going | self._elsewhere
        found = runs.open()
        waiting = {each.run.run_id: each for each in found if each.run.run_id not in taken}
        if len(waiting) <= room:  # the usual case: there is nothing to choose between
            return list(waiting.values())
        traffic = runs.traffic(since=min(each.number for each in waiting.values()))
        on_their_way = {each.number for each in found if each.run.run_id in taken}
        traffic = replace(traffic, taken={*traffic.taken, *on_their_way})
        chosen = next_runs([each.waiting for each in waiting.values()], traffic, room)
        return [waiting[each.run_id] for each in chosen]

    async def _carry_out(self, waiting: OpenRun) -> None:
        """Until it has an outcome; a passing failure of anything is waited out."""
        attempt, over = 0, False
        try:
            while not over:
                try:
                    await self._claimed_attempt(waiting)
                    over = True
                except TransientError as error:
                    attempt += 1
                    seconds = self._backoff.delay(attempt, self._chance)
                    about = _about(waiting.run) | {
                        "seconds": round(seconds, 2),
                        "reason": str(error),
                    }
                    logger.warning("run put off", extra=about)
                    await asyncio.sleep(seconds)
        finally:
            self._going.discard(waiting.run.run_id)
            self._on_call.wake()

    async def _claimed_attempt(self, waiting: OpenRun) -> None:
        runs = self._workshop.runs
        try:
            if await undisturbed(asyncio.to_thread(runs.claim, waiting.run)):
                await self._attempt(waiting)
            else:
                self._elsewhere.add(waiting.run.run_id)
        finally:
            await undisturbed(asyncio.to_thread(runs.release, waiting.run))

    async def _attempt(self, waiting: OpenRun) -> None:
        run, origin = waiting.run, waiting.origin
        context = self._traces.take(request_id(run)) or origin.traceparent
        span = self._traces.work(f"run {run.pipeline}", context)
        trace = write_traceparent(span.get_span_context()) if span else context
        cause = BusCause(request_id(run), origin.recorded_at, origin.correlation_id, trace)
        failure: PermanentError | None = None
        try:
            outcome = await self._outcome(run, cause)
        except PermanentError as error:
            failure = error
            cost = error.cost if isinstance(error, ChildFailedError) else NOTHING
            outcome = RunFailed(run, str(error), cost.cpu_seconds, cost)
        finally:
            if span:
                finish(span, failure)
        logger.info("run ended", extra=_about(run) | {"outcome": type(outcome).__name__})
        await self._accept(_local(run, "2-ended", outcome, cause))
        self._ended()

    async def _outcome(self, run: Run, cause: BusCause) -> RunOutcome:
        taken = await self._taken_by_cluster(run)
        prepared = await undisturbed(asyncio.to_thread(self._prepare, run, taken))
        if isinstance(prepared, RunSkipped):
            return prepared
        await self._accept(_local(run, "1-started", RunStarted(run, prepared.dataset), cause))
        return RunFinished(run, prepared.dataset, await self._made(run, prepared, cause))

    async def _taken_by_cluster(self, run: Run) -> Taken | None:
        """None where this process takes the dataset, and where it was taken before."""
        shop = self._workshop
        needs = await undisturbed(asyncio.to_thread(shop.runs.needs, run))
        if needs.pipeline.training.cluster is None or needs.dataset is not None:
            return None
        await undisturbed(asyncio.to_thread(shop.settler.settle, run.pipeline))
        job = await undisturbed(asyncio.to_thread(shop.clusters.job, run, needs))
        return await shop.clusters.take(job)

    def _prepare(self, run: Run, gathered: Taken | None) -> _Prepared | RunSkipped:
        shop = self._workshop
        needs = shop.runs.needs(run)
        if needs.dataset is not None:
            dataset, content = needs.dataset, shop.taker.content(needs.dataset)
        elif gathered is not None:
            if gathered.dataset is None or gathered.dataset.rows < FEWEST_ROWS:
                return RunSkipped(run, gathered.rows, FEWEST_ROWS)
            dataset, content = gathered.dataset, shop.taker.content(gathered.dataset)
            shop.runs.forget_settled(run, needs.pipeline)
        else:
            shop.settler.settle(run.pipeline)
            taken = shop.taker.take(run, needs.pipeline, needs.versions)
            if taken is None or taken[0].rows < FEWEST_ROWS:
                return RunSkipped(run, taken[0].rows if taken else 0, FEWEST_ROWS)
            dataset, content = taken
            shop.runs.forget_settled(run, needs.pipeline)
        champion, problem = self._champion(run, needs.champion)
        plan = None
        if needs.pipeline.training.cluster is not None:
            seconds, store = self._limits(needs.pipeline.model).seconds, shop.vault.store
            plan = plan_of(shop.clusters.settings, store, needs.pipeline, dataset, seconds=seconds)
        cost = gathered.cost if gathered else NOTHING
        return _Prepared(needs, dataset, content, champion, problem, plan, cost)

    def _champion(self, run: Run, champion: Champion | None) -> tuple[bytes | None, str]:
        """Its artifact, or why it is not opened: a champion that nobody trusted has signed may not stop the retraining."""
        if champion is None:
            return None, ""
        statement = Statement(
            run.pipeline, champion.pipeline_version, champion.run_id, champion.artifact_sha256
        )
        seal = Seal(champion.signing_key_id, champion.artifact_signature)
        try:
            return self._workshop.vault.open(champion.artifact_uri, statement, seal), ""
        except UntrustedArtifactError as error:
            return None, str(error)

    async def _made(self, run: Run, prepared: _Prepared, cause: BusCause) -> Candidate:
        """A candidate: fitted, stored, signed, with what it takes to make it again and to write its card."""
        needs = prepared.needs
        with NamedTemporaryFile(prefix="millrace-dataset-", suffix=".parquet") as file:
            await undisturbed(asyncio.to_thread(_write, file.name, prepared.content))
            job = _job(run, prepared, Path(file.name), self._settings)
            try:
                fitted = await self._fit(run, job, prepared, cause)
            finally:  # of a child that was killed
                shutil.rmtree(_command_folder(Path(file.name)), ignore_errors=True)
            candidate = await undisturbed(asyncio.to_thread(self._candidate, run, fitted, needs))
        record = record_of(job, fitted.result, needs.pipeline, needs.champion)
        due = card_due(run, fitted.result, cause.traceparent) if self._workshop.cards else b""
        return replace(candidate, record_json=record, card_due=due)

    async def _fit(
        self, run: Run, job: FitJob, prepared: _Prepared, cause: BusCause
    ) -> Done[FitResult]:
        """Each trial is kept as it ends, so that a run cut off has it behind it."""

        async def tried(result: TrialResult) -> None:
            event = RunTried(run, trial_of(result))
            await self._accept(_local(run, f"1-trial.{result.number:06d}", event, cause))

        limits = self._limits(prepared.needs.pipeline.model)
        fitted = await self._workshop.children.run(job, limits, tried)
        before = sum(trial.cpu_seconds for trial in job.finished)  # by an attempt that was cut off
        cost = replace(fitted.cost, cpu_seconds=fitted.cost.cpu_seconds + before)
        return replace(fitted, cost=cost if prepared.plan is None else cost + prepared.cost)

    def _limits(self, model: Model) -> Limits:
        settings = self._settings
        seconds = model.timeout / SECOND + settings.fit_seconds
        programs = any(command_named(each) is not None for each in model.candidates)
        return Limits(seconds, settings.cpu_seconds, settings.memory_bytes, family=programs)

    def _candidate(self, run: Run, fitted: Done[FitResult], needs: Needs) -> Candidate:
        shop, result, cost = self._workshop, fitted.result, fitted.cost
        metric = main_metric(needs.pipeline.primary_metric, result.metrics)
        stored = shop.vault.store.put(
            digest_key(f"artifacts/{run.pipeline}", result.artifact, ".zip"), result.artifact
        )
        seal = sealed(
            Statement(run.pipeline, run.pipeline_version, run.run_id, stored.sha256), shop.key
        )
        return Candidate(
            algorithm=result.algorithm,
            parameters_json=result.parameters_json,
            artifact_uri=stored.uri,
            artifact_sha256=stored.sha256,
            artifact_signature=seal.signature,
            signing_key_id=seal.key_id,
            train_rows=result.train_rows,
            holdout_rows=result.holdout_rows,
            metrics=result.metrics,
            champion_metrics=result.champion_metrics,
            champion_version=needs.champion.version if needs.champion else 0,
            better_probability=result.better_probability or 0.0,
            reference_profile=result.reference_profile,
            fit_seconds=result.fit_seconds,
            cpu_seconds=cost.cpu_seconds,
            notes=result.notes,
            evidence=result.evidence,
            cost=cost,
            points=points_gained(metric, result.metrics, result.champion_metrics),
        )


def _job(run: Run, prepared: _Prepared, dataset: Path, settings: RunnerSettings) -> FitJob:
    needs = prepared.needs
    job = fit_job(run.trigger, needs.pipeline, dataset, settings.threads, prepared.champion)
    commands = replace(settings.commands, folder=_command_folder(dataset))
    allowed = replace(job.options, modules=settings.estimator_modules, commands=commands)
    allowed = with_encoder(allowed, settings.encoders)
    job = replace(
        job,
        no_champion=prepared.no_champion,
        options=allowed,
        cluster=prepared.plan,
        since_us=needs.since,
    )
    return with_trials(job, needs.finished, needs.earlier)


def _command_folder(dataset: Path) -> Path:
    return dataset.with_suffix(".command")


def _local(run: Run, stage: str, event: object, cause: BusCause) -> Local:
    return Local(
        source=f"runs/{run.pipeline}",
        sequence=f"{run.number:016d}.{stage}",
        event=event,
        cause=cause,
    )


def _write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def _about(run: Run) -> dict[str, object]:
    return {"pipeline": run.pipeline, "run": run.number}
