"""The one place where serving's ports get their adapters."""

import time
from dataclasses import dataclass
from functools import partial

from millrace_artifacts.blobs import ObjectBlobs
from millrace_artifacts.keys import TrustedKeys
from millrace_artifacts.seal import Vault
from millrace_artifacts.store import ObjectStore
from millrace_bus.broker import Broker
from millrace_bus.identity import cluster_id
from millrace_bus.kafka import KafkaBroker
from millrace_bus.snapshots import Snapshots
from millrace_contracts.wire import WireTable
from millrace_kernel.clock import SystemClock
from millrace_kernel.time import Clock
from millrace_service.process import chance
from millrace_serving.adapters.engine import ArtifactEngine
from millrace_serving.adapters.publisher import BusPublisher
from millrace_serving.adapters.wire import WIRE
from millrace_serving.application.deployments import Deployer, Deployments
from millrace_serving.application.inference import Inference
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.settings import Settings
from millrace_telemetry.exporting import tracing
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import Tracing

NAME = "serving"


@dataclass(frozen=True, slots=True)
class Parts:
    """One instance of serving, before it is connected to anything."""

    settings: Settings
    broker: Broker
    snapshots: Snapshots | None
    wire: WireTable
    pipelines: Pipelines
    deployments: Deployments
    deployer: Deployer
    publisher: BusPublisher
    inference: Inference
    tracing: Tracing
    metrics: BusMetrics


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
    clock = clock or SystemClock()
    instance, metrics = settings.serving_instance, BusMetrics()
    pipelines, deployments = Pipelines(), Deployments()
    vault = Vault(ObjectStore(settings.objects), TrustedKeys(settings.trusted_keys))
    publisher = BusPublisher(
        broker, WIRE, instance=instance, started=clock.now(), chance=chance, metrics=metrics
    )
    return Parts(
        settings=settings,
        broker=broker,
        snapshots=snapshots,
        wire=WIRE,
        pipelines=pipelines,
        deployments=deployments,
        deployer=Deployer(deployments, ArtifactEngine(vault), instance, time.monotonic),
        publisher=publisher,
        inference=Inference(pipelines, deployments, publisher, clock, instance),
        tracing=tracing(
            NAME,
            settings.otel_traces_exporter,
            zipkin_endpoint=settings.otel_exporter_zipkin_endpoint,
            sampling_ratio=settings.otel_traces_sampler_arg,
        ),
        metrics=metrics,
    )


def _snapshots(settings: Settings) -> Snapshots | None:
    """Where the state goes, so that another machine can go on with it."""
    if not settings.state_snapshot_seconds:
        return None
    cluster = partial(cluster_id, settings.kafka(f"millrace-{NAME}"))
    return Snapshots(NAME, ObjectBlobs(settings.objects), cluster)
