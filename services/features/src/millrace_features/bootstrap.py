"""The one place where ports get their adapters."""

from collections.abc import Callable
from dataclasses import dataclass

from millrace_bus.broker import Broker
from millrace_bus.follower import Fold, Follower
from millrace_bus.kafka import KafkaBroker
from millrace_bus.store import State
from millrace_bus.stream import Process, StreamSettings, StreamWorker
from millrace_features.adapters.state import HistoryCodec, StateHistories
from millrace_features.adapters.wire import EVENTS_WIRE, PIPELINES_WIRE
from millrace_features.application.pipelines import PipelinesHeard
from millrace_features.application.ports import Histories
from millrace_features.settings import Settings
from millrace_service.process import chance
from millrace_telemetry.exporting import tracing
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
            settings=StreamSettings(self.settings.state_directory),
            chance=chance,
            tracing=self.tracing,
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


def assemble(settings: Settings, *, broker: Broker | None = None) -> Parts:
    """Put the real adapters into the ports; tests bring a broker of their own."""
    return Parts(
        settings=settings,
        broker=broker or KafkaBroker(settings.kafka(f"millrace-{NAME}")),
        pipelines=PipelinesHeard(),
        tracing=tracing(
            NAME,
            settings.otel_traces_exporter,
            zipkin_endpoint=settings.otel_exporter_zipkin_endpoint,
            sampling_ratio=settings.otel_traces_sampler_arg,
        ),
        metrics=BusMetrics(),
    )
