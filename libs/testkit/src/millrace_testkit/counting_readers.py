"""The counting service as a reader of events, in either form and impatient: for tests of the bus, not for its benchmark."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from millrace_bus.broker import Broker
from millrace_bus.retry import Backoff
from millrace_bus.snapshots import Snapshots
from millrace_bus.sql import Database
from millrace_bus.sql_worker import SqlSettings, SqlWorker
from millrace_bus.stream import StreamSettings, StreamWorker, each
from millrace_bus.unit import CurrentCause, Unit, inject
from millrace_contracts.message import Cause
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import NO_TRACING, Tracing
from millrace_testkit.counting import WIRE, Counted, Counting, PairCodec, Seen
from millrace_testkit.counting_sql import SqlCounts

_IMPATIENT: dict[str, Any] = {
    "max_records": 7,
    "poll_seconds": 0.02,
    "backoff": Backoff(0.001, 0.01),
}


def stream_reader(
    broker: Broker,
    folder: Path,
    heart: Counting | None = None,
    *,
    name: str = "features",
    snapshots: Snapshots | None = None,
    tracing: Tracing = NO_TRACING,
    metrics: BusMetrics | None = None,
    **settings: Any,
) -> StreamWorker:
    """Counts with its state in `folder`; `settings` are of StreamSettings."""
    return StreamWorker(
        name,
        ["millrace.events"],
        wire=WIRE,
        process=each((heart or Counting()).handle),
        codec=PairCodec(),
        broker=broker,
        settings=StreamSettings(folder, **(_IMPATIENT | settings)),
        chance=lambda: 0.5,
        snapshots=snapshots,
        tracing=tracing,
        metrics=metrics,
    )


def sql_reader(
    broker: Broker,
    database: Database,
    heart: Counting | None = None,
    *,
    name: str = "features",
    foresee: Callable[[Sequence[Seen], Unit], None] | None = None,
    **settings: Any,
) -> SqlWorker:
    """Counts in the table of `counting_sql`, which must be there; `settings` are of SqlSettings."""
    counting = heart or Counting()

    def on_seen(event: Seen, counts: SqlCounts, cause: Cause) -> Iterator[Counted]:
        assert cause.id
        answer = counting.next(counts.get(event.entity), event)
        counts.put(event.entity, answer.count, answer.total)
        yield answer

    return SqlWorker(
        name,
        ["millrace.events"],
        wire=WIRE,
        handlers={Seen: inject(on_seen, counts=SqlCounts, cause=CurrentCause)},
        database=database,
        broker=broker,
        chance=lambda: 0.5,
        settings=SqlSettings(**(_IMPATIENT | settings)),
        foresee=foresee,
    )
