"""The one place where ports get their adapters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace_bus.broker import Broker
from millrace_bus.sql import Database
from millrace_bus.unit import SqlHandler, inject
from millrace_contracts.wire import WireTable
from millrace_monitoring.adapters import migrations
from millrace_monitoring.adapters.sql import (
    SqlJoins,
    SqlMonitors,
    SqlOverview,
    SqlPipelines,
    SqlReferences,
    foresee,
)
from millrace_monitoring.adapters.wire import WIRE
from millrace_monitoring.application import handlers
from millrace_monitoring.application.ports import Overview
from millrace_monitoring.domain.events import (
    ChallengerEnded,
    ChallengerStarted,
    LabelObserved,
    LabelRetracted,
    ModelPromoted,
    ModelRolledBack,
    PipelineApplied,
    PredictionMade,
)
from millrace_monitoring.settings import Settings
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import Tracing

__all__ = ["HANDLERS", "MIGRATIONS", "NAME", "Parts", "assemble", "foresee"]

NAME = "monitoring"
MIGRATIONS = Path(migrations.__file__).parent

_STATE = {"pipelines": SqlPipelines, "monitors": SqlMonitors}
_CHAMPION = {**_STATE, "references": SqlReferences}
HANDLERS: Mapping[type, SqlHandler] = {
    PipelineApplied: inject(handlers.on_pipeline_applied, pipelines=SqlPipelines),
    ModelPromoted: inject(handlers.on_champion, **_CHAMPION),
    ModelRolledBack: inject(handlers.on_champion, **_CHAMPION),
    ChallengerStarted: inject(handlers.on_challenger, **_STATE),
    ChallengerEnded: inject(handlers.on_challenger, **_STATE),
    PredictionMade: inject(handlers.on_prediction, **_CHAMPION, joins=SqlJoins),
    LabelObserved: inject(handlers.on_label, **_CHAMPION, joins=SqlJoins),
    LabelRetracted: inject(handlers.on_label_retracted, **_STATE, joins=SqlJoins),
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the entrypoints stand on."""

    settings: Settings
    broker: Broker
    database: Database
    wire: WireTable
    handlers: Mapping[type, SqlHandler]
    overview: Overview
    chance: Callable[[], float]
    tracing: Tracing
    metrics: BusMetrics


def assemble(settings: Settings, broker: Broker, *, chance: Callable[[], float]) -> Parts:
    """Put the real adapters into the ports, and bring the database's schema up to date: call it in a thread."""
    database = Database(settings.database)
    database.migrate(MIGRATIONS)
    return Parts(
        settings=settings,
        broker=broker,
        database=database,
        wire=WIRE,
        handlers=HANDLERS,
        overview=SqlOverview(database),
        chance=chance,
        tracing=settings.tracing(NAME),
        metrics=BusMetrics(),
    )
