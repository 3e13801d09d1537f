"""The one place where ports get their adapters."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from millrace_artifacts.blobs import ObjectBlobs
from millrace_bus.broker import Broker
from millrace_bus.follower import Fold, Follower
from millrace_bus.identity import cluster_id
from millrace_bus.kafka import KafkaBroker
from millrace_bus.snapshots import Snapshots
from millrace_bus.store import State
from millrace_bus.stream import Handler, Process, StreamSettings, StreamWorker
from millrace_contracts.message import Message
from millrace_features.adapters.state import HistoryCodec, StateHistories, state_key
from millrace_features.adapters.wire import EVENTS_WIRE, PIPELINES_WIRE
from millrace_features.application.pipelines import PipelinesHeard
from millrace_features.application.ports import Histories
from millrace_features.settings import Settings
from millrace_service.process import Component, chance
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import Tracing

NAME = "features"
EVENTS = "millrace.events"
PIPELINES = "millrace.pipelines"


@dataclass(frozen=True, slots=True)
class Parts:
    """One instance of features, before it is connected to anything."""

    settings: Settings
    broker: Broker
    snapshots: Snapshots | None
    pipelines: PipelinesHeard
    tracing: Tracing
    metrics: BusMetrics
    histories: Callable[[State], Histories] = StateHistories

    def worker(self, process: Process) -> StreamWorker:
        """The reader of events, with what it remembers of their entities."""
        return StreamWorker(
            NAME,
            [EVENTS],
            wire=EVENTS_WIRE,
            process=process,
            codec=HistoryCodec(),
            broker=self.broker,
            settings=StreamSettings(
                self.settings.state_directory,
                snapshot_seconds=self.settings.state_snapshot_seconds,
                accept_lost_records=self.settings.state_accept_lost_records,
            ),
            chance=chance,
            snapshots=self.snapshots,
            tracing=self.tracing,
            metrics=self.metrics,
        )

    def faust_worker(self, handler: Handler) -> Component:
        """The same reader in the Faust runtime: its memory is a table with a changelog of its own."""
        # imported here: Faust is an extra, which the default runtime does without
        from millrace_features.adapters.faust_runtime.application import FaustSettings
        from millrace_features.adapters.faust_runtime.lane import Reader
        from millrace_features.adapters.faust_runtime.session import WorkerSettings
        from millrace_features.adapters.faust_runtime.worker import FaustWorker

        kafka = self.settings.kafka(f"millrace-{NAME}")
        faust = FaustSettings(
            kafka,
            self.settings.state_directory / "faust",
            group=f"millrace-{NAME}-faust",
            standby_replicas=self.settings.features_faust_standby_replicas,
        )
        return FaustWorker(
            EVENTS,
            reader=Reader(NAME, EVENTS_WIRE, handler, _key_of, HistoryCodec(), self.tracing),
            broker=self.broker,
            settings=WorkerSettings(faust),
            chance=chance,
            metrics=self.metrics,
        )

    def follower(self, fold: Fold) -> Follower:
        """The reader of the pipelines in force."""
        return Follower(
            NAME,
            [PIPELINES],
            wire=PIPELINES_WIRE,
            fold=fold,
            broker=self.broker,
            chance=chance,
            tracing=self.tracing,
        )


def assemble(
    settings: Settings, *, broker: Broker | None = None, snapshots: Snapshots | None = None
) -> Parts:
    """Put the real adapters into the ports; tests bring a broker of their own, and snapshots if they want any."""
    return Parts(
        settings=settings,
        broker=broker or KafkaBroker(settings.kafka(f"millrace-{NAME}")),
        snapshots=snapshots if broker else _snapshots(settings),
        pipelines=PipelinesHeard(),
        tracing=settings.tracing(NAME),
        metrics=BusMetrics(),
    )


def _snapshots(settings: Settings) -> Snapshots | None:
    """Where the state goes, so that another machine can go on with it."""
    if not settings.state_snapshot_seconds:
        return None
    cluster = partial(cluster_id, settings.kafka(f"millrace-{NAME}"))
    return Snapshots(NAME, ObjectBlobs(settings.objects), cluster)


def _key_of(message: Message) -> bytes:
    """The one state that an event or a label changes: its entity's."""
    return state_key(message.event.pipeline, message.event.entity)
