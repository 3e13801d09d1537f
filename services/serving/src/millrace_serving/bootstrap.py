"""The one place where serving's ports get their adapters."""

import time
from collections.abc import Callable
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
from millrace_kernel.time import DAY, Clock, Duration
from millrace_service.process import chance
from millrace_serving.adapters.announcer import Announcer
from millrace_serving.adapters.engine import ArtifactEngine
from millrace_serving.adapters.explainer import ExplainerPool
from millrace_serving.adapters.online_store import OnlineStore
from millrace_serving.adapters.publisher import BusPublisher
from millrace_serving.adapters.spill import Spill
from millrace_serving.adapters.tried import Tried
from millrace_serving.adapters.wire import TRIALS, WIRE, TrialVectors
from millrace_serving.application.challengers import Challengers
from millrace_serving.application.completion import Completion
from millrace_serving.application.deployer import Deployer
from millrace_serving.application.deployments import Deployments
from millrace_serving.application.hot import Plans
from millrace_serving.application.inference import Inference
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.routing import Routing
from millrace_serving.application.statistics import Statistics
from millrace_serving.domain.canary import Trial
from millrace_serving.settings import Settings
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
    trials_wire: WireTable
    trial_wire: Callable[[Trial], WireTable]  # of the vectors that one challenger scores
    pipelines: Pipelines
    deployments: Deployments
    deployer: Deployer
    announcer: Announcer
    routing: Routing
    challengers: Challengers
    publisher: BusPublisher
    inference: Inference
    plans: Plans
    statistics: Statistics
    vectors: OnlineStore | None
    explainer: ExplainerPool | None
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
    pipelines, deployments = Pipelines(), Deployments(settings.serving_model_bytes)
    announcer = Announcer(broker, WIRE, clock, instance=instance, chance=chance)
    statistics = Statistics(clock, time.perf_counter_ns)
    vault = Vault(ObjectStore(settings.objects), TrustedKeys(settings.trusted_keys))
    engine = ArtifactEngine(vault, Tried(settings.state_directory / "tried-models.txt"))
    routing = Routing(deployments, instance, announcer.tell, time.perf_counter)
    publisher = BusPublisher(
        broker,
        WIRE,
        instance=instance,
        started=clock.now(),
        chance=chance,
        linger_seconds=settings.serving_log_linger_seconds,
        spill=_spill(settings),
        spill_seconds=settings.serving_spill_seconds,
        metrics=metrics,
    )
    vectors, explainer = _online_store(settings, broker, clock), _explainer(settings, vault)
    completion = Completion(pipelines, vectors, clock)
    inference = Inference(
        pipelines,
        deployments,
        publisher,
        clock,
        instance,
        statistics,
        completion=completion,
        explainer=explainer,
        routing=routing,
    )
    return Parts(
        settings=settings,
        broker=broker,
        snapshots=snapshots,
        wire=WIRE,
        trials_wire=TRIALS,
        trial_wire=TrialVectors,
        pipelines=pipelines,
        deployments=deployments,
        deployer=Deployer(
            deployments,
            engine,
            instance,
            time.monotonic,
            tell=announcer.tell,
            at_start=settings.serving_loaded_at_start,
            at_once=settings.serving_loads_at_once,
        ),
        announcer=announcer,
        routing=routing,
        challengers=Challengers(routing, engine, deployments),
        publisher=publisher,
        inference=inference,
        plans=Plans(
            pipelines, deployments, publisher, inference.new_id, clock, statistics, routing
        ),
        statistics=statistics,
        vectors=vectors,
        explainer=explainer,
        tracing=settings.tracing(NAME),
        metrics=metrics,
    )


def _online_store(settings: Settings, broker: Broker, clock: Clock) -> OnlineStore | None:
    """The entities' newest vectors."""
    if not settings.serving_online_store:
        return None
    keep = Duration(settings.serving_online_store_days * DAY)
    folder = settings.online_directory
    return OnlineStore(folder, broker, WIRE, clock=clock, keep=keep, chance=chance)


def _explainer(settings: Settings, vault: Vault) -> ExplainerPool | None:
    """The processes that explain answers."""
    if not settings.serving_explainers:
        return None
    return ExplainerPool(
        vault,
        processes=settings.serving_explainers,
        waiting=settings.serving_explanations_waiting,
        seconds=settings.serving_explanation_seconds,
    )


def _spill(settings: Settings) -> Spill | None:
    """Where answers go that the broker does not take."""
    if not settings.serving_spill_bytes:
        return None
    return Spill(settings.spill_directory, settings.serving_spill_bytes)


def _snapshots(settings: Settings) -> Snapshots | None:
    """Where the state goes, so that another machine can go on with it."""
    if not settings.state_snapshot_seconds:
        return None
    cluster = partial(cluster_id, settings.kafka(f"millrace-{NAME}"))
    return Snapshots(NAME, ObjectBlobs(settings.objects), cluster)
