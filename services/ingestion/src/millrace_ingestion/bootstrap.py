"""The one place where ports get their adapters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from millrace_artifacts.blobs import ObjectBlobs
from millrace_bus.broker import Broker, TopicPartition
from millrace_bus.follower import Fold, Follower, React
from millrace_bus.identity import cluster_id
from millrace_bus.kafka import KafkaBroker
from millrace_bus.snapshots import Snapshots
from millrace_bus.store import State
from millrace_bus.stream import Process, StreamSettings, StreamWorker
from millrace_contracts.message import Message
from millrace_ingestion.adapters.raw import read_message, read_submission, split_batch
from millrace_ingestion.adapters.raw_topics import BrokerRawTopics
from millrace_ingestion.adapters.state import KnownCodec, StateLedger
from millrace_ingestion.adapters.watch import GateMetrics, Watch
from millrace_ingestion.adapters.wire import PIPELINES_WIRE, RAW_WIRE
from millrace_ingestion.application.overload import Bounds, Gate
from millrace_ingestion.application.pipelines import PipelinesInForce
from millrace_ingestion.application.ports import Ledger, ReadSubmission
from millrace_ingestion.domain.events import Submission
from millrace_ingestion.settings import Settings
from millrace_kernel.clock import SystemClock
from millrace_kernel.time import Clock
from millrace_service.process import chance
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import Tracing

NAME = "ingestion"
PIPELINES = "millrace.pipelines"


@dataclass(frozen=True, slots=True)
class Parts:
    """One instance of ingestion, before it is connected to anything."""

    settings: Settings
    stream: StreamSettings
    broker: Broker
    snapshots: Snapshots | None
    clock: Clock
    pipelines: PipelinesInForce
    raw_topics: BrokerRawTopics
    gate: Gate
    tracing: Tracing
    metrics: BusMetrics
    gate_metrics: GateMetrics
    read_message: Callable[[Message], Submission] = read_message
    read_submission: ReadSubmission = read_submission
    split_batch: Callable[[bytes], list[bytes]] = split_batch
    ledger: Callable[[State], Ledger] = StateLedger

    def worker(self, process: Process) -> StreamWorker:
        """The reader of raw topics; which ones, it is told as pipelines are applied."""
        return StreamWorker(
            NAME,
            (),
            wire=RAW_WIRE,
            process=process,
            codec=KnownCodec(),
            broker=self.broker,
            settings=self.stream,
            chance=chance,
            snapshots=self.snapshots,
            tracing=self.tracing,
            metrics=self.metrics,
        )

    def watch(self, positions: Callable[[], Mapping[TopicPartition, int]]) -> Watch:
        """Tells the gate how far the reader of raw topics is behind."""
        return Watch(
            self.broker,
            self.gate,
            self.gate_metrics,
            positions,
            every_seconds=self.settings.ingestion_lag_seconds,
            chance=chance,
            backoff=self.stream.backoff,
        )

    def follower(self, fold: Fold, react: React) -> Follower:
        """The reader of the pipelines in force."""
        return Follower(
            NAME,
            [PIPELINES],
            wire=PIPELINES_WIRE,
            fold=fold,
            react=react,
            broker=self.broker,
            chance=chance,
            tracing=self.tracing,
        )


def assemble(
    settings: Settings,
    *,
    broker: Broker | None = None,
    clock: Clock | None = None,
    snapshots: Snapshots | None = None,
) -> Parts:
    """Put the real adapters into the ports; tests bring a broker and a clock of their own, and snapshots if they want any."""
    snapshots = snapshots if broker else _snapshots(settings)
    broker = broker or KafkaBroker(settings.kafka(f"millrace-{NAME}"))
    raw_topics = BrokerRawTopics(broker, settings.ingestion_append_seconds, chance)
    bounds = Bounds(settings.ingestion_waiting_bytes, settings.ingestion_max_lag)
    metrics = BusMetrics()
    return Parts(
        settings=settings,
        stream=StreamSettings(
            settings.state_directory,
            max_dead_letters_in_a_row=settings.ingestion_max_dead_letters,
            snapshot_seconds=settings.state_snapshot_seconds,
            accept_lost_records=settings.state_accept_lost_records,
        ),
        broker=broker,
        snapshots=snapshots,
        clock=clock or SystemClock(),
        pipelines=PipelinesInForce(),
        raw_topics=raw_topics,
        gate=Gate(bounds, lambda: raw_topics.late_bytes, chance),
        tracing=settings.tracing(NAME),
        metrics=metrics,
        gate_metrics=GateMetrics(metrics.registry),
    )


def _snapshots(settings: Settings) -> Snapshots | None:
    """Where the state goes, so that another machine can go on with it."""
    if not settings.state_snapshot_seconds:
        return None
    cluster = partial(cluster_id, settings.kafka(f"millrace-{NAME}"))
    return Snapshots(NAME, ObjectBlobs(settings.objects), cluster)
