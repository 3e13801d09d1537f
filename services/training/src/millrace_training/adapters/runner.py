"""Carries out the runs that were decided on: dataset, fit in a child process, candidate into the object store.

Woken by commits, never by a timer. What comes of a run enters like any other input (`SqlWorker.accept`): handled,
committed and published once for its source and sequence. A run cut off anywhere is carried out again from its dataset
on, and ends in the same outcome.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import SECOND
from millrace_telemetry.tracing import finish, write_traceparent
from millrace_training.adapters.children import ChildFailedError, Children
from millrace_training.adapters.datasets import DatasetTaker
from millrace_training.adapters.fitting.job import FitJob, FitResult
from millrace_training.adapters.request_traces import RequestTraces
from millrace_training.adapters.runs import Needs, OpenRun, SqlRuns
from millrace_training.adapters.settling import Settler
from millrace_training.adapters.wire import request_id
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
    Trial,
)
from millrace_training.domain.updates import FEWEST_ROWS, rows_for

logger = logging.getLogger(__name__)

Accept = Callable[[Local], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """`fit_seconds` bounds a fit beyond what the pipeline file gives its search."""

    parallel_runs: int = 1
    threads: int = 1
    fit_seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """What runs are made with."""

    runs: SqlRuns
    settler: Settler
    taker: DatasetTaker
    vault: Vault
    key: SigningKey
    children: Children[FitJob, FitResult]


@dataclass(frozen=True, slots=True)
class _Prepared:
    needs: Needs
    dataset: Dataset
    content: bytes
    champion: bytes | None
    no_champion: (
        str  # why the champion can't be compared with, in words; empty when it can or there is none
    )


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
        backoff: Backoff | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._accept = accept
        self._workshop = workshop
        self._settings = settings
        self._chance = chance
        self._traces = traces
        self._backoff = backoff or Backoff()
        self._work = asyncio.Event()
        self._work.set()  # what a killed process left
        self._going: set[RunId] = set()
        self._elsewhere: set[RunId] = set()

    def wake(self) -> None:
        """Something was committed: perhaps a run. Perhaps another process has given a run back, too."""
        self._elsewhere.clear()
        self._work.set()

    async def run(self) -> None:
        self._workshop.children.warm_up()
        self.ready.set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._work.wait()
                self._work.clear()
                for waiting in await self._waiting():
                    self._going.add(waiting.run.run_id)
                    tasks.create_task(self._carry_out(waiting), name=f"run-{waiting.run.run_id}")

    async def _waiting(self) -> list[OpenRun]:
        """The oldest runs that there is room for."""
        room = self._settings.parallel_runs - len(self._going)
        if room <= 0:
            return []
        try:
            found = await undisturbed(asyncio.to_thread(self._workshop.runs.open))
        except TransientError as error:
            logger.warning("cannot look for runs; trying again", extra={"reason": str(error)})
            asyncio.get_running_loop().call_later(self._backoff.longest_seconds, self._work.set)
            return []
        taken = self._going | self._elsewhere
        return [waiting for waiting in found if waiting.run.run_id not in taken][:room]

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
            self._work.set()

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
            cpu_seconds = error.cpu_seconds if isinstance(error, ChildFailedError) else 0.0
            outcome = RunFailed(run, str(error), cpu_seconds)
        finally:
            if span:
                finish(span, failure)
        logger.info("run ended", extra=_about(run) | {"outcome": type(outcome).__name__})
        await self._accept(_local(run, "2-ended", outcome, cause))

    async def _outcome(self, run: Run, cause: BusCause) -> RunOutcome:
        prepared = await undisturbed(asyncio.to_thread(self._prepare, run))
        if isinstance(prepared, RunSkipped):
            return prepared
        await self._accept(_local(run, "1-started", RunStarted(run, prepared.dataset), cause))
        result = await self._fit(run, prepared)
        candidate = await undisturbed(
            asyncio.to_thread(self._candidate, run, result, prepared.needs)
        )
        trials = tuple(
            Trial(
                trial.number,
                trial.algorithm,
                trial.parameters_json,
                trial.metrics,
                trial.cpu_seconds,
            )
            for trial in result.trials
        )
        return RunFinished(run, prepared.dataset, candidate, trials)

    def _prepare(self, run: Run) -> _Prepared | RunSkipped:
        shop = self._workshop
        needs = shop.runs.needs(run)
        if needs.dataset is not None:
            dataset, content = needs.dataset, shop.taker.content(needs.dataset)
        else:
            shop.settler.settle(run.pipeline)
            taken = shop.taker.take(run, needs.pipeline, needs.versions)
            if taken is None or taken[0].rows < FEWEST_ROWS:
                return RunSkipped(run, taken[0].rows if taken else 0, FEWEST_ROWS)
            dataset, content = taken
            shop.runs.forget_settled(run, needs.pipeline)
        champion, problem = self._champion(run, needs.champion)
        return _Prepared(needs, dataset, content, champion, problem)

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

    async def _fit(self, run: Run, prepared: _Prepared) -> FitResult:
        search = prepared.needs.pipeline.model.timeout / SECOND
        with NamedTemporaryFile(prefix="millrace-dataset-", suffix=".parquet") as file:
            await undisturbed(asyncio.to_thread(_write, file.name, prepared.content))
            job = _job(run, prepared, Path(file.name), self._settings.threads)
            return await self._workshop.children.run(job, search + self._settings.fit_seconds)

    def _candidate(self, run: Run, result: FitResult, needs: Needs) -> Candidate:
        shop = self._workshop
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
            cpu_seconds=result.cpu_seconds,
            notes=result.notes,
        )


def _job(run: Run, prepared: _Prepared, dataset: Path, threads: int) -> FitJob:
    pipeline = prepared.needs.pipeline
    model = pipeline.model
    return FitJob(
        pipeline=pipeline.name,
        pipeline_version=pipeline.version,
        label_kind=pipeline.label.kind,
        numbers=tuple(feature.name for feature in pipeline.numbers),
        categories=tuple(feature.name for feature in pipeline.categories),
        candidates=model.candidates,
        dataset=dataset,
        train_on_last=rows_for(run.trigger, model.train_on_last),
        update=run.trigger is Trigger.UPDATE,
        holdout_last=model.holdout_last,
        trials=model.trials,
        timeout_seconds=model.timeout / SECOND,
        seed=model.seed,
        threads=threads,
        champion=prepared.champion,
        no_champion=prepared.no_champion,
        primary_metric=next((gate.metric for gate in pipeline.gates), None),
    )


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
