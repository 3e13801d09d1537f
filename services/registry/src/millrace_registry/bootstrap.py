"""The one place where the registry's ports get their adapters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace_artifacts.keys import TrustedKeys
from millrace_artifacts.store import ObjectStore
from millrace_bus.broker import Broker
from millrace_bus.sql import Database
from millrace_bus.unit import SqlHandler, inject
from millrace_contracts.wire import WireTable
from millrace_kernel.clock import SystemClock
from millrace_kernel.time import Clock
from millrace_registry.adapters import migrations
from millrace_registry.adapters.cards import StoredCards
from millrace_registry.adapters.commands import BusCommands
from millrace_registry.adapters.seals import SignedSeals
from millrace_registry.adapters.sql import SqlPipelines, SqlVersions
from millrace_registry.adapters.views import SqlViews
from millrace_registry.adapters.wire import WIRE
from millrace_registry.application import handlers
from millrace_registry.application.ports import Seals
from millrace_registry.application.views import Cards, Views
from millrace_registry.domain.events import (
    ApplyPipeline,
    ApprovePromotion,
    ChallengerCompared,
    DeploymentFailed,
    ModelCardMade,
    PausePipeline,
    RejectPromotion,
    RollBack,
    TrainingCompleted,
)
from millrace_registry.settings import Settings
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import Tracing

NAME = "registry"
MIGRATIONS = Path(migrations.__file__).parent

_BOTH = {"pipelines": SqlPipelines, "versions": SqlVersions}


def handlers_with(seals: Seals) -> Mapping[type, SqlHandler]:
    return {
        ApplyPipeline: inject(handlers.on_apply, pipelines=SqlPipelines),
        TrainingCompleted: inject(handlers.on_training_completed, **_BOTH, seals=lambda _: seals),
        ModelCardMade: inject(handlers.on_card_made, versions=SqlVersions),
        ApprovePromotion: inject(handlers.on_approve, **_BOTH),
        RejectPromotion: inject(handlers.on_reject, **_BOTH),
        RollBack: inject(handlers.on_roll_back, **_BOTH),
        PausePipeline: inject(handlers.on_pause, **_BOTH),
        DeploymentFailed: inject(handlers.on_deployment_failed, **_BOTH),
        ChallengerCompared: inject(handlers.on_compared, **_BOTH),
    }


@dataclass(frozen=True, slots=True)
class Parts:
    """What the entrypoints stand on."""

    settings: Settings
    broker: Broker
    clock: Clock
    database: Database
    wire: WireTable
    handlers: Mapping[type, SqlHandler]
    views: Views
    cards: Cards
    commands: BusCommands
    chance: Callable[[], float]
    tracing: Tracing
    metrics: BusMetrics


def assemble(
    settings: Settings, broker: Broker, *, chance: Callable[[], float], clock: Clock | None = None
) -> Parts:
    """Put the real adapters into the ports, and bring the database's schema up to date: call it in a thread."""
    database = Database(settings.database)
    database.migrate(MIGRATIONS)
    traces = settings.tracing(NAME)
    return Parts(
        settings=settings,
        broker=broker,
        clock=clock or SystemClock(),
        database=database,
        wire=WIRE,
        handlers=handlers_with(SignedSeals(TrustedKeys(settings.trusted_keys))),
        views=SqlViews(database),
        cards=StoredCards(ObjectStore(settings.objects)),
        commands=BusCommands(broker, traces),
        chance=chance,
        tracing=traces,
        metrics=BusMetrics(),
    )
