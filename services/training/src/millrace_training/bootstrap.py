"""The one place where ports get their adapters."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from millrace_artifacts.errors import KeyFileError
from millrace_artifacts.keys import SigningKey, TrustedKeys, local_key
from millrace_artifacts.seal import Vault
from millrace_artifacts.store import ObjectStore
from millrace_bus.broker import Broker
from millrace_bus.sql import Database
from millrace_bus.sql_worker import SqlSettings, SqlWorker
from millrace_bus.unit import CurrentCause, SqlHandler, inject
from millrace_kernel.ids import PipelineName, RunId
from millrace_service.process import Component
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import Tracing
from millrace_training.adapters import migrations
from millrace_training.adapters.cards.carding import CardMaker, CardRoom, SqlDueCards
from millrace_training.adapters.cards.job import Card, CardJob
from millrace_training.adapters.cards.make import make_card
from millrace_training.adapters.fitting.cluster_plan import Scheduler
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob, FitResult, TrialResult
from millrace_training.adapters.fitting.options import Commands
from millrace_training.adapters.lake.datasets import DatasetTaker
from millrace_training.adapters.lake.delta import DeltaLake
from millrace_training.adapters.lake.gathering import Gathered, GatherJob, gather
from millrace_training.adapters.lake.keeper import AFTER_ROWS, Keeper
from millrace_training.adapters.lake.settling import Settler
from millrace_training.adapters.processes.children import Children, Limits
from millrace_training.adapters.running.clustering import Clusters, ClusterSettings
from millrace_training.adapters.running.reproducing import Reproducer, Reproduction
from millrace_training.adapters.running.request_traces import RequestTraces
from millrace_training.adapters.running.runner import Accept, Runner, RunnerSettings, Workshop
from millrace_training.adapters.sql.books import SqlBooks
from millrace_training.adapters.sql.overview import SqlOverview
from millrace_training.adapters.sql.runs import SqlRuns
from millrace_training.adapters.sql.staging import Tally
from millrace_training.adapters.wire import WIRE
from millrace_training.application import handlers
from millrace_training.application.ports import Overview
from millrace_training.domain import events
from millrace_training.domain.costs import Prices
from millrace_training.settings import Settings

NAME = "training"
TOPICS = (
    "millrace.pipelines",
    "millrace.features",
    "millrace.labels",
    "millrace.drift",
    "millrace.models",
    "millrace.commands",
)
MIGRATIONS = Path(migrations.__path__[0])
_PRELOAD = "millrace_training.adapters.fitting.preload"
_OWN_CONNECTIONS = 5


def fit_children() -> Children[FitJob, FitResult]:
    """Children that fit, from a fork server that has loaded the model libraries."""
    return Children(fit_candidates, FitResult, progress=TrialResult, preload=(_PRELOAD,))


def card_children() -> Children[CardJob, Card]:
    """Children that write model cards, from the same fork server."""
    return Children(make_card, Card, preload=(_PRELOAD,), what="the card")


def gather_children() -> Children[GatherJob, Gathered]:
    """Children that have a cluster take datasets."""
    return Children(gather, Gathered, preload=(_PRELOAD,), what="taking the dataset")


def lake_url(store: ObjectStore) -> str:
    return f"{store.url}/lake"


@dataclass(frozen=True, slots=True)
class Training:
    """What the entrypoints stand on. The schema is up to date."""

    settings: Settings
    broker: Broker
    database: Database
    vault: Vault
    key: SigningKey
    lake: DeltaLake
    overview: Overview
    tracing: Tracing
    metrics: BusMetrics
    chance: Callable[[], float]
    children: Children[FitJob, FitResult]

    def components(
        self, bus: SqlSettings | None = None, *, lake_after_rows: int = AFTER_ROWS
    ) -> list[Component]:
        """The worker, which decides; the runner, which learns; the keeper of the lake; the maker of model cards.

        Commits wake the runner and the keeper, the end of a run the maker of cards.
        """
        tally, traces = Tally(), RequestTraces(self.tracing)
        settler = Settler(self.database, self.lake)
        keeper = Keeper(settler, tally, chance=self.chance, after_rows=lake_after_rows)

        def committed() -> None:
            runner.wake()
            keeper.wake()

        worker = SqlWorker(
            NAME,
            TOPICS,
            wire=WIRE,
            handlers=_handlers(tally, self.settings.prices),
            database=self.database,
            broker=self.broker,
            chance=self.chance,
            settings=bus,
            tracing=traces,
            metrics=self.metrics,
            committed=committed,
        )
        shop = Workshop(
            runs=SqlRuns(self.database),
            settler=settler,
            taker=DatasetTaker(self.lake, self.vault.store),
            vault=self.vault,
            key=self.key,
            children=self.children,
            clusters=self._clusters(),
            cards=self.settings.training_cards,
        )
        cards = self._card_maker(worker.accept, shop, traces)
        runner = Runner(
            worker.accept,
            shop,
            RunnerSettings(
                parallel_runs=self.settings.training_parallel_runs,
                threads=self.settings.training_threads,
                fit_seconds=self.settings.training_fit_seconds,
                cpu_seconds=self.settings.training_cpu_seconds,
                memory_bytes=self.settings.training_memory_mb << 20,
                estimator_modules=self.settings.estimator_modules,
                commands=_commands(self.settings),
                encoders=self.settings.encoders,
            ),
            chance=self.chance,
            traces=traces,
            ended=cards.wake,
        )
        return [worker, runner, keeper, cards]

    def _clusters(self) -> Clusters:
        settings = self.settings
        limits = Limits(
            settings.training_fit_seconds,
            settings.training_cpu_seconds,
            settings.training_memory_mb << 20,
        )
        store = self.vault.store
        return Clusters(
            _cluster_settings(settings),
            gather_children(),
            self.lake,
            lake_url(store),
            store,
            limits,
        )

    def _card_maker(self, accept: Accept, shop: Workshop, traces: RequestTraces) -> CardMaker:
        """Also where runs get no cards any more: some may still wait for theirs."""
        settings = self.settings
        limits = Limits(
            settings.training_card_seconds,
            settings.training_cpu_seconds,
            settings.training_memory_mb << 20,
        )
        room = CardRoom(
            due=SqlDueCards(self.database),
            runs=shop.runs,
            taker=shop.taker,
            store=self.vault.store,
            children=card_children(),
            limits=limits,
        )
        return CardMaker(accept, room, chance=self.chance, tracing=traces)


def _handlers(tally: Tally, prices: Prices) -> dict[type, SqlHandler]:
    def books(connection: Connection) -> SqlBooks:
        return SqlBooks(connection, tally, prices)

    alone = {"books": books}
    caused = {"books": books, "origin": CurrentCause}
    return {
        events.PipelineApplied: inject(handlers.on_pipeline_applied, **alone),
        events.FeaturesComputed: inject(handlers.on_features, **caused),
        events.LabelObserved: inject(handlers.on_label, **caused),
        events.LabelRetracted: inject(handlers.on_label_retracted, **caused),
        events.DriftDetected: inject(handlers.on_drift, **caused),
        events.DriftCleared: inject(handlers.on_drift_cleared, **alone),
        events.PerformanceDegraded: inject(handlers.on_performance, **caused),
        events.ModelPromoted: inject(handlers.on_promoted, **alone),
        events.ModelRolledBack: inject(handlers.on_rolled_back, **alone),
        events.ModelRejected: inject(handlers.on_rejected, **alone),
        events.Retrain: inject(handlers.on_retrain_command, **caused),
        events.PausePipeline: inject(handlers.on_pause, **alone),
        events.RunStarted: inject(handlers.on_run_started, **alone),
        events.RunTried: inject(handlers.on_run_tried, **alone),
        events.RunFinished: inject(handlers.on_run_finished, **alone),
        events.RunFailed: inject(handlers.on_run_failed, **alone),
        events.RunSkipped: inject(handlers.on_run_skipped, **caused),
        events.CardMade: inject(handlers.on_card_made, **alone),
        events.CardFailed: inject(handlers.on_card_failed, **alone),
    }


def _commands(settings: Settings) -> Commands:
    return Commands(settings.training_commands, settings.training_command_seconds)


def _cluster_settings(settings: Settings) -> ClusterSettings:
    files = (
        settings.training_cluster_ca_file,
        settings.training_cluster_certificate_file,
        settings.training_cluster_key_file,
    )
    paths = [str(each) if each else None for each in files]
    allowed: dict[str, Scheduler] = {}
    for name, address in settings.training_clusters.items():
        allowed[name] = allowed[address] = Scheduler(name, address, *paths)
    return ClusterSettings(
        allowed=allowed,
        workers=settings.training_cluster_workers,
        wait_seconds=settings.training_cluster_wait_seconds,
        part_rows=settings.training_cluster_part_rows,
        sample_rows=settings.training_cluster_sample_rows,
    )


def _keys(settings: Settings) -> tuple[SigningKey, TrustedKeys]:
    """The key to sign with, and those whose models are opened. Raises KeyFileError when nobody would open what is signed."""
    given = settings.millrace_signing_key_file
    key = SigningKey.read(given) if given else local_key(settings.keys_folder)
    trusted = TrustedKeys(settings.trusted_keys)
    if trusted.find(key.key_id) is None:
        raise KeyFileError(
            f"models would be signed with key {key.key_id}, which is not trusted: {trusted.in_words()}; put its "
            "public key there, here and where registry and serving run (MILLRACE_TRUSTED_KEYS), or name another key "
            "(MILLRACE_SIGNING_KEY_FILE)"
        )
    return key, trusted


def reproduction(settings: Settings, pipeline: PipelineName, run_id: RunId) -> Reproduction:
    """Make a run's artifact again, in this process. Raises what `Reproducer.reproduce` raises."""
    database = Database(settings.database, pool_size=_OWN_CONNECTIONS)
    store = ObjectStore(settings.objects)
    vault = Vault(store, TrustedKeys(settings.trusted_keys))
    taker = DatasetTaker(DeltaLake(lake_url(store)), store)
    try:
        allowed = settings.estimator_modules, _commands(settings), _cluster_settings(settings)
        return Reproducer(SqlRuns(database), taker, vault, *allowed).reproduce(pipeline, run_id)
    finally:
        database.close()


def training(
    settings: Settings,
    broker: Broker,
    *,
    chance: Callable[[], float],
    children: Children[FitJob, FitResult] | None = None,
) -> Training:
    """Connects to database and object store; raises TransientError while one is away, KeyFileError. Call it in a thread."""
    key, trusted = _keys(settings)
    database = Database(
        settings.database, pool_size=_OWN_CONNECTIONS + settings.training_parallel_runs
    )
    database.migrate(MIGRATIONS)
    store = ObjectStore(settings.objects)
    return Training(
        settings=settings,
        broker=broker,
        database=database,
        vault=Vault(store, trusted),
        key=key,
        lake=DeltaLake(lake_url(store)),
        overview=SqlOverview(database, settings.prices),
        tracing=settings.tracing(NAME),
        metrics=BusMetrics(),
        chance=chance,
        children=children or fit_children(),
    )
