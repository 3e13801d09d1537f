"""The one place where ports get their adapters."""

from collections.abc import Callable
from dataclasses import dataclass

from millrace_bus.broker import Broker
from millrace_bus.follower import Fold, Follower, React
from millrace_bus.kafka import KafkaBroker
from millrace_bus.store import State
from millrace_bus.stream import Process, StreamSettings, StreamWorker
from millrace_contracts.message import Message
from millrace_ingestion.adapters.raw import read_message, read_submission, split_batch
from millrace_ingestion.adapters.raw_topics import BrokerRawTopics, Patience
from millrace_ingestion.adapters.state import KnownCodec, StateLedger
from millrace_ingestion.adapters.wire import PIPELINES_WIRE, RAW_WIRE
from millrace_ingestion.application.pipelines import PipelinesInForce
from millrace_ingestion.application.ports import Ledger, ReadSubmission
from millrace_ingestion.domain.events import Submission
from millrace_ingestion.settings import Settings
from millrace_kernel.clock import SystemClock
from millrace_kernel.time import Clock
from millrace_service.process import chance
from millrace_telemetry.exporting import tracing
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
    clock: Clock
    pipelines: PipelinesInForce
    raw_topics: BrokerRawTopics
    tracing: Tracing
    metrics: BusMetrics
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
            tracing=self.tracing,
            metrics=self.metrics,
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
    settings: Settings, *, broker: Broker | None = None, clock: Clock | None = None
) -> Parts:
    """Put the real adapters into the ports; tests bring a broker and a clock of their own."""
    broker = broker or KafkaBroker(settings.kafka(f"millrace-{NAME}"))
    patience = Patience(settings.ingestion_append_seconds, settings.ingestion_waiting_bytes)
    return Parts(
        settings=settings,
        stream=StreamSettings(
            settings.state_directory, max_dead_letters_in_a_row=settings.ingestion_max_dead_letters
        ),
        broker=broker,
        clock=clock or SystemClock(),
        pipelines=PipelinesInForce(),
        raw_topics=BrokerRawTopics(broker, patience, chance),
        tracing=tracing(
            NAME,
            settings.otel_traces_exporter,
            zipkin_endpoint=settings.otel_exporter_zipkin_endpoint,
            sampling_ratio=settings.otel_traces_sampler_arg,
        ),
        metrics=BusMetrics(),
    )
