"""Makes the model cards of finished runs, in a process of its own, and keeps them beside the artifacts.

A card waits until its run is committed, and is announced by itself: no promotion waits for it. What it is to be made from
is committed with the run, so a process that dies leaves it to the next one. Whatever goes wrong with a card, the candidate is
announced already: the reason becomes one of the run's notes.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec
from sqlalchemy import select

from millrace_artifacts.store import ObjectStore, digest_key
from millrace_bus.retry import Backoff
from millrace_bus.session import undisturbed
from millrace_bus.sql import Database
from millrace_bus.sql_worker import Local
from millrace_contracts.message import Cause as BusCause
from millrace_kernel.errors import PermanentError
from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.time import rfc3339
from millrace_telemetry.tracing import Tracing, finish, write_traceparent
from millrace_training.adapters import tables
from millrace_training.adapters.cards.job import About, Card, CardJob
from millrace_training.adapters.fitting.job import FitResult
from millrace_training.adapters.lake.datasets import DatasetTaker
from millrace_training.adapters.on_call import OnCall
from millrace_training.adapters.processes.children import ChildFailedError, Children, Limits
from millrace_training.adapters.running.records import Due, fit_job, read_due, read_record
from millrace_training.adapters.running.runner import Accept
from millrace_training.adapters.sql.claims import Claims
from millrace_training.adapters.sql.runs import Recorded, SqlRuns
from millrace_training.adapters.wire import request_id
from millrace_training.domain.costs import NOTHING
from millrace_training.domain.events import CardFailed, CardMade, CardOutcome

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DueCard:
    pipeline: PipelineName
    run_id: RunId
    origin: BusCause  # of the run's request
    due: Due


class SqlDueCards:
    """Synchronous. A pipeline's cards are made by one process at a time, in the order of its runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claims = Claims(database)

    def pipelines(self) -> list[PipelineName]:
        """Those with cards that wait."""
        table = tables.runs
        query = select(table.c.pipeline).where(table.c.card_due.is_not(None)).distinct()
        with self._database.reading() as connection:
            return [PipelineName(name) for name in connection.execute(query).scalars()]

    def next(self, pipeline: PipelineName) -> DueCard | None:
        table = tables.runs
        query = (
            select(table.c.run_id, table.c.origin, table.c.card_due)
            .where(table.c.pipeline == pipeline, table.c.card_due.is_not(None))
            .order_by(table.c.run_number)
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        origin = BusCause.from_text(row.origin)
        return DueCard(pipeline, RunId(row.run_id), origin, read_due(row.card_due))

    def claim(self, pipeline: PipelineName) -> bool:
        return self._claims.take(f"cards/{pipeline}")

    def release(self, pipeline: PipelineName) -> None:
        self._claims.give_back(f"cards/{pipeline}")


@dataclass(frozen=True, slots=True)
class CardRoom:
    """What cards are made with."""

    due: SqlDueCards
    runs: SqlRuns
    taker: DatasetTaker
    store: ObjectStore
    children: Children[CardJob, Card]
    limits: Limits


class CardMaker:
    """A component of the service: `run` until cancelled. Woken when a run has ended, never by a timer."""

    def __init__(
        self,
        accept: Accept,
        room: CardRoom,
        *,
        chance: Callable[[], float],
        tracing: Tracing,
        backoff: Backoff | None = None,
    ) -> None:
        self._on_call = OnCall(
            self._work, "a model card is put off", chance=chance, backoff=backoff
        )
        self.ready = self._on_call.ready
        self._accept = accept
        self._room = room
        self._tracing = tracing

    def wake(self) -> None:
        """A run has ended."""
        self._on_call.wake()

    async def run(self) -> None:
        await self._on_call.run()

    async def _work(self) -> None:
        for pipeline in await undisturbed(asyncio.to_thread(self._room.due.pipelines)):
            await self._make_all(pipeline)

    async def _make_all(self, pipeline: PipelineName) -> None:
        due, made = self._room.due, RunId("")
        try:
            if not await undisturbed(asyncio.to_thread(due.claim, pipeline)):
                return  # another process makes them
            while (card := await undisturbed(asyncio.to_thread(due.next, pipeline))) is not None:
                if card.run_id == made:  # it would be made again and again
                    raise RuntimeError(
                        f"{pipeline}: the card of {made} was announced before and still waits; the database was set "
                        "back in part, or written by somebody else"
                    )
                await self._make(card)
                made = card.run_id
        finally:
            await undisturbed(asyncio.to_thread(due.release, pipeline))

    async def _make(self, card: DueCard) -> None:
        recorded = await undisturbed(
            asyncio.to_thread(self._room.runs.recorded, card.pipeline, card.run_id)
        )
        assert recorded is not None, "a card is due of a run without an artifact"
        span = self._tracing.work(f"card {card.pipeline}", card.due.trace)
        failure: PermanentError | None = None
        outcome: CardOutcome
        try:
            outcome = await self._made(recorded, card.due.result)
        except PermanentError as error:
            failure = error
            cost = error.cost if isinstance(error, ChildFailedError) else NOTHING
            about = {"pipeline": card.pipeline, "run": recorded.run.number, "reason": str(error)}
            logger.warning("no model card", extra=about)
            outcome = CardFailed(recorded.run, f"no model card: {error}", cost)
        finally:
            if span:
                finish(span, failure)
        trace = write_traceparent(span.get_span_context()) if span else card.due.trace
        await self._accept(_local(outcome, card.origin, trace))

    async def _made(self, recorded: Recorded, result: FitResult) -> CardMade:
        with NamedTemporaryFile(prefix="millrace-dataset-", suffix=".parquet") as file:
            path = Path(file.name)
            job = await undisturbed(asyncio.to_thread(self._job, recorded, result, path))
            done = await self._room.children.run(job, self._room.limits)
        content = msgspec.json.encode(done.result, order="deterministic")
        key = digest_key(f"cards/{recorded.run.pipeline}", content, ".json")
        stored = await undisturbed(asyncio.to_thread(self._room.store.put, key, content))
        return CardMade(recorded.run, stored.uri, stored.sha256, done.cost)

    def _job(self, recorded: Recorded, result: FitResult, dataset: Path) -> CardJob:
        """The artifact is this run's own: its digest was committed with the run."""
        dataset.write_bytes(self._room.taker.content(recorded.dataset))
        artifact = self._room.store.get(recorded.artifact_uri, recorded.artifact_sha256)
        return card_job(recorded, replace(result, artifact=artifact), dataset)


def card_job(recorded: Recorded, result: FitResult, dataset: Path) -> CardJob:
    run, pipeline = recorded.run, recorded.needs.pipeline
    record = read_record(recorded.record_json)
    about = About(
        owner=pipeline.owner,
        description=pipeline.description,
        label=pipeline.label.field,
        run_id=run.run_id,
        run_number=run.number,
        trigger=run.trigger.value,
        as_of=rfc3339(run.as_of),
        dataset_uri=recorded.dataset.uri,
        dataset_sha256=recorded.dataset.sha256,
        artifact_sha256=recorded.artifact_sha256,
        champion_version=record.champion.version if record.champion else 0,
    )
    return CardJob(fit_job(run.trigger, pipeline, dataset, record.threads), result, about)


def _local(outcome: CardOutcome, origin: BusCause, trace: str | None) -> Local:
    run = outcome.run
    return Local(
        source=f"cards/{run.pipeline}",
        sequence=f"{run.number:016d}",
        event=outcome,
        cause=BusCause(request_id(run), origin.recorded_at, origin.correlation_id, trace),
    )
